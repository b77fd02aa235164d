//! Where the server is: a URL, taken apart by the client library.
//!
//! A URL holds a password, so no part of one is ever quoted in an error.

use crate::stores::OpenError;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Unacknowledged for so long, or silent for so long and then through three probes, a connection is dead. Half a minute
/// in all: less than a lease or two, more than a hiccup of a network.
const UNACKED: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// Which server a node uses as its store, and how. Never shown: it holds a password.
///
/// ```
/// use liner::stores::redis::RedisOptions;
///
/// let options = RedisOptions::new("rediss://liner:secret@redis.example:6379/0");
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisOptions {
    url: String,
    root: Option<PathBuf>,
    /// Certificate and key of this client.
    identity: Option<(PathBuf, PathBuf)>,
    pub(super) synced: bool,
}

impl RedisOptions {
    /// A URL: `redis://user:password@host:6379/0`, `rediss://…` with TLS, `redis+unix:///path/to/socket?db=0`.
    pub fn new(url: impl Into<String>) -> Self {
        RedisOptions { url: url.into(), root: None, identity: None, synced: false }
    }

    /// A file of authorities (PEM) that the certificate of a `rediss://` server is checked against, instead of those of
    /// the machine.
    #[must_use]
    pub fn root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.root = Some(file.into());
        self
    }

    /// Files (PEM) with a certificate of this client's and its key, for a `rediss://` server that asks for one.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Refuse a server that does not sync every commit to its disk, or may evict keys. A node whose default is
    /// [`Durability::Synced`](crate::Durability::Synced) asks for it.
    #[must_use]
    pub fn synced(mut self) -> Self {
        self.synced = true;
        self
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions").field("synced", &self.synced).finish_non_exhaustive()
    }
}

impl<T: Into<String>> From<T> for RedisOptions {
    fn from(url: T) -> Self {
        RedisOptions::new(url)
    }
}

/// A server, and how to reach it.
pub(super) struct Endpoint {
    pub(super) client: Client,
    /// Address and database, for people.
    pub(super) shown: String,
    pub(super) encrypted: bool,
    /// Whether what is sent leaves the machine.
    pub(super) remote: bool,
}

fn refused(reason: &str) -> OpenError {
    OpenError::Url { reason: reason.to_owned() }
}

impl Endpoint {
    pub(super) fn parse(options: &RedisOptions) -> Result<Endpoint, OpenError> {
        let not_one = "not redis://[user:password@]host[:port][/db], rediss://…, or redis+unix:///path[?db=…]";
        let info: ConnectionInfo = options.url.as_str().into_connection_info().map_err(|_| refused(not_one))?;
        let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(PROBE).with_retries(PROBES);
        let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        #[cfg(target_os = "linux")]
        let settings = settings.set_user_timeout(UNACKED);
        let info = info.set_tcp_settings(settings);
        let (place, encrypted, remote) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (format!("{host}:{port}"), false, !is_loopback(host)),
            ConnectionAddr::TcpTls { host, port, .. } => (format!("{host}:{port}"), true, !is_loopback(host)),
            ConnectionAddr::Unix(path) => (path.display().to_string(), false, false),
            _ => return Err(refused("an address of a kind this library does not know")),
        };
        let shown = format!("{place}/{}", info.redis_settings().db());
        let client = client(info, encrypted, options, &shown)?;
        Ok(Endpoint { client, shown, encrypted, remote })
    }
}

fn client(info: ConnectionInfo, encrypted: bool, options: &RedisOptions, shown: &str) -> Result<Client, OpenError> {
    if encrypted && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Lost, the race was against somebody else's choice, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let tls = |reason: String| OpenError::Tls { server: shown.to_owned(), reason };
    let read = |file: &PathBuf| std::fs::read(file).map_err(|error| tls(format!("{}: {error}", file.display())));
    let root_cert = options.root.as_ref().map(read).transpose()?;
    let client_tls = match &options.identity {
        Some((certificate, key)) => Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? }),
        None => None,
    };
    let client = if root_cert.is_some() || client_tls.is_some() {
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
    } else {
        Client::open(info)
    };
    client.map_err(|error| tls(super::error::text(&error)))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.starts_with("127.") || host.trim_matches(['[', ']']) == "::1"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, String> {
        Endpoint::parse(&url.into()).map(|target| target.shown).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_of_all_kinds_are_understood() {
        assert_eq!(shown("redis://db.example/3").as_deref(), Ok("db.example:6379/3"));
        assert_eq!(shown("redis://user:secret@127.0.0.1:7000").as_deref(), Ok("127.0.0.1:7000/0"));
        assert_eq!(shown("redis+unix:///run/redis.sock?db=2").as_deref(), Ok("/run/redis.sock/2"));
        assert_eq!(shown("rediss://:secret@db.example:7001/0").as_deref(), Ok("db.example:7001/0"));
    }

    #[test]
    fn a_mistake_is_named_without_quoting_it() {
        for url in ["", "postgres://secret@h/d", "redis://u:secret@:x/y", "secret"] {
            let error = shown(url).expect_err("is refused");
            assert!(error.starts_with("connection string: ") && !error.contains("secret"), "{error}");
        }
    }
}
