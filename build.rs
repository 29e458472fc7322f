//! Refuses to build a slow release: without `nasm` the video codec's build leaves its assembly
//! out without a word, and pictures take three times as long.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed=OPENH264_NO_ASM");
    let is = |name: &str, values: &[&str]| {
        env::var(name).is_ok_and(|value| values.contains(&value.as_str()))
    };
    let wanted = is("PROFILE", &["release"]) && is("CARGO_CFG_TARGET_ARCH", &["x86", "x86_64"]);
    // Whoever sets this has asked for a codec without assembly.
    let refused = env::var_os("OPENH264_NO_ASM").is_some();
    let found = || Command::new("nasm").arg("-v").output().is_ok();
    if wanted && !refused && !found() {
        println!(
            "cargo::error=nasm is not on the PATH: install it (Debian: apt-get install nasm), \
             run `cargo clean --release -p openh264-sys2`, and build again"
        );
    }
}
