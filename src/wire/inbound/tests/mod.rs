//! The receiving half without a connection: the harness.

mod acks;
mod arrivals;
mod hand_over;

use super::*;
use crate::wire::frame::{Data, DataFlags};
use std::time::Duration;

const A: Incarnation = Incarnation::new(0xa);
const B: Incarnation = Incarnation::new(0xb);
const IX: LaneIx = LaneIx(7);
const ACK_DELAY: Duration = Duration::from_millis(5);
const SLOT: LaneSlot = LaneSlot(0);
const MAX_DELAY: Duration = Duration::from_millis(50);

/// An [`Inbound`] with one lane, and the time.
struct Link {
    inn: Inbound,
    now: Instant,
}

fn config() -> InboundConfig {
    InboundConfig {
        window_messages: 4,
        window_bytes: 1000,
        max_message: 200,
        max_part: 100,
        max_lanes: 2,
        max_attempts: 2,
        nack_backoff_min: Duration::from_millis(100),
        nack_backoff_max: Duration::from_secs(5),
        write_behind_delay: MAX_DELAY,
        heartbeat: Duration::from_secs(3600),
        ack_delay: ACK_DELAY,
        record_attempts: false,
    }
}

fn topic(name: &str) -> Topic {
    Topic::new(name).expect("valid")
}

fn seq(n: u64) -> Seq {
    Seq::new(n)
}

fn at(incarnation: Incarnation, n: u64) -> Cursor {
    Cursor { incarnation, seq: seq(n) }
}

fn resume(ix: LaneIx, acked: u64, spans: &[(Incarnation, u64)]) -> Frame<'static> {
    Frame::Resume(Resume {
        lane: ix,
        source: topic("from"),
        topic: topic("to"),
        predecessor: None,
        acked: seq(acked),
        spans: spans.iter().map(|(i, n)| (*i, seq(*n))).collect(),
    })
}

fn done() -> Disposition {
    Disposition::Done
}

fn nack() -> Disposition {
    Disposition::Failed { delay: None, reason: "no".to_owned() }
}

/// What a frame says, in short.
fn short(frame: &Frame<'_>) -> String {
    match frame {
        Frame::ResumeAt(at) => {
            let received = at.received.map_or("nothing".to_owned(), |(_, n)| n.to_string());
            format!("at {received}, {} credit", at.messages)
        }
        Frame::Ack { seq, .. } => format!("ack {seq}"),
        Frame::Credit { messages, .. } => format!("credit {messages}"),
        Frame::Refuse { seq, .. } => format!("refuse {seq}"),
        other => format!("{other:?}"),
    }
}

impl Link {
    fn with(config: InboundConfig) -> Link {
        let name = |name| NodeId::new(name).expect("valid");
        let mut inn = Inbound::new(config, name("me"), name("peer"));
        let now = Instant::now();
        inn.handle_connected(now);
        Link { inn, now }
    }

    /// A lane that was never used, with a subscriber that takes up to `in_flight` messages.
    fn new(in_flight: u32) -> Link {
        Link::of(config(), in_flight)
    }

    fn of(config: InboundConfig, in_flight: u32) -> Link {
        let mut link = Link::with(config);
        link.subscribe(in_flight);
        link.resume(0, &[(A, 1)], None);
        link.said();
        link
    }

    fn subscribe(&mut self, in_flight: u32) {
        self.inn.subscribe(topic("to"), SubscriberSpec { in_flight, timeout: None, borrows: false });
    }

    fn resume(&mut self, acked: u64, spans: &[(Incarnation, u64)], stored: Option<Cursor>) {
        self.take(resume(IX, acked, spans)).expect("well formed");
        if matches!(self.inn.events.front(), Some(InboundEvent::OpenLane { .. })) {
            self.inn.events.pop_front();
            self.inn.handle_opened(SLOT, stored, vec![]);
        }
    }

    fn take(&mut self, frame: Frame<'_>) -> Result<(), LinkError> {
        let mut bytes = BytesMut::new();
        codec::encode(&frame, &mut bytes);
        let bytes = bytes.freeze();
        let frame = codec::frames(&bytes).next().expect("one").expect("well formed");
        self.inn.handle_frame(self.now, frame, &bytes)
    }

    fn data(&mut self, n: u64, flags: DataFlags, len: usize) -> Result<(), LinkError> {
        let payload = vec![u8::try_from(n).expect("small"); len];
        self.take(Frame::Data(Data { lane: IX, flags, seq: seq(n), raw_len: 0, headers: &[], payload: &payload }))
    }

    /// A message arrives for a callback. Returns its number if the callback got it at once.
    fn pass(&mut self, n: u64, handled: bool) -> Option<u64> {
        let mut passed = None;
        let call = |next: HandOver| {
            passed = next.place.map(|place| place.seq.get());
            if handled { Ok(()) } else { Err((next.message, nack())) }
        };
        let bytes = frame(n, DataFlags::empty());
        self.inn.handle_data_with(self.now, &data_in(&bytes), &bytes, || u64::MAX, call).expect("in order");
        passed
    }

    /// A message arrives, and is answered if its subscriber gets it at once.
    fn take_now(&mut self, n: u64, flags: DataFlags) -> Option<HandOver> {
        let bytes = frame(n, flags);
        self.inn.handle_data_now(self.now, &data_in(&bytes), &bytes).expect("in order")
    }

    fn plain(&mut self, n: u64) {
        self.data(n, DataFlags::empty(), 3).expect("in order");
    }

    fn strict(&mut self, n: u64) {
        self.data(n, DataFlags::STRICT, 3).expect("in order");
    }

    fn skip(&mut self, from: u64, to: u64) -> Result<(), LinkError> {
        self.take(Frame::Skip { lane: IX, from: seq(from), to: seq(to) })
    }

    fn hand_over(&mut self) -> Vec<HandOver> {
        std::iter::from_fn(|| self.inn.poll_delivery(self.now)).collect()
    }

    /// The numbers handed over.
    fn handed(&mut self) -> Vec<u64> {
        self.hand_over().iter().map(|d| d.place.map_or(0, |c| c.seq.get())).collect()
    }

    fn answer(&mut self, token: u64, answer: Disposition) {
        let attempt = self.inn.lanes[SLOT].queue.get_mut(token).map_or(0, |entry| entry.handed);
        self.inn.handle_disposition(self.now, SLOT, token, attempt, answer, || u64::MAX);
    }

    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(bytes) = self.inn.poll_transmit() {
            said.extend(codec::frames(&bytes).map(|frame| short(&frame.expect("well formed"))));
        }
        said
    }

    fn events(&mut self) -> Vec<InboundEvent> {
        std::iter::from_fn(|| self.inn.poll_event()).collect()
    }

    fn wait(&mut self, wait: Duration) {
        self.now += wait;
        self.inn.handle_timeout(self.now, u64::MAX);
    }
}

fn frame(n: u64, flags: DataFlags) -> Bytes {
    let mut bytes = BytesMut::new();
    let data = Data { lane: IX, flags, seq: seq(n), raw_len: 0, headers: &[], payload: b"abc" };
    codec::encode_data(&data, &mut bytes);
    bytes.freeze()
}

fn data_in(bytes: &Bytes) -> Data<'_> {
    match codec::frames(bytes).next() {
        Some(Ok(Frame::Data(data))) => data,
        other => panic!("not a data frame: {other:?}"),
    }
}

fn advance(expected: Option<Incarnation>, cursor: Cursor) -> InboundEvent {
    InboundEvent::Advance { slot: SLOT, expected, cursor }
}
