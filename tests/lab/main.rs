//! Real calls in the lab, pass or fail: through a link that narrows, recovers and is cut; between people
//! whom nothing but a relay joins, one of whom loses a cable; and one that outgrows a mesh.
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
    check("rate.py", "quick");
}

#[test]
fn relays_join_people_without_a_direct_path_and_a_pulled_cable_ends_nothing() {
    check("connect.py", "relayed");
}

#[test]
fn ten_people_see_and_hear_each_other_through_the_relay() {
    check("relay_load.py", "crowd");
}

#[test]
fn a_call_that_outgrows_a_mesh_goes_over_to_the_relay() {
    check("relay.py", "outgrown");
}

/// Runs the quick check of a benchmark in a lab of this name.
fn check(script: &str, lab: &str) {
    let programs = Path::new(env!("CARGO_BIN_EXE_nonstop"))
        .parent()
        .expect("a program lies in a folder");
    for name in ["nonstop-wan", "nonstop-server", "nonstop-load"] {
        if !programs.join(name).exists() {
            println!("skipped: {name} is not built (run the tests of the whole workspace)");
            return;
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/lab")
        .join(script);
    let ran = Command::new("python3")
        .arg(&script)
        .arg("--quick")
        .env("NONSTOP_BIN", programs)
        .env("WAN", programs.join("nonstop-wan"))
        .env("LAB", lab)
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
