//! Other programs beside this one, heard line by line.
//!
//! Invariant: what a program has said is told when it says it, so that nothing of it is lost with its end;
//! and it ends, with all that it started, when its time is up.

use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io::{self, Read, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

/// Bytes of a program's output that are heard.
pub(crate) const OUTPUT_MAX: usize = 16 << 20;
/// Characters that are kept of it where something is wrong.
pub(crate) const TAIL: usize = 2000;
/// How often a program is asked whether it has ended, once it has nothing more to say.
const ASK: Duration = Duration::from_millis(20);
/// Pieces of output that wait to be heard.
const PIECES_MAX: usize = 16;

/// What a program came to.
#[derive(Debug)]
pub(crate) enum ProgramEnd {
    Ended {
        code: Option<i32>,
        output: String,
    },
    TimedOut {
        output: String,
    },
    Absent,
    /// It is there, but it cannot be run or waited for.
    Failed(io::Error),
}

/// The beginning of what a program says.
#[derive(Default)]
struct ProgramOutput {
    bytes: Vec<u8>,
    /// Where the line begins that is not over.
    line: usize,
}

impl ProgramOutput {
    /// Hears more, and tells of every line that is over.
    fn take(&mut self, part: &[u8], tell: &mut dyn FnMut(&str)) {
        let mut at = self.bytes.len();
        self.bytes.extend_from_slice(&part[..part.len().min(OUTPUT_MAX - at)]);
        while let Some(length) = self.bytes[at..].iter().position(|&byte| byte == b'\n') {
            tell(&String::from_utf8_lossy(&self.bytes[self.line..at + length]));
            at += length + 1;
            self.line = at;
        }
    }
}

/// A program that runs; it ends with all that it started when this is dropped.
struct RunningProgram {
    child: Child,
    ended: bool,
}

impl RunningProgram {
    fn start(command: &mut Command) -> io::Result<Self> {
        // A group of its own, so that what it starts ends with it.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        Ok(Self { child: command.spawn()?, ended: false })
    }

    /// Its exit status; none if it goes on beyond the deadline.
    fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(ASK.min(deadline.saturating_duration_since(Instant::now())));
        }
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended just now.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Runs a program to its end, or until it has taken too long. `tell` hears every line of its output at once.
pub(crate) fn run(
    mut command: Command,
    input: &str,
    limit: Duration,
    tell: &mut dyn FnMut(&str),
) -> ProgramEnd {
    let mut heard = ProgramOutput::default();
    let ended = end(&mut command, input, limit, &mut heard, tell);
    let output = String::from_utf8_lossy(&heard.bytes).into_owned();
    match ended {
        Ok(Some(status)) => ProgramEnd::Ended { code: status.code(), output },
        Ok(None) => ProgramEnd::TimedOut { output },
        Err(error) if error.kind() == io::ErrorKind::NotFound => ProgramEnd::Absent,
        Err(error) => ProgramEnd::Failed(error),
    }
}

/// How it ended; none if it was not done in time.
fn end(
    command: &mut Command,
    input: &str,
    limit: Duration,
    heard: &mut ProgramOutput,
    tell: &mut dyn FnMut(&str),
) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut running = RunningProgram::start(command)?;
    let (stdin, stdout) = (running.child.stdin.take(), running.child.stdout.take());
    // Both threads end when the pipes close: at the latest when the program's group is killed.
    if let Some(mut stdin) = stdin {
        let input = input.to_owned();
        // A program that does not read has its reasons.
        thread::Builder::new().spawn(move || drop(stdin.write_all(input.as_bytes())))?;
    }
    let (said, pieces) = mpsc::sync_channel(PIECES_MAX);
    if let Some(stdout) = stdout {
        thread::Builder::new().spawn(move || listen(stdout, &said))?;
    }
    if hear(&pieces, deadline, heard, tell) { running.wait_until(deadline) } else { Ok(None) }
}

/// Passes on what a pipe holds, to its end, so that a program never waits for its reader.
fn listen(mut pipe: impl Read, said: &SyncSender<Vec<u8>>) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut piece) {
        if said.send(piece[..count].to_vec()).is_err() {
            return;
        }
    }
}

/// Hears a program to its last word; false if it still speaks at the deadline.
fn hear(
    pieces: &Receiver<Vec<u8>>,
    deadline: Instant,
    heard: &mut ProgramOutput,
    tell: &mut dyn FnMut(&str),
) -> bool {
    loop {
        match pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(piece) => heard.take(&piece, tell),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

/// The end of what a program said.
pub(crate) fn tail(output: &str) -> String {
    let start = output.char_indices().rev().nth(TAIL - 1).map_or(0, |(at, _)| at);
    output[start..].to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Runs a script of the shell; what it said, line by line, and what it came to.
    pub(crate) fn shell(script: &str, input: &str, limit: Duration) -> (Vec<String>, ProgramEnd) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut lines = Vec::new();
        let outcome = run(command, input, limit, &mut |line| lines.push(line.to_owned()));
        (lines, outcome)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn programs_are_heard_and_ended() {
        match shell("cat; exit 3", "hello", LONG).1 {
            ProgramEnd::Ended { code, output } => assert_eq!((code, output.as_str()), (Some(3), "hello")),
            other => panic!("{other:?}"),
        }
        let waits = shell("sleep 600 & sleep 600", "", Duration::from_millis(50)).1;
        assert!(matches!(waits, ProgramEnd::TimedOut { .. }));
        // It says more than is heard, and what it started outlives it no longer than its group.
        let many = format!("head -c {} /dev/zero; exec >&-; sleep 600", OUTPUT_MAX + 1_000_000);
        match shell(&many, "", Duration::from_secs(3)).1 {
            ProgramEnd::TimedOut { output } => assert_eq!(output.len(), OUTPUT_MAX),
            other => panic!("{other:?}"),
        }
        match shell(&format!("head -c {} /dev/zero", OUTPUT_MAX + 1_000_000), "", LONG).1 {
            ProgramEnd::Ended { code, output } => assert_eq!((code, output.len()), (Some(0), OUTPUT_MAX)),
            other => panic!("{other:?}"),
        }
        let run = |program: &str| run(Command::new(program), "", LONG, &mut |_| {});
        assert!(matches!(run("no-such-program-here"), ProgramEnd::Absent));
        assert!(matches!(run("/"), ProgramEnd::Failed(_)));
    }

    #[test]
    fn lines_are_told_when_they_are_over() {
        let (lines, outcome) = shell("printf 'one\\n\\ntwo'; printf ' and three\\nfour'", "", LONG);
        assert_eq!(lines, ["one", "", "two and three"]);
        assert!(matches!(outcome, ProgramEnd::Ended { output, .. } if output.ends_with("four")));
        let mut heard = ProgramOutput::default();
        let mut lines = Vec::new();
        for part in ["a", "b\nc", "\n\n", "d"] {
            heard.take(part.as_bytes(), &mut |line| lines.push(line.to_owned()));
        }
        assert_eq!(lines, ["ab", "c", ""]);
        assert_eq!(tail(&"ä".repeat(5000)).chars().count(), TAIL);
    }
}
