//! The private server of a run, and what it says of its load.

use crate::Failure;
use crate::options::{Kind, Options};
use liner_test_servers::{postgres, redis};

pub(crate) enum Server {
    Postgres { url: String, _server: postgres::Server },
    Redis(redis::Server),
}

/// Since the server started.
pub(crate) struct Load {
    pub(crate) statements: f64,
    /// Seconds the server has spent on them.
    pub(crate) busy: f64,
}

/// What this program asks the server about its load is none of the nodes'.
const LOAD: &str = "SELECT sum(calls), sum(total_exec_time) / 1000 FROM pg_stat_statements
    WHERE query NOT LIKE '%pg_stat_%'";

const CONNECTIONS: &str = "SELECT coalesce(sum(n), 0), coalesce(max(n), 0) FROM (
        SELECT count(*) AS n FROM pg_stat_activity WHERE application_name LIKE 'node-%' GROUP BY application_name
    ) AS nodes";

/// ARGV: how many topics, and nodes.
const ROUTES: &str = "for n = 0, ARGV[1] - 1 do
        local route = redis.call('HGETALL', 'lnr_topic:topic-' .. n % ARGV[2] .. ':addr')
        redis.call('HSET', 'lnr_topic:further-' .. n .. ':addr', route[1], route[2])
    end
    return redis.call('PUBLISH', 'lnr_catalogue', redis.call('INCR', 'lnr_catalogue'))";

impl Server {
    pub(crate) fn start(options: &Options) -> Server {
        match options.store {
            Kind::Postgres => {
                let connections = format!("max_connections={}", connections(options));
                let server = postgres::Server::start(&[&connections, "shared_preload_libraries=pg_stat_statements"]);
                let url = server.database("mesh");
                postgres::psql(&url, "CREATE EXTENSION pg_stat_statements");
                Server::Postgres { url, _server: server }
            }
            Kind::Redis => Server::Redis(redis::Server::start(&[])),
        }
    }

    pub(crate) fn settings(&self, options: &Options) -> String {
        match self {
            Server::Postgres { url, .. } => {
                let version = postgres::psql(url, "SHOW server_version");
                format!("PostgreSQL {version}, max_connections={}", connections(options))
            }
            Server::Redis(server) => {
                let info = redis::cli(&server.url(0), &["INFO", "server"]);
                let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
                format!("Redis {}", version.unwrap_or("unknown").trim())
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Server::Postgres { url, .. } => url.clone(),
            Server::Redis(server) => server.url(0),
        }
    }

    pub(crate) fn load(&self) -> Result<Load, Failure> {
        match self {
            Server::Postgres { url, .. } => {
                let row = postgres::psql(url, LOAD);
                let (statements, busy) = row.split_once('|').ok_or("no row")?;
                Ok(Load { statements: statements.parse()?, busy: busy.parse()? })
            }
            Server::Redis(server) => redis_load(&redis::cli(&server.url(0), &["INFO", "everything"])),
        }
    }

    /// All connections of nodes, and the most that one node has where the server tells whose they are.
    pub(crate) fn connections(&self) -> Result<(usize, Option<usize>), Failure> {
        match self {
            Server::Postgres { url, .. } => {
                let row = postgres::psql(url, CONNECTIONS);
                let (all, most) = row.split_once('|').ok_or("no row")?;
                Ok((all.parse()?, Some(most.parse()?)))
            }
            Server::Redis(server) => {
                let clients = redis::cli(&server.url(0), &["CLIENT", "LIST"]);
                // One is this question's.
                Ok((clients.lines().filter(|client| !client.contains("cmd=client")).count(), None))
            }
        }
    }

    /// Routes of an operator to topics that nobody uses yet, each to the next of the nodes.
    pub(crate) fn add_routes(&self, topics: usize, nodes: usize) {
        match self {
            Server::Postgres { url, .. } => {
                let sql = format!(
                    "INSERT INTO topic_addr (topic, addr, client_name)
                    SELECT 'further-' || n, addr, client_name
                    FROM generate_series(0, {topics} - 1) AS n JOIN topic_addr ON topic = 'topic-' || (n % {nodes})"
                );
                postgres::psql(url, &sql);
            }
            Server::Redis(server) => {
                redis::cli(&server.url(0), &["EVAL", ROUTES, "0", &topics.to_string(), &nodes.to_string()]);
            }
        }
    }
}

/// Room for every node, and for those who look.
fn connections(options: &Options) -> usize {
    options.nodes * crate::CONNECTIONS + 20
}

/// What a node at rest sends: calls of scripts, which read nothing with GET then, and GET.
fn redis_load(info: &str) -> Result<Load, Failure> {
    let mut load = Load { statements: 0.0, busy: 0.0 };
    for line in info.lines() {
        if let Some(seconds) = line.strip_prefix("used_cpu_user:").or_else(|| line.strip_prefix("used_cpu_sys:")) {
            load.busy += seconds.trim().parse::<f64>()?;
        }
        let calls = ["cmdstat_evalsha:calls=", "cmdstat_get:calls="].iter().find_map(|name| line.strip_prefix(name));
        if let Some(calls) = calls.and_then(|rest| rest.split(',').next()) {
            load.statements += calls.parse::<f64>()?;
        }
    }
    Ok(load)
}
