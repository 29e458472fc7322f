//! A real call through a real link that narrows, recovers and is cut: the quick check of the lab.
//!
//! The lab needs network namespaces and TUN devices. Where the kernel refuses them, or Python or
//! a package is missing, the test says so and passes: it could not look.

use std::{
    path::Path,
    process::{Command, Output},
};

/// What the lab exits with where it cannot be.
const SKIPPED: i32 = 77;

#[test]
fn a_call_lives_through_a_link_that_narrows_recovers_and_is_cut() {
    let programs = Path::new(env!("CARGO_BIN_EXE_nonstop"))
        .parent()
        .expect("a program lies in a folder");
    let wan = programs.join("nonstop-wan");
    if !wan.exists() {
        println!("skipped: nonstop-wan is not built (run the tests of the whole workspace)");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/rate.py");
    let ran = Command::new("python3")
        .arg(&script)
        .arg("--quick")
        .env("NONSTOP_BIN", programs)
        .env("WAN", &wan)
        .env("LAB", "quick")
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = match ran {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: python3 does not start: {error}");
            return;
        }
    };
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    println!("{said}");
    assert!(
        status.success() || status.code() == Some(SKIPPED),
        "{status}\n{said}"
    );
}
