//! The C interface, as C sees it.

mod header;
mod programs;
mod support;
