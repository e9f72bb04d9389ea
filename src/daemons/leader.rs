//! The only worker of the deciders in [`crate::leader`]: asks them what to propose while this node leads, and proposes it.
//!
//! Invariant: a node acts only while Raft says that it leads, and only after its own announcement was applied: then its
//! state is not older than its leadership. Commands are idempotent, so two leaders in quick succession do no harm.

use crate::{
    clock::now_ms,
    leader::{
        scheduler,
        turn::{Deciders, LeaderSettings, Leadership, Turn},
    },
    learner,
    peer::{Context, WorkError, blocking},
};
use cluster_state::{
    ClusterState, Command,
    command::{InitConfig, ModelHeld},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Between turns when nothing changes.
const TICK: Duration = Duration::from_millis(250);

/// Runs until the shutdown.
///
/// # Errors
/// When the seeded network of a new configuration cannot be kept.
pub async fn run(node: Context) -> Result<(), WorkError> {
    let mut state = node.raft.applied();
    let mut leadership = Leadership::default();
    let settings = LeaderSettings {
        evaluation: node.config.evaluation.clone(),
        simulations: node.config.selfplay.simulations,
    };
    loop {
        let mut refused = false;
        let metrics = node.raft.metrics().borrow().clone();
        let term = metrics.term;
        if let Some(deciders) = leadership.deciders(metrics.is_leader(), term) {
            let current = state.borrow_and_update().clone();
            let mut commands = decide(&node, deciders, &current, term, &settings);
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

/// One turn of the deciders, as this node stands now.
fn decide(
    node: &Context,
    deciders: &mut Deciders,
    state: &ClusterState,
    term: u64,
    settings: &LeaderSettings,
) -> Vec<Command> {
    let view = Arc::clone(&node.cluster.borrow());
    let turn = Turn {
        me: node.id,
        term,
        view: &view,
        connected: &|peer| node.p2p.is_connected(peer),
        now: Instant::now(),
        at_ms: now_ms(),
    };
    deciders.decide(state, &turn, settings)
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
        commands.push(Command::InitConfig(InitConfig {
            config_key,
            champion,
            size,
            threshold: node.config.training.threshold_games,
            target: scheduler::target_of(0, node.config.selfplay.simulations),
            at_ms: now_ms(),
        }));
        commands.push(Command::ModelHeld(ModelHeld { model: champion, node: node.id, at_ms: now_ms() }));
    }
    Ok(commands)
}
