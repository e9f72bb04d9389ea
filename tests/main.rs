//! The binary as people use it.

mod engine;

use std::process::{Command, Output};

fn ringrift(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringrift"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary starts")
}

#[test]
fn recorded_games_replay() {
    let traces = std::fs::read_dir("rules/tests/traces").expect("the selection is in the repository");
    let files: Vec<String> = traces
        .map(|entry| entry.expect("readable").path().display().to_string())
        .filter(|path| path.ends_with(".gz"))
        .collect();
    assert!(!files.is_empty());
    let args: Vec<&str> = ["rules", "check"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let output = ringrift(&args);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("0 mismatches"), "{output:?}");
}

#[test]
fn what_is_no_trace_is_refused() {
    let output = ringrift(&["rules", "check", "README.md"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
