//! The server's version and settings: whether it can be a store, and how safe its commits are.

use super::connection::RetryingConnection;
use super::error::refusal;
use super::options::{Endpoint, RedisOptions};
use crate::stores::OpenError;
use redis::{RedisResult, Value};
use std::collections::HashMap;

/// The oldest server that has the commands and the behaviour of scripts that are relied upon.
const OLDEST: (u32, u32) = (6, 2);

/// Settings that decide what survives; read with CONFIG GET, which many managed servers refuse.
const SETTINGS: [&str; 4] = ["appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save"];

/// A server that has been looked at.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) version: String,
    /// Whether a commit is on the server's disk before its reply; `None` if the server does not say.
    pub(super) syncs: Option<bool>,
    /// What was read, for `Stats`.
    pub(super) durability: String,
    /// Weaker than somebody may think, or unknown.
    doubt: Option<&'static str>,
}

/// Asks the server, and refuses one that cannot be a store.
pub(super) async fn look(
    connection: &RetryingConnection,
    options: &RedisOptions,
    shown: &str,
) -> Result<Server, OpenError> {
    let info = async {
        let info = connection.send(redis::cmd("INFO").arg("everything")).await?;
        redis::from_redis_value::<String>(info).map_err(redis::RedisError::from)
    };
    let info = fields(&info.await.map_err(|error| refusal(shown, &error))?);
    let of = |name: &str| info.get(name).map(String::as_str);
    let unfit = |reason: String| Err(OpenError::Unreachable { server: shown.to_owned(), reason });
    let version = of("redis_version").unwrap_or("unknown").to_owned();
    if number(&version) < OLDEST {
        return unfit(format!("it is Redis {version}, {}.{} or later is needed", OLDEST.0, OLDEST.1));
    }
    if of("cluster_enabled") == Some("1") {
        return unfit("it is part of a cluster: a store is one server".to_owned());
    }
    if matches!(of("role"), Some("slave" | "replica")) {
        return unfit("it is a replica, which only reads".to_owned());
    }
    let mut settings = HashMap::new();
    for name in SETTINGS {
        if let Some(value) = setting(connection.send(redis::cmd("CONFIG").arg("GET").arg(name)).await) {
            settings.insert(name, value);
        }
    }
    let server = judge(version, of, &settings);
    let evicts = of("maxmemory_policy").is_some_and(|policy| policy.starts_with("allkeys"));
    if options.synced && (evicts || server.syncs == Some(false)) {
        return Err(OpenError::Weak { server: shown.to_owned(), settings: server.durability });
    }
    Ok(server)
}

fn judge<'a>(version: String, of: impl Fn(&str) -> Option<&'a str>, settings: &HashMap<&str, String>) -> Server {
    let set = |name: &str| settings.get(name).map_or("unknown", String::as_str);
    let policy = of("maxmemory_policy").unwrap_or("unknown");
    let aof = match of("aof_enabled") {
        Some("1") => "yes",
        Some(_) => "no",
        None => set("appendonly"),
    };
    let syncs = match (aof, set("appendfsync"), set("no-appendfsync-on-rewrite")) {
        ("yes", "always", "no") => Some(true),
        ("unknown", ..) | ("yes", "unknown", _) | ("yes", "always", "unknown") => None,
        _ => Some(false),
    };
    let doubt = if policy.starts_with("allkeys") {
        Some("maxmemory-policy evicts keys of any kind: accepted messages may disappear")
    } else if aof == "no" {
        Some("appendonly is off: a crash of the server loses what came after its last snapshot")
    } else {
        match syncs {
            Some(true) => None,
            Some(false) => Some("a crash of the server or its machine may lose the last commits"),
            None => Some("the server does not say how it persists what it acknowledges"),
        }
    };
    let durability = format!(
        "appendonly={aof} appendfsync={} no-appendfsync-on-rewrite={} save='{}' maxmemory-policy={policy}",
        set("appendfsync"),
        set("no-appendfsync-on-rewrite"),
        set("save")
    );
    Server { version, syncs, durability, doubt }
}

impl Server {
    /// Once, at the start, what is weaker than somebody may think.
    pub(super) fn warn(&self, target: &Endpoint, description: &str) {
        if let Some(doubt) = self.doubt {
            tracing::warn!(store = description, durability = self.durability, "{doubt}");
        }
        if target.remote && !target.encrypted {
            tracing::warn!(store = description, "nothing on the way to the server is encrypted; rediss:// would be");
        }
    }
}

fn fields(info: &str) -> HashMap<String, String> {
    let pairs = info.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn setting(reply: RedisResult<Value>) -> Option<String> {
    let pair: Vec<String> = redis::from_redis_value(reply.ok()?).ok()?;
    pair.into_iter().nth(1)
}

fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(info: &str, settings: &[(&'static str, &str)]) -> (Option<bool>, bool) {
        let info = fields(info);
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let server = judge("7.0.15".to_owned(), |name| info.get(name).map(String::as_str), &settings);
        (server.syncs, server.doubt.is_some())
    }

    #[test]
    fn settings_are_judged() {
        let on = "aof_enabled:1\r\nmaxmemory_policy:noeviction\r\n";
        let always = [("appendfsync", "always"), ("no-appendfsync-on-rewrite", "no")];
        assert_eq!(judged(on, &always), (Some(true), false));
        assert_eq!(judged(on, &[("appendfsync", "everysec"), always[1]]), (Some(false), true));
        assert_eq!(judged(on, &[always[0], ("no-appendfsync-on-rewrite", "yes")]), (Some(false), true));
        assert_eq!(judged("aof_enabled:0", &always), (Some(false), true));
        assert_eq!(judged("aof_enabled:1\nmaxmemory_policy:allkeys-lru", &always), (Some(true), true));
        assert_eq!(judged(on, &[]), (None, true), "a server that refuses CONFIG");
        assert_eq!(judged("", &[]), (None, true), "a server that says nothing");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(number("6.0.16") < OLDEST && number("6.2.0") >= OLDEST && number("10.0") >= OLDEST);
        assert!(number("unknown") < OLDEST);
    }
}
