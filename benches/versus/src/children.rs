//! The child processes of one measurement. `versus_work::role` describes the lines that are exchanged with them.

use crate::rows::Program;
use std::collections::VecDeque;
use std::env::current_exe;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use versus_work::Failure;

/// Limit of each step. It is longer than a receiver's, so that the receiver can report what is missing.
const PATIENCE: Duration = Duration::from_secs(90);

/// The program of the liner_broker rows, or why there is none.
pub type BrokerProgram = Result<PathBuf, String>;

/// Configuration shared by the processes of a measurement.
pub struct ChildConfig<'a> {
    pub row: &'a str,
    pub program: Program,
    pub dir: &'a Path,
    pub server: Option<&'a str>,
    pub broker: &'a BrokerProgram,
}

impl ChildConfig<'_> {
    fn command(&self, roles: &str) -> Result<Command, Failure> {
        let mut command = match self.program {
            Program::Own => {
                let mut command = Command::new(current_exe()?);
                command.arg("child");
                command
            }
            Program::Broker => Command::new(self.broker.as_ref().map_err(String::as_str)?),
        };
        command.args([self.row, roles]).arg(self.dir).args(self.server);
        // A contender's own output must not get into the table.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(command)
    }
}

/// Running child processes. They are killed when this is dropped.
pub struct Children {
    processes: Vec<Process>,
    lines: Receiver<(char, String)>,
    /// Lines of one role that came while waiting for the other.
    early: VecDeque<(char, String)>,
}

struct Process {
    roles: String,
    child: Child,
    input: ChildStdin,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child's reply, without its first word.
pub struct Reply(Vec<String>);

impl Reply {
    pub fn word(&self, at: usize) -> Result<String, Failure> {
        Ok(self.0.get(at).ok_or("a word is missing in a reply")?.clone())
    }

    pub fn number(&self, at: usize) -> Result<u64, Failure> {
        Ok(self.word(at)?.parse()?)
    }

    pub fn numbers_from(&self, at: usize) -> Result<Vec<u64>, Failure> {
        Ok(self.0.iter().skip(at).map(|word| word.parse()).collect::<Result<_, _>>()?)
    }
}

impl Children {
    /// Starts one process for each of `roles`.
    pub fn start(stage: &ChildConfig<'_>, roles: &[&str]) -> Result<Children, Failure> {
        let (to_lines, lines) = channel();
        let process = |roles: &&str| Process::start(&mut stage.command(roles)?, roles, to_lines.clone());
        let processes = roles.iter().map(process).collect::<Result<_, _>>()?;
        Ok(Children { processes, lines, early: VecDeque::new() })
    }

    /// Starts the receiver, if there is one, and connects the sender to it.
    pub fn connect(&mut self, alone: bool) -> Result<(), Failure> {
        let mut peer = "-".to_owned();
        if !alone {
            self.write('r', "start")?;
            peer = self.read('r', "ready")?.word(0)?;
        }
        self.write('s', &format!("peer {peer}"))?;
        self.read('s', "ready").map(drop)
    }

    /// Ends all processes. Returns the peak memory of the largest, in KiB.
    pub fn end(mut self) -> Result<u64, Failure> {
        let mut peak = 0;
        for role in self.processes.iter().map(|process| process.roles.clone()).collect::<String>().chars() {
            self.write(role, "end")?;
            peak = peak.max(self.read(role, "peak")?.number(0)?);
        }
        Ok(peak)
    }

    pub fn write(&mut self, role: char, line: &str) -> Result<(), Failure> {
        let of_role = |process: &&mut Process| process.roles.contains(role);
        let process = self.processes.iter_mut().find(of_role).ok_or("no process plays this role")?;
        Ok(writeln!(process.input, "{role} {line}")?)
    }

    /// Returns the next reply of a role, which must start with `word`.
    pub fn read(&mut self, role: char, word: &str) -> Result<Reply, Failure> {
        let line = match self.early.iter().position(|(from, _)| *from == role) {
            Some(at) => self.early.remove(at).map(|(_, line)| line).unwrap_or_default(),
            None => self.next_of(role)?,
        };
        let mut words = line.split_whitespace().map(str::to_owned);
        if words.next().as_deref() == Some(word) {
            Ok(Reply(words.collect()))
        } else {
            Err(format!("{word:?} was expected, not {line:?}").into())
        }
    }

    fn next_of(&mut self, role: char) -> Result<String, Failure> {
        loop {
            let (from, line) = self.lines.recv_timeout(PATIENCE).map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("no reply for {PATIENCE:?}"),
                RecvTimeoutError::Disconnected => "the processes ended".to_owned(),
            })?;
            if let Some(failure) = line.strip_prefix("failed ") {
                return Err(format!("{}: {failure}", if from == 'r' { "receiver" } else { "sender" }).into());
            }
            if from == role {
                return Ok(line);
            }
            self.early.push_back((from, line));
        }
    }
}

impl Process {
    fn start(command: &mut Command, roles: &str, lines: Sender<(char, String)>) -> Result<Process, Failure> {
        let mut child = command.spawn().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = (input.ok_or("no pipe")?, output.ok_or("no pipe")?);
        let first = roles.chars().next().unwrap_or_default();
        thread::spawn(move || {
            let mut done = false;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let known = line.chars().next().filter(|role| matches!(role, 'r' | 's'));
                if let (Some(role), Some((_, rest))) = (known, line.split_once(' ')) {
                    done |= rest.starts_with("peak");
                    let _ = lines.send((role, rest.to_owned()));
                }
            }
            if !done {
                let _ = lines.send((first, "failed its process ended".to_owned()));
            }
        });
        Ok(Process { roles: roles.to_owned(), child, input })
    }
}
