//! Child processes that end.

use super::{SOON, until};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// A child that is killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().expect("the process starts"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("a child can be waited for")
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        until("the process ends", limit, || self.ended().ok_or_else(|| "it runs".to_owned()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a command came to.
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
    let mut process = Process::spawn(&mut command);
    let ended = until(&format!("{args:?} ends"), SOON, || {
        process.ended().ok_or_else(|| format!("it runs, and says {}", text(&mut err)))
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
        let spin = || Process::spawn(Command::new("sh").args(["-c", "while :; do :; done"]));
        Self { _loops: (0..cores).map(|_| spin()).collect() }
    }
}
