//! Bad input from every side: names, payloads, stores and the network. Each is a clear error or a clean close; never a
//! panic, never an allocation larger than what was received.

mod support;

use bytes::BytesMut;
use liner::stores::OpenError;
use liner::wire::codec;
use liner::wire::frame::{Data, DataFlags, Frame, LaneIx, Resume};
use liner::wire::handshake::{Local, hello};
use liner::{
    Config, ConfigError, Epoch, Incarnation, Limits, NameError, SendError, SendTo, Seq, SpawnError, StoreId, Subscribe,
    SubscribeError, Timing,
};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Names nobody may have, and why.
fn bad_names() -> Vec<(String, NameError)> {
    vec![
        (String::new(), NameError::Empty),
        ("x".repeat(256), NameError::TooLong(256)),
        ("line\nbreak".to_owned(), NameError::ControlCharacter),
        ("nul\0".to_owned(), NameError::ControlCharacter),
        ("__#mine".to_owned(), NameError::Reserved),
    ]
}

#[actix::test]
async fn bad_names_are_refused_wherever_they_are_given() {
    let mesh = Mesh::memory();
    let node = Node::start(mesh.config("orders")).await;
    let inbox = Inbox::new();
    for (name, why) in bad_names() {
        assert_eq!(mesh.named(&name, "topic").validate(), Err(ConfigError::Name(why)));
        assert_eq!(mesh.named("name", &name).validate(), Err(ConfigError::Topic(why)));
        let seeded = mesh.config("x").seed(&name, "peer", "localhost:1").validate();
        assert!(matches!(seeded, Err(ConfigError::Seed { .. })), "{seeded:?}");
        let sent = node.call(SendTo::new(name.as_str(), "x")).await;
        assert!(matches!(sent, Err(SendError::Topic(error)) if error == why));
        let subscribed = node.call(Subscribe::new(name.as_str(), inbox.recipient.clone())).await;
        assert!(matches!(subscribed, Err(SubscribeError::Topic(error)) if error == why));
    }
}

async fn open_error(config: Config) -> OpenError {
    match Node::try_start(config).await.err() {
        Some(SpawnError::Open(error)) => error,
        other => panic!("not a store that cannot be opened: {other:?}"),
    }
}

#[actix::test]
async fn a_path_that_is_no_file_of_ours_is_refused_for_what_it_is() {
    let mesh = Mesh::sqlite();
    std::fs::create_dir(mesh.file()).expect("creates");
    let error = open_error(mesh.config("orders")).await;
    assert!(matches!(error, OpenError::Path { .. }), "{error:?}");
    let nowhere = Config::sqlite("orders-1", "orders", mesh.path("missing/mesh.sqlite"));
    let error = open_error(nowhere).await;
    assert!(matches!(error, OpenError::Path { .. }), "{error:?}");
}

#[actix::test]
async fn a_corrupt_a_foreign_and_a_newer_file_are_told_apart() {
    let corrupt = Mesh::sqlite();
    std::fs::write(corrupt.file(), [b"SQLite format 3\0".as_slice(), &[0xff; 4096]].concat()).expect("writes");
    let error = open_error(corrupt.config("orders")).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");

    let foreign = Mesh::sqlite();
    foreign.execute("CREATE TABLE recipes (id INTEGER PRIMARY KEY, text TEXT)");
    let error = open_error(foreign.config("orders")).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert_eq!(foreign.number("SELECT count(*) FROM sqlite_schema"), 1, "nothing was added to it");

    let newer = Mesh::sqlite();
    Node::start(newer.config("orders")).await.shutdown().await;
    newer.execute("UPDATE liner_schema SET version = 99, min_reader = 99");
    let error = open_error(newer.config("orders")).await;
    assert!(matches!(error, OpenError::Newer { min_reader: 99, .. }), "{error:?}");
}

/// Sends bytes, and reads until the other side closes.
async fn talk(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    // It may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = soon("the connection closes", stream.read_to_end(&mut answer)).await;
    answer
}

fn encoded(frames: &[Frame<'_>]) -> BytesMut {
    let mut out = BytesMut::new();
    frames.iter().for_each(|frame| codec::encode(frame, &mut out));
    out
}

fn stranger(versions: (u16, u16)) -> Frame<'static> {
    let local = Local {
        node: name("stranger"),
        topic: topic("stranger"),
        addr: String::new(),
        store: StoreId::new(7),
        epoch: Epoch::new(1),
        max_frame: 1 << 20,
        max_message: 1 << 20,
    };
    let mut hello = hello(&local, name("billing-1"), [1; 16]);
    (hello.min_version, hello.max_version) = versions;
    Frame::Hello(hello)
}

/// That the node still does its work.
async fn works(mesh: &Mesh, inbox: &mut Inbox) {
    let orders = Node::start(mesh.config("orders")).await;
    orders.send("billing", "still here").await;
    assert_eq!(inbox.text().await, "still here");
    orders.settled().await;
}

/// A node that gives up on half a handshake soon.
fn brisk(mesh: &Mesh) -> Config {
    mesh.config("billing").timing(Timing::default().connect_timeout(std::time::Duration::from_millis(300)))
}

#[actix::test]
async fn strangers_who_talk_nonsense_are_closed_and_the_node_goes_on() {
    let mesh = Mesh::memory();
    let billing = Node::start(brisk(&mesh)).await;
    let mut inbox = Inbox::at(&billing).await;
    let at = billing.bound().await;
    let hello = encoded(&[stranger((1, 1))]);
    let half = &hello[..hello.len() / 2];
    let giant = [u32::MAX.to_le_bytes().as_slice(), b"LINR"].concat();
    let zero = [0; 64];
    let sayings: [&[u8]; 6] = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[0xff; 1000], &giant, &zero, half, b""];
    for saying in sayings {
        let mut stream = TcpStream::connect(&at).await.expect("connects");
        talk(&mut stream, saying).await;
    }
    works(&mesh, &mut inbox).await;
}

#[actix::test]
async fn a_peer_of_another_version_is_told_so() {
    let mesh = Mesh::memory();
    let billing = Node::start(brisk(&mesh)).await;
    let mut stream = TcpStream::connect(billing.bound().await).await.expect("connects");
    let answer = talk(&mut stream, &encoded(&[stranger((900, 901))])).await;
    let frame = codec::decode(&answer, u32::MAX).expect("is a frame").expect("is whole").0;
    let close = matches!(&frame, Frame::Close { code: liner::wire::frame::CloseCode::Version, .. });
    assert!(close, "{frame:?}");
}

#[actix::test]
async fn a_peer_that_breaks_the_protocol_after_the_handshake_is_closed() {
    let mesh = Mesh::memory();
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let resume = Frame::Resume(Resume {
        lane: LaneIx(0),
        source: topic("stranger"),
        topic: topic("billing"),
        predecessor: None,
        acked: Seq::ZERO,
        spans: vec![(Incarnation::new(1), Seq::new(1))],
    });
    let data = |seq| {
        Frame::Data(Data {
            lane: LaneIx(0),
            flags: DataFlags::empty(),
            seq: Seq::new(seq),
            raw_len: 0,
            headers: &[],
            payload: b"x",
        })
    };
    let mut damaged = encoded(&[data(1)]);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let zero = Frame::Resume(Resume {
        lane: LaneIx(0),
        source: topic("s"),
        topic: topic("t"),
        predecessor: None,
        acked: Seq::ZERO,
        spans: vec![(Incarnation::new(1), Seq::ZERO)],
    });
    let breaches = [
        encoded(&[stranger((1, 1))]),
        encoded(&[data(1)]),
        encoded(&[zero]),
        encoded(&[Frame::Ack { lane: LaneIx(0), incarnation: Incarnation::new(1), seq: Seq::new(1) }]),
        BytesMut::from(&u32::MAX.to_le_bytes()[..]),
        BytesMut::from(&[1, 0, 0, 0, 0x7f][..]),
        damaged,
    ];
    for breach in breaches {
        let mut stream = TcpStream::connect(billing.bound().await).await.expect("connects");
        let answer = talk(&mut stream, &[&encoded(&[stranger((1, 1))])[..], &breach].concat()).await;
        assert!(!answer.is_empty(), "the handshake was good");
    }
    // A lane that is open, and a number out of turn: what came in order before is delivered.
    let mut stream = TcpStream::connect(billing.bound().await).await.expect("connects");
    stream.write_all(&encoded(&[stranger((1, 1)), resume])).await.expect("writes");
    let mut some = [0; 8];
    stream.read_exact(&mut some).await.expect("answers");
    until("the lane is open", || async {
        let mut more = [0; 4096];
        matches!(stream.try_read(&mut more), Ok(n) if n > 0)
    })
    .await;
    works(&mesh, &mut inbox).await;
}

#[actix::test]
async fn whoever_answers_nonsense_when_dialled_costs_nothing() {
    let mesh = Mesh::memory();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let at = listener.local_addr().expect("is bound").to_string();
    let timing = Timing::default().redial_backoff_max(std::time::Duration::from_millis(20));
    let orders = mesh.config("orders").timing(timing);
    let orders = Node::start(orders.seed("nonsense", "nonsense-1", &at)).await;
    orders.send("nonsense", "x").await;
    let giant = [u32::MAX.to_le_bytes().as_slice(), &[2; 100]].concat();
    let answers: [&[u8]; 4] = [b"HTTP/1.1 400 Bad Request\r\n\r\n", &giant, &[0; 32], b""];
    for answer in answers {
        let (mut stream, _) = soon("it dials again", listener.accept()).await.expect("accepts");
        stream.write_all(answer).await.expect("writes");
    }
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "still here").await;
    assert_eq!(inbox.text().await, "still here");
    until("only the one to nobody waits", || async { orders.pending().await == 1 }).await;
}

/// Address space of this process, in bytes.
#[cfg(target_os = "linux")]
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("is there");
    pages.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number") * 4096
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn an_announced_length_reserves_nothing() {
    let mesh = Mesh::memory();
    let billing = Node::start(mesh.config("billing").limits(Limits::default().max_frame(u32::MAX))).await;
    let at = billing.bound().await;
    let before = address_space();
    let mut open = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(&at).await.expect("connects");
        let announced = [&encoded(&[stranger((1, 1))])[..], &(u32::MAX / 2).to_le_bytes(), &[0x20; 100]].concat();
        stream.write_all(&announced).await.expect("writes");
        let mut welcome = [0; 4];
        soon("a welcome", stream.read_exact(&mut welcome)).await.expect("answers");
        open.push(stream);
    }
    billing.stats().await;
    let grown = address_space().saturating_sub(before);
    assert!(grown < 8 << 30, "64 announcements of 2 GiB each took {grown} bytes of address space");
}
