//! Where the server is and how to talk to it: connection strings as libpq writes them, taken apart.
//!
//! What the client library does not know of libpq (certificates, `verify-ca`, `verify-full`) and what is our own
//! (`schema`, `pgbouncer`) is taken out here; the rest it parses itself. A connection string holds a password, so no part
//! of one is ever quoted in an error.

use crate::stores::OpenError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long one address of one host is tried, unless the connection string says otherwise.
const CONNECT: Duration = Duration::from_secs(10);

/// Unacknowledged for so long, or silent for so long and then through three probes, a connection is dead. Half a minute
/// in all: less than a lease or two, more than a hiccup of a network.
const UNACKED: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// Which server a node uses as its store, and how. Never shown: it holds a password.
///
/// ```
/// use liner::stores::postgres::PostgresOptions;
///
/// let options = PostgresOptions::new("postgresql://user:pass@db.example:5432/liner?sslmode=verify-full")
///     .schema("mesh");
/// assert!(!format!("{options:?}").contains("pass"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    url: String,
    schema: Option<String>,
    pgbouncer: bool,
}

impl PostgresOptions {
    /// A connection string as libpq takes it: `postgresql://user:pass@host:5432/liner` or `host=… dbname=…`.
    pub fn new(url: impl Into<String>) -> Self {
        PostgresOptions { url: url.into(), schema: None, pgbouncer: false }
    }

    /// The schema the tables are in, created if it is missing; by default the first of the role's search path. The same
    /// as `schema=…` in the connection string.
    #[must_use]
    pub fn schema(mut self, name: &str) -> Self {
        self.schema = Some(name.to_owned());
        self
    }

    /// The server is reached through pgbouncer in transaction mode (or a pooler like it): no session state is relied
    /// upon, and the catalogue is polled instead of pushed. The same as `pgbouncer=true` in the connection string.
    #[must_use]
    pub fn pgbouncer(mut self) -> Self {
        self.pgbouncer = true;
        self
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("schema", &self.schema)
            .field("pgbouncer", &self.pgbouncer)
            .finish_non_exhaustive()
    }
}

impl<T: Into<String>> From<T> for PostgresOptions {
    fn from(url: T) -> Self {
        PostgresOptions::new(url)
    }
}

/// How far the server's certificate is checked, as libpq's `sslmode` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verify {
    /// Not at all: `prefer`, and `require` without a root certificate.
    Nothing,
    /// It must come from a trusted authority, whatever its name.
    Authority,
    /// And be the host's.
    Name,
}

/// What TLS needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsOptions {
    pub(super) mode: SslMode,
    pub(super) verify: Verify,
    /// Trusted authorities; `system` for those of the machine.
    pub(super) root: Option<PathBuf>,
    /// Certificate and key of this client.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// A connection string, taken apart.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// One configuration for each host, in order, with its name for people.
    pub(super) hosts: Vec<(String, Config)>,
    pub(super) database: String,
    pub(super) tls: TlsOptions,
    pub(super) schema: Option<String>,
    pub(super) pgbouncer: bool,
}

fn refused(reason: impl Into<String>) -> OpenError {
    OpenError::Url { reason: reason.into() }
}

impl Endpoint {
    pub(super) fn parse(options: &PostgresOptions) -> Result<Endpoint, OpenError> {
        let (rest, own) = split(&options.url)?;
        let flag = |key: &str| own.last(key).map(str::to_owned);
        let parsed: Config = rest.parse().map_err(|error| refused(unquoted(&error)))?;
        let mut base = Config::new();
        copy_settings(&parsed, &mut base);
        if let Some(millis) = flag("tcp_user_timeout") {
            let millis = millis.parse().map_err(|_| refused("tcp_user_timeout is not a number of milliseconds"))?;
            base.tcp_user_timeout(Duration::from_millis(millis));
        }
        if own.last("target_session_attrs").is_none() {
            // A store must be written to; a server that is read-only, for now or for good, is none.
            base.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let tls = tls(&own)?;
        base.ssl_mode(tls.mode);
        let pgbouncer = match flag("pgbouncer").as_deref() {
            None => options.pgbouncer,
            Some("true" | "1" | "on") => true,
            Some("false" | "0" | "off") => false,
            Some(_) => return Err(refused("pgbouncer is neither true nor false")),
        };
        let schema = flag("schema").or_else(|| options.schema.clone());
        if schema.as_deref().is_some_and(|name| name.is_empty() || name.contains('\0')) {
            return Err(refused("the schema's name is not one"));
        }
        let database = parsed.get_dbname().or(parsed.get_user()).unwrap_or("the default database").to_owned();
        Ok(Endpoint { hosts: hosts(&parsed, &base)?, database, tls, schema, pgbouncer })
    }

    /// Whether a host is not this machine's own by its name.
    pub(super) fn leaves_machine(&self) -> bool {
        let local = |name: &str| ["localhost:", "127.", "::1:", "/"].iter().any(|own| name.starts_with(own));
        !self.hosts.iter().all(|(name, _)| local(name))
    }

    /// Hosts and database, for people. No secrets.
    pub(super) fn shown(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(|(name, _)| name.as_str()).collect();
        let schema = self.schema.as_ref().map_or_else(String::new, |schema| format!(" schema {schema}"));
        format!("{}/{}{schema}", hosts.join(","), self.database)
    }
}

/// The client library's complaint without the part of it that may quote the string.
fn unquoted(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match source.strip_prefix("invalid value for option ") {
        Some(option) => format!("invalid value for option {option}"),
        None if source.starts_with("unknown option") => "it has an option that is not supported".to_owned(),
        None => "it is neither a URL nor key=value pairs".to_owned(),
    }
}

/// Everything but hosts and TLS, with our defaults where nothing is said.
fn copy_settings(from: &Config, to: &mut Config) {
    if let Some(user) = from.get_user() {
        to.user(user);
    }
    if let Some(password) = from.get_password() {
        to.password(password);
    }
    if let Some(database) = from.get_dbname() {
        to.dbname(database);
    }
    if let Some(options) = from.get_options() {
        to.options(options);
    }
    to.application_name(from.get_application_name().unwrap_or("liner"));
    to.ssl_negotiation(from.get_ssl_negotiation());
    to.channel_binding(from.get_channel_binding());
    to.target_session_attrs(from.get_target_session_attrs());
    to.connect_timeout(from.get_connect_timeout().copied().unwrap_or(CONNECT));
    to.tcp_user_timeout(UNACKED);
    to.keepalives(from.get_keepalives());
    // Two hours is what the client library has where nothing is said.
    let idle = Some(from.get_keepalives_idle()).filter(|idle| *idle < Duration::from_secs(7200));
    to.keepalives_idle(idle.unwrap_or(IDLE));
    to.keepalives_interval(from.get_keepalives_interval().unwrap_or(PROBE));
    to.keepalives_retries(from.get_keepalives_retries().unwrap_or(PROBES));
}

/// One configuration a host: the client library tries them in order by itself, but then reports only the last failure.
fn hosts(parsed: &Config, base: &Config) -> Result<Vec<(String, Config)>, OpenError> {
    let (names, addrs, ports) = (parsed.get_hosts(), parsed.get_hostaddrs(), parsed.get_ports());
    let count = names.len().max(addrs.len());
    if count == 0 {
        return Err(refused("it names no host"));
    }
    if (!names.is_empty() && !addrs.is_empty() && names.len() != addrs.len())
        || (ports.len() > 1 && ports.len() != count)
    {
        return Err(refused("hosts, hostaddrs and ports differ in number"));
    }
    Ok((0..count)
        .map(|n| {
            let mut config = base.clone();
            let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
            config.port(port);
            let mut shown = None;
            match names.get(n) {
                Some(Host::Tcp(name)) => {
                    config.host(name);
                    shown = Some(name.clone());
                }
                #[cfg(unix)]
                Some(Host::Unix(path)) => {
                    config.host_path(path);
                    shown = Some(path.display().to_string());
                }
                None => {}
            }
            if let Some(addr) = addrs.get(n) {
                config.hostaddr(*addr);
                shown.get_or_insert_with(|| addr.to_string());
            }
            (format!("{}:{port}", shown.unwrap_or_default()), config)
        })
        .collect())
}

fn tls(own: &Own) -> Result<TlsOptions, OpenError> {
    let root = own.last("sslrootcert").filter(|path| !path.is_empty()).map(PathBuf::from);
    let (mode, verify) = match own.last("sslmode") {
        Some("disable") => (SslMode::Disable, Verify::Nothing),
        None | Some("prefer") => (SslMode::Prefer, Verify::Nothing),
        // As libpq does: who names an authority wants it checked.
        Some("require") if root.is_some() => (SslMode::Require, Verify::Authority),
        Some("require") => (SslMode::Require, Verify::Nothing),
        Some("verify-ca") => (SslMode::Require, Verify::Authority),
        Some("verify-full") => (SslMode::Require, Verify::Name),
        Some("allow") => return Err(refused("sslmode=allow is not supported: it would downgrade in silence")),
        Some(_) => return Err(refused("sslmode is not disable, prefer, require, verify-ca or verify-full")),
    };
    let file = |key: &str| own.last(key).map(PathBuf::from);
    let client = match (file("sslcert"), file("sslkey")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(refused("sslcert and sslkey need each other")),
    };
    Ok(TlsOptions { mode, verify, root, client })
}

/// Keys that are not the client library's business.
const OWN: &[&str] = &["sslmode", "sslrootcert", "sslcert", "sslkey", "schema", "pgbouncer", "tcp_user_timeout"];

/// The keys in [`OWN`] with their values, and which others were there.
#[derive(Debug, Default)]
struct Own(Vec<(String, String)>);

impl Own {
    fn last(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// The connection string without our keys, and our keys.
fn split(url: &str) -> Result<(String, Own), OpenError> {
    if url.starts_with("postgresql://") || url.starts_with("postgres://") { split_url(url) } else { split_pairs(url) }
}

fn split_url(url: &str) -> Result<(String, Own), OpenError> {
    let Some((front, query)) = url.split_once('?') else { return Ok((url.to_owned(), Own::default())) };
    let (mut own, mut rest) = (Own::default(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| refused("an option has no value"))?;
        let taken = OWN.contains(&key);
        if taken || key == "target_session_attrs" {
            own.0.push((key.to_owned(), percent_decoded(value)?));
        }
        if !taken {
            rest.push(pair);
        }
    }
    let joined = if rest.is_empty() { front.to_owned() } else { format!("{front}?{}", rest.join("&")) };
    Ok((joined, own))
}

fn percent_decoded(text: &str) -> Result<String, OpenError> {
    let broken = || refused("an option is not percent-encoded as it should be");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16)).ok_or_else(broken);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| broken())?);
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

/// `key = value` pairs; a value may stand in single quotes, and a backslash takes the next character as it is.
fn split_pairs(text: &str) -> Result<(String, Own), OpenError> {
    let broken = || refused("it is neither a URL nor key=value pairs");
    let (mut own, mut rest) = (Own::default(), String::new());
    let mut chars = text.trim_start().chars().peekable();
    while chars.peek().is_some() {
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        chars.next_if_eq(&'=').ok_or_else(broken)?;
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                Some('\\') => value.push(chars.next().ok_or_else(broken)?),
                Some('\'') if quoted => break,
                None if quoted => return Err(broken()),
                None => break,
                Some(c) if !quoted && c.is_whitespace() => break,
                Some(c) => value.push(c),
            }
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let taken = OWN.contains(&key.as_str());
        if !taken {
            let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
            rest.push_str(&format!("{key}='{escaped}' "));
        }
        if taken || key == "target_session_attrs" {
            own.0.push((key, value));
        }
    }
    Ok((rest, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Endpoint {
        Endpoint::parse(&PostgresOptions::new(url)).expect("is understood")
    }

    fn refusal(url: &str) -> String {
        Endpoint::parse(&PostgresOptions::new(url)).expect_err("is refused").to_string()
    }

    #[test]
    fn urls_and_pairs_say_the_same() {
        let url = "postgresql://me:s%40cret@one:1,two:2/mesh?sslmode=verify-full&sslrootcert=%2Fca.pem&schema=a%20b";
        let pairs = "host=one,two port=1,2 user = me password='s@cret' dbname=mesh sslmode=verify-full \
                     sslrootcert=/ca.pem schema='a b'";
        for text in [url, pairs] {
            let target = target(text);
            assert_eq!(target.shown(), "one:1,two:2/mesh schema a b");
            assert_eq!((target.tls.mode, target.tls.verify), (SslMode::Require, Verify::Name));
            assert_eq!(target.tls.root, Some(PathBuf::from("/ca.pem")));
            for (_, config) in &target.hosts {
                assert_eq!(config.get_password(), Some(&b"s@cret"[..]));
                assert_eq!(config.get_hosts().len(), 1);
            }
        }
    }

    #[test]
    fn a_store_is_a_server_that_can_be_written_unless_something_else_is_said() {
        let attrs = |url: &str| target(url).hosts[0].1.get_target_session_attrs();
        assert_eq!(attrs("postgresql://h/d"), TargetSessionAttrs::ReadWrite);
        assert_eq!(attrs("postgresql://h/d?target_session_attrs=any"), TargetSessionAttrs::Any);
        assert_eq!(attrs("host=h target_session_attrs=any"), TargetSessionAttrs::Any);
    }

    #[test]
    fn the_modes_of_tls_are_those_of_libpq() {
        let tls = |mode: &str| {
            let tls = target(&format!("postgresql://h/d?{mode}")).tls;
            (tls.mode, tls.verify)
        };
        assert_eq!(tls(""), (SslMode::Prefer, Verify::Nothing));
        assert_eq!(tls("sslmode=disable"), (SslMode::Disable, Verify::Nothing));
        assert_eq!(tls("sslmode=require"), (SslMode::Require, Verify::Nothing));
        assert_eq!(tls("sslmode=require&sslrootcert=x"), (SslMode::Require, Verify::Authority));
        assert_eq!(tls("sslmode=verify-ca"), (SslMode::Require, Verify::Authority));
        assert!(refusal("postgresql://h/d?sslmode=allow").contains("downgrade"));
        assert!(refusal("postgresql://h/d?sslmode=nonsense").contains("sslmode"));
    }

    #[test]
    fn no_part_of_a_connection_string_is_quoted() {
        let broken = [
            "postgresql://me:hunter2@h:port/d",
            "postgresql://me:hunter2@h/d?unknown=hunter2",
            "host=h password=hun ter2=x",
            "host=h password='hunter2",
            "hunter2",
            "host=h user=me password=hunter2 port=hunter2",
            "user=me password=hunter2",
        ];
        for url in broken {
            let refusal = refusal(url);
            assert!(!refusal.contains("hun") && !refusal.contains("ter2"), "{refusal}");
        }
    }
}
