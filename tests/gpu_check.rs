//! `ringrift gpu-check` on this machine, whether it has a card or not.

use crate::support::run;
use serde_json::Value;
use std::{path::Path, process::Command};

/// As little of the check as there is.
const NOTHING: [&str; 4] = ["gpu-check", "--quick", "--only", "sanitizer"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Asked about a card that no machine has: the answer is the same on all of them.
fn without_card(arguments: &[&str]) -> crate::support::Ended {
    let all: Vec<&str> =
        NOTHING.into_iter().chain(["--card", "4096"]).chain(arguments.iter().copied()).collect();
    run(&all)
}

#[test]
fn a_host_without_a_card_is_told_so() {
    let ended = without_card(&[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("no usable card: "), "{ended:?}");
    let ended = without_card(&["--require-gpu"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no usable card: "), "{ended:?}");
}

#[test]
fn a_report_is_json_with_or_without_a_card() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let out = folder.path().join("out");
    let ended = without_card(&["--json", file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = json(&std::fs::read_to_string(&file).unwrap());
    assert_eq!((&report["version"], &report["ok"]), (&Value::from(1), &Value::from(true)));
    assert!(report["card"].is_null() && report["unavailable"].is_string(), "{report}");
    assert_eq!(report["kernels"].as_str().map(str::len), Some(64));
    let ended = without_card(&["--require-gpu", "--json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(json(&ended.stdout)["ok"], false);
    assert!(!out.exists(), "what is kept is of a card");
}

#[test]
fn a_prediction_needs_no_card() {
    let ended = run(&["gpu-check", "--predict", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let prediction = json(&ended.stdout);
    assert_eq!(prediction["version"], 1);
    let of = |part: &str| prediction[part].as_array().unwrap().clone();
    let forward = of("forward");
    let target = forward
        .iter()
        .find(|rate| rate["board"] == "hex8" && rate["network"] == "b6c96" && rate["batch"] == 4096);
    let rate = target.unwrap()["predicted_per_s"].as_f64().unwrap();
    assert!((1e5..1e7).contains(&rate), "{rate}");
    assert!(of("occupancy").len() > 100 && of("training").len() == forward.len());
    let table = run(&["gpu-check", "--predict"]);
    assert!(table.stdout.contains("tower_96") && table.stdout.contains("b10c128"), "{table:?}");
}

#[test]
fn the_script_runs_the_program_that_it_is_given() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = |arguments: &[&str]| {
        let mut command = Command::new(root.join("scripts/gpu-check"));
        command.args(["--bin", env!("CARGO_BIN_EXE_ringrift"), "--card", "4096"]).args(arguments);
        command.output().unwrap()
    };
    let ended = script(&[]);
    assert!(ended.status.success() && ended.stdout.starts_with(b"no usable card: "), "{ended:?}");
    assert_eq!(script(&["--require-gpu"]).status.code(), Some(1));
}
