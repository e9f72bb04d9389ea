//! compute-sanitizer over this program's own correctness part; only where it is installed.

use super::{
    live::LiveReport,
    program::{ProgramEnd, run, tail},
};
use rules::Board;
use serde::Serialize;
use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::Command,
    time::Duration,
};

/// The tools of compute-sanitizer, in the order in which they are run.
const TOOLS: [&str; 3] = ["memcheck", "racecheck", "synccheck"];
/// Where it is: wherever programs are looked for, or where toolkits install it.
const PROGRAMS: [&str; 2] = ["compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer"];
/// The exit status that it is asked for when it has found something.
const FOUND: i32 = 86;
/// For each tool.
const TIME_MAX: Duration = Duration::from_secs(1800);

/// A run over the correctness part.
#[derive(Debug, Serialize)]
pub struct SanitizerRun {
    /// The tool, as in `memcheck`.
    pub tool: &'static str,
    /// What it came to.
    pub verdict: SanitizerVerdict,
    /// The last it said, where something is wrong.
    pub said: Option<String>,
}

/// What a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SanitizerVerdict {
    /// The tool has found nothing.
    Clean,
    /// The tool has found something.
    Found,
    /// The check itself failed under it.
    Failed,
    /// The run took too long.
    TimedOut,
    /// compute-sanitizer is not installed.
    Skipped,
}

impl SanitizerRun {
    fn of(tool: &'static str, outcome: &ProgramEnd) -> Self {
        let verdict = verdict(outcome);
        let said = match outcome {
            ProgramEnd::Ended { output, .. } | ProgramEnd::TimedOut { output } => Some(tail(output)),
            ProgramEnd::Failed(error) => Some(error.to_string()),
            ProgramEnd::Absent => None,
        };
        Self { tool, verdict, said: said.filter(|_| verdict != SanitizerVerdict::Clean) }
    }

    /// Whether something is wrong.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        match self.verdict {
            SanitizerVerdict::Clean | SanitizerVerdict::Skipped => false,
            SanitizerVerdict::Found | SanitizerVerdict::Failed | SanitizerVerdict::TimedOut => true,
        }
    }

    /// The verdict in words.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self.verdict {
            SanitizerVerdict::Clean => "nothing found",
            SanitizerVerdict::Found => "FOUND something, see the report",
            SanitizerVerdict::Failed => "FAILED, see the report",
            SanitizerVerdict::TimedOut => "not done in half an hour",
            SanitizerVerdict::Skipped => "skipped: not installed",
        }
    }
}

fn verdict(outcome: &ProgramEnd) -> SanitizerVerdict {
    match outcome {
        ProgramEnd::Ended { code: Some(0), .. } => SanitizerVerdict::Clean,
        ProgramEnd::Ended { code: Some(FOUND), .. } => SanitizerVerdict::Found,
        ProgramEnd::Ended { .. } | ProgramEnd::Failed(_) => SanitizerVerdict::Failed,
        ProgramEnd::TimedOut { .. } => SanitizerVerdict::TimedOut,
        ProgramEnd::Absent => SanitizerVerdict::Skipped,
    }
}

/// Runs the quick correctness part of this program, which is `ringrift`, under one tool after the other.
pub fn sanitize(card: usize, boards: &[Board], live: &mut LiveReport) {
    for tool in TOOLS {
        let run = sanitize_with(tool, card, boards, live);
        live.change(|report| report.sanitizer.push(run));
    }
}

fn sanitize_with(tool: &'static str, card: usize, boards: &[Board], live: &LiveReport) -> SanitizerRun {
    live.tell(&format!("compute-sanitizer {tool}"));
    let outcome = match std::env::current_exe() {
        Err(error) => ProgramEnd::Failed(error),
        Ok(program) => {
            let arguments = arguments(tool, &program, card, boards);
            first(&PROGRAMS, &arguments, TIME_MAX)
        }
    };
    let run = SanitizerRun::of(tool, &outcome);
    live.tell(&format!("compute-sanitizer {tool}: {}", run.describe()));
    run
}

/// What it is started with.
fn arguments(tool: &str, program: &Path, card: usize, boards: &[Board]) -> Vec<OsString> {
    let mut arguments: Vec<_> =
        ["--tool", tool, "--error-exitcode", &FOUND.to_string()].map(Into::into).to_vec();
    arguments.push(program.into());
    let check = ["gpu-check", "--only", "correctness", "--quick", "--require-gpu", "--card"];
    arguments.extend(check.map(Into::into));
    arguments.push(card.to_string().into());
    arguments.extend(boards.iter().flat_map(|board| ["--board".into(), board.as_str().into()]));
    arguments
}

/// Runs the first of the programs that is there.
fn first(programs: &[&str], arguments: &[impl AsRef<OsStr>], limit: Duration) -> ProgramEnd {
    for program in programs {
        let mut command = Command::new(program);
        command.args(arguments);
        match run(command, "", limit, &mut |_| {}) {
            ProgramEnd::Absent => {}
            outcome => return outcome,
        }
    }
    ProgramEnd::Absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn verdicts_follow_the_exit_status() {
        let ended = |code: Option<i32>| ProgramEnd::Ended { code, output: "said".into() };
        for (outcome, expected, fault, said) in [
            (ended(Some(0)), SanitizerVerdict::Clean, false, None),
            (ended(Some(FOUND)), SanitizerVerdict::Found, true, Some("said")),
            (ended(Some(1)), SanitizerVerdict::Failed, true, Some("said")),
            (ended(None), SanitizerVerdict::Failed, true, Some("said")),
            (ProgramEnd::TimedOut { output: "said".into() }, SanitizerVerdict::TimedOut, true, Some("said")),
            (ProgramEnd::Absent, SanitizerVerdict::Skipped, false, None),
            (ProgramEnd::Failed(io::Error::other("no")), SanitizerVerdict::Failed, true, Some("no")),
        ] {
            let run = SanitizerRun::of("memcheck", &outcome);
            assert_eq!((run.verdict, run.is_fault()), (expected, fault), "{outcome:?}");
            assert_eq!(run.said.as_deref(), said, "{outcome:?}");
        }
    }

    #[test]
    fn it_is_looked_for_where_toolkits_install_it() {
        let limit = Duration::from_secs(60);
        let verdict =
            |programs: &[&str]| verdict(&first(programs, &["-c".to_owned(), format!("exit {FOUND}")], limit));
        assert_eq!(verdict(&["no-such-program-here", "/bin/sh"]), SanitizerVerdict::Found);
        assert_eq!(verdict(&["sh", "no-such-program-here"]), SanitizerVerdict::Found);
        assert_eq!(verdict(&["no-such-program-here", "/no/such/program"]), SanitizerVerdict::Skipped);
        assert!(PROGRAMS[1].starts_with("/usr/local/cuda/"));
    }

    #[test]
    fn it_runs_the_correctness_part_of_this_program() {
        let arguments = arguments("racecheck", Path::new("/bin/ringrift"), 3, &[Board::Hex8, Board::Square8]);
        let text: Vec<_> = arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
        assert_eq!(
            text.join(" "),
            "--tool racecheck --error-exitcode 86 /bin/ringrift gpu-check --only correctness --quick --require-gpu \
             --card 3 --board hex8 --board square8"
        );
    }
}
