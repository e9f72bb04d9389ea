//! Other programs beside this one, heard line by line.
//!
//! Invariant: what a program has said is told when it says it, so that nothing of it is lost with its end; and it ends, with
//! all that it started, when its time is up.

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    io,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Builder,
};

/// What of a program's output is heard.
pub(super) const OUTPUT_MAX: usize = 16 << 20;
/// What is kept of it where something is wrong.
pub(super) const TAIL: usize = 2000;

/// What a program came to.
#[derive(Debug)]
pub(super) enum Outcome {
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
struct Heard {
    bytes: Vec<u8>,
    /// Where the line begins that is not over.
    line: usize,
}

impl Heard {
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

    /// Hears a program to its end, so that it never waits for its reader.
    async fn listen(&mut self, pipe: Option<impl AsyncRead + Unpin>, tell: &mut dyn FnMut(&str)) {
        let mut part = [0; 4096];
        let Some(mut pipe) = pipe else { return };
        while let Ok(count @ 1..) = pipe.read(&mut part).await {
            self.take(&part[..count], tell);
        }
    }
}

/// Runs a program to its end, or until it has taken too long. `tell` hears every line of its output at once.
pub(super) fn run(command: Command, input: &str, limit: Duration, tell: &mut dyn FnMut(&str)) -> Outcome {
    let mut heard = Heard::default();
    let runtime = Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| runtime.block_on(end(command, input, limit, &mut heard, tell)));
    let output = String::from_utf8_lossy(&heard.bytes).into_owned();
    match ended {
        Ok(Some(status)) => Outcome::Ended { code: status.code(), output },
        Ok(None) => Outcome::TimedOut { output },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Absent,
        Err(error) => Outcome::Failed(error),
    }
}

/// How it ended; none if it was not done in time.
async fn end(
    command: Command,
    input: &str,
    limit: Duration,
    heard: &mut Heard,
    tell: &mut dyn FnMut(&str),
) -> io::Result<Option<ExitStatus>> {
    let mut command = tokio::process::Command::from(command);
    // A group of its own, so that what it starts ends with it.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let (stdin, stdout, group) = (child.stdin.take(), child.stdout.take(), child.id());
    let ask = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read has its reasons.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ended = async { tokio::join!(ask, heard.listen(stdout, tell), child.wait()) };
    if let Ok(((), (), status)) = tokio::time::timeout(limit, Box::pin(ended)).await {
        return Ok(Some(status?));
    }
    if let Some(group) = group {
        // It may have ended just now.
        let _ = killpg(Pid::from_raw(group as i32), Signal::SIGKILL);
    }
    child.wait().await?;
    Ok(None)
}

/// The end of what a program said.
pub(super) fn tail(output: &str) -> String {
    let start = output.char_indices().rev().nth(TAIL - 1).map_or(0, |(at, _)| at);
    output[start..].to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Runs a script of the shell; what it said, line by line, and what it came to.
    pub(in super::super) fn shell(script: &str, input: &str, limit: Duration) -> (Vec<String>, Outcome) {
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
            Outcome::Ended { code, output } => assert_eq!((code, output.as_str()), (Some(3), "hello")),
            other => panic!("{other:?}"),
        }
        let waits = shell("sleep 600 & sleep 600", "", Duration::from_millis(50)).1;
        assert!(matches!(waits, Outcome::TimedOut { .. }));
        // It says more than is heard, and what it started outlives it no longer than its group.
        let many = format!("head -c {} /dev/zero; exec >&-; sleep 600", OUTPUT_MAX + 1_000_000);
        match shell(&many, "", Duration::from_secs(3)).1 {
            Outcome::TimedOut { output } => assert_eq!(output.len(), OUTPUT_MAX),
            other => panic!("{other:?}"),
        }
        match shell(&format!("head -c {} /dev/zero", OUTPUT_MAX + 1_000_000), "", LONG).1 {
            Outcome::Ended { code, output } => assert_eq!((code, output.len()), (Some(0), OUTPUT_MAX)),
            other => panic!("{other:?}"),
        }
        let run = |program: &str| run(Command::new(program), "", LONG, &mut |_| {});
        assert!(matches!(run("no-such-program-here"), Outcome::Absent));
        assert!(matches!(run("/"), Outcome::Failed(_)));
    }

    #[test]
    fn lines_are_told_when_they_are_over() {
        let (lines, outcome) = shell("printf 'one\\n\\ntwo'; printf ' and three\\nfour'", "", LONG);
        assert_eq!(lines, ["one", "", "two and three"]);
        assert!(matches!(outcome, Outcome::Ended { output, .. } if output.ends_with("four")));
        let mut heard = Heard::default();
        let mut lines = Vec::new();
        for part in ["a", "b\nc", "\n\n", "d"] {
            heard.take(part.as_bytes(), &mut |line| lines.push(line.to_owned()));
        }
        assert_eq!(lines, ["ab", "c", ""]);
        assert_eq!(tail(&"ä".repeat(5000)).chars().count(), TAIL);
    }
}
