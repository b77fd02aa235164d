//! Connecting, reading and writing, as the sender's and the session's loops do it.

use crate::counters::Hit;
use crate::mesh::own_topic;
use crate::network::{Conn, ConnNo, MAX_FRAME, feed};
use crate::trace;
use crate::world::{Coming, ProcessNo, World};
use bytes::{Bytes, BytesMut};
use liner::wire::codec;
use liner::wire::frame::{DataFlags, Frame, Hello, Welcome};
use liner::wire::outbound::PeerLimits;
use liner::{Cursor, Epoch, StoreId};
use std::time::Duration;

const DIAL_TIMEOUT: Duration = Duration::from_millis(150);

impl World {
    fn is_cut_off(&self, a: usize, b: usize) -> bool {
        let until = |pair| self.partitions.get(&pair).is_some_and(|until| *until > self.now);
        until((a, b)) || until((b, a))
    }

    // ---- dialling ----

    pub(crate) fn dial(&mut self, node: usize, process: ProcessNo, peer: usize) {
        if !self.is_running(node, process) {
            return;
        }
        let Some(p) = self.peer(node, peer) else { return };
        p.attempt += 1;
        let attempt = p.attempt;
        p.out.handle_dialing();
        let wait = self.rng.micros(50, 3000);
        self.after(wait, Coming::Dialled { node, process, peer, attempt });
        self.after(DIAL_TIMEOUT, Coming::DialTimeout { node, process, peer, attempt });
        self.drive(node, peer);
    }

    /// The other side got the request to connect.
    pub(crate) fn dialled(&mut self, node: usize, process: ProcessNo, peer: usize, attempt: u64) {
        if !self.is_running(node, process) || self.is_cut_off(node, peer) {
            return;
        }
        if self.nodes[peer].process.is_none() {
            self.hits.hit(Hit::DialRefused);
            return self.dial_failed(node, peer, attempt);
        }
        let conn = self.conns.len();
        let acceptor = self.process_no(peer);
        self.conns.push(Conn::new((node, process), (peer, acceptor)));
        let epoch = self.nodes[node].process.as_ref().map_or(Epoch::new(0), |p| p.epoch);
        let Some(p) = self.peer(node, peer) else { return };
        p.dialled = Some(conn);
        let hello = Hello {
            min_version: 1,
            max_version: 1,
            features: 0,
            from: self.plan.names[node].clone(),
            to: self.plan.names[peer].clone(),
            topic: own_topic(node),
            addr: String::new(),
            store: StoreId::new(self.plan.store_of[node] as u64),
            epoch,
            nonce: [0; 16],
            auth: Bytes::new(),
        };
        self.write_frame(conn, 0, &Frame::Hello(hello));
    }

    pub(crate) fn dial_timeout(&mut self, node: usize, process: ProcessNo, peer: usize, attempt: u64) {
        if self.is_running(node, process) && self.peer(node, peer).is_some_and(|p| !p.out.is_up()) {
            self.dial_failed(node, peer, attempt);
        }
    }

    fn dial_failed(&mut self, node: usize, peer: usize, attempt: u64) {
        let process = self.process_no(node);
        let random = self.rng.next();
        let Some(p) = self.peer(node, peer).filter(|p| p.attempt == attempt && !p.out.is_up()) else { return };
        p.attempt += 1;
        let conn = p.dialled.take();
        p.out.handle_dial_failed();
        let wait = p.backoff.next_delay(random);
        if let Some(conn) = conn {
            self.hits.hit(Hit::DialTimeout);
            self.close(conn, 0);
        }
        self.after(wait, Coming::Dial { node, process, peer });
        self.drive(node, peer);
    }

    /// The connection this node dialled is gone.
    pub(crate) fn lose_dialled(&mut self, node: usize, peer: usize) {
        let (now, random, process) = (self.instant(), self.rng.next(), self.process_no(node));
        let Some(p) = self.peer(node, peer) else { return };
        let Some(conn) = p.dialled else { return };
        if !p.out.is_up() {
            let attempt = p.attempt;
            return self.dial_failed(node, peer, attempt);
        }
        p.dialled = None;
        p.attempt += 1;
        p.out.handle_disconnected(now);
        let wait = p.backoff.next_delay(random);
        self.link_lost(node, peer);
        trace!(self, "node {node} to {peer}: lost connection {conn}");
        self.close(conn, 0);
        self.after(wait, Coming::Dial { node, process, peer });
    }

    /// The connection the peer dialled is gone.
    pub(crate) fn lose_accepted(&mut self, node: usize, peer: usize) {
        let Some(p) = self.peer(node, peer) else { return };
        let Some(conn) = p.accepted.take() else { return };
        p.inn.handle_disconnected();
        trace!(self, "node {node} from {peer}: lost connection {conn}");
        self.close(conn, 1);
    }

    /// One end stops: what it wrote still arrives, then the end of the stream.
    fn close(&mut self, conn: ConnNo, end: usize) {
        let c = &mut self.conns[conn];
        c.ends[end].open = false;
        c.pipes[end].ended = true;
        self.schedule(conn, 1 - end);
    }

    // ---- faults ----

    fn live(&self) -> Vec<ConnNo> {
        let live = |c: &ConnNo| self.conns[*c].ends.iter().all(|e| e.open && self.is_running(e.node, e.process));
        (self.conns.len().saturating_sub(40)..self.conns.len()).filter(live).collect()
    }

    pub(crate) fn cut_some(&mut self) {
        let live = self.live();
        if live.is_empty() {
            return;
        }
        self.hits.hit(Hit::Cut);
        let conn = live[self.rng.index(live.len())];
        self.cut(conn);
    }

    fn cut(&mut self, conn: ConnNo) {
        for pipe in 0..2 {
            let len = self.conns[conn].pipes[pipe].bytes.len();
            let keep = if self.rng.chance(300) { len } else { self.rng.index(len + 1) };
            self.conns[conn].cut(pipe, keep);
            self.schedule(conn, 1 - pipe);
        }
        trace!(self, "connection {conn} is cut");
    }

    pub(crate) fn mute_some(&mut self) {
        let live = self.live();
        if live.is_empty() {
            return;
        }
        self.hits.hit(Hit::HalfOpen);
        let conn = live[self.rng.index(live.len())];
        let pipe = self.rng.index(2);
        self.mute(conn, pipe);
        if self.rng.chance(500) {
            self.mute(conn, 1 - pipe);
        }
    }

    fn mute(&mut self, conn: ConnNo, pipe: usize) {
        let len = self.conns[conn].pipes[pipe].bytes.len();
        let keep = self.rng.index(len + 1);
        let pipe = &mut self.conns[conn].pipes[pipe];
        pipe.bytes.truncate(keep);
        pipe.mute = true;
    }

    /// Ends the connections of a dead process. Their other ends are notified, or not.
    pub(crate) fn break_connections(&mut self, process: ProcessNo) {
        let silent = self.rng.chance(200);
        for conn in 0..self.conns.len() {
            let Some(end) = self.conns[conn].ends.iter().position(|e| e.process == process && e.open) else { continue };
            self.conns[conn].ends[end].open = false;
            if silent {
                self.hits.hit(Hit::PowerLossWithoutEof);
                self.mute(conn, 0);
                self.mute(conn, 1);
            } else {
                self.cut(conn);
            }
        }
    }

    // ---- bytes ----

    fn schedule(&mut self, conn: ConnNo, end: usize) {
        let pipe = &mut self.conns[conn].pipes[1 - end];
        if pipe.scheduled || (pipe.bytes.is_empty() && !pipe.ended) {
            return;
        }
        pipe.scheduled = true;
        let slow = !self.conns[conn].ends[end].greeted && self.rng.chance(100);
        let wait = if slow {
            self.rng.millis(5, 60)
        } else if self.rng.chance(30) {
            self.rng.millis(1, 20)
        } else {
            self.rng.micros(20, 600)
        };
        self.after(wait, Coming::Deliver { conn, end });
    }

    fn write_frame(&mut self, conn: ConnNo, end: usize, frame: &Frame<'_>) {
        let mut bytes = BytesMut::new();
        codec::encode(frame, &mut bytes);
        self.conns[conn].write(end, &bytes);
        self.schedule(conn, 1 - end);
    }

    /// Bytes arrive at an end, or its stream ends.
    pub(crate) fn deliver(&mut self, conn: ConnNo, end: usize) {
        self.conns[conn].pipes[1 - end].scheduled = false;
        let (node, process) = (self.conns[conn].ends[end].node, self.conns[conn].ends[end].process);
        let len = self.conns[conn].pipes[1 - end].bytes.len();
        if !self.conns[conn].ends[end].open || !self.is_running(node, process) {
            self.conns[conn].pipes[1 - end].bytes.clear();
            return;
        }
        if len == 0 {
            if self.conns[conn].pipes[1 - end].ended {
                self.ended(conn, end);
            }
            return;
        }
        let n = if self.rng.chance(400) { len } else { self.rng.index(len) + 1 };
        let bytes = self.conns[conn].read(end, n);
        self.arrived(conn, end, &bytes);
        self.schedule(conn, end);
        // The other end may have waited for room to write.
        let other = &self.conns[conn].ends[1 - end];
        if other.open && self.is_running(other.node, other.process) {
            let (from, to) = (other.node, node);
            self.drive(from, to);
        }
    }

    fn ended(&mut self, conn: ConnNo, end: usize) {
        if self.conns[conn].ends[end].decoder.buffered() > 0 {
            self.hits.hit(Hit::CutInsideFrame);
        }
        self.end_connection(conn, end);
    }

    /// Closes an end, whatever it was.
    fn end_connection(&mut self, conn: ConnNo, end: usize) {
        let (node, peer) = (self.conns[conn].ends[end].node, self.conns[conn].ends[1 - end].node);
        let Some(p) = self.peer(node, peer) else { return };
        if end == 0 && p.dialled == Some(conn) {
            self.lose_dialled(node, peer);
        } else if end == 1 && p.accepted == Some(conn) {
            self.lose_accepted(node, peer);
        } else {
            self.close(conn, end);
        }
        self.drive(node, peer);
    }

    fn arrived(&mut self, conn: ConnNo, end: usize, bytes: &[u8]) {
        let now = self.instant();
        let (node, peer) = (self.conns[conn].ends[end].node, self.conns[conn].ends[1 - end].node);
        feed(&mut self.conns[conn].ends[end].decoder, bytes);
        let Some(p) = self.peer(node, peer) else { return };
        if end == 0 && p.dialled == Some(conn) {
            p.out.handle_heard(now);
        } else if end == 1 && p.accepted == Some(conn) {
            p.inn.handle_heard(now);
        }
        loop {
            let chunk = match self.conns[conn].ends[end].decoder.next_chunk() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return self.checker.fail(2, format!("malformed bytes: {error}")),
            };
            if let Err(error) = self.read_chunk(conn, end, &chunk) {
                trace!(self, "node {node}: connection {conn} breaks the protocol: {error}");
                self.checker.fail(4, format!("node {node} from {peer}: {error}"));
                return self.end_connection(conn, end);
            }
            if !self.conns[conn].ends[end].open {
                return;
            }
        }
        self.drive(node, peer);
    }

    fn read_chunk(&mut self, conn: ConnNo, end: usize, chunk: &Bytes) -> Result<(), String> {
        let now = self.instant();
        let (node, peer) = (self.conns[conn].ends[end].node, self.conns[conn].ends[1 - end].node);
        for frame in codec::frames(chunk) {
            let frame = frame.map_err(|e| e.to_string())?;
            if !self.conns[conn].ends[end].greeted {
                self.greeted(conn, end, frame)?;
                if !self.conns[conn].ends[end].open {
                    return Ok(());
                }
                continue;
            }
            let Some(p) = self.peer(node, peer) else { return Ok(()) };
            let outcome = match frame {
                frame if end == 0 => p.out.handle_frame(frame),
                Frame::Data(data) => self.data_arrived(node, peer, &data, chunk),
                frame => p.inn.handle_frame(now, frame, chunk),
            };
            outcome.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// The first frame of a connection.
    fn greeted(&mut self, conn: ConnNo, end: usize, frame: Frame<'_>) -> Result<(), String> {
        let now = self.instant();
        let (node, peer) = (self.conns[conn].ends[end].node, self.conns[conn].ends[1 - end].node);
        self.conns[conn].ends[end].greeted = true;
        match (end, frame) {
            (1, Frame::Hello(hello)) => {
                let Some(p) = self.peer(node, peer) else { return Ok(()) };
                if hello.epoch < p.highest_epoch {
                    self.hits.hit(Hit::StaleEpoch);
                    self.close(conn, end);
                    return Ok(());
                }
                p.highest_epoch = hello.epoch;
                if p.accepted.is_some() {
                    self.hits.hit(Hit::Replaced);
                    self.lose_accepted(node, peer);
                }
                trace!(self, "node {node} from {peer}: connection {conn}");
                if let Some(p) = self.peer(node, peer) {
                    p.accepted = Some(conn);
                    p.inn.handle_connected(now);
                }
                self.met(node, peer);
                let welcome = self.welcome(node);
                self.write_frame(conn, 1, &Frame::Welcome(welcome));
            }
            (0, Frame::Welcome(welcome)) => {
                let Some(p) = self.peer(node, peer).filter(|p| p.dialled == Some(conn)) else { return Ok(()) };
                let limits = PeerLimits { max_frame: welcome.max_frame, max_message: welcome.max_message };
                p.backoff.reset();
                p.out.handle_connected(now, limits);
                self.met(node, peer);
                trace!(self, "node {node} to {peer}: connection {conn} is up");
            }
            (_, other) => return Err(format!("{other:?} instead of a greeting")),
        }
        Ok(())
    }

    fn welcome(&self, node: usize) -> Welcome {
        Welcome {
            version: 1,
            features: 0,
            node: self.plan.names[node].clone(),
            topic: own_topic(node),
            addr: String::new(),
            store: StoreId::new(self.plan.store_of[node] as u64),
            epoch: Epoch::new(self.nodes[node].epoch),
            max_frame: MAX_FRAME,
            max_message: self.plan.told_max_message[node],
            nonce: [0; 16],
            auth: Bytes::new(),
        }
    }

    /// Writes what the machines have for their connections, as far as there is room. Whether anything was written.
    pub(crate) fn transmit(&mut self, node: usize, peer: usize) -> bool {
        let limit = self.plan.pipe_bytes;
        let Some(p) = self.peer(node, peer) else { return false };
        let (dialled, accepted) = (p.dialled, p.accepted);
        if let Some(conn) = dialled
            && self.conns[conn].pipes[0].bytes.len() < limit
            && let Some(bytes) = self.peer(node, peer).and_then(|p| p.out.poll_transmit())
        {
            self.sender_says(node, peer, &bytes);
            self.conns[conn].write(0, &bytes);
            self.schedule(conn, 1);
            return true;
        }
        if let Some(conn) = accepted
            && self.conns[conn].pipes[1].bytes.len() < limit
            && let Some(bytes) = self.peer(node, peer).and_then(|p| p.inn.poll_transmit())
        {
            self.receiver_says(node, peer, &bytes);
            self.conns[conn].write(1, &bytes);
            self.schedule(conn, 0);
            return true;
        }
        false
    }

    fn sender_says(&mut self, node: usize, peer: usize, bytes: &Bytes) {
        for frame in codec::frames(bytes) {
            let Ok(frame) = frame else { return self.checker.fail(2, "sends bytes that are no frames".to_owned()) };
            trace!(self, "node {node} to {peer} says {}", short(&frame));
            match frame {
                Frame::Resume(resume) => {
                    self.hits.hit(Hit::FrameResume);
                    if resume.spans.len() > 1 {
                        self.hits.hit(Hit::FrameResumeSeveralSpans);
                    }
                    if resume.spans.is_empty() {
                        self.hits.hit(Hit::FrameResumeWithoutSpans);
                    }
                    if resume.predecessor.is_some() {
                        self.hits.hit(Hit::FrameResumePredecessor);
                    }
                }
                Frame::Data(data) if data.is_direct() => self.hits.hit(Hit::FrameDirect),
                Frame::Data(data) => {
                    self.hits.hit(Hit::FrameData);
                    let strict = data.flags.has(DataFlags::STRICT);
                    for (flag, hit) in [
                        (DataFlags::STRICT, Hit::FrameDataStrict),
                        (DataFlags::REDELIVERED, Hit::FrameDataRedelivered),
                        (DataFlags::COMPRESSED, Hit::CompressedPart),
                    ] {
                        if data.flags.has(flag) {
                            self.hits.hit(hit);
                        }
                    }
                    let (lane, seq) = (data.lane, data.seq);
                    let no = self.peer(node, peer).and_then(|p| p.side_of(lane)).map(|s| s.no);
                    if let Some(no) = no {
                        self.checker.data_left(no, seq, strict);
                    }
                }
                Frame::Skip { .. } => self.hits.hit(Hit::FrameSkip),
                Frame::Ping(_) => self.hits.hit(Hit::FramePing),
                Frame::Pong(_) => self.hits.hit(Hit::FramePong),
                _ => {}
            }
        }
    }

    fn receiver_says(&mut self, node: usize, peer: usize, bytes: &Bytes) {
        for frame in codec::frames(bytes) {
            let Ok(frame) = frame else { return self.checker.fail(2, "sends bytes that are no frames".to_owned()) };
            trace!(self, "node {node} from {peer} says {}", short(&frame));
            match frame {
                Frame::ResumeAt(at) => {
                    self.hits.hit(Hit::FrameResumeAt);
                    if at.received.is_none() {
                        self.hits.hit(Hit::FrameResumeAtNothing);
                    }
                    if at.messages == 0 {
                        self.hits.hit(Hit::FrameResumeAtNoCredit);
                    }
                }
                Frame::Ack { incarnation, seq, .. } => {
                    self.hits.hit(Hit::FrameAck);
                    self.checker.ack_left(Cursor { incarnation, seq });
                }
                Frame::Credit { .. } => self.hits.hit(Hit::FrameCredit),
                Frame::Refuse { .. } => self.hits.hit(Hit::FrameRefuse),
                Frame::Ping(_) => self.hits.hit(Hit::FramePing),
                Frame::Pong(_) => self.hits.hit(Hit::FramePong),
                Frame::Subscribed(_) => self.hits.hit(Hit::FrameSubscribed),
                Frame::Unsubscribed(_) => self.hits.hit(Hit::FrameUnsubscribed),
                _ => {}
            }
        }
    }
}

fn short(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Data(d) => {
            format!("Data {{ {:?}, {}, flags {:#04x}, {} bytes }}", d.lane, d.seq, d.flags.bits(), d.payload.len())
        }
        other => format!("{other:?}"),
    }
}
