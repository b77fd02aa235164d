//! The header, the exported symbols and the Rust side agree.

use crate::support::{compiler, library_dir, run, source_dir};
use liner_broker as ffi;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::mem::offset_of;
use std::process::Command;

fn header() -> String {
    fs::read_to_string(source_dir().join("include/liner.h")).expect("the header is there")
}

/// The header without comments.
fn code() -> String {
    let text = header();
    let mut code = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").expect("a comment ends").1;
    }
    code.push_str(rest);
    // Nor what is for the preprocessor.
    code.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// Names of functions: what stands between the last blank or star and a parenthesis, in declarations of the interface.
fn declared() -> BTreeSet<String> {
    let text = code().replace('\n', " ");
    let declarations = text.split(';').filter_map(|part| part.rsplit_once("LINER_API ")).map(|(_, function)| function);
    let name = |function: &str| {
        let (before, _) = function.split_once('(')?;
        Some(before.rsplit([' ', '*']).next()?.to_owned())
    };
    declarations.filter_map(name).collect()
}

fn exported() -> BTreeSet<String> {
    let library = library_dir().join("libliner_broker.so");
    let symbols = run("nm", Command::new("nm").args(["-D", "--defined-only", "-f", "posix"]).arg(library));
    symbols.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    let declared = declared();
    assert!(declared.len() > 40, "{declared:?}");
    let interface: BTreeSet<_> = exported().into_iter().filter(|name| name.starts_with("lnr_")).collect();
    assert_eq!(interface, declared);
}

/// The interface of `liner_broker` 1.4.1, which programs were built for.
#[test]
fn everything_programs_were_built_for_is_there() {
    let names = "version new_client_redis new_client new_client_postgres new_client_sqlite postgres_enabled run stop
        is_running delete_client send_to send_all subscribe unsubscribe refresh_address_topic clear_stored_messages
        clear_addresses_of_topic last_error_code last_error_message set_status_cb set_log_cb list_addresses pending_count
        pending_by_peer set_advertise_addr advertise_addr bound_listen_addr published_addr set_max_message_size
        get_max_message_size set_compress_threshold get_compress_threshold set_max_send_queue get_max_send_queue";
    let exported = exported();
    let missing: Vec<_> = names.split_whitespace().filter(|name| !exported.contains(&format!("lnr_{name}"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn same(checks: &mut String, what: &str, here: usize) {
    writeln!(checks, "SAME({what}, {here});").expect("a string grows");
}

/// What the compiler is to find of each struct and constant.
fn checks() -> String {
    let mut checks = String::new();
    macro_rules! layout {
        ($c:literal, $rust:ty: $($field:ident),*) => {
            same(&mut checks, concat!("sizeof(", $c, ")"), size_of::<$rust>());
            $(same(
                &mut checks,
                concat!("offsetof(", $c, ", ", stringify!($field), ")"),
                offset_of!($rust, $field),
            );)*
        };
    }
    same(&mut checks, "sizeof(BOOL)", 4);
    layout!("lnr_header", ffi::CHeader: key, value, value_size);
    layout!("lnr_send_options", ffi::CSendOptions: struct_size, headers, header_count, to_all, at_most_once, durability);
    layout!("lnr_delivery", ffi::CDelivery: struct_size, to, from, sender, data, size, headers, header_count,
        incarnation, seq, attempt, redelivered);
    layout!("lnr_dead_letter", ffi::CDeadLetter: struct_size, id, origin, attempts, to, from, sender, receiver,
        incarnation, seq, data, size, headers, header_count, reason, died_ms);
    let constants = "FALSE 0 TRUE 1 LNR_OK 0 LNR_ERR_NOT_RUNNING 1 LNR_ERR_ALREADY_RUNNING 2 LNR_ERR_SELF_TOPIC 3
        LNR_ERR_INTERNAL_TOPIC 4 LNR_ERR_NO_ADDR 5 LNR_ERR_BIND 6 LNR_ERR_STORE 7 LNR_ERR_INVALID_ARG 8
        LNR_ERR_CLEAR_WHILE_RUNNING 9 LNR_ERR_STARTUP 10 LNR_ERR_BUSY 11 LNR_PEER_CONNECTED 1 LNR_PEER_DISCONNECTED 2
        LNR_PEER_SUBSCRIBED 3 LNR_PEER_UNSUBSCRIBED 4 LNR_SENDER_ROUTE_LOST 5 LNR_SENDER_STORE_ERROR 6
        LNR_SENDER_SEND_ERROR 7 LNR_LISTENER_STORE_ERROR 8 LNR_SENDER_BUSY 9 LNR_WRITE_BEHIND 1 LNR_COMMITTED 2
        LNR_SYNCED 3 LNR_ACK 0 LNR_NACK 1 LNR_DEAD_HANDLER 1 LNR_DEAD_REFUSED 2";
    let words: Vec<_> = constants.split_whitespace().collect();
    for pair in words.chunks(2) {
        same(&mut checks, pair[0], pair[1].parse().expect("a number"));
    }
    checks
}

#[test]
fn c_and_cpp_see_the_structs_and_constants_that_rust_has() {
    let dir = tempfile::tempdir().expect("a directory");
    for (cpp, name, assertion) in [(false, "layout.c", "_Static_assert"), (true, "layout.cpp", "static_assert")] {
        let same = format!("#define SAME(a, b) {assertion}((long long)(a) == (long long)(b), #a)");
        let text =
            format!("#include \"liner.h\"\n#include <stddef.h>\n{same}\n{}int main(void) {{ return 0; }}\n", checks());
        let source = dir.path().join(name);
        fs::write(&source, text).expect("writes");
        run(name, compiler(cpp).arg("-c").arg(&source).arg("-o").arg(dir.path().join("layout.o")));
    }
}

#[test]
fn the_numbers_of_errors_and_events_are_those_of_the_header() {
    use ffi::ErrorCode::*;
    let codes = [Ok, NotRunning, AlreadyRunning, SelfTopic, InternalTopic, NoAddr, Bind, Store, InvalidArg];
    let more = [ClearWhileRunning, Startup, Busy];
    for (number, code) in (0..).zip(codes.into_iter().chain(more)) {
        assert_eq!(code.as_i32(), number);
    }
    let kinds = [
        ffi::LNR_PEER_CONNECTED,
        ffi::LNR_PEER_DISCONNECTED,
        ffi::LNR_PEER_SUBSCRIBED,
        ffi::LNR_PEER_UNSUBSCRIBED,
        ffi::LNR_SENDER_ROUTE_LOST,
        ffi::LNR_SENDER_STORE_ERROR,
        ffi::LNR_SENDER_SEND_ERROR,
        ffi::LNR_LISTENER_STORE_ERROR,
        ffi::LNR_SENDER_BUSY,
    ];
    assert_eq!(kinds, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}
