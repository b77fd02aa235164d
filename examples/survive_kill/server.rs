//! The private server of a run, if it has one.

use crate::options::{Kind, Options};
use std::error::Error;

/// A server that runs, or none: the run is on SQLite.
pub(crate) enum Server {
    None,
    #[cfg(feature = "postgres")]
    Postgres(liner_test_servers::postgres::Server),
    #[cfg(feature = "redis")]
    Redis(liner_test_servers::redis::Server),
}

impl Server {
    /// Starts one if the options ask for it, and notes in them where it is.
    pub(crate) fn start(options: &mut Options) -> Server {
        match options.store {
            #[cfg(feature = "postgres")]
            Kind::Postgres => {
                let server = liner_test_servers::postgres::Server::start(&["fsync=on"]);
                options.url = server.database("mesh");
                Server::Postgres(server)
            }
            #[cfg(feature = "redis")]
            Kind::Redis => {
                let server = liner_test_servers::redis::Server::start(&[]);
                options.url = server.url(0);
                Server::Redis(server)
            }
            Kind::Sqlite => Server::None,
        }
    }

    /// SIGKILL to all its processes.
    pub(crate) fn kill(&mut self) {
        match self {
            Server::None => {}
            #[cfg(feature = "postgres")]
            Server::Postgres(server) => server.kill(),
            #[cfg(feature = "redis")]
            Server::Redis(server) => server.kill(),
        }
    }

    pub(crate) fn start_again(&mut self) {
        match self {
            Server::None => {}
            #[cfg(feature = "postgres")]
            Server::Postgres(server) => server.start_again(),
            #[cfg(feature = "redis")]
            Server::Redis(server) => server.start_again(),
        }
    }

    /// Nothing may be left in it.
    pub(crate) fn check_empty(&self, options: &Options) -> Result<(), Box<dyn Error>> {
        for node in ["sender", "receiver"] {
            let left = self.left(options, node);
            if left != "0" {
                return Err(format!("{left} messages are left in the store of the {node}").into());
            }
        }
        Ok(())
    }

    #[cfg_attr(not(any(feature = "postgres", feature = "redis")), expect(unused_variables))]
    fn left(&self, options: &Options, node: &str) -> String {
        match self {
            Server::None => "0".to_owned(),
            #[cfg(feature = "postgres")]
            Server::Postgres(_) => {
                let schema = if options.isolated { node } else { "public" };
                liner_test_servers::postgres::psql(
                    &options.url,
                    &format!("SELECT count(*) FROM {schema}.conn_messages"),
                )
            }
            #[cfg(feature = "redis")]
            Server::Redis(_) => liner_test_servers::redis::queued(&options.url_of(node)).to_string(),
        }
    }
}
