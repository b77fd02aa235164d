//! Choosing a target for a message.

use super::RouteState;
use crate::types::NodeId;
use crate::wire::outbound::OfferError;

/// How often a message may arrive, as far as routing cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// At most once: never to a node that was released.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

/// A target as its owner keeps it.
pub trait Target {
    /// Its node.
    fn node(&self) -> &NodeId;

    /// Its state as [`Routing`](super::Routing) reported it.
    fn state(&self) -> RouteState;

    /// Whether the link to it is up.
    fn is_up(&self) -> bool;
}

/// Why no target took a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked<T> {
    /// There is no target.
    NoRoute,
    /// The lane to this target was not opened yet.
    NotOpen(T),
    /// This target has no room just now.
    Full(T),
    /// Every target's lane limit is reached.
    LaneFull,
}

impl<T> Blocked<T> {
    /// Returns why `target` did not take a message.
    pub fn new(error: OfferError, target: T) -> Self {
        match error {
            OfferError::NotOpen => Blocked::NotOpen(target),
            OfferError::LaneFull => Blocked::LaneFull,
            OfferError::Full | OfferError::Unreachable => Blocked::Full(target),
        }
    }

    /// Returns the same with another way to name the target.
    pub fn map<U>(self, name: impl FnOnce(T) -> U) -> Blocked<U> {
        match self {
            Blocked::NoRoute => Blocked::NoRoute,
            Blocked::NotOpen(target) => Blocked::NotOpen(name(target)),
            Blocked::Full(target) => Blocked::Full(name(target)),
            Blocked::LaneFull => Blocked::LaneFull,
        }
    }
}

/// Returns the targets that a message may go to: those in the best state there is. `targets` are in the order of
/// [`RoutingEvent::Targets`](super::RoutingEvent::Targets).
#[inline]
pub fn usable<T: Target>(targets: &[T], guarantee: Guarantee) -> &[T] {
    let Some(best) = targets.first().map(T::state) else { return &[] };
    if guarantee == Guarantee::AtMostOnce && best == RouteState::Released {
        return &[];
    }
    &targets[..targets.partition_point(|target| target.state() == best)]
}

/// Returns the targets that a message to all nodes of a topic goes to: every node that is listed or said that it serves the
/// topic, whatever its lease; only if there is none, those that were released.
pub fn every<T: Target>(targets: &[T], guarantee: Guarantee) -> &[T] {
    match targets.partition_point(|target| target.state() != RouteState::Released) {
        0 => usable(targets, guarantee),
        listed => &targets[..listed],
    }
}

/// Returns the target whose turn it is, one with a live link if there is any. `turn` counts messages.
pub fn pick<T: Target>(targets: &[T], turn: usize) -> Option<&T> {
    in_turn(targets, turn).find(|target| target.is_up()).or_else(|| in_turn(targets, turn).next())
}

fn in_turn<T>(targets: &[T], turn: usize) -> impl Iterator<Item = &T> {
    (0..targets.len()).map(move |at| &targets[turn.wrapping_add(at) % targets.len()])
}

/// Offers a message to the targets in turn, beginning with the one whose turn it is, those with a live link first, until one
/// takes it. `turn` counts messages.
///
/// # Errors
/// [`Blocked`]: what has to be done before the message can be offered again.
pub fn offer_in_turn<'a, T: Target, R>(
    targets: &'a [T],
    turn: usize,
    mut offer: impl FnMut(&'a T) -> Result<R, OfferError>,
) -> Result<R, Blocked<&'a T>> {
    let mut blocked = Blocked::NoRoute;
    let up = in_turn(targets, turn).filter(|target| target.is_up());
    for target in up.chain(in_turn(targets, turn).filter(|target| !target.is_up())) {
        match offer(target) {
            Ok(taken) => return Ok(taken),
            Err(OfferError::NotOpen) => return Err(Blocked::NotOpen(target)),
            // Room on another target's link comes sooner.
            Err(OfferError::LaneFull) if !matches!(blocked, Blocked::NoRoute) => {}
            Err(error) => blocked = Blocked::new(error, target),
        }
    }
    Err(blocked)
}
