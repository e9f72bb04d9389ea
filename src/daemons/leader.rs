//! The leader's turn: asks every deciding daemon what to propose, and proposes it.
//!
//! Invariant: a node acts only while Raft says that it leads, and only after its own announcement was applied: then its
//! state is not older than its leadership. Commands are idempotent, so two leaders in quick succession do no harm.

use super::{
    data_pipeline, evaluation::Evaluation, node_monitor::NodeMonitor, promotion, roles, scheduler,
    training::Training,
};
use crate::{
    clock::now_ms,
    learner,
    node::{Context, WorkError, blocking},
};
use raft::{ClusterState, Command, Metrics};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Between turns when nothing changes.
const TICK: Duration = Duration::from_millis(250);

/// What the deciding daemons remember.
#[derive(Default)]
struct Deciders {
    monitor: NodeMonitor,
    training: Training,
    evaluation: Evaluation,
}

impl Deciders {
    fn decide(&mut self, node: &Context, state: &ClusterState, metrics: &Metrics) -> Vec<Command> {
        let at_ms = now_ms();
        let announcement = roles::decide(state, node.id, metrics.term, at_ms);
        if !announcement.is_empty() || state.leader.as_ref().is_none_or(|leader| leader.node != node.id) {
            return announcement;
        }
        let connected = |peer: &str| node.p2p.is_connected(peer);
        let mut commands = self.monitor.decide(state, node.id, connected, Instant::now(), at_ms);
        commands.extend(data_pipeline::decide(state, at_ms));
        commands.extend(promotion::decide(state, node.config.evaluation.elo_delta_min, at_ms));
        let view = Arc::clone(&node.cluster.borrow());
        commands.extend(self.training.decide(state, &view, at_ms));
        commands.extend(self.evaluation.decide(state, at_ms));
        commands.extend(scheduler::decide(state, node.config.selfplay.simulations, at_ms));
        commands
    }
}

/// Runs until the shutdown.
///
/// # Errors
/// When the seeded network of a new configuration cannot be kept.
pub async fn run(node: Context) -> Result<(), WorkError> {
    let mut state = node.raft.applied();
    let mut deciders = Deciders::default();
    let mut term = 0;
    loop {
        let mut refused = false;
        let metrics = node.raft.metrics().borrow().clone();
        if metrics.is_leader() {
            if term != metrics.term {
                // What an earlier leadership remembered is old.
                (deciders, term) = (Deciders::default(), metrics.term);
            }
            let current = state.borrow_and_update().clone();
            let mut commands = deciders.decide(&node, &current, &metrics);
            let leads = current.leader.as_ref().is_some_and(|l| l.node == node.id && l.term == term);
            if leads && commands.is_empty() {
                commands = found(&node, &current).await?;
            }
            for command in commands {
                let name = command.name();
                match node.shutdown.run_until_cancelled(node.propose(command)).await {
                    None => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) if error.is_retryable() => {
                        tracing::warn!(command = name, %error, "not decided");
                        break;
                    }
                    Some(Err(error)) => {
                        tracing::info!(command = name, %error, "the cluster disagrees");
                        refused = true;
                    }
                }
            }
        }
        if refused {
            // The refusal is an entry of the log as well, and must not be the reason to ask again at once.
            if node.shutdown.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
                return Ok(());
            }
            continue;
        }
        tokio::select! {
            () = node.shutdown.cancelled() => return Ok(()),
            changed = state.changed() => if changed.is_err() { return Ok(()) },
            () = node.wakes.leader.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// The commands that start a configuration which this node is asked to learn and the cluster does not know.
async fn found(node: &Context, state: &ClusterState) -> Result<Vec<Command>, WorkError> {
    let mut commands = Vec::new();
    for game in node.config.games() {
        let config_key = game.key();
        if state.config(&config_key).is_some() {
            continue;
        }
        let seeded = blocking(move || learner::seeded(game)).await?;
        let size = seeded.len() as u64;
        let champion = node.keep(seeded).await?;
        commands.push(Command::InitConfig {
            config_key,
            champion,
            size,
            threshold: node.config.training.threshold_games,
            target: scheduler::target_of(0, node.config.selfplay.simulations),
            at_ms: now_ms(),
        });
        commands.push(Command::ModelHeld { model: champion, node: node.id, at_ms: now_ms() });
    }
    Ok(commands)
}
