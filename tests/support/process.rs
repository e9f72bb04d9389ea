//! Runs programs to their end.

use super::{SOON, until};
use ringrift::local::Process;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    process::{Command, Stdio},
};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `ringrift` to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    let (mut out, mut err) = (temporary(), temporary());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringrift"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command.stdout(out.try_clone().expect("a file")).stderr(err.try_clone().expect("a file"));
    let mut process = Process::spawn(&mut command).expect("the process starts");
    let ended = until(&format!("{args:?} ends"), SOON, || {
        let ended = process.ended().expect("a child can be waited for");
        ended.ok_or_else(|| format!("it runs, and says {}", text(&mut err)))
    });
    Ended { code: ended.code(), stdout: text(&mut out), stderr: text(&mut err) }
}

fn temporary() -> File {
    tempfile::tempfile().expect("a temporary file")
}

fn text(file: &mut File) -> String {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("a file");
    file.read_to_end(&mut text).expect("a file");
    String::from_utf8_lossy(&text).into_owned()
}

/// Keeps every core busy at normal priority until it is dropped.
pub(crate) struct Busy {
    _loops: Vec<Process>,
}

impl Busy {
    pub(crate) fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let spin = || {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]);
            Process::spawn(&mut command).expect("the process starts")
        };
        Self { _loops: (0..cores).map(|_| spin()).collect() }
    }
}
