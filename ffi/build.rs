//! Tells the linker that the shared library stays loaded: its threads may still be on their way out when a program unloads
//! it.

fn main() {
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "linux" {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libliner_broker.so");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
