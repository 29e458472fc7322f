//! The program from outside: what it says where it cannot do what it was asked to.
#![cfg(target_os = "linux")]

use std::process::{Command, Output};

fn wan(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nonstop-wan"))
        .args(words)
        .output()
        .expect("it was built and starts")
}

fn complaint(words: &[&str]) -> String {
    let output = wan(words);
    assert_eq!(output.status.code(), Some(2), "{words:?}");
    String::from_utf8(output.stderr).expect("it speaks UTF-8")
}

#[test]
fn without_words_it_explains_itself() {
    assert!(complaint(&[]).contains("nonstop-wan run --a NS/DEV"));
}

#[test]
fn what_is_not_understood_is_named() {
    for (words, named) in [
        (&["run", "--a", "x"][..], "expected NS/DEV"),
        (&["run", "--speed", "1"], "--speed: unknown option"),
        (&["run", "--up", "rate=fast"], "rate=fast"),
        (&["run", "--time", "-1"], "bad number"),
        (&["run", "--a"], "--a needs a value"),
        (&["run", "--a", "n/d"], "--a and --b are needed"),
        (&["run", "--schedule", "/nowhere.csv"], "/nowhere.csv"),
        (&["ctl", "/nowhere.sock", "stats"], "/nowhere.sock"),
    ] {
        let said = complaint(words);
        assert!(said.contains(named), "{words:?}: {said}");
    }
}
