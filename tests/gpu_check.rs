//! Tests of `ringrift gpu-check` on this machine, whether it has a card or not.

use crate::support::run;
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Output},
};

/// The arguments of the shortest check.
const NOTHING: [&str; 4] = ["gpu-check", "--quick", "--only", "sanitizer"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The check of a card that no machine has; its answer is the same everywhere.
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
    assert_eq!((&report["version"], &report["ok"]), (&Value::from(2), &Value::from(true)));
    assert_eq!((&report["complete"], &report["parts"][0]), (&Value::from(true), &Value::from("sanitizer")));
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
    assert_eq!(prediction["version"], 2);
    let kept = include_str!("../kernels/measured/prediction-h200.json");
    assert!(
        ended.stdout == kept,
        "another prediction is kept: ringrift gpu-check --predict --json kernels/measured/prediction-h200.json"
    );
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

/// Runs the script in a folder.
fn script(folder: &Path, arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Command::new(root.join("scripts/gpu-check")).current_dir(folder).args(arguments).output().unwrap()
}

#[test]
fn the_script_runs_the_program_that_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let of = |arguments: &[&str]| {
        let ours = ["--bin", env!("CARGO_BIN_EXE_ringrift"), "--card", "4096"];
        script(folder.path(), &[&ours[..], arguments].concat())
    };
    let ended = of(&[]);
    assert!(ended.status.success() && ended.stdout.starts_with(b"no usable card: "), "{ended:?}");
    assert_eq!(of(&["--require-gpu"]).status.code(), Some(1));
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "what is kept is of a card");
}

#[test]
fn the_script_takes_a_path_and_says_where_the_report_goes() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/echo", folder.path().join("echo")).unwrap();
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/tests/traces");
    let traces = format!("--traces {}", traces.display());
    for (arguments, expected) in [
        (&["--bin", "echo"][..], format!("gpu-check --out . {traces}")),
        (&["--bin=./echo", "--quick"], format!("gpu-check --quick --out . {traces}")),
        (&["--bin", "echo", "--out", "x"], format!("gpu-check --out x {traces}")),
        (&["--json=x", "--bin", "echo"], format!("gpu-check --json=x {traces}")),
        (&["--bin", "echo", "--traces=y", "--out=x"], "gpu-check --traces=y --out=x".into()),
        (&["--bin", "echo", "--predict"], "gpu-check --predict".into()),
    ] {
        let ended = script(folder.path(), arguments);
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), expected, "{arguments:?}");
    }
    // A program of this name is on the path, and the folder has no program.
    for arguments in [&["--bin", "sh"][..], &["--bin="], &["--bin", ""], &["--bin"], &["--bin", "."]] {
        let ended = script(folder.path(), arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.starts_with(b"--bin "), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn the_script_says_what_a_host_without_cargo_needs() {
    let (folder, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for program in ["bash", "dirname"] {
        let found = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(program));
        let found = found.into_iter().find(|path| path.exists()).expect("a program of every system");
        std::os::unix::fs::symlink(found, programs.path().join(program)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/gpu-check");
    let mut command = Command::new(programs.path().join("bash"));
    let ended = command.arg(script).current_dir(&folder).env("PATH", programs.path()).output().unwrap();
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("--bin PATH"), "{ended:?}");
}

#[test]
fn a_board_that_is_none_is_refused() {
    let ended = without_card(&["--board", "hex9"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("hex8"), "{ended:?}");
    assert_eq!(without_card(&["--board", "hex8", "--board", "square8"]).code, Some(0));
}
