//! The servers that contenders need. Each is found in the path, started on a free port with an empty directory, and killed
//! when dropped.

use crate::rows::ServerKind;
use liner_test_servers::postgres;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use versus_work::{Failure, free_port};

/// How long a server may take to start listening.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Server {
    running: ServerProcess,
    /// Host and port, or the URL of a database.
    pub addr: String,
}

enum ServerProcess {
    Process(Child),
    /// Ends when dropped.
    Postgres {
        _server: postgres::Server,
    },
}

impl ServerKind {
    /// Returns the version that the server's program prints.
    pub fn version(self) -> Result<String, Failure> {
        let binary = match self {
            ServerKind::Nats => "nats-server",
            ServerKind::Redis => "redis-server",
            ServerKind::Postgres => return Ok(postgres::version().ok_or("PostgreSQL is not installed")?),
        };
        let said = Command::new(binary).arg("--version").output();
        let said = said.map_err(|error| format!("{binary}: {error}"))?;
        Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    pub fn start(self, dir: &Path) -> Result<Server, Failure> {
        let port = free_port()?;
        let mut command;
        match self {
            ServerKind::Postgres => {
                // The settings of `initdb`, and each commit is synced before it returns.
                let server = postgres::Server::start(&["fsync=on"]);
                let addr = server.database("mesh");
                return Ok(Server { running: ServerProcess::Postgres { _server: server }, addr });
            }
            ServerKind::Nats => {
                command = Command::new("nats-server");
                // With the default, the server disconnects a subscriber that has 64 MiB pending.
                let config = dir.join("nats.conf");
                fs::write(&config, "max_pending: 4GB\n")?;
                let port = port.to_string();
                command.arg("-c").arg(config).args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"]).arg(dir);
            }
            ServerKind::Redis => {
                command = Command::new("redis-server");
                // Every command is in the file before its reply; the file is synced each second.
                let (bind, port) = (["--bind", "127.0.0.1"], ["--port", &port.to_string()]);
                command.args(bind).args(port).args(["--appendonly", "yes", "--appendfsync", "everysec"]);
                command.args(["--save", "", "--dir"]).arg(dir);
            }
        }
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut server = Server { running: ServerProcess::Process(process), addr: format!("127.0.0.1:{port}") };
        server.await_listening()?;
        Ok(server)
    }
}

impl Server {
    fn await_listening(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        while TcpStream::connect(&self.addr).is_err() {
            if let ServerProcess::Process(process) = &mut self.running
                && let Some(status) = process.try_wait()?
            {
                return Err(format!("the server ended: {status}").into());
            }
            if start.elapsed() > PATIENCE {
                return Err("the server does not listen".into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let ServerProcess::Process(process) = &mut self.running {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
