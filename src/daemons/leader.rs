//! The only worker of the deciders in [`crate::leader`]: while this node leads, it asks them what to propose,
//! and proposes it.
//!
//! Invariant: a node acts only while Raft says that it leads, and only after its own announcement was
//! applied: then its state is not older than its leadership. Commands are idempotent, so two leaders in quick
//! succession do no harm.
//!
//! It takes a turn when the state or its view of the cluster changes, when an event asks for one, and four
//! times a second.

use super::health::HealthHandle;
use crate::{
    api::health::ClusterView,
    clock::now_ms,
    leader::{
        scheduler,
        turn::{Deciders, LeaderSettings, Leadership, Turn},
    },
    learner,
    peer::{Context, Daemon, Wake, WorkError, blocking},
};
use cluster_state::{
    ClusterState, Command, ConfigKey, ModelId,
    command::{InitConfig, ModelHeld},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Pause between two turns when nothing changes.
const TICK: Duration = Duration::from_millis(250);

/// The settings that the daemon gets.
#[derive(Clone, Debug)]
pub struct LeaderDaemonSettings {
    pub turn: LeaderSettings,
    /// The configurations that the cluster should learn.
    pub games: Vec<rules::Config>,
    /// New games that start a training run.
    pub threshold_games: u64,
}

pub struct LeaderDaemon {
    node: Context,
    settings: LeaderDaemonSettings,
    health: HealthHandle,
    wake: Wake,
}

impl LeaderDaemon {
    /// Returns the daemon, and the handle that makes it take its turn now.
    #[must_use]
    pub fn new(node: Context, settings: LeaderDaemonSettings, health: HealthHandle) -> (Self, Wake) {
        let wake = Wake::default();
        (Self { node, settings, health, wake: wake.clone() }, wake)
    }
}

impl Daemon for LeaderDaemon {
    const NAME: &'static str = "leader";

    async fn run(&mut self) -> Result<(), WorkError> {
        let Self { node, settings, health, wake } = self;
        let mut state = node.raft.applied();
        let mut leadership = Leadership::default();
        let mut views = health.watch();
        loop {
            let mut refused = false;
            let metrics = node.raft.metrics().borrow().clone();
            let term = metrics.term;
            if let Some(deciders) = leadership.deciders(metrics.is_leader(), term) {
                let current = state.borrow_and_update().clone();
                // This is a copy, because the task that updates the view would otherwise have to wait for a
                // turn to end.
                let view = Arc::clone(&views.borrow_and_update());
                let mut commands = decide(node, deciders, &current, &view, term, &settings.turn);
                let leads = current.leader.as_ref().is_some_and(|l| l.node == node.id && l.term == term);
                if leads && commands.is_empty() {
                    commands = found(node, &current, settings).await?;
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
                // The refusal is an entry of the log as well, and must not be the reason to ask again at
                // once.
                if node.shutdown.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
                    return Ok(());
                }
                continue;
            }
            tokio::select! {
                () = node.shutdown.cancelled() => return Ok(()),
                changed = state.changed() => if changed.is_err() { return Ok(()) },
                () = wake.woken() => {}
                changed = views.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}

/// One turn of the deciders, for the present state of this node.
fn decide(
    node: &Context,
    deciders: &mut Deciders,
    state: &ClusterState,
    view: &ClusterView,
    term: u64,
    settings: &LeaderSettings,
) -> Vec<Command> {
    let turn = Turn {
        me: node.id,
        term,
        view,
        connected: &|peer| node.p2p.is_connected(peer),
        now: Instant::now(),
        at_ms: now_ms(),
    };
    deciders.decide(state, &turn, settings)
}

/// The commands that start a configuration which this node should learn and the cluster does not know.
async fn found(
    node: &Context,
    state: &ClusterState,
    settings: &LeaderDaemonSettings,
) -> Result<Vec<Command>, WorkError> {
    let mut commands = Vec::new();
    for &game in &settings.games {
        let config_key = ConfigKey::from(game);
        if state.config(&config_key).is_some() {
            continue;
        }
        let seeded = blocking(move || learner::seeded(game)).await?;
        let size = seeded.len() as u64;
        let champion = node.put_content(seeded).await?;
        commands.push(Command::InitConfig(InitConfig {
            config_key,
            champion: ModelId(champion),
            size,
            threshold: settings.threshold_games,
            target: scheduler::target_of(0, settings.turn.simulations),
            at_ms: now_ms(),
        }));
        commands.push(Command::ModelHeld(ModelHeld {
            model: ModelId(champion),
            node: node.id,
            at_ms: now_ms(),
        }));
    }
    Ok(commands)
}
