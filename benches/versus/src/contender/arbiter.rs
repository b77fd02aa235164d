//! Actors on threads of their own, as an application has them.

use actix::{Actor, Addr, Arbiter, ArbiterHandle, Context, System};
use std::sync::mpsc::channel;
use std::thread;
use versus_work::Failure;

/// Starts `actor` on an arbiter of its own, which runs until the process ends. Returns both.
pub fn start<A: Actor<Context = Context<A>> + Send>(actor: A) -> Result<(Addr<A>, ArbiterHandle), Failure> {
    let (started, addr) = channel();
    thread::spawn(move || {
        let system = System::new();
        let _ = started.send(system.block_on(async { (actor.start(), Arbiter::current()) }));
        system.run()
    });
    Ok(addr.recv()?)
}
