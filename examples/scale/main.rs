//! Many nodes on one PostgreSQL or Redis: how long until they know each other, and what they cost the server.
//!
//! `cargo run --release --features postgres,redis --example scale -- --store postgres --nodes 200`
//!
//! The nodes run in a few processes on a private server. Each sends to some others, chosen at random; then all rest, and
//! what they ask of the server meanwhile is counted; then the catalogue gets thousands of topics more, of which no node, and
//! then one, makes use. The exit code is 1 if a message is missing, a node has more connections than it may, or a node that
//! rests asks too much.

mod options;
mod part;
mod server;

use options::Options;
use server::{Load, Server};
use std::error::Error;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

type Failure = Box<dyn Error>;

/// What a node may hold on the server: one connection that commits, one for the rest, one that is notified of changes.
const CONNECTIONS: usize = 3;

/// Statements a second of a node that rests: its lease is renewed every five seconds, in a transaction, and the topics it
/// uses are looked at as often.
const IDLE: f64 = 2.5;

fn main() -> ExitCode {
    let done = Options::parse(std::env::args().skip(1)).and_then(|options| match options.part {
        Some(part) => actix::System::new().block_on(part::run(&options, part)),
        None => direct(&options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The parent's life.
fn direct(options: &Options) -> Result<(), Failure> {
    let Options { nodes, processes, peers, messages, topics, .. } = *options;
    let server = Server::start(options);
    println!("{nodes} nodes in {processes} processes on {}", server.settings(options));
    let mut stage = Stage { parts: Vec::new(), server, idle: options.idle, nodes };
    for part in 0..processes {
        stage.parts.push(Part::start(part, &stage.server.url())?);
    }
    stage.step("all nodes have started", "start")?;
    stage.step(&format!("each has sent {messages} messages to {peers} others"), "send")?;
    stage.step("all of them are acked", "settle")?;
    let (sent, handled) = (nodes * peers * messages, stage.count()?);
    if handled != sent {
        return Err(format!("{handled} messages were handled, and {sent} sent").into());
    }
    stage.connections()?;
    let idle = stage.rest("all rest")?;
    stage.timed(&format!("{topics} topics more are in the catalogue"), |stage| {
        stage.server.add_routes(topics, nodes);
        Ok(())
    })?;
    stage.rest("all rest")?;
    stage.timed("one node has found a route to each of them", |stage| stage.parts[0].step("use").map(drop))?;
    stage.rest("all rest")?;
    stage.connections()?;
    stage.step("all nodes have ended", "end")?;
    if idle > IDLE {
        return Err(format!("a node that rests sends {idle:.2} statements a second, more than {IDLE}").into());
    }
    println!("done: {nodes} nodes, {idle:.2} statements a second of each that rests");
    Ok(())
}

struct Stage {
    parts: Vec<Part>,
    server: Server,
    idle: Duration,
    nodes: usize,
}

impl Stage {
    fn timed(&mut self, what: &str, step: impl FnOnce(&mut Stage) -> Result<(), Failure>) -> Result<(), Failure> {
        let start = Instant::now();
        step(self)?;
        println!("{:8.2} s  {what}", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Has all processes do something at once.
    fn step(&mut self, what: &str, word: &str) -> Result<(), Failure> {
        self.timed(what, |stage| {
            for part in &mut stage.parts {
                part.say(word)?;
            }
            stage.parts.iter_mut().try_for_each(|part| part.hear(word).map(drop))
        })
    }

    /// The messages that all nodes have handled.
    fn count(&mut self) -> Result<usize, Failure> {
        self.parts.iter_mut().map(|part| part.step("count")).sum()
    }

    fn connections(&self) -> Result<(), Failure> {
        let (all, most) = self.server.connections()?;
        println!(
            "            {all} connections{}",
            most.map_or(String::new(), |most| format!(", at most {most} of a node"))
        );
        if most.is_some_and(|most| most > CONNECTIONS) || all > CONNECTIONS * self.nodes {
            return Err(format!("a node has more than {CONNECTIONS} connections").into());
        }
        Ok(())
    }

    /// Lets time pass, and returns how many statements a node sent in each second of it.
    fn rest(&self, what: &str) -> Result<f64, Failure> {
        // What was begun before is over by then.
        std::thread::sleep(self.idle / 4);
        let (before, start) = (self.server.load()?, Instant::now());
        std::thread::sleep(self.idle);
        let Load { statements, busy } = self.server.load()?;
        let seconds = start.elapsed().as_secs_f64();
        let (statements, busy) = ((statements - before.statements) / seconds, (busy - before.busy) / seconds);
        let each = statements / self.nodes as f64;
        println!(
            "{seconds:8.2} s  {what}: {statements:.0} statements a second, {each:.2} of a node; the server works {:.1} % of it",
            100.0 * busy
        );
        Ok(each)
    }
}

/// A process with some of the nodes. Ends when its standard input does.
struct Part {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Part {
    fn start(part: usize, url: &str) -> Result<Part, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(std::env::args().skip(1)).args(["--part", &part.to_string(), "--url", url]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(process.stdout.take().ok_or("no pipe")?).lines();
        Ok(Part { process, lines })
    }

    fn say(&mut self, word: &str) -> Result<(), Failure> {
        Ok(writeln!(self.process.stdin.as_mut().ok_or("no pipe")?, "{word}")?)
    }

    /// Reads the reply: `word` and a number, which is returned.
    fn hear(&mut self, word: &str) -> Result<usize, Failure> {
        let said = self.lines.next().ok_or("a process ended")??;
        match said.strip_prefix(word) {
            Some(number) => Ok(number.trim().parse()?),
            None => Err(format!("{word:?} was expected, not {said:?}").into()),
        }
    }

    fn step(&mut self, word: &str) -> Result<usize, Failure> {
        self.say(word)?;
        self.hear(word)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
