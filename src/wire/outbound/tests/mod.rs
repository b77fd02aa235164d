//! The sending half without a connection: the harness.

mod link;
mod queue;

use super::*;
use crate::types::{Headers, Message, Payload};
use crate::wire::codec;
use crate::wire::frame::{DataFlags, RefuseCode, ResumeAt};
use std::time::Duration;

const A: Incarnation = Incarnation::new(0xa);
const MANY: u64 = 1000;
const MAX_DELAY: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_millis(20);

/// An [`Outbound`] with one open lane, and the time.
struct Link {
    out: Outbound,
    now: Instant,
    lane: LaneIx,
}

fn config() -> OutboundConfig {
    OutboundConfig {
        write_behind_delay: MAX_DELAY,
        memory: Amount { messages: 8, bytes: 10_000 },
        direct: Amount { messages: 2, bytes: 1000 },
        lane: Amount { messages: 100, bytes: 100_000 },
        transmit_bytes: 10_000,
        page: Amount { messages: 4, bytes: 1000 },
        append_messages: 100,
        compress_threshold: 200,
        part_bytes: 64,
        heartbeat: Duration::from_secs(3600),
        rounds: Instant::now(),
        store_retry: RETRY,
    }
}

fn seq(n: u64) -> Seq {
    Seq::new(n)
}

fn topic(name: &str) -> Topic {
    Topic::new(name).expect("valid")
}

fn record(next: u64, acked: u64, pending: u64) -> LaneRecord {
    let pending = Amount { messages: pending, bytes: pending };
    LaneRecord { spans: vec![(A, seq(acked + 1))], predecessor: None, next: seq(next), acked: seq(acked), pending }
}

fn stored(n: u64) -> Numbered {
    let payload = Payload::new(vec![b'x'; 3]).expect("not empty");
    Numbered { seq: seq(n), incarnation: A, message: Message { headers: Headers::EMPTY, payload } }
}

/// What a frame says, in short: number, then `s`trict, `r`edelivered, `c`ompressed, `+` for more to come.
fn short(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Data(data) => {
            let flag = |flag, text| if data.flags.has(flag) { text } else { "" };
            let flags = [
                flag(DataFlags::STRICT, "s"),
                flag(DataFlags::REDELIVERED, "r"),
                flag(DataFlags::COMPRESSED, "c"),
                flag(DataFlags::MORE, "+"),
            ];
            let number = if data.is_direct() { "direct".to_owned() } else { data.seq.to_string() };
            number + &flags.concat()
        }
        Frame::Skip { from, to, .. } => format!("skip {from}-{to}"),
        Frame::Resume(resume) => format!("resume {}", resume.acked),
        other => format!("{other:?}"),
    }
}

impl Link {
    /// A lane as its durable queue knows it, on a connection whose receiver has everything up to `received`.
    fn open(record: LaneRecord, received: u64, credit: u64) -> Link {
        let mut link = Link::closed(record);
        link.connect(received, credit);
        link
    }

    fn closed(record: LaneRecord) -> Link {
        let mut out = Outbound::new(config());
        let lane = out.add_lane(&topic("from"), &topic("to"));
        out.open_lane(lane, record);
        Link { out, now: Instant::now(), lane }
    }

    fn new() -> Link {
        Link::open(record(1, 0, 0), 0, MANY)
    }

    fn connect(&mut self, received: u64, credit: u64) {
        let now = self.now;
        self.out.handle_connected(now, PeerLimits { max_frame: 1 << 20, max_message: 5000 });
        if self.said().is_empty() {
            self.out.resume_lane(self.lane);
            self.said();
        }
        let at = ResumeAt { lane: self.lane, received: Some((A, seq(received))), messages: credit, bytes: 100_000 };
        self.out.handle_frame(Frame::ResumeAt(at)).expect("was asked for");
    }

    fn offer(&mut self, len: usize, mode: AcceptMode) -> Result<Seq, OfferError> {
        let now = self.now;
        self.out.offer(|| now, self.lane, &Headers::EMPTY, Body::Borrowed(&vec![b'x'; len]), mode)
    }

    fn write_behind(&mut self) -> Seq {
        self.offer(3, AcceptMode::WriteBehind).expect("room")
    }

    fn committed(&mut self) -> Seq {
        let deadline = self.now + Duration::from_secs(1);
        self.offer(3, AcceptMode::Stored { deadline, synced: false }).expect("room")
    }

    fn group(&mut self) -> Seq {
        self.offer(3, AcceptMode::Group).expect("room")
    }

    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(bytes) = self.out.poll_transmit() {
            said.extend(codec::frames(&bytes).map(|frame| short(&frame.expect("well formed"))));
        }
        said
    }

    fn events(&mut self) -> Vec<OutboundEvent> {
        std::iter::from_fn(|| self.out.poll_event()).collect()
    }

    /// The numbers of the one append that is due.
    fn append(&mut self) -> Vec<u64> {
        let events = self.events();
        let appends: Vec<_> = events
            .into_iter()
            .filter_map(|event| match event {
                OutboundEvent::Append { messages, .. } => Some(messages.iter().map(|m| m.seq.get()).collect()),
                _ => None,
            })
            .collect();
        assert!(appends.len() <= 1, "one append of a lane at a time");
        appends.into_iter().next().unwrap_or_default()
    }

    fn appended(&mut self, outcome: AppendOutcome) -> Vec<OutboundEvent> {
        self.out.handle_append(self.now, self.lane, outcome);
        self.events()
    }

    fn wait(&mut self, wait: Duration) {
        self.now += wait;
        self.out.handle_timeout(self.now);
    }

    fn ack(&mut self, n: u64) -> Vec<OutboundEvent> {
        let ack = Frame::Ack { lane: self.lane, incarnation: A, seq: seq(n) };
        self.out.handle_frame(ack).expect("plain");
        self.events()
    }

    fn refuse(&mut self, n: u64) -> Vec<OutboundEvent> {
        let (code, text) = (RefuseCode::Undecodable, String::new());
        let refuse = Frame::Refuse { lane: self.lane, incarnation: A, seq: seq(n), code, text };
        self.out.handle_frame(refuse).expect("was sent");
        self.events()
    }

    /// Whether the timer rests once it was served.
    fn rests(&mut self) -> bool {
        let now = self.now;
        self.out.handle_timeout(now);
        self.events();
        self.out.poll_timeout().is_none_or(|at| at > now)
    }
}
