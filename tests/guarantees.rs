//! What the library promises, checked on whole nodes: real stores, real connections. The tests are numbered like the
//! guarantees in `docs/design.md`.

mod support;

#[path = "guarantees/safety.rs"]
mod safety;
#[path = "guarantees/handling.rs"]
mod handling;
#[path = "guarantees/liveness.rs"]
mod liveness;
