//! The handshake: the checks of two nodes before a lane opens. Pure decisions over the two frames.
//!
//! ```text
//! dialler                                   acceptor
//!    │ ── Hello{versions, from, to, epoch} ──▶ │  negotiate()
//!    │ ◀── Welcome{version, node, epoch} ───── │  or Close{code, text}
//!    │     check_welcome()                     │
//! ```
//!
//! This module does not know which peers are connected or what a store holds: the caller passes that as [`KnownPeer`].
//! Randomness is an argument.

use crate::types::{Epoch, NodeId, StoreId, Topic};
use crate::wire::codec::FIRST_FRAME_MAX;
use crate::wire::frame::{CloseCode, Frame, Hello, Welcome};
use bytes::Bytes;

pub use crate::wire::codec::MAGIC;

/// Oldest protocol version this build speaks.
pub const VERSION_MIN: u16 = 1;

/// Newest protocol version this build speaks.
pub const VERSION_MAX: u16 = 1;

/// Optional features this build has, one bit each. None yet.
pub const FEATURES: u64 = 0;

/// This node, as its `Hello` and `Welcome` frames describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// This node's name.
    pub node: NodeId,
    /// This node's own topic.
    pub topic: Topic,
    /// The address this node listens on, or an empty string if it is not published.
    pub addr: String,
    /// This node's store.
    pub store: StoreId,
    /// This node's epoch on its store.
    pub epoch: Epoch,
    /// Largest frame this node takes, in bytes after the length field.
    pub max_frame: u32,
    /// Largest message this node takes, in bytes of payload and headers.
    pub max_message: u64,
}

/// The last process that held a peer's name, from an earlier handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPeer {
    /// The store of the process that last held the name.
    pub store: StoreId,
    /// That process's epoch on its store.
    pub epoch: Epoch,
    /// Whether that process is connected now.
    pub live: bool,
}

/// Error of a handshake: the reason why the connection is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct HandshakeRefusal {
    /// The reason, for the peer to act on.
    pub code: CloseCode,
    /// The reason in words.
    pub text: String,
}

impl HandshakeRefusal {
    fn new(code: CloseCode, text: impl Into<String>) -> Self {
        HandshakeRefusal { code, text: text.into() }
    }

    /// Converts the refusal to the frame for the peer.
    pub fn into_frame(self) -> Frame<'static> {
        Frame::Close { code: self.code, text: self.text }
    }
}

/// Returns the dialler's first frame to the node `to`. `nonce` is 16 fresh random bytes.
pub fn hello(me: &Local, to: NodeId, nonce: [u8; 16]) -> Hello {
    Hello {
        min_version: VERSION_MIN,
        max_version: VERSION_MAX,
        features: FEATURES,
        from: me.node.clone(),
        to,
        topic: me.topic.clone(),
        addr: me.addr.clone(),
        store: me.store,
        epoch: me.epoch,
        nonce,
        auth: Bytes::new(),
    }
}

/// Decides about a dialler, for the acceptor. `known` is the last process that held the dialler's name, and `nonce` is 16
/// fresh random bytes.
///
/// # Errors
/// Returns a [`HandshakeRefusal`] if there is no common version, the dialler means another node, its process is fenced, or
/// its name is taken.
pub fn negotiate(
    hello: &Hello,
    me: &Local,
    known: Option<&KnownPeer>,
    nonce: [u8; 16],
) -> Result<Welcome, HandshakeRefusal> {
    let version =
        common_version((hello.min_version, hello.max_version), (VERSION_MIN, VERSION_MAX)).ok_or_else(|| {
            let (min, max) = (hello.min_version, hello.max_version);
            HandshakeRefusal::new(
                CloseCode::Version,
                format!("versions {VERSION_MIN} to {VERSION_MAX} here, {min} to {max} there"),
            )
        })?;
    if hello.to != me.node {
        return Err(HandshakeRefusal::new(CloseCode::WrongNode, format!("this is {}, not {}", me.node, hello.to)));
    }
    if hello.from == me.node {
        check_namesake(hello, me)?;
    }
    check_known(hello.store, hello.epoch, known)?;
    Ok(Welcome {
        version,
        features: hello.features & FEATURES,
        node: me.node.clone(),
        topic: me.topic.clone(),
        addr: me.addr.clone(),
        store: me.store,
        epoch: me.epoch,
        max_frame: me.max_frame,
        max_message: me.max_message,
        nonce,
        auth: Bytes::new(),
    })
}

/// Checks the acceptor's reply, for the dialler.
///
/// # Errors
/// Returns a [`HandshakeRefusal`] if another node has this address, or the reply contains what was not offered.
pub fn check_welcome(hello: &Hello, welcome: &Welcome) -> Result<(), HandshakeRefusal> {
    if welcome.node != hello.to {
        let text = format!("dialled {}, reached {}", hello.to, welcome.node);
        return Err(HandshakeRefusal::new(CloseCode::WrongNode, text));
    }
    if !(hello.min_version..=hello.max_version).contains(&welcome.version) {
        return Err(HandshakeRefusal::new(CloseCode::Version, format!("version {} was not offered", welcome.version)));
    }
    if welcome.features & !hello.features != 0 {
        return Err(HandshakeRefusal::new(CloseCode::Protocol, "a feature was not offered"));
    }
    if welcome.max_frame < FIRST_FRAME_MAX {
        let text = format!("frame limit {} is below {FIRST_FRAME_MAX}", welcome.max_frame);
        return Err(HandshakeRefusal::new(CloseCode::Protocol, text));
    }
    Ok(())
}

/// Checks whether a process may have the name it claims, given the last process that held it. Epochs are compared within one
/// store only. Between stores, the process that is connected keeps the name. Both sides of a handshake use this.
///
/// # Errors
/// Returns a [`HandshakeRefusal`] with [`CloseCode::Fenced`] or [`CloseCode::NameConflict`].
pub fn check_known(store: StoreId, epoch: Epoch, known: Option<&KnownPeer>) -> Result<(), HandshakeRefusal> {
    match known {
        Some(known) if known.store == store && epoch < known.epoch => {
            Err(HandshakeRefusal::new(CloseCode::Fenced, "a newer process holds this name"))
        }
        Some(known) if known.store != store && known.live => {
            Err(HandshakeRefusal::new(CloseCode::NameConflict, "a node with another store holds this name"))
        }
        _ => Ok(()),
    }
}

/// Checks a dialler with this node's own name: itself, its predecessor, its successor, or another node with that name.
fn check_namesake(hello: &Hello, me: &Local) -> Result<(), HandshakeRefusal> {
    check_known(hello.store, hello.epoch, Some(&KnownPeer { store: me.store, epoch: me.epoch, live: true }))?;
    if hello.epoch > me.epoch {
        // The successor must not take this for a verdict on itself, as it would `Fenced`.
        return Err(HandshakeRefusal::new(CloseCode::WrongNode, "this is an older process of the name"));
    }
    Ok(())
}

/// Returns the newest version in both ranges.
fn common_version(theirs: (u16, u16), ours: (u16, u16)) -> Option<u16> {
    let (min, max) = (theirs.0.max(ours.0), theirs.1.min(ours.1));
    (theirs.0 <= theirs.1 && min <= max).then_some(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("valid")
    }

    fn local(name: &str, store: u64, epoch: u64) -> Local {
        Local {
            node: node(name),
            topic: Topic::new("orders").expect("valid"),
            addr: "127.0.0.1:4000".to_owned(),
            store: StoreId::new(store),
            epoch: Epoch::new(epoch),
            max_frame: 1 << 20,
            max_message: 1 << 30,
        }
    }

    fn known(store: u64, epoch: u64, live: bool) -> KnownPeer {
        KnownPeer { store: StoreId::new(store), epoch: Epoch::new(epoch), live }
    }

    /// The reply of `b` to `hello`.
    fn welcome_to(hello: &Hello, known: Option<KnownPeer>) -> Result<Welcome, CloseCode> {
        negotiate(hello, &local("b", 2, 9), known.as_ref(), [7; 16]).map_err(|refusal| refusal.code)
    }

    fn hello_to_b(from: &str, store: u64, epoch: u64) -> Hello {
        hello(&local(from, store, epoch), node("b"), [1; 16])
    }

    #[test]
    fn strangers_agree() {
        let hello = hello_to_b("a", 1, 3);
        let welcome = welcome_to(&hello, None).expect("agreed");
        assert_eq!((welcome.version, welcome.nonce, welcome.max_frame), (VERSION_MAX, [7; 16], 1 << 20));
        assert_eq!(check_welcome(&hello, &welcome), Ok(()));
    }

    #[test]
    fn versions_meet_at_the_newest_common_one() {
        assert_eq!(common_version((1, 3), (2, 5)), Some(3));
        assert_eq!(common_version((1, 1), (1, 4)), Some(1), "an older minor version keeps working");
        assert_eq!(common_version((1, 9), (1, 4)), Some(4));
        assert_eq!(common_version((5, 9), (1, 4)), None);
        assert_eq!(common_version((1, 2), (3, 4)), None);
        assert_eq!(common_version((4, 1), (1, 4)), None, "a range that ends before it starts");
    }

    #[test]
    fn a_newer_peer_is_answered_in_our_version_without_its_features() {
        let hello = Hello { max_version: 40, features: u64::MAX, ..hello_to_b("a", 1, 3) };
        let welcome = welcome_to(&hello, None).expect("agreed");
        assert_eq!((welcome.version, welcome.features), (VERSION_MAX, FEATURES));
        assert_eq!(check_welcome(&hello, &welcome), Ok(()));
    }

    #[test]
    fn no_common_version_is_refused() {
        let hello = Hello { min_version: VERSION_MAX + 1, max_version: VERSION_MAX + 2, ..hello_to_b("a", 1, 3) };
        assert_eq!(welcome_to(&hello, None), Err(CloseCode::Version));
    }

    #[test]
    fn a_call_for_another_node_is_refused() {
        let hello = hello(&local("a", 1, 3), node("c"), [1; 16]);
        assert_eq!(welcome_to(&hello, None), Err(CloseCode::WrongNode));
    }

    #[test]
    fn epochs_decide_within_one_store() {
        let hello = hello_to_b("a", 1, 3);
        assert_eq!(welcome_to(&hello, Some(known(1, 4, true))), Err(CloseCode::Fenced));
        assert_eq!(welcome_to(&hello, Some(known(1, 4, false))), Err(CloseCode::Fenced));
        assert!(welcome_to(&hello, Some(known(1, 3, true))).is_ok(), "the same process again");
        assert!(welcome_to(&hello, Some(known(1, 2, true))).is_ok(), "a newer process wins at once");
    }

    #[test]
    fn between_stores_the_live_process_keeps_the_name() {
        let hello = hello_to_b("a", 1, 3);
        assert_eq!(welcome_to(&hello, Some(known(5, 1, true))), Err(CloseCode::NameConflict));
        assert_eq!(welcome_to(&hello, Some(known(5, 99, true))), Err(CloseCode::NameConflict));
        assert!(welcome_to(&hello, Some(known(5, 99, false))).is_ok(), "nobody is there to conflict with");
    }

    #[test]
    fn a_namesake_of_the_acceptor_is_told_apart() {
        assert!(welcome_to(&hello_to_b("b", 2, 9), None).is_ok(), "a node may dial itself");
        assert_eq!(welcome_to(&hello_to_b("b", 2, 8), None), Err(CloseCode::Fenced));
        assert_eq!(welcome_to(&hello_to_b("b", 2, 10), None), Err(CloseCode::WrongNode));
        assert_eq!(welcome_to(&hello_to_b("b", 1, 9), None), Err(CloseCode::NameConflict));
    }

    #[test]
    fn the_dialled_peer_is_checked() {
        let hello = hello_to_b("a", 1, 3);
        let welcome = welcome_to(&hello, None).expect("agreed");
        let code = |welcome: Welcome| check_welcome(&hello, &welcome).map_err(|refusal| refusal.code);
        assert_eq!(code(Welcome { node: node("c"), ..welcome.clone() }), Err(CloseCode::WrongNode));
        assert_eq!(code(Welcome { version: VERSION_MAX + 1, ..welcome.clone() }), Err(CloseCode::Version));
        assert_eq!(code(Welcome { version: 0, ..welcome.clone() }), Err(CloseCode::Version));
        assert_eq!(code(Welcome { features: 1, ..welcome.clone() }), Err(CloseCode::Protocol));
        assert_eq!(code(Welcome { max_frame: 0, ..welcome }), Err(CloseCode::Protocol));
    }

    #[test]
    fn a_refusal_travels_as_a_close() {
        let refusal = HandshakeRefusal::new(CloseCode::Limit, "full");
        assert_eq!(refusal.to_string(), "full");
        assert_eq!(refusal.into_frame(), Frame::Close { code: CloseCode::Limit, text: "full".to_owned() });
    }
}
