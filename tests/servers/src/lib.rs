//! Servers and certificates for the tests, examples and benches of liner.
//!
//! A private server is a child process that ends with its owner. A helper that cannot do its work panics with the reason:
//! it fails the test.

pub mod certificates;
pub mod postgres;
pub mod redis;

use std::process::Output;

/// Returns what a command printed.
fn checked(what: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}; scripts/test installs what is missing"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}: {complaint}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
