//! Names of nodes, topics and lanes. They are validated once, and clones share the text.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The maximum length of a name in bytes. Names are part of store keys, frames and log lines; 255 fits one length byte.
pub const MAX_NAME: usize = 255;

/// The prefix of names that are reserved for the library.
pub const RESERVED_PREFIX: &str = "__#";

/// Error of an invalid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("name is empty")]
    Empty,
    /// The name is longer than [`MAX_NAME`] bytes.
    #[error("name of {0} bytes exceeds the limit of {MAX_NAME} bytes")]
    TooLong(usize),
    /// The name contains a control character, such as NUL.
    #[error("name contains a control character")]
    ControlCharacter,
    /// The name starts with [`RESERVED_PREFIX`].
    #[error("name starts with the reserved prefix {RESERVED_PREFIX}")]
    Reserved,
}

fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong(name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::ControlCharacter);
    }
    if name.starts_with(RESERVED_PREFIX) {
        return Err(NameError::Reserved);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Creates a name.
            ///
            /// # Errors
            /// Returns [`NameError`] if the name is empty, is longer than [`MAX_NAME`] bytes, contains a control character
            /// or starts with [`RESERVED_PREFIX`].
            pub fn new(name: &str) -> Result<Self, NameError> {
                check(name)?;
                Ok($name(Arc::from(name)))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                $name::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                $name::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// The unique name of a node in its mesh.
    NodeId
}

name! {
    /// The destination of messages. Many nodes may serve one topic, and one node many topics.
    Topic
}

/// The four names of a lane, an ordered stream of messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneName {
    /// The node that sends.
    pub sender: NodeId,
    /// The sender's own topic, where replies go.
    pub source: Topic,
    /// The node that receives.
    pub receiver: NodeId,
    /// The topic addressed.
    pub topic: Topic,
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}>{}:{}", self.sender, self.source, self.receiver, self.topic)
    }
}

/// A shared [`LaneName`]. A clone counts one reference instead of four.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(Arc<LaneName>);

impl LaneId {
    /// Creates a shared lane name.
    pub fn new(name: LaneName) -> Self {
        LaneId(Arc::new(name))
    }

    /// Copies the name with a reference count of its own: threads that share a count slow each other down.
    pub(crate) fn unshared(&self) -> Self {
        LaneId(Arc::new(self.name().clone()))
    }

    /// Returns the four names.
    pub fn name(&self) -> &LaneName {
        &self.0
    }

    /// Returns the node that sends.
    pub fn sender(&self) -> &NodeId {
        &self.0.sender
    }

    /// Returns the sender's own topic, where replies go.
    pub fn source(&self) -> &Topic {
        &self.0.source
    }

    /// Returns the node that receives.
    pub fn receiver(&self) -> &NodeId {
        &self.0.receiver
    }

    /// Returns the topic addressed.
    pub fn topic(&self) -> &Topic {
        &self.0.topic
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaneId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_the_edge() {
        assert_eq!(Topic::new(""), Err(NameError::Empty));
        assert_eq!(Topic::new(&"x".repeat(256)), Err(NameError::TooLong(256)));
        assert_eq!(NodeId::new("a\nb"), Err(NameError::ControlCharacter));
        assert_eq!(NodeId::new("a\0b"), Err(NameError::ControlCharacter));
        assert_eq!(Topic::new("__#internal_channel"), Err(NameError::Reserved));
        assert!(Topic::new(&"x".repeat(255)).is_ok());
        assert_eq!(Topic::new("заказы: 1%").map(|t| t.to_string()), Ok("заказы: 1%".to_owned()));
    }
}
