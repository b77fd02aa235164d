//! A link and its connection: made, lost, read from and written to.

use super::*;
use crate::wire::codec;

impl Link {
    pub(crate) fn dialing(&self) {
        self.state.lock().outbound.handle_dialing();
    }

    pub(crate) fn dial_failed(&self) {
        self.state.lock().outbound.handle_dial_failed();
    }

    pub(crate) fn connected(&self, peer: PeerLimits) {
        self.state.lock().outbound.handle_connected(Instant::now(), peer);
        self.up.store(true, Ordering::Release);
    }

    /// See [`Outbound::announce`].
    pub(crate) fn announce(&self, topic: Topic, subscribed: bool) {
        let mut state = self.state.lock();
        state.outbound.announce(topic, subscribed);
        self.wake(&mut state);
    }

    pub(crate) fn disconnected(&self) {
        self.up.store(false, Ordering::Release);
        let mut state = self.state.lock();
        state.outbound.handle_disconnected(Instant::now());
        self.note_progress(&state);
    }

    /// Takes whole frames off the connection.
    pub(crate) fn receive(&self, chunk: &Bytes) -> Result<(), LinkError> {
        let mut state = self.state.lock();
        state.outbound.handle_heard(Instant::now());
        for frame in codec::frames(chunk) {
            state.outbound.handle_frame(frame?)?;
        }
        Ok(())
    }

    pub(crate) fn poll_transmit(&self) -> Option<Bytes> {
        let mut state = self.state.lock();
        let bytes = state.outbound.poll_transmit();
        state.is_idle = bytes.is_none();
        self.count(&mut state);
        self.note_progress(&state);
        // Filling the buffer may have used up what memory holds of a queue.
        if state.outbound.has_events() {
            self.schedule(&mut state);
        }
        bytes
    }

    /// The bytes that [`Link::poll_transmit`] returned were written.
    pub(crate) fn transmitted(&self, bytes: Bytes) {
        self.state.lock().outbound.handle_transmitted(bytes);
    }
}
