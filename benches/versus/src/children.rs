//! The processes of one measurement, and the conversation with them. See `versus_work::role` for the lines.

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

/// How long any step may take. A receiver gives up earlier, and says what is missing.
const PATIENCE: Duration = Duration::from_secs(90);

/// The program of the rows that need one of their own, or why it could not be built.
pub type Broker = Result<PathBuf, String>;

/// What the processes of a measurement have in common.
pub struct Stage<'a> {
    pub row: &'a str,
    pub program: Program,
    pub dir: &'a Path,
    pub server: Option<&'a str>,
    pub broker: &'a Broker,
}

impl Stage<'_> {
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
        // What a contender prints of its own is not for the table.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(command)
    }
}

/// The processes; killed when dropped.
pub struct Children {
    processes: Vec<Process>,
    lines: Receiver<(char, String)>,
    /// Lines of one role that came while the other was waited for.
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

/// What was answered, without its first word.
pub struct Answer(Vec<String>);

impl Answer {
    pub fn word(&self, at: usize) -> Result<String, Failure> {
        Ok(self.0.get(at).ok_or("a word is missing in an answer")?.clone())
    }

    pub fn number(&self, at: usize) -> Result<u64, Failure> {
        Ok(self.word(at)?.parse()?)
    }

    pub fn numbers_from(&self, at: usize) -> Result<Vec<u64>, Failure> {
        Ok(self.0.iter().skip(at).map(|word| word.parse()).collect::<Result<_, _>>()?)
    }
}

impl Children {
    /// A process for each of `roles`.
    pub fn start(stage: &Stage<'_>, roles: &[&str]) -> Result<Children, Failure> {
        let (to_lines, lines) = channel();
        let process = |roles: &&str| Process::start(&mut stage.command(roles)?, roles, to_lines.clone());
        let processes = roles.iter().map(process).collect::<Result<_, _>>()?;
        Ok(Children { processes, lines, early: VecDeque::new() })
    }

    /// Starts the receiver, if there is one, and connects the sender to it.
    pub fn connect(&mut self, alone: bool) -> Result<(), Failure> {
        let mut peer = "-".to_owned();
        if !alone {
            self.say('r', "start")?;
            peer = self.hear('r', "ready")?.word(0)?;
        }
        self.say('s', &format!("peer {peer}"))?;
        self.hear('s', "ready").map(drop)
    }

    /// Ends all, and answers the most memory one of them took, in KiB.
    pub fn end(mut self) -> Result<u64, Failure> {
        let mut peak = 0;
        for role in self.processes.iter().map(|process| process.roles.clone()).collect::<String>().chars() {
            self.say(role, "end")?;
            peak = peak.max(self.hear(role, "peak")?.number(0)?);
        }
        Ok(peak)
    }

    pub fn say(&mut self, role: char, line: &str) -> Result<(), Failure> {
        let of_role = |process: &&mut Process| process.roles.contains(role);
        let process = self.processes.iter_mut().find(of_role).ok_or("nobody plays this role")?;
        Ok(writeln!(process.input, "{role} {line}")?)
    }

    /// The answer of a role, which must start with `word`.
    pub fn hear(&mut self, role: char, word: &str) -> Result<Answer, Failure> {
        let line = match self.early.iter().position(|(from, _)| *from == role) {
            Some(at) => self.early.remove(at).map(|(_, line)| line).unwrap_or_default(),
            None => self.next_of(role)?,
        };
        let mut words = line.split_whitespace().map(str::to_owned);
        if words.next().as_deref() == Some(word) {
            Ok(Answer(words.collect()))
        } else {
            Err(format!("{word:?} was expected, not {line:?}").into())
        }
    }

    fn next_of(&mut self, role: char) -> Result<String, Failure> {
        loop {
            let (from, line) = self.lines.recv_timeout(PATIENCE).map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("no answer for {PATIENCE:?}"),
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
