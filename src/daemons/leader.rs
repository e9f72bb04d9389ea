//! The leader's turn: asks every deciding daemon what to propose, and proposes it.
//!
//! Invariant: a node acts only while Raft says that it leads, and only after its own announcement was applied: then its
//! state is not older than its leadership. Commands are idempotent, so two leaders in quick succession do no harm.

use crate::leader::{
    curriculum, data_pipeline,
    evaluation::Evaluation,
    feedback,
    feedback_loop::FeedbackLoop,
    node_monitor::NodeMonitor,
    promotion::Promotion,
    queue::Queue,
    regression::{self, Watching},
    roles, scheduler,
    training::Training,
};
use crate::{
    clock::now_ms,
    learner,
    peer::{Context, WorkError, blocking},
};
use cluster_state::command::{InitConfig, ModelHeld};
use cluster_state::{ClusterState, Command};
use raft::Metrics;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Between turns when nothing changes.
const TICK: Duration = Duration::from_millis(250);

/// What the deciding daemons remember.
#[derive(Debug, Default)]
struct Deciders {
    monitor: NodeMonitor,
    training: Training,
    evaluation: Evaluation,
    feedback_loop: FeedbackLoop,
    promotion: Promotion,
    queue: Queue,
    watching: Watching,
}

impl Deciders {
    fn decide(&mut self, node: &Context, state: &ClusterState, metrics: &Metrics) -> Vec<Command> {
        let at_ms = now_ms();
        let announcement = roles::decide(state, node.id, metrics.term, at_ms);
        if !announcement.is_empty() || state.leader.as_ref().is_none_or(|leader| leader.node != node.id) {
            return announcement;
        }
        let connected = |peer: &str| node.p2p.is_connected(peer);
        let view = Arc::clone(&node.cluster.borrow());
        let mut commands = self.monitor.decide(state, &view, node.id, connected, Instant::now(), at_ms);
        // Who is said to be offline gets no work.
        let seen = view.through(state);
        commands.extend(data_pipeline::decide(state, at_ms));
        let settings = &node.config.evaluation;
        commands.extend(self.promotion.decide(state, settings, at_ms));
        commands.extend(self.feedback_loop.decide(state, settings.elo_delta_min, at_ms));
        commands.extend(self.training.decide(&seen, &view, at_ms));
        commands.extend(self.evaluation.decide(&seen, settings, at_ms));
        commands.extend(feedback::decide(state, at_ms));
        commands.extend(curriculum::decide(state, at_ms));
        commands.extend(regression::decide(state, at_ms));
        let every = Duration::from_secs(settings.watch_seconds);
        commands.extend(self.watching.decide(&seen, every, at_ms));
        commands.extend(scheduler::decide(state, node.config.selfplay.simulations, at_ms));
        self.queue.arrange(state, commands, at_ms)
    }
}

/// One leadership of this node after the other.
#[derive(Debug, Default)]
struct Reign(Option<(u64, Deciders)>);

impl Reign {
    /// The deciders of this term. What an earlier leadership remembered is old: each term begins with fresh ones, and where
    /// this node does not lead there are none.
    fn deciders(&mut self, leads: bool, term: u64) -> Option<&mut Deciders> {
        if !leads || self.0.as_ref().is_some_and(|(of, _)| *of != term) {
            self.0 = None;
        }
        leads.then(|| &mut self.0.get_or_insert_with(|| (term, Deciders::default())).1)
    }
}

/// Runs until the shutdown.
///
/// # Errors
/// When the seeded network of a new configuration cannot be kept.
pub async fn run(node: Context) -> Result<(), WorkError> {
    let mut state = node.raft.applied();
    let mut reign = Reign::default();
    loop {
        let mut refused = false;
        let metrics = node.raft.metrics().borrow().clone();
        let term = metrics.term;
        if let Some(deciders) = reign.deciders(metrics.is_leader(), term) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::{fixture::World, health::View};

    #[test]
    fn a_new_leader_decides_afresh_and_an_old_one_no_more() {
        let mut reign = Reign::default();
        let fresh = format!("{:?}", Deciders::default());
        let mut world = World::with_nodes(2);
        world.play(500);
        world.cross();
        world.grant(cluster_state::LeaseKind::Training, 2, None);
        // Remembers a lease and a host that is contradicted.
        let decide = |deciders: &mut Deciders| {
            deciders.monitor.decide(&world.state, &View::default(), 1, |_| false, Instant::now(), 0);
            format!("{deciders:?}")
        };
        assert!(reign.deciders(false, 3).is_none());
        let remembers = decide(reign.deciders(true, 4).unwrap());
        assert_ne!(remembers, fresh);
        assert_eq!(format!("{:?}", reign.deciders(true, 4).unwrap()), remembers, "the same leadership");
        assert_eq!(format!("{:?}", reign.deciders(true, 5).unwrap()), fresh, "elected again");
        decide(reign.deciders(true, 5).unwrap());
        assert!(reign.deciders(false, 6).is_none(), "another leads");
        assert_eq!(format!("{reign:?}"), format!("{:?}", Reign::default()), "nothing of it is left");
        assert_eq!(format!("{:?}", reign.deciders(true, 7).unwrap()), fresh);
    }
}
