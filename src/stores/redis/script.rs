//! The scripts, calls of them, and reading their replies.

use super::error::{Access, Outcome};
use crate::stores::StoreError;
use bytes::Bytes;
use redis::{Cmd, Value};
use std::sync::OnceLock;

/// A script the server runs, which it knows by its hash.
pub(super) struct Script {
    pub(super) code: &'static str,
    pub(super) access: Access,
    hash: OnceLock<String>,
}

impl Script {
    const fn new(code: &'static str, access: Access) -> Self {
        Script { code, access, hash: OnceLock::new() }
    }

    /// A call without arguments yet. The arguments are copied once, and sent as they are however often it is repeated.
    pub(super) fn call(&'static self) -> Call {
        let hash = self.hash.get_or_init(|| redis::Script::new(self.code).get_hash().to_owned());
        let mut command = redis::cmd("EVALSHA");
        command.arg(hash).arg(0);
        Call { script: self, command }
    }
}

macro_rules! script {
    ($name:ident, $access:ident, $file:literal) => {
        pub(super) static $name: Script =
            Script::new(concat!(include_str!("lua/prelude.lua"), include_str!($file)), Access::$access);
    };
}

script!(PREPARE, Writes, "lua/prepare.lua");
script!(COMMIT, Writes, "lua/commit.lua");
script!(LANE, Writes, "lua/lane.lua");
script!(OPEN, Writes, "lua/open.lua");
script!(STAGE, Writes, "../legacy/lua/stage.lua");
script!(ADOPT, Writes, "../legacy/lua/adopt.lua");
script!(RENAME, Writes, "../legacy/lua/rename.lua");
script!(CLEAR, Writes, "lua/clear.lua");
script!(FORGET, Writes, "lua/forget.lua");
script!(PURGE, Writes, "lua/purge.lua");
script!(DIRECTORY, Writes, "lua/directory.lua");
script!(TOPICS, Reads, "lua/directory.lua");
script!(LEFT, Reads, "../legacy/lua/left.lua");
script!(LANES, Reads, "lua/lanes.lua");
script!(LOAD, Reads, "lua/load.lua");

/// A script with its arguments.
pub(super) struct Call {
    pub(super) script: &'static Script,
    pub(super) command: Cmd,
}

impl Call {
    pub(super) fn text(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    pub(super) fn number(mut self, argument: u64) -> Self {
        self.command.arg(argument);
        self
    }

    pub(super) fn add(&mut self, argument: impl redis::ToSingleRedisArg) {
        self.command.arg(argument);
    }
}

/// The parts of a script's reply, read one after the other.
pub(super) struct ScriptReply(std::vec::IntoIter<Value>);

fn unexpected(what: &str) -> StoreError {
    StoreError::Damaged(format!("a script returned no {what}").into())
}

impl ScriptReply {
    pub(super) fn new(value: Value) -> Outcome<ScriptReply> {
        match value {
            Value::Array(parts) => Ok(ScriptReply(parts.into_iter())),
            _ => Err(unexpected("parts").into()),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.len() == 0
    }

    pub(super) fn bytes(&mut self) -> Outcome<Bytes> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes.into()),
            Some(Value::SimpleString(text)) => Ok(text.into_bytes().into()),
            _ => Err(unexpected("text").into()),
        }
    }

    pub(super) fn text(&mut self) -> Outcome<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|error| StoreError::Damaged(error.to_string().into()).into())
    }

    /// An integer, or the text of one.
    pub(super) fn number(&mut self) -> Outcome<u64> {
        match self.0.next() {
            Some(Value::Int(number)) => u64::try_from(number).map_err(|_| unexpected("number").into()),
            Some(Value::BulkString(bytes)) => {
                let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
                number.ok_or_else(|| unexpected("number").into())
            }
            _ => Err(unexpected("number").into()),
        }
    }

    pub(super) fn parts(&mut self) -> Outcome<ScriptReply> {
        ScriptReply::new(self.0.next().ok_or_else(|| unexpected("part"))?)
    }
}
