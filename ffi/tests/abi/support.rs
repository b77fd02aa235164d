//! Helpers for the tests of the C interface: build programs against the library and run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The time limit of a program, in seconds.
const LIMIT: &str = "120";

pub(crate) fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Returns the directory of the shared library that cargo built for this test.
pub(crate) fn library_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let dir = test.parent().expect("a file is in a directory").to_path_buf();
    assert!(dir.join("libliner_broker.so").exists(), "no libliner_broker.so in {}", dir.display());
    dir
}

fn checked(what: &str, output: Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{what}: {}\n{stdout}{stderr}", output.status);
    stdout
}

/// Runs a command that must succeed, and returns its output.
pub(crate) fn run(what: &str, command: &mut Command) -> String {
    checked(what, command.output().unwrap_or_else(|error| panic!("{what}: {error}")))
}

/// Returns a compiler command with warnings as errors and the header in its path.
pub(crate) fn compiler(cpp: bool) -> Command {
    let (program, standard) = if cpp { ("c++", "-std=c++17") } else { ("cc", "-std=c11") };
    let mut command = Command::new(program);
    command.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-D_POSIX_C_SOURCE=200809L", "-g"]);
    command.arg("-I").arg(source_dir().join("include"));
    command
}

/// A program of `tests/c`, linked with the shared library.
pub(crate) struct Program {
    dir: TempDir,
    name: &'static str,
}

impl Program {
    pub(crate) fn build(name: &'static str) -> Program {
        let source = source_dir().join("tests/c").join(name).with_extension("c");
        Self::build_from(name, &std::fs::read_to_string(source).expect("the program is there"))
    }

    /// Builds a program from source text.
    pub(crate) fn build_from(name: &'static str, code: &str) -> Program {
        let dir = TempDir::new().expect("a directory for the program");
        let source = dir.path().join(name).with_extension("c");
        std::fs::write(&source, code).expect("writes");
        let mut command = compiler(false);
        command.arg("-I").arg(source_dir().join("tests/c")).arg(source).arg("-o").arg(dir.path().join(name));
        command.arg("-L").arg(library_dir()).args(["-lliner_broker", "-lpthread", "-ldl"]);
        run(name, &mut command);
        Program { dir, name }
    }

    /// Runs the program under a wrapper command, with a new directory as its first argument.
    pub(crate) fn run_under(&self, wrapper: &[&str], arguments: &[&str]) -> String {
        let data = TempDir::new().expect("a directory for the data");
        let mut command = Command::new("timeout");
        command.arg(LIMIT).args(wrapper).arg(self.dir.path().join(self.name)).arg(data.path()).args(arguments);
        command.env("LD_LIBRARY_PATH", library_dir()).current_dir(data.path());
        run(self.name, &mut command)
    }

    pub(crate) fn run(&self) -> String {
        self.run_under(&[], &[])
    }
}
