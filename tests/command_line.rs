//! Tests of the commands that need no cluster.

use crate::support::run;
use std::{fs, os::unix::process::ExitStatusExt, path::Path, process::Command};

const COMMANDS: [&[&str]; 21] = [
    &["demo"],
    &["chaos"],
    &["node"],
    &["status"],
    &["cluster"],
    &["cluster", "leader"],
    &["cluster", "members"],
    &["cluster", "drain"],
    &["cluster", "removed"],
    &["cluster", "ticket"],
    &["cluster", "remove"],
    &["cluster", "ban"],
    &["cluster", "secret"],
    &["cluster", "operators"],
    &["events"],
    &["match"],
    &["engine"],
    &["bench", "rules"],
    &["gpu-check"],
    &["rules", "check"],
    &["completions"],
];

#[test]
fn what_nobody_reads_ends_without_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringrift"));
    let ended = command.args(["completions", "bash"]).stdout(writer).output().unwrap();
    assert_eq!(ended.status.signal(), Some(13), "SIGPIPE: {ended:?}");
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn recorded_games_replay() {
    let traces = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/tests/traces")).unwrap();
    let files: Vec<String> = traces
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".gz"))
        .collect();
    assert!(!files.is_empty());
    let args: Vec<&str> = ["rules", "check"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let ended = run(&args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("0 mismatches"), "{ended:?}");
}

#[test]
fn what_is_no_trace_is_refused() {
    let ended = run(&["rules", "check", "README.md"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn a_damaged_trace_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read("rules/tests/traces/compact-hex8-2p.jsonl.gz").unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0xff;
    let checks = [("cut", &good[..good.len() / 2]), ("flipped", &flipped[..]), ("noise", &[7; 300][..])];
    for (name, content) in checks {
        let path = folder.path().join(format!("{name}.jsonl.gz"));
        fs::write(&path, content).unwrap();
        let path = path.display().to_string();
        let ended = run(&["rules", "check", &path]);
        assert_eq!(ended.code, Some(2), "{name}: {ended:?}");
        assert!(format!("{}{}", ended.stdout, ended.stderr).contains(&path), "{name}: {ended:?}");
    }
    let ended = run(&["rules", "check", "no-such-file.jsonl"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(format!("{}{}", ended.stdout, ended.stderr).contains("no-such-file.jsonl"), "{ended:?}");
}

#[test]
fn every_help_has_an_example() {
    for command in COMMANDS {
        let ended = run(&[command, &["--help"]].concat());
        assert_eq!(ended.code, Some(0), "{command:?}");
        assert!(ended.stdout.contains("Example"), "{command:?}: {}", ended.stdout);
    }
    let all = run(&["--help"]).stdout;
    for command in COMMANDS {
        assert!(all.contains(command[0]), "{command:?} is not in {all}");
    }
    assert_eq!(run(&["no-such-command"]).code, Some(2));
}

#[test]
fn shells_can_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell]);
        assert_eq!(ended.code, Some(0), "{shell}");
        for word in ["node", "data-dir", "bootstrap", "leader", "device", "cuda"] {
            assert!(ended.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(run(&["completions", "telegraph"]).code, Some(2));
}

#[test]
fn a_folder_without_a_node_gives_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for command in [&["status"][..], &["cluster", "leader"], &["events"]] {
        for json in [&[][..], &["--json"]] {
            let ended = run(&[command, &["--data-dir", path], json].concat());
            assert_eq!(ended.code, Some(3), "{command:?}: {ended:?}");
            assert_eq!(ended.stdout, "", "{command:?}");
            assert!(ended.stderr.contains(&format!("ringrift node --data-dir {path}")), "{ended:?}");
        }
    }
    assert_eq!(fs::read_dir(path).unwrap().count(), 0, "asking changes nothing");
}
