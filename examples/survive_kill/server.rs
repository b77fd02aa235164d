//! The private PostgreSQL server of a run, if it has one.

use crate::options::Options;
use std::error::Error;

/// Nothing where the run is on SQLite.
#[derive(Default)]
pub(crate) struct Server {
    #[cfg(feature = "postgres")]
    running: Option<crate::postgres::Server>,
}

impl Server {
    /// Starts one if the options ask for it, and notes in them where it is.
    #[cfg(feature = "postgres")]
    pub(crate) fn start(options: &mut Options) -> Server {
        if !options.postgres {
            return Server::default();
        }
        let server = crate::postgres::Server::start(&["fsync=on"]);
        options.url = server.database("mesh");
        Server { running: Some(server) }
    }

    #[cfg(not(feature = "postgres"))]
    pub(crate) fn start(_: &mut Options) -> Server {
        Server::default()
    }

    /// SIGKILL to all its processes.
    pub(crate) fn kill(&mut self) {
        #[cfg(feature = "postgres")]
        if let Some(server) = &mut self.running {
            server.kill();
        }
    }

    pub(crate) fn start_again(&mut self) {
        #[cfg(feature = "postgres")]
        if let Some(server) = &mut self.running {
            server.start_again();
        }
    }

    /// Nothing may be left in it.
    pub(crate) fn check_empty(&self, options: &Options) -> Result<(), Box<dyn Error>> {
        #[cfg(feature = "postgres")]
        if self.running.is_some() {
            for node in ["sender", "receiver"] {
                let left = crate::postgres::psql(&options.url, &left(options, node));
                if left != "0" {
                    return Err(format!("{left} messages are left in the store of the {node}").into());
                }
            }
        }
        let _ = options;
        Ok(())
    }
}

#[cfg(feature = "postgres")]
fn left(options: &Options, node: &str) -> String {
    let schema = if options.isolated { node } else { "public" };
    format!("SELECT count(*) FROM {schema}.conn_messages")
}
