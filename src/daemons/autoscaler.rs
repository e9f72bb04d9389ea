//! AutoScaler: recommends how many peers the cluster should have.
//!
//! Invariant: this daemon only recommends. An operator who wants the recommendation carried out gives a
//! command in the settings of a host. Only the leader runs that command, without a shell, and passes what it
//! needs as environment variables.

mod command;

use super::{health::HealthHandle, idle_shutdown::LastBusy};
use crate::{
    api::autoscaler::{Advice, Recommendation},
    leader::autoscaler::{AutoscalerConfig, WorkFacts, recommend},
    peer::{Context, Daemon, WorkError},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Pause between two starts of the command, and after a change of leader, because the new leader does not
/// know what the previous one did.
const COOLDOWN: Duration = Duration::from_secs(600);
/// Pause between two looks at the view.
const TICK: Duration = Duration::from_secs(5);

pub struct AutoscalerDaemon {
    node: Context,
    settings: AutoscalerConfig,
    health: HealthHandle,
    last_busy: LastBusy,
    recommendation: watch::Sender<Option<Recommendation>>,
}

impl AutoscalerDaemon {
    /// Returns the daemon, and the channel that shows its recommendation once there is one.
    #[must_use]
    pub fn new(
        node: Context,
        settings: AutoscalerConfig,
        health: HealthHandle,
        last_busy: LastBusy,
    ) -> (Self, watch::Receiver<Option<Recommendation>>) {
        let (recommendation, receiver) = watch::channel(None);
        (Self { node, settings, health, last_busy, recommendation }, receiver)
    }
}

impl Daemon for AutoscalerDaemon {
    const NAME: &'static str = "autoscaler";

    async fn run(&mut self) -> Result<(), WorkError> {
        let Self { node, settings, .. } = self;
        let mut views = self.health.watch();
        // `changed`: when the number of peers may last have changed. `led`: the term in which this node last
        // learnt that it leads.
        let (mut changed, mut led) = (Instant::now(), 0);
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            let (state, metrics) = (node.raft.local(), node.raft.metrics().borrow().clone());
            if metrics.is_leader() && led != metrics.term {
                (changed, led) = (Instant::now(), metrics.term);
            }
            let acts = metrics.is_leader() && !settings.command.is_empty();
            let quiet = if acts { COOLDOWN.saturating_sub(changed.elapsed()) } else { Duration::ZERO };
            let leader = metrics.leader.as_ref().map(|(id, _)| *id);
            let kept = metrics.voters.iter().copied().chain(leader).collect();
            let facts = WorkFacts::of(&state, &self.last_busy.all(), &kept, (node.started, Instant::now()));
            let found = recommend(&state, &facts, &view, settings, quiet);
            self.recommendation.send_if_modified(|last| {
                let other = last.as_ref() != Some(&found);
                *last = Some(found.clone());
                other
            });
            if acts && found.advice != Advice::Hold {
                tracing::info!(advice = ?found.advice, reason = found.reason, "the operator's command is started");
                let order = command::ScalingOrder::new(&state, &found);
                match node.shutdown.run_until_cancelled(order.carry_out(&settings.command)).await {
                    None => return Ok(()),
                    Some(Ok(output)) => tracing::info!(output, "the operator's command is done"),
                    Some(Err(error)) => tracing::error!(%error, "the operator's command failed"),
                }
                changed = Instant::now();
            }
            tokio::select! {
                () = node.shutdown.cancelled() => return Ok(()),
                it = views.changed() => if it.is_err() { return Ok(()) },
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}
