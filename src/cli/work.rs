//! `ringrift work`: lists training and evaluation that wait or are running, and cancels them.

use super::peer_args::{self, PeerArgs};
use crate::{
    api::work::{Cancellation, QueueItem},
    client::ClientError,
    clock::now_ms,
};
use cluster_state::ConfigKey;
use std::process::ExitCode;

/// List or cancel training and evaluation.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0; 1 when there is nothing to cancel; 2 for wrong arguments; 3 when the peer does not \
    answer.\n\n\
    Examples:\n  ringrift work list --data-dir n1\n  ringrift work cancel training hex8_2p --data-dir n1"
)]
pub(super) struct Args {
    #[command(subcommand)]
    what: WorkCommand,
}

#[derive(Debug, clap::Subcommand)]
enum WorkCommand {
    /// List the work that waits or goes on, the most urgent first.
    List {
        #[command(flatten)]
        peer: PeerArgs,
    },
    /// Cancel the work that goes on for a configuration.
    ///
    /// The leader has it done again after a minute, unless nothing calls for
    /// it by then.
    Cancel {
        /// Kind of work.
        #[arg(value_parser = ["training", "evaluation"])]
        kind: String,
        /// Configuration, such as hex8_2p.
        config: ConfigKey,
        /// Reason, as the other nodes read it.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        #[command(flatten)]
        peer: PeerArgs,
    },
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    act(args.what).map(|()| ExitCode::SUCCESS).or_else(|error| peer_args::unanswered(error.into()))
}

fn act(what: WorkCommand) -> Result<(), ClientError> {
    match what {
        WorkCommand::List { peer } => {
            let items = peer.client()?.work()?;
            if peer.json {
                println!("{}", serde_json::json!(items));
            } else if items.is_empty() {
                println!("no work waits or goes on");
            } else {
                items.iter().for_each(|item| println!("{}", line(item, now_ms())));
            }
        }
        WorkCommand::Cancel { kind, config, reason, peer } => {
            let cancellation = Cancellation { kind, config_key: config, reason };
            let cancelled = peer.client()?.cancel(&cancellation)?;
            if peer.json {
                println!("{}", serde_json::json!(cancelled));
            } else {
                let Cancellation { kind, config_key, .. } = cancellation;
                println!("cancelled {kind} {} of {config_key} on {}", cancelled.epoch, cancelled.node_id);
            }
        }
    }
    Ok(())
}

/// One line: priority, kind, configuration, model, how long, and who works on it or why it waits.
fn line(item: &QueueItem, now_ms: u64) -> String {
    let model = item.subject.map_or_else(|| "-".to_owned(), |hash| hash.short());
    let seconds = now_ms.saturating_sub(item.since_ms) / 1000;
    let (node, why) = (item.node_id.as_deref(), item.waits_for.as_deref());
    let how = match (node, why) {
        (Some(node), _) => format!("on {node}"),
        (None, why) => format!("waits for {}", why.unwrap_or("nothing")),
    };
    format!(
        "{:>6.1}  {:<10} {:<14} {model:<8} {seconds:>6} s  {how}",
        item.priority, item.kind, item.config_key
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_does_it_or_what_it_waits_for() {
        let item = QueueItem {
            kind: "training".into(),
            config_key: "hex8_2p".into(),
            subject: None,
            priority: 100.0,
            node_id: Some("node-2".into()),
            epoch: Some(3),
            waits_for: None,
            since_ms: 1_000,
        };
        let check = |item: &QueueItem, expected: &str| {
            let line = line(item, 6_500);
            assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), expected);
        };
        check(&item, "100.0 training hex8_2p - 5 s on node-2");
        let waiting = QueueItem { node_id: None, epoch: None, waits_for: Some("a free node".into()), ..item };
        check(&waiting, "100.0 training hex8_2p - 5 s waits for a free node");
    }
}
