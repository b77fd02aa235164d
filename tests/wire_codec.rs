//! The wire format as a peer meets it: every frame round-trips, no bytes panic, no cut or damage goes unnoticed, and the
//! bytes written down in `tests/vectors/frames.txt` are the bytes on the wire.

use bytes::{BufMut, Bytes, BytesMut};
use liner::wire::codec::{Decoder, FIRST_FRAME_MAX, MAX_AUTH, MAX_TEXT, MIN_READ, decode, encode, frames};
use liner::wire::error::WireError;
use liner::wire::frame::{CloseCode, Data, DataFlags, Frame, Hello, LaneIx, RefuseCode, Resume, ResumeAt, Welcome};
use liner::{Epoch, Incarnation, NodeId, Seq, StoreId, Topic};
use proptest::collection::vec;
use proptest::prelude::*;

const MAX_FRAME: u32 = 1 << 20;

fn bytes_of(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(frame, &mut out);
    out.to_vec()
}

/// Feeds a decoder in steps of these sizes (repeated), as a socket would; the debug form of every frame, then the error.
fn feed(stream: &[u8], steps: &[usize]) -> (Vec<String>, Option<WireError>) {
    let mut decoder = Decoder::new(MAX_FRAME);
    let (mut seen, mut rest, mut turn) = (Vec::new(), stream, 0);
    while !rest.is_empty() {
        let buf = decoder.read_buf();
        let step = steps[turn % steps.len()].min(buf.capacity() - buf.len()).min(rest.len());
        buf.put_slice(&rest[..step]);
        rest = &rest[step..];
        turn += 1;
        loop {
            match decoder.next_chunk() {
                Ok(Some(chunk)) => {
                    for frame in frames(&chunk) {
                        match frame {
                            Ok(frame) => seen.push(format!("{frame:?}")),
                            Err(error) => return (seen, Some(error)),
                        }
                    }
                }
                Ok(None) => break,
                Err(error) => return (seen, Some(error)),
            }
        }
    }
    (seen, None)
}

// ── Frames of every kind ─────────────────────────────────────────────────────────────────────────────────────────────

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9 :%>/ж]{1,40}", "[a-z]{255}"]
}

fn topic() -> impl Strategy<Value = Topic> {
    name().prop_map(|name| Topic::new(&name).expect("valid"))
}

fn node() -> impl Strategy<Value = NodeId> {
    name().prop_map(|name| NodeId::new(&name).expect("valid"))
}

fn text() -> impl Strategy<Value = String> {
    ".{0,200}"
}

fn lane() -> impl Strategy<Value = LaneIx> {
    any::<u32>().prop_map(LaneIx)
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    any::<u64>().prop_map(Incarnation::new)
}

fn seq() -> impl Strategy<Value = Seq> {
    any::<u64>().prop_map(Seq::new)
}

fn auth() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn hello() -> impl Strategy<Value = Frame<'static>> {
    let names = (node(), node(), topic(), text());
    (any::<(u16, u16, u64)>(), names, any::<(u64, u64, [u8; 16])>(), auth()).prop_map(|(v, n, s, auth)| {
        Frame::Hello(Hello {
            min_version: v.0,
            max_version: v.1,
            features: v.2,
            from: n.0,
            to: n.1,
            topic: n.2,
            addr: n.3,
            store: StoreId::new(s.0),
            epoch: Epoch::new(s.1),
            nonce: s.2,
            auth,
        })
    })
}

fn welcome() -> impl Strategy<Value = Frame<'static>> {
    let numbers = any::<(u64, u64, u32, u64, [u8; 16])>();
    (any::<(u16, u64)>(), (node(), topic(), text()), numbers, auth()).prop_map(|(v, n, s, auth)| {
        Frame::Welcome(Welcome {
            version: v.0,
            features: v.1,
            node: n.0,
            topic: n.1,
            addr: n.2,
            store: StoreId::new(s.0),
            epoch: Epoch::new(s.1),
            max_frame: s.2,
            max_message: s.3,
            nonce: s.4,
            auth,
        })
    })
}

fn resume() -> impl Strategy<Value = Frame<'static>> {
    let spans = vec((incarnation(), seq()), 0..20);
    (lane(), topic(), topic(), proptest::option::of(incarnation()), seq(), spans).prop_map(
        |(lane, source, topic, predecessor, acked, spans)| {
            Frame::Resume(Resume { lane, source, topic, predecessor, acked, spans })
        },
    )
}

fn lane_frame() -> impl Strategy<Value = Frame<'static>> {
    let at = (lane(), proptest::option::of((incarnation(), seq())), any::<u64>(), any::<u64>());
    prop_oneof![
        at.prop_map(|(lane, received, messages, bytes)| {
            Frame::ResumeAt(ResumeAt { lane, received, messages, bytes })
        }),
        (lane(), any::<(u64, u64)>())
            .prop_map(|(lane, (a, b))| { Frame::Skip { lane, from: Seq::new(a.min(b)), to: Seq::new(a.max(b)) } }),
        (lane(), incarnation(), seq()).prop_map(|(lane, incarnation, seq)| Frame::Ack { lane, incarnation, seq }),
        (lane(), any::<(u64, u64)>()).prop_map(|(lane, (messages, bytes))| Frame::Credit { lane, messages, bytes }),
        (lane(), incarnation(), seq(), 2..=u8::MAX, text()).prop_map(|(lane, incarnation, seq, code, text)| {
            Frame::Refuse { lane, incarnation, seq, code: RefuseCode::Other(code), text }
        }),
    ]
}

fn control() -> impl Strategy<Value = Frame<'static>> {
    prop_oneof![
        hello(),
        welcome(),
        resume(),
        lane_frame(),
        (10..=u8::MAX, text()).prop_map(|(code, text)| Frame::Close { code: CloseCode::Other(code), text }),
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
        topic().prop_map(Frame::Subscribed),
        topic().prop_map(Frame::Unsubscribed),
        (0x80..=u8::MAX).prop_map(Frame::Unknown),
    ]
}

/// The owned parts of a `Data` frame.
fn data() -> impl Strategy<Value = (u32, u8, u64, u32, Vec<u8>, Vec<u8>)> {
    let numbers = (any::<u32>(), 0..=DataFlags::ALL.bits(), 1..=u64::MAX, 1..=u32::MAX);
    (numbers, vec(any::<u8>(), 1..200), vec(any::<u8>(), 0..3000))
        .prop_map(|((lane, flags, seq, raw), h, p)| (lane, flags, seq, raw, h, p))
}

fn as_data(parts: &(u32, u8, u64, u32, Vec<u8>, Vec<u8>)) -> Frame<'_> {
    let flags = DataFlags::from_bits(parts.1).expect("known");
    Frame::Data(Data {
        lane: LaneIx(parts.0),
        flags,
        seq: if flags.has(DataFlags::DIRECT) { Seq::ZERO } else { Seq::new(parts.2) },
        raw_len: if flags.has(DataFlags::COMPRESSED) { parts.3 } else { 0 },
        headers: if flags.has(DataFlags::HEADERS) { &parts.4 } else { &[] },
        payload: &parts.5,
    })
}

/// The bytes of one frame of any kind.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![control().prop_map(|frame| bytes_of(&frame)), data().prop_map(|parts| bytes_of(&as_data(&parts)))]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_control_frame_round_trips(frame in control()) {
        let bytes = bytes_of(&frame);
        prop_assert_eq!(decode(&bytes, MAX_FRAME), Ok(Some((frame, bytes.len()))));
    }

    #[test]
    fn every_message_round_trips(parts in data()) {
        let frame = as_data(&parts);
        let bytes = bytes_of(&frame);
        prop_assert_eq!(decode(&bytes, MAX_FRAME), Ok(Some((frame, bytes.len()))));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..600), kind in any::<u8>()) {
        let _ = decode(&bytes, MAX_FRAME);
        let _ = feed(&bytes, &[7]);
        // With a length and a type that let the body through.
        let len = u32::try_from(bytes.len() + 1).expect("small");
        let framed = [&len.to_le_bytes()[..], &[kind], &bytes].concat();
        let _ = decode(&framed, MAX_FRAME);
    }

    #[test]
    fn any_split_of_a_stream_yields_the_same_frames(
        list in vec(any_frame(), 1..8),
        steps in vec(1usize..400, 1..20),
    ) {
        let stream = list.concat();
        let whole = feed(&stream, &[usize::MAX]);
        prop_assert_eq!(&feed(&stream, &steps), &whole);
        prop_assert_eq!(&feed(&stream, &[1]), &whole);
        prop_assert!(whole.0.len() == list.len() || list[0].len() > FIRST_FRAME_MAX as usize);
    }

    #[test]
    fn a_truncated_frame_is_not_a_frame(bytes in any_frame(), at in any::<prop::sample::Index>()) {
        let cut = at.index(bytes.len());
        prop_assert_eq!(decode(&bytes[..cut], MAX_FRAME), Ok(None));
        // The same with a length that pretends the frame is whole.
        if cut > 5 {
            let mut short = bytes[..cut].to_vec();
            short[..4].copy_from_slice(&u32::try_from(cut - 4).expect("small").to_le_bytes());
            prop_assert!(decode(&short, MAX_FRAME).is_err());
        }
    }

    #[test]
    fn any_flipped_bit_of_a_message_is_detected(parts in data()) {
        let mut bytes = bytes_of(&as_data(&parts));
        let body = bytes.len().min(105);
        for bit in 5 * 8..body * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(&bytes, MAX_FRAME), Err(WireError::Checksum));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn only_the_handshake_frames_may_grow(frame in control(), more in vec(any::<u8>(), 1..20)) {
        let mut bytes = bytes_of(&frame);
        bytes.extend_from_slice(&more);
        let len = u32::try_from(bytes.len() - 4).expect("small");
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        let decoded = decode(&bytes, MAX_FRAME);
        match frame {
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Unknown(_) => {
                prop_assert_eq!(decoded, Ok(Some((frame, bytes.len()))));
            }
            _ => prop_assert_eq!(decoded, Err(WireError::Trailing(more.len()))),
        }
    }

    #[test]
    fn a_giant_length_is_refused_before_anything_is_allocated(len in MAX_FRAME + 1..=u32::MAX) {
        let field = len.to_le_bytes();
        prop_assert_eq!(decode(&field, MAX_FRAME), Err(WireError::TooLong { len, max: MAX_FRAME }));
        let mut decoder = Decoder::new(MAX_FRAME);
        decoder.read_buf().put_slice(&field);
        prop_assert_eq!(decoder.next_chunk(), Err(WireError::TooLong { len, max: FIRST_FRAME_MAX }));
        prop_assert!(decoder.capacity() <= MIN_READ);
    }
}

// ── Random bytes, reproducible ───────────────────────────────────────────────────────────────────────────────────────

/// `xorshift64*`: enough randomness for inputs, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Damages valid streams in one to four places and reads them in random steps. `LINER_SEED` replays a run.
#[test]
fn the_decoder_survives_damaged_streams() {
    let seed = std::env::var("LINER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x11_4e_52);
    println!("LINER_SEED={seed}");
    let mut random = Random(seed);
    let vectors: Vec<Vec<u8>> = vectors().into_iter().map(|vector| vector.1).collect();
    let (mut whole, mut broken) = (0, 0);
    for _ in 0..30_000 {
        let count = 1 + random.below(4);
        let mut stream: Vec<u8> = (0..count).flat_map(|_| vectors[random.below(vectors.len())].clone()).collect();
        for _ in 0..=random.below(4) {
            let at = random.below(stream.len());
            match random.below(3) {
                0 => stream[at] ^= 1 << random.below(8),
                1 => stream[at] = random.next() as u8,
                _ => stream.truncate(at.max(1)),
            }
        }
        match feed(&stream, &[1 + random.below(64), 1 + random.below(64)]) {
            (_, None) => whole += 1,
            (_, Some(_)) => broken += 1,
        }
    }
    assert!(whole > 0 && broken > 0, "both happen: {whole} streams taken, {broken} refused");
}

// ── The bytes written down ───────────────────────────────────────────────────────────────────────────────────────────

fn vectors() -> Vec<(String, Vec<u8>)> {
    let lines = include_str!("vectors/frames.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let (name, hex) = (columns.next().expect("name"), columns.next().expect("hex"));
            let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex"));
            (name.to_owned(), bytes.collect())
        })
        .collect()
}

const NONCE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const TRACE: &[u8] = b"\x05trace\x02\x007f";

fn handshake_samples() -> Vec<(&'static str, Frame<'static>)> {
    let node = |name| NodeId::new(name).expect("valid");
    let topic = |name| Topic::new(name).expect("valid");
    let hello = Hello {
        min_version: 1,
        max_version: 1,
        features: 0,
        from: node("a"),
        to: node("b"),
        topic: topic("orders"),
        addr: "127.0.0.1:4000".to_owned(),
        store: StoreId::new(0x1111),
        epoch: Epoch::new(3),
        nonce: NONCE,
        auth: Bytes::new(),
    };
    let with_auth = Hello {
        max_version: 2,
        features: 5,
        topic: topic("заказы"),
        addr: String::new(),
        auth: Bytes::from_static(b"key"),
        ..hello.clone()
    };
    let welcome = Welcome {
        version: 1,
        features: 0,
        node: node("b"),
        topic: topic("billing"),
        addr: "127.0.0.1:5000".to_owned(),
        store: StoreId::new(0x2222),
        epoch: Epoch::new(9),
        max_frame: 16 << 20,
        max_message: 1 << 30,
        nonce: NONCE,
        auth: Bytes::new(),
    };
    vec![
        ("hello", Frame::Hello(hello)),
        ("hello-with-auth", Frame::Hello(with_auth)),
        ("welcome", Frame::Welcome(welcome)),
        ("close", Frame::Close { code: CloseCode::WrongNode, text: "this is b".to_owned() }),
        ("close-unknown-code", Frame::Close { code: CloseCode::Other(200), text: String::new() }),
    ]
}

fn data_samples() -> Vec<(&'static str, Frame<'static>)> {
    let data = |lane, bits, seq, raw_len, headers, payload: &'static [u8]| {
        let flags = DataFlags::from_bits(bits).expect("known");
        Frame::Data(Data { lane: LaneIx(lane), flags, seq: Seq::new(seq), raw_len, headers, payload })
    };
    vec![
        ("data", data(7, 0, 45, 0, &[], b"hello")),
        ("data-direct", data(8, 0x20, 0, 0, &[], b"hello")),
        ("data-headers", data(7, 0x09, 46, 0, TRACE, b"hello")),
        ("data-compressed", data(7, 0x16, 47, 1000, &[], b"zstd")),
        ("data-all", data(1, 0x1f, u64::MAX, 9, TRACE, b"!")),
    ]
}

fn lane_samples() -> Vec<(&'static str, Frame<'static>)> {
    let (source, topic) = (Topic::new("orders").expect("valid"), Topic::new("billing").expect("valid"));
    let (lane, bb) = (LaneIx(7), Incarnation::new(0xbb));
    let resume = Resume {
        lane,
        source,
        topic: topic.clone(),
        predecessor: Some(Incarnation::new(0xaa)),
        acked: Seq::new(41),
        spans: vec![(bb, Seq::new(42)), (Incarnation::new(0xcc), Seq::new(50))],
    };
    let direct = Resume { lane: LaneIx(8), predecessor: None, acked: Seq::ZERO, spans: Vec::new(), ..resume.clone() };
    let at = ResumeAt { lane, received: Some((bb, Seq::new(44))), messages: 256, bytes: 1 << 20 };
    let nothing = ResumeAt { lane: LaneIx(8), received: None, messages: 1, bytes: 1024 };
    let refuse = |seq, code, text: &str| Frame::Refuse {
        lane,
        incarnation: bb,
        seq: Seq::new(seq),
        code,
        text: text.to_owned(),
    };
    vec![
        ("resume", Frame::Resume(resume)),
        ("resume-direct", Frame::Resume(direct)),
        ("resume-at", Frame::ResumeAt(at)),
        ("resume-at-nothing", Frame::ResumeAt(nothing)),
        ("skip", Frame::Skip { lane, from: Seq::new(48), to: Seq::new(52) }),
        ("ack", Frame::Ack { lane, incarnation: bb, seq: Seq::new(47) }),
        ("credit", Frame::Credit { lane, messages: 512, bytes: 2 << 20 }),
        ("refuse", refuse(53, RefuseCode::TooLarge, "too large")),
        ("refuse-undecodable", refuse(54, RefuseCode::Undecodable, "")),
        ("ping", Frame::Ping(1)),
        ("pong", Frame::Pong(1)),
        ("subscribed", Frame::Subscribed(topic.clone())),
        ("unsubscribed", Frame::Unsubscribed(topic)),
        ("unknown", Frame::Unknown(0xff)),
    ]
}

#[test]
fn frames_are_the_bytes_written_down() {
    let mut samples = handshake_samples();
    samples.extend(data_samples());
    samples.extend(lane_samples());
    let vectors = vectors();
    assert_eq!(samples.len(), vectors.len(), "every line has a frame and every frame a line");
    for (name, bytes) in vectors {
        let (_, frame) = samples.iter().find(|sample| sample.0 == name).expect("every line has a frame");
        assert_eq!(bytes_of(frame), bytes, "{name} encodes");
        assert_eq!(decode(&bytes, MAX_FRAME), Ok(Some((frame.clone(), bytes.len()))), "{name} decodes");
    }
}

#[test]
fn the_largest_hello_fits_the_first_frame() {
    let Frame::Hello(hello) = handshake_samples().remove(0).1 else { panic!("the first sample is a Hello") };
    let long = "n".repeat(255);
    let largest = Hello {
        from: NodeId::new(&long).expect("valid"),
        to: NodeId::new(&long).expect("valid"),
        topic: Topic::new(&long).expect("valid"),
        addr: "a".repeat(MAX_TEXT),
        auth: Bytes::from(vec![0; MAX_AUTH]),
        ..hello
    };
    let bytes = bytes_of(&Frame::Hello(largest));
    assert_eq!(bytes.len() - 4, 3893);
    assert!(decode(&bytes, FIRST_FRAME_MAX).is_ok_and(|frame| frame.is_some()));
}
