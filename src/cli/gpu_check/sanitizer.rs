//! compute-sanitizer over this program's own correctness part; only where it is installed.

use super::{
    outside::{Outcome, run, tail},
    progress,
};
use rules::Board;
use serde::Serialize;
use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::Command,
    time::Duration,
};

/// What it looks for, in this order.
pub(super) const TOOLS: [&str; 3] = ["memcheck", "racecheck", "synccheck"];
/// Where it is: wherever programs are looked for, or where toolkits install it.
const PROGRAMS: [&str; 2] = ["compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer"];
/// The exit status that it is asked for when it has found something.
const FOUND: i32 = 86;
/// For each tool.
const TIME_MAX: Duration = Duration::from_secs(1800);

/// A run over the correctness part.
#[derive(Debug, Serialize)]
pub(super) struct SanitizerRun {
    pub(super) tool: &'static str,
    pub(super) verdict: Verdict,
    /// The last it said, where something is wrong.
    pub(super) said: Option<String>,
}

/// What a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// Nothing found.
    Clean,
    /// Something found.
    Found,
    /// The check itself failed under it.
    Failed,
    /// Not done in time.
    TimedOut,
    /// Not installed.
    Skipped,
}

impl SanitizerRun {
    fn of(tool: &'static str, outcome: &Outcome) -> Self {
        let verdict = verdict(outcome);
        let said = match outcome {
            Outcome::Ended { output, .. } | Outcome::TimedOut { output } => Some(tail(output)),
            Outcome::Failed(error) => Some(error.to_string()),
            Outcome::Absent => None,
        };
        Self { tool, verdict, said: said.filter(|_| verdict != Verdict::Clean) }
    }

    /// Whether something is wrong.
    pub(super) fn is_fault(&self) -> bool {
        match self.verdict {
            Verdict::Clean | Verdict::Skipped => false,
            Verdict::Found | Verdict::Failed | Verdict::TimedOut => true,
        }
    }

    /// For a person.
    pub(super) fn describe(&self) -> &'static str {
        match self.verdict {
            Verdict::Clean => "nothing found",
            Verdict::Found => "FOUND something, see the report",
            Verdict::Failed => "FAILED, see the report",
            Verdict::TimedOut => "not done in half an hour",
            Verdict::Skipped => "skipped: not installed",
        }
    }
}

fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Ended { code: Some(0), .. } => Verdict::Clean,
        Outcome::Ended { code: Some(FOUND), .. } => Verdict::Found,
        Outcome::Ended { .. } | Outcome::Failed(_) => Verdict::Failed,
        Outcome::TimedOut { .. } => Verdict::TimedOut,
        Outcome::Absent => Verdict::Skipped,
    }
}

/// Runs this program's quick correctness part under a tool.
pub(super) fn sanitize(tool: &'static str, card: usize, boards: &[Board]) -> SanitizerRun {
    progress(&format!("compute-sanitizer {tool}"));
    let outcome = match std::env::current_exe() {
        Err(error) => Outcome::Failed(error),
        Ok(program) => {
            let arguments = arguments(tool, &program, card, boards);
            first(&PROGRAMS, &arguments, TIME_MAX)
        }
    };
    let run = SanitizerRun::of(tool, &outcome);
    progress(&format!("compute-sanitizer {tool}: {}", run.describe()));
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
fn first(programs: &[&str], arguments: &[impl AsRef<OsStr>], limit: Duration) -> Outcome {
    for program in programs {
        let mut command = Command::new(program);
        command.args(arguments);
        match run(command, "", limit, &mut |_| {}) {
            Outcome::Absent => {}
            outcome => return outcome,
        }
    }
    Outcome::Absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn verdicts_follow_the_exit_status() {
        let ended = |code: Option<i32>| Outcome::Ended { code, output: "said".into() };
        for (outcome, expected, fault, said) in [
            (ended(Some(0)), Verdict::Clean, false, None),
            (ended(Some(FOUND)), Verdict::Found, true, Some("said")),
            (ended(Some(1)), Verdict::Failed, true, Some("said")),
            (ended(None), Verdict::Failed, true, Some("said")),
            (Outcome::TimedOut { output: "said".into() }, Verdict::TimedOut, true, Some("said")),
            (Outcome::Absent, Verdict::Skipped, false, None),
            (Outcome::Failed(io::Error::other("no")), Verdict::Failed, true, Some("no")),
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
        assert_eq!(verdict(&["no-such-program-here", "/bin/sh"]), Verdict::Found);
        assert_eq!(verdict(&["sh", "no-such-program-here"]), Verdict::Found);
        assert_eq!(verdict(&["no-such-program-here", "/no/such/program"]), Verdict::Skipped);
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
