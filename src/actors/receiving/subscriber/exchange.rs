//! What a session and the feeder of a subscriber exchange: deliveries and commands one way, reports the other.

use crate::actors::messages::Delivery;
use crate::actors::receiving::subscriber::replies::{DeliveryTag, ReplyRun};
use crate::wire::inbound::{Disposition, LaneSlot};
use actix::prelude::*;

/// A message on its way to a subscriber.
pub(crate) struct OutgoingDelivery {
    pub(crate) token: u64,
    pub(crate) delivery: Delivery,
}

impl OutgoingDelivery {
    /// Returns the tag of this hand-over.
    pub(crate) fn tag(&self) -> DeliveryTag {
        DeliveryTag { token: self.token, attempt: self.delivery.attempt }
    }
}

/// Replies that a feeder has gathered, and its stage.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FeederReport {
    pub(crate) feeder: FeederId,
    pub(crate) replies: Vec<ReplyRun>,
    pub(crate) stage: FeederStage,
}

/// The stages in the life of a feeder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeederStage {
    /// It feeds the subscriber.
    Feeding,
    /// The subscription has ended, and the messages held ready have come back.
    GivenBack,
    /// Everything it was given has been reported: the subscription has ended, or the arbiter has.
    Ended,
}

/// Reports the end of a feeder when it is dropped, whatever the reason.
pub(crate) struct EndGuard {
    pub(crate) feeder: FeederId,
    pub(crate) session: Recipient<FeederReport>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.session.do_send(FeederReport { feeder: self.feeder, replies: Vec::new(), stage: FeederStage::Ended });
    }
}

/// Identifies a feeder among those of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FeederId(pub(crate) u64);

/// Messages of one lane on their way to the feeder. If it is dropped before they are taken, they return to the session.
pub(crate) struct OutgoingBatch {
    pub(crate) feeder: FeederId,
    pub(crate) slot: LaneSlot,
    pub(crate) outgoing: Vec<OutgoingDelivery>,
    /// The failures of the lane that the session knew of when it sent the batch. If the feeder knows of more, the batch
    /// returns: it must not overtake a message that failed.
    pub(crate) failures: u64,
    pub(crate) session: Recipient<FeederReport>,
}

impl Drop for OutgoingBatch {
    fn drop(&mut self) {
        let outgoing = std::mem::take(&mut self.outgoing);
        if !outgoing.is_empty() {
            let replies = outgoing.iter().map(|delivery| untried(self.slot, delivery)).collect();
            self.session.do_send(FeederReport { feeder: self.feeder, replies, stage: FeederStage::Feeding });
        }
    }
}

/// Returns the reply of a message that was not handed over.
pub(crate) fn untried(slot: LaneSlot, delivery: &OutgoingDelivery) -> ReplyRun {
    ReplyRun::one(slot, delivery.tag(), Disposition::Untried)
}

/// A command to a feeder.
pub(crate) enum FeederCommand {
    /// Hand these messages over.
    Deliver(OutgoingBatch),
    /// Stop waiting for the reply to this hand-over.
    Forget(LaneSlot, DeliveryTag),
    /// Return the messages held ready.
    GiveBack,
    /// The subscription has ended: return the messages held ready, and end when no replies are pending.
    Retire,
    /// The session has ended: drop everything that is not handled.
    Abandon,
}

/// Returns whether later messages of the lane must wait for this one.
pub(crate) fn is_failure(disposition: &Disposition) -> bool {
    matches!(disposition, Disposition::Failed { .. })
}
