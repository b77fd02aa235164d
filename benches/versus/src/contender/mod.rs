//! The contenders. One that cannot be built here is left out by the feature of its name.

mod actix;
mod arbiter;
mod fan_out;
mod idle;
mod liner;
#[cfg(feature = "nats")]
mod nats;
mod nodes;
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod sqlite;
mod tcp;
#[cfg(feature = "zenoh")]
mod zenoh;
#[cfg(feature = "libzmq")]
mod zmq;

use versus_work::Contender;

/// Returns the contender of a row.
pub fn find(row: &str) -> Option<Box<dyn Contender>> {
    Some(match row {
        "liner-amo-fanout" => Box::new(fan_out::FanOut::AT_MOST_ONCE),
        "liner-wb-fanout" => Box::new(fan_out::FanOut::WRITE_BEHIND),
        "liner-idle" => Box::new(idle::Idle),
        "actix-dosend" => Box::new(actix::Actix::DoSend),
        "actix-send" => Box::new(actix::Actix::Send),
        "tcp" => Box::new(tcp::Tcp),
        "sqlite" => Box::new(sqlite::Inserts),
        "postgres" => Box::new(postgres::Copy),
        #[cfg(feature = "libzmq")]
        "libzmq" => Box::new(zmq::Zmq),
        #[cfg(feature = "libzmq")]
        "libzmq-fanout" => Box::new(zmq::PubSub),
        #[cfg(feature = "zenoh")]
        "zenoh" => Box::new(zenoh::Zenoh),
        #[cfg(feature = "nats")]
        "nats" => Box::new(nats::Core::ONE),
        #[cfg(feature = "nats")]
        "nats-fanout" => Box::new(nats::Core::FAN_OUT),
        #[cfg(feature = "nats")]
        "jetstream" => Box::new(nats::JetStream),
        #[cfg(feature = "redis")]
        "redis" => Box::new(redis::Streams),
        #[cfg(feature = "redis")]
        "redis-push" => Box::new(redis::Lists),
        _ => Box::new(liner::Liner::find(row)?),
    })
}

/// Returns the versions of the systems compared, from the lock files of this program and of the other.
pub fn versions() -> Vec<(&'static str, String)> {
    let locked = [include_str!("../../Cargo.lock"), include_str!("../../broker/Cargo.lock")];
    let version = |name: &str| {
        let named = format!("name = \"{name}\"\n");
        let package = locked.iter().flat_map(|lock| lock.split("[[package]]")).find(|part| part.contains(&named));
        let line = package.and_then(|package| package.lines().find_map(|line| line.strip_prefix("version = ")));
        line.map_or("unknown".to_owned(), |version| version.trim_matches('"').to_owned())
    };
    let names =
        ["liner-actors", "liner_broker", "actix", "zenoh", "zmq", "async-nats", "redis", "rusqlite", "tokio-postgres"];
    let versions = names.map(|name| (name, version(name))).into_iter();
    versions.chain([("libzmq", libzmq()), ("sqlite", rusqlite::version().to_owned())]).collect()
}

#[cfg(feature = "libzmq")]
fn libzmq() -> String {
    let (major, minor, patch) = ::zmq::version();
    format!("{major}.{minor}.{patch}")
}

#[cfg(not(feature = "libzmq"))]
fn libzmq() -> String {
    "not built".to_owned()
}
