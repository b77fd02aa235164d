//! Programs in C that use every function, let callbacks do what they like, and do it with many threads at once.

use crate::support::Program;

#[test]
fn every_function_answers_as_the_header_says() {
    Program::build("contract").run();
}

#[test]
fn callbacks_may_block_reply_stop_and_delete() {
    Program::build("callbacks").run();
}

#[test]
fn messages_of_all_kinds_go_where_they_should() {
    Program::build("messages").run();
}

#[test]
fn threads_that_create_use_and_delete_clients_do_not_disturb_each_other() {
    Program::build("stress").run();
}

/// With `scripts/test`, which installs valgrind where it is missing.
#[test]
fn no_memory_is_lost_or_used_wrongly() {
    let valgrind =
        ["valgrind", "--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite", "--error-exitcode=99"];
    let shown = ["--show-leak-kinds=definite"];
    Program::build("messages").run_under(&[&valgrind[..], &shown].concat(), &["brief"]);
}
