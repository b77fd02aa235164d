//! The processes of the rows `broker` and `broker-stored`: `liner-versus-broker ROW ROLES DIR`.

mod broker;

use std::env::args;
use std::process::ExitCode;
use versus_work::{Environment, role};

fn main() -> ExitCode {
    let words: Vec<String> = args().skip(1).collect();
    let [row, roles, dir] = &words[..] else {
        eprintln!("liner-versus-broker: started by liner-versus only");
        return ExitCode::FAILURE;
    };
    let environment = Environment { dir: dir.into(), server: None };
    role::play(|| Box::new(broker::Broker { stored: row == "broker-stored" }), roles, &environment);
    ExitCode::SUCCESS
}
