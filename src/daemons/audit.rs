//! Audit: makes a sample of the decisions again that other nodes have played, and reports what is forged.
//!
//! Invariant: what this node looks at is drawn here, so that no player can know it. Audits take a bounded
//! share of the time, at the lowest priority, and none while this node drains, trains or evaluates. A report
//! names a decision that every other node can make again; when enough of them agree, the state machine
//! distrusts the player.
//!
//! `plan` decides what comes next, and `examine` looks at it.

mod examine;
mod plan;

use self::{
    examine::{Look, examine, impossible},
    plan::{AuditDecider, AuditTask, TimeBudget},
};
use super::cache::LoadedNetworks;
use crate::{
    api::activity::AuditActivity,
    clock::now_ms,
    compute,
    learner::{audit::Examined, settings::AuditConfig},
    peer::{Context, Daemon, WorkError},
};
use cluster_state::{ClusterState, Command, SegmentId, command::ReportForgery};
use kernels::{CheckpointError, CpuEvaluator};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Pause between two looks at the state.
const TICK: Duration = Duration::from_secs(1);

pub struct AuditDaemon {
    pub node: Context,
    pub settings: AuditConfig,
    pub networks: LoadedNetworks,
    /// Threads of self-play, which the time for audits is a share of.
    pub threads: usize,
}

impl Daemon for AuditDaemon {
    const NAME: &'static str = "audit";

    async fn run(&mut self) -> Result<(), WorkError> {
        let node = &self.node;
        let mut seen = node.raft.local();
        let mut decider = AuditDecider::new(node.id, self.settings.share);
        let mut budget = TimeBudget::new(self.threads, Instant::now());
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = node.shutdown.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            let state = node.raft.local();
            decider.look(&seen, &state);
            seen = state;
            self.show(&decider, |_| {});
            while budget.allows(Instant::now())
                && let Some(task) = decider.next(&seen)
            {
                let audited = node.shutdown.run_until_cancelled(self.audit(&seen, task)).await;
                match audited {
                    None => return Ok(()),
                    Some(Ok((examined, took))) => {
                        budget.took(took);
                        decider.done(task);
                        self.show(&decider, |work| count(work, &examined));
                    }
                    Some(Err(error)) => {
                        tracing::info!(?task, %error, "an audit could not be made");
                        decider.failed(task);
                    }
                }
                seen = self.follow(&mut decider, seen);
            }
        }
    }
}

impl AuditDaemon {
    /// The state now, once the decider has looked at it.
    fn follow(&self, decider: &mut AuditDecider, seen: Arc<ClusterState>) -> Arc<ClusterState> {
        let state = self.node.raft.local();
        decider.look(&seen, &state);
        state
    }

    /// Does a task, and reports what it finds. Returns how long a thread computed.
    async fn audit(&self, state: &ClusterState, task: AuditTask) -> Result<(Examined, Duration), WorkError> {
        let (id, look) = match task {
            AuditTask::Sample { segment, share } => (segment, Look::Share(share)),
            AuditTask::Confirm { segment, game, ply } => (segment, Look::At { game, ply }),
        };
        let registered = state.segments.get(&id).ok_or(WorkError::Missing(id.0))?.clone();
        let key = &registered.config_key;
        let config = key.game().ok_or_else(|| WorkError::UnknownConfig(key.clone()))?;
        let model = state.models.get(&registered.model).ok_or(WorkError::Missing(registered.model.0))?;
        let network = self.networks.get_or_fetch(key, registered.model, &model.holders).await;
        let network = match network {
            Ok(network) if network.architecture().fits(config.board) => Some(network),
            // A newer program may have played with it.
            Err(WorkError::Checkpoint(CheckpointError::Version { .. })) => {
                return Ok((examine::unjudged(), Duration::ZERO));
            }
            // Nobody can have played with such a model.
            Ok(_) | Err(WorkError::Checkpoint(_) | WorkError::Nonsense(_)) => None,
            Err(error) => return Err(error),
        };
        let bytes = self.node.get_or_fetch_segment(id, &registered.holders).await;
        let bytes = match bytes {
            Ok(bytes) => Some(bytes),
            Err(WorkError::Nonsense(_)) => None,
            Err(error) => return Err(error),
        };
        let seed = rand::random();
        let examined = compute::spawn("audit", move || {
            let began = Instant::now();
            let examined = match (network, bytes) {
                (Some(network), Some(bytes)) => {
                    let mut evaluator = CpuEvaluator::new(network);
                    examine(&bytes, &registered, config, &mut evaluator, &look, seed)
                }
                (None, _) | (_, None) => Ok(impossible(&look)),
            };
            (examined, began.elapsed())
        });
        let examined = examined.map_err(WorkError::NoThread)?;
        let (examined, took) = examined.await.map_err(|_| WorkError::Panicked("an audit"))?;
        let examined = examined.map_err(WorkError::Unjudged)?;
        self.report(id, &examined).await?;
        Ok((examined, took))
    }

    async fn report(&self, segment: SegmentId, examined: &Examined) -> Result<(), WorkError> {
        let Some(forged) = examined.forged else { return Ok(()) };
        tracing::error!(%segment, game = forged.game, ply = forged.ply, "a game was not played as it says");
        self.node
            .propose(Command::ReportForgery(ReportForgery {
                node: self.node.id,
                segment,
                game: forged.game,
                ply: forged.ply,
                at_ms: now_ms(),
            }))
            .await?;
        Ok(())
    }

    fn show(&self, decider: &AuditDecider, change: impl FnOnce(&mut AuditActivity)) {
        self.node.activity.update(|work| {
            work.audit.waiting = decider.waiting();
            work.audit.skipped = decider.skipped();
            change(&mut work.audit);
        });
    }
}

fn count(work: &mut AuditActivity, examined: &Examined) {
    work.games += examined.games;
    work.decisions += examined.decisions;
    work.forged += u64::from(examined.forged.is_some());
    work.unjudged += examined.unjudged;
}
