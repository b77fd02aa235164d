//! What a batch of runs has reached: one counter per kind of fault and per branch of the protocol that can be seen from
//! outside. A batch that leaves one at zero has not tested what it claims to.

macro_rules! hits {
    ($($name:ident),* $(,)?) => {
        /// Something that must happen in every batch.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Hit { $($name),* }

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

hits! {
    // Faults.
    Crash, CrashInsideStep, CrashWhileStoreWorks, CleanStop, StopPastDeadline, Cut, CutInsideFrame, HalfOpen,
    PowerLossWithoutEof, Partition, DialRefused, DialTimeout, StoreFailed, StoreUnknownDone, StoreUnknownNotDone,
    StoreHang, StoreOutage, Replaced, StaleEpoch, Silent,
    // The application.
    WriteBehind, Committed, Synced, GroupCommitted, GroupWriteBehind, GroupRejected, GroupUnknown, AtMostOnce, Headers,
    ManyParts, CompressedPart, ClearedLane, ForgottenLane, Subscribed, Unsubscribed, Returned, Nack, NackWithDelay,
    HandlerTimeout, Poison, AnswerLostInCrash,
    // Sending.
    Accepted, Rejected, RejectedDeadline, RejectedStore, Indeterminate, Full, Room, LaneFull, Unreachable, Dropped,
    Append, AppendSynced, AppendOfSeveral, Load, LoadOfNothing, LoadBehindPage, Acked, Refused, RefusedWithBody,
    RefusedFromQueue, LostWriteBehind,
    // Routing and the queue of a topic.
    LookUp, LookUpFailed, LookUpLate, CatalogueChanged, Tombstone, PeerServes, PeerWithdraws, ExpiredUsed, ReleasedUsed,
    SentAtOnce, Queued, TooManyWaiting, SendLookUp, SendNotOpened, SendOpenedLate, SendAwaitsRoom, SendBlockedByRoom,
    SendAllAccepted, SendAllReleased, SendAccepted, SendNoRoute, SendQueueFull, SendDeadline, SendIndeterminate,
    SendFailed, SendRefused,
    // Acks.
    Trim, TrimOfSeveral, Settled, LinksIdle,
    // The wire.
    FrameResume, FrameResumeSeveralSpans, FrameResumePredecessor, FrameResumeWithoutSpans, FrameResumeAt,
    FrameResumeAtNothing, FrameResumeAtNoCredit, FrameData, FrameDataStrict, FrameDataRedelivered, FrameDirect,
    FrameSkip, FrameAck, FrameCredit, FrameRefuse, FramePing, FramePong, FrameSubscribed, FrameUnsubscribed,
    // Receiving.
    OpenLane, Advance, AdvanceStale, RecordAttempt, DeadLetter, DeadLetterWithCursor, DeadLetterWithoutCursor,
    DeadLetterOfDeath, LaneRestarted, RedeliveredHandOver, LaterAttempt, DirectHandOver, PassedOn, PassedOnAndNacked,
    DuplicateDropped, TopicWithoutHandler, HeldReady, GivenBack, TakenAtOnce,
}

/// Counts of all hits.
#[derive(Debug, Clone)]
pub(crate) struct Counters([u64; NAMES.len()]);

impl Counters {
    pub(crate) fn new() -> Self {
        Counters([0; NAMES.len()])
    }

    pub(crate) fn hit(&mut self, hit: Hit) {
        self.0[hit as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Counters) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// What never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        NAMES.iter().zip(self.0).filter(|(_, n)| *n == 0).map(|(name, _)| *name).collect()
    }

    /// All counts, for people.
    pub(crate) fn report(&self) -> String {
        NAMES.iter().zip(self.0).map(|(name, n)| format!("{name}={n}")).collect::<Vec<_>>().join(" ")
    }
}
