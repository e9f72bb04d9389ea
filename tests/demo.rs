//! `ringrift demo` ends as it should when it is interrupted, and its peers end with it even when it is
//! killed.

use crate::support::{SOON, turn, until, when};
use nix::sys::signal::Signal;
use ringrift::local::Process;
use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

/// Returns the processes that have `folder` in their command line.
fn peers(folder: &Path) -> usize {
    let name = folder.to_str().unwrap().as_bytes();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(name.len()).any(|part| part == name)).count()
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let _turn = turn();
    for (signal, code, cleans) in [(Signal::SIGINT, Some(130), true), (Signal::SIGKILL, None, false)] {
        let root = tempfile::tempdir().unwrap();
        let output = File::create(root.path().join("output")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringrift"));
        command.args(["demo", "--minutes", "5"]).env("TMPDIR", root.path()).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let mut demo = Process::spawn(&mut command).unwrap();
        until("three peers run", SOON, || {
            let said = fs::read_to_string(root.path().join("output")).unwrap();
            assert_eq!(demo.ended().unwrap(), None, "{said}");
            let found = peers(root.path());
            when(found == 3, (), || format!("{found} peers; {said}"))
        });
        demo.signal(signal).unwrap();
        assert_eq!(demo.wait(SOON).unwrap().expect("the demo ends").code(), code);
        until("no peer is left", SOON, || {
            let left = peers(root.path());
            when(left == 0, (), || format!("{left} peers"))
        });
        if cleans {
            let left = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
            assert_eq!(left.collect::<Vec<_>>(), ["output"], "the data is removed");
        }
    }
}
