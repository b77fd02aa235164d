//! What the library promises, checked on whole nodes: real stores, real connections. The tests are numbered like the
//! guarantees in `docs/guarantees.md`.

mod support;

#[path = "guarantees/closing.rs"]
mod closing;
#[path = "guarantees/handling.rs"]
mod handling;
#[path = "guarantees/interface.rs"]
mod interface;
#[path = "guarantees/liveness.rs"]
mod liveness;
#[path = "guarantees/safety.rs"]
mod safety;
#[path = "guarantees/threads.rs"]
mod threads;
