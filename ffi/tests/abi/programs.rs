//! C programs that use every function, in callbacks and on many threads at once.

use crate::support::{Program, source_dir};
use std::fs;

#[test]
fn every_function_returns_what_the_header_says() {
    Program::build("contract").run();
}

#[test]
fn callbacks_may_block_reply_stop_and_delete() {
    Program::build("callbacks").run();
}

#[test]
fn messages_of_all_kinds_are_delivered() {
    Program::build("messages").run();
}

#[test]
fn threads_that_create_use_and_delete_clients_do_not_disturb_each_other() {
    Program::build("stress").run();
}

#[test]
fn the_library_may_be_unloaded_and_a_program_may_end_while_clients_run() {
    Program::build("unload").run();
}

#[test]
fn the_first_program_of_the_guide_runs() {
    let guide = fs::read_to_string(source_dir().join("../docs/c.md")).expect("the guide is there");
    let code = guide.split_once("```c\n").and_then(|(_, rest)| rest.split_once("```")).expect("it has a program").0;
    let output = Program::build_from("first", code).run();
    assert!(output.contains("billing got \"invoice 7\" from orders"), "{output}");
    assert!(output.contains("orders got \"thanks\" from billing"), "{output}");
}

/// With `scripts/test`, which installs valgrind where it is missing.
#[test]
fn valgrind_finds_no_leak_and_no_invalid_access() {
    let valgrind =
        ["valgrind", "--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite", "--error-exitcode=99"];
    let shown = ["--show-leak-kinds=definite"];
    Program::build("messages").run_under(&[&valgrind[..], &shown].concat(), &["brief"]);
}
