//! `ringrift dlq`: lists, shows, replays and drops events that a handler could not handle.

use super::peer_args::{self, PeerArgs};
use crate::{
    api::dead_letters::{DeadLetter, LetterFilter, NodeLetters},
    events::Logged,
};
use std::process::ExitCode;

/// List, replay or drop dead letters: events that a handler could not handle.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0; 1 when there is no such letter, a replayed handler failed again, there was no \
    time for all, or a node did not answer; 2 for wrong arguments; 3 when the peer does not answer.\n\n\
    Examples:\n  ringrift dlq list --all --data-dir n1\n  ringrift dlq replay --max-age-hours 24 --data-dir n1"
)]
pub(super) struct Args {
    #[command(subcommand)]
    what: DlqCommand,
}

#[derive(Debug, clap::Subcommand)]
enum DlqCommand {
    /// List the dead letters, oldest first.
    List {
        #[command(flatten)]
        peer: PeerArgs,
        /// List the letters of every node.
        #[arg(long)]
        all: bool,
    },
    /// Show one dead letter, with its event.
    Show {
        /// Number of the letter in the peer's queue.
        id: i64,
        #[command(flatten)]
        peer: PeerArgs,
    },
    /// Run the handlers again; a letter that is handled leaves the queue.
    Replay {
        #[command(flatten)]
        peer: PeerArgs,
        /// Replay only letters that were last tried within this many hours.
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        max_age_hours: u64,
        /// Replay the letters of every node.
        #[arg(long)]
        all: bool,
    },
    /// Drop dead letters.
    Purge {
        #[command(flatten)]
        peer: PeerArgs,
        /// Drop only letters that were last tried longer ago than this many hours.
        #[arg(long, value_name = "HOURS")]
        max_age_hours: Option<u64>,
        /// Drop the letters of every node.
        #[arg(long)]
        all: bool,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    act(&args.what).or_else(peer_args::unanswered)
}

fn act(what: &DlqCommand) -> anyhow::Result<ExitCode> {
    let (peer, answer) = match what {
        DlqCommand::Show { id, peer } => {
            let letter = peer.client()?.dead_letter(*id)?;
            println!("{}", serde_json::to_string_pretty(&letter)?);
            return Ok(ExitCode::SUCCESS);
        }
        DlqCommand::List { peer, all } => {
            let client = peer.client()?;
            (peer, if *all { client.dead_letters_everywhere()? } else { client.dead_letters()? })
        }
        DlqCommand::Replay { peer, max_age_hours, all } => {
            let which = LetterFilter { max_age_hours: Some(*max_age_hours), all: *all };
            (peer, peer.client()?.replay(which)?)
        }
        DlqCommand::Purge { peer, max_age_hours, all } => {
            let which = LetterFilter { max_age_hours: *max_age_hours, all: *all };
            (peer, peer.client()?.purge(which)?)
        }
    };
    peer.print(&answer, |answer| answer.iter().flat_map(lines).map(|line| line + "\n").collect())?;
    Ok(if answer.iter().all(is_well) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_well(answer: &NodeLetters<Logged>) -> bool {
    answer.error.is_none() && answer.replayed.as_ref().is_none_or(|r| (r.failed, r.left) == (0, 0))
}

fn lines(answer: &NodeLetters<Logged>) -> Vec<String> {
    let node = &answer.node_id;
    if let Some(error) = &answer.error {
        return vec![format!("{node}: no answer: {error}")];
    }
    if let Some(r) = &answer.replayed {
        let (all, well, failed, waiting) = (r.replayed, r.recovered, r.failed, r.waiting);
        let left = match r.left {
            0 => String::new(),
            left => format!(", {left} left for another replay"),
        };
        return vec![format!(
            "{node}: {all} replayed, {well} recovered, {failed} failed again, {waiting} wait for a quorum{left}"
        )];
    }
    if let Some(purged) = answer.purged {
        return vec![format!("{node}: {purged} dropped")];
    }
    if answer.letters.is_empty() {
        return vec![format!("{node}: no dead letters")];
    }
    answer.letters.iter().map(|letter| line(node, letter)).collect()
}

/// One line: node, number, handler, event, attempts, error.
fn line(node: &str, letter: &DeadLetter<Logged>) -> String {
    let DeadLetter { id, handler, payload, error, retry_count, .. } = letter;
    format!("{node} {id:>5} {handler:<14} {:<28} {retry_count} attempts: {error}", payload.event.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::dead_letters::Replayed;

    #[test]
    fn what_a_node_says_is_a_line_and_a_failure_is_no_success() {
        let answer = |error: Option<&str>, failed, purged: Option<u64>| NodeLetters {
            node_id: "node-2".into(),
            letters: Vec::new(),
            replayed: purged.is_none().then_some(Replayed {
                replayed: 2,
                recovered: 2 - failed,
                failed,
                waiting: 0,
                left: 0,
            }),
            purged,
            error: error.map(str::to_owned),
        };
        let check = |answer: &NodeLetters<Logged>, expected: &str, well| {
            assert_eq!(lines(answer), [expected]);
            assert_eq!(is_well(answer), well);
        };
        let text = "node-2: 2 replayed, 1 recovered, 1 failed again, 0 wait for a quorum";
        check(&answer(None, 1, None), text, false);
        let mut late = answer(None, 0, None);
        late.replayed.as_mut().unwrap().left = 7;
        let text =
            "node-2: 2 replayed, 2 recovered, 0 failed again, 0 wait for a quorum, 7 left for another replay";
        check(&late, text, false);
        check(&answer(None, 0, Some(3)), "node-2: 3 dropped", true);
        check(&answer(Some("timeout"), 0, Some(0)), "node-2: no answer: timeout", false);
        check(
            &NodeLetters { node_id: "node-1".into(), ..NodeLetters::default() },
            "node-1: no dead letters",
            true,
        );
    }
}
