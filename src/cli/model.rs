//! `ringrift model`: shows what became of each model, and lets an operator appoint the champion.

use super::{
    peer_args::{self, PeerArgs},
    pull,
};
use crate::api::models::{ChampionMoved, ChampionOrder, ModelView};
use cluster_state::ConfigKey;
use std::{fmt::Write as _, process::ExitCode};

/// List models, show or fetch one, or change the champion.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0; 1 when there is no such model or the cluster refuses; 2 for wrong arguments; 3 when \
    the peer does not answer or no quorum decides.\n\n\
    Examples:\n  ringrift model list --data-dir n1\n  ringrift model show 1f0c22aa --data-dir n1 --json | jq .evidence\n  \
    ringrift model promote hex8_2p 1f0c22aa --reason 'won the tournament' --data-dir n1\n  \
    ringrift model pull 1f0c22aa --out champion.safetensors --data-dir n1\n  \
    ringrift model rollback hex8_2p --reason 'loses to the one before' --data-dir n1"
)]
pub(super) struct Args {
    #[command(subcommand)]
    what: ModelCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ModelCommand {
    /// List the models, the newest first.
    List {
        #[command(flatten)]
        peer: PeerArgs,
        /// List only models of this configuration.
        #[arg(long, value_name = "CONFIG")]
        config: Option<ConfigKey>,
        /// List at most this many models.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Show one model: its origin, its evaluation and its state.
    Show {
        /// The first hex digits of the model's hash, four or more.
        #[arg(value_name = "HASH")]
        model: String,
        #[command(flatten)]
        peer: PeerArgs,
    },
    /// Make a model champion without evidence.
    ///
    /// It can be any model of the configuration that enough peers hold. It is
    /// watched like every champion, against the one that it replaces. Only a
    /// user who can read the data folder may promote it.
    Promote {
        /// Configuration, such as hex8_2p.
        config: ConfigKey,
        /// The first hex digits of the model's hash, four or more.
        #[arg(value_name = "HASH")]
        model: String,
        /// Reason, as the history shows it.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        peer: PeerArgs,
    },
    /// Have the peer fetch a model, or a segment of games.
    ///
    /// The peer fetches it from the swarm, over HTTP, or by the operator's
    /// command, and checks it. The answer names the file that holds it.
    Pull {
        #[command(flatten)]
        what: pull::PullArgs,
        #[command(flatten)]
        peer: PeerArgs,
    },
    /// Bring the previous champion back, and have training go on from it.
    ///
    /// The candidates of the champion that is replaced are dropped, and so is
    /// the work on them.
    Rollback {
        /// Configuration, such as hex8_2p.
        config: ConfigKey,
        /// Reason, as the history shows it.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        peer: PeerArgs,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    act(&args.what).map(|()| ExitCode::SUCCESS).or_else(peer_args::unanswered)
}

fn act(what: &ModelCommand) -> anyhow::Result<()> {
    match what {
        ModelCommand::List { peer, config, limit } => {
            let models = peer.client()?.models(config.as_ref(), *limit)?;
            peer.print(&models, |models| table(models))
        }
        ModelCommand::Show { model, peer } => peer.print(&peer.client()?.model(model)?, details),
        ModelCommand::Promote { config, model, reason, peer } => {
            let order = order(config, Some(model), reason);
            peer.print(&peer.client()?.promote(&order)?, outcome)
        }
        ModelCommand::Rollback { config, reason, peer } => {
            let order = order(config, None, reason);
            peer.print(&peer.client()?.rollback(&order)?, outcome)
        }
        ModelCommand::Pull { what, peer } => {
            let pulled = pull::pull(&peer.client()?, what)?;
            peer.print(&pulled, |pulled| pull::summary(pulled, what))
        }
    }
}

fn order(config: &ConfigKey, model: Option<&String>, reason: &str) -> ChampionOrder {
    ChampionOrder { config_key: config.clone(), model: model.cloned(), reason: reason.to_owned() }
}

/// One line per model: hash, configuration, what became of it, step, gain, holders.
fn table(models: &[ModelView]) -> String {
    let mut text = String::new();
    for model in models {
        let gain = model.evidence.as_ref();
        let gain = gain.map_or("-".to_owned(), |e| format!("{:+.0} ± {:.0}", e.elo_delta, e.elo_error));
        let (short, key, status) = (model.model.short(), &model.config_key, status(model));
        let (step, holders) = (model.step, model.holders.len());
        let line = format!("{short}  {key:<14} {status:<18} step {step:<8} Elo {gain:<12} {holders} holders");
        let _ = writeln!(text, "{line}"); // writing to a string does not fail
    }
    if text.is_empty() { "no models\n".to_owned() } else { text }
}

/// The state of a model in words, such as `champion 3` or `rejected`.
fn status(model: &ModelView) -> String {
    match model.generations.last() {
        Some(generation) => format!("{} {generation}", model.status),
        None => model.status.clone(),
    }
}

fn details(model: &ModelView) -> String {
    let mut rows = vec![
        ("model", model.model.to_string()),
        ("configuration", model.config_key.to_string()),
        ("status", status(model)),
    ];
    rows.extend(model.reason.clone().map(|reason| ("because", reason)));
    let numbers: Vec<String> = model.generations.iter().map(u64::to_string).collect();
    if !numbers.is_empty() {
        rows.push(("was champion", numbers.join(", ")));
    }
    rows.push(("parent", model.parent.to_string()));
    rows.push(("trained by", model.trained_by.clone().unwrap_or_else(|| "nobody: it is seeded".to_owned())));
    if let Some(report) = &model.report {
        let (loss, val, seconds) = (report.final_loss, report.val_loss, report.seconds);
        rows.push(("training", format!("loss {loss:.3}, {val:.3} on games set aside, {seconds:.0} s")));
    }
    if let Some(e) = &model.evidence {
        let (champion, games) = (e.champion.short(), e.games);
        let (delta, error) = (e.elo_delta, e.elo_error);
        let (random, heuristic) = (e.win_rate_vs_random * 100.0, e.win_rate_vs_heuristic * 100.0);
        rows.push((
            "evaluation",
            format!("Elo {delta:+.0} ± {error:.0} against {champion} in {games} games"),
        ));
        rows.push(("", format!("{random:.0} % against random, {heuristic:.0} % against the heuristic")));
    }
    rows.extend(model.evaluated_by.clone().map(|node| ("evaluated by", node)));
    for (what, nodes) in [("confirmed by", &model.confirmed_by), ("denied by", &model.denied_by)] {
        if !nodes.is_empty() {
            rows.push((what, nodes.join(", ")));
        }
    }
    rows.push(("holders", model.holders.join(", ")));
    rows.iter().map(|(name, value)| format!("{name:<14} {value}\n")).collect()
}

fn outcome(moved: &ChampionMoved) -> String {
    let (champion, key, generation) = (moved.champion.short(), &moved.config_key, moved.generation);
    match &moved.promotion {
        Some(step) => {
            let previous = step.previous.short();
            format!("{champion} is champion {generation} of {key}, after {previous}\n")
        }
        None => format!("{champion} is champion {generation} of {key} already\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::models::PromotionView;
    use cluster_state::ModelId;
    use wire::Hash;

    fn model() -> ModelView {
        ModelView {
            model: ModelId(Hash::of(b"a")),
            config_key: "hex8_2p".into(),
            status: "rejected".into(),
            reason: Some("rolled back: worse".into()),
            generations: vec![1, 4],
            size: 9,
            parent: ModelId(Hash::of(b"b")),
            step: 120,
            trained_by: None,
            holders: vec!["node-1".into(), "node-2".into()],
            report: None,
            evidence: None,
            evaluated_by: Some("node-3".into()),
            confirmed_by: vec!["node-4".into(), "node-5".into()],
            denied_by: vec!["node-6".into()],
            at_ms: 0,
        }
    }

    #[test]
    fn a_model_is_a_line_or_a_page() {
        assert_eq!(table(&[]), "no models\n");
        let line = table(&[model()]);
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected =
            [&*Hash::of(b"a").short(), "hex8_2p", "rejected", "4", "step", "120", "Elo", "-", "2", "holders"];
        assert_eq!(words, expected);
        let page = details(&model());
        for part in [
            "rejected 4\n",
            "rolled back: worse",
            "1, 4\n",
            "it is seeded",
            "node-1, node-2",
            "node-3\n",
            "node-4, node-5\n",
            "denied by      node-6\n",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn the_outcome_names_the_champion() {
        let mut moved = ChampionMoved {
            config_key: "hex8_2p".into(),
            champion: ModelId(Hash::of(b"a")),
            generation: 5,
            promotion: Some(PromotionView {
                generation: 5,
                model: ModelId(Hash::of(b"a")),
                previous: ModelId(Hash::of(b"b")),
                elo_delta: 0.0,
                new_elo: 1.0,
                at_ms: 0,
            }),
        };
        let (a, b) = (Hash::of(b"a").short(), Hash::of(b"b").short());
        assert_eq!(outcome(&moved), format!("{a} is champion 5 of hex8_2p, after {b}\n"));
        moved.promotion = None;
        assert_eq!(outcome(&moved), format!("{a} is champion 5 of hex8_2p already\n"));
    }
}
