//! The program as it is called. That there is such a test also has it built for the lab's.

use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nonstop-load"))
        .args(words)
        .output()
        .expect("the program starts")
}

#[test]
fn it_says_what_it_can_do() {
    let ran = run(&["--help"]);
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("--people"), "{said}");
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    for words in [&["no link"][..], &["--people", "-3"], &[]] {
        let ran = run(words);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && !said.is_empty(), "{words:?}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
