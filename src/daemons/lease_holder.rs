//! The holder's half of exclusive work: it takes up leases granted to this node, renews them, and ends them.
//!
//! Invariant: work goes on only while its lease can be renewed. Raft decides about a completion: a node that
//! lost the lease in the meantime is refused, whatever it did.

use super::health::HealthHandle;
use crate::leader::placement::LEASE_TTL;
use crate::{
    api::health::ClusterView,
    clock::now_ms,
    peer::{Context, WorkError},
    text,
};
use cluster_state::{
    ClusterState, Command, ConfigKey, Lease, LeaseKind, NodeId, Refusal,
    command::{FailLease, RenewLease},
};
use raft::ProposeError;
use std::{collections::BTreeMap, future::Future, time::Duration};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Pause between two attempts to report to the cluster how the work ended.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest reason that is reported.
const REASON_BYTES_MAX: usize = 200;

/// A lease of this node that it has not taken up yet. `taken` holds the last epoch that was taken up, by
/// configuration.
fn next(
    state: &ClusterState,
    me: NodeId,
    kind: LeaseKind,
    taken: &BTreeMap<ConfigKey, u64>,
) -> Option<Lease> {
    let live = state.configs.values().filter_map(|config| config.lease(kind).live.as_ref());
    let mut mine = live.filter(|lease| lease.node == me);
    mine.find(|lease| taken.get(&lease.config_key).is_none_or(|epoch| *epoch < lease.epoch)).cloned()
}

/// Whether the lease no longer belongs to this node, by the cluster's state: it was cancelled, taken away, or
/// completed.
fn is_over(state: &ClusterState, lease: &Lease) -> bool {
    let live = state.config(&lease.config_key).and_then(|config| config.lease(lease.kind).live.as_ref());
    live.is_none_or(|live| (live.epoch, live.node) != (lease.epoch, lease.node))
}

/// Whether this node begins work of this kind: it does not train while it sees the cluster as unhealthy. A
/// lease that is not taken up expires, and goes to a node whose view differs.
fn begins(kind: LeaseKind, view: &ClusterView) -> bool {
    match kind {
        LeaseKind::Training => view.unhealthy.is_none(),
        LeaseKind::Evaluation => true,
    }
}

/// Takes up one lease of `kind` after the other until the shutdown. `work` returns the command that completes
/// the lease. It must return soon after its token is cancelled, which also happens when this future is
/// dropped.
pub async fn follow<F, W>(node: &Context, health: &HealthHandle, kind: LeaseKind, work: F)
where
    F: Fn(Lease, CancellationToken) -> W,
    W: Future<Output = Result<Command, WorkError>>,
{
    let mut state = node.raft.applied();
    let mut view = health.watch();
    let mut taken = BTreeMap::new();
    loop {
        let lease = next(&state.borrow_and_update(), node.id, kind, &taken);
        let Some(lease) = lease.filter(|_| begins(kind, &view.borrow_and_update())) else {
            tokio::select! {
                () = node.shutdown.cancelled() => return,
                changed = state.changed() => if changed.is_err() { return },
                changed = view.changed() => if changed.is_err() { return },
            }
            continue;
        };
        taken.insert(lease.config_key.clone(), lease.epoch);
        // The span has the highest level, so that a line names its lease under every filter.
        let span = tracing::error_span!("lease", %kind, config = %lease.config_key, epoch = lease.epoch);
        let cancel = node.shutdown.child_token();
        // This guard ends whatever the work left running, also when the daemon itself is dropped.
        let _ends = cancel.clone().drop_guard();
        let work = Box::pin(work(lease.clone(), cancel.clone()));
        hold(node, &lease, work, &cancel).instrument(span).await;
        if node.shutdown.is_cancelled() {
            return;
        }
    }
}

/// Works for as long as this node holds the lease.
async fn hold(
    node: &Context,
    lease: &Lease,
    work: impl Future<Output = Result<Command, WorkError>>,
    cancel: &CancellationToken,
) {
    tracing::info!("the lease is ours");
    tokio::select! {
        () = finish(node, lease, work, cancel) => {}
        () = renew(node, lease, cancel) => {}
        () = follow_state(node, lease, cancel) => {}
    }
}

/// The time sent with the next renewal. It grows even if this clock is behind the granter's, because the
/// leader ignores a renewal that is not newer than the last.
fn renewal_ms(now_ms: u64, last_ms: u64) -> u64 {
    now_ms.max(last_ms.saturating_add(1))
}

/// Renews at once and then regularly until the lease is lost. Then it cancels the work and waits for ever,
/// because the work ends by itself. The first renewal comes at once, because the lease may already be over
/// where the state of this node is old, as after a restart.
async fn renew(node: &Context, lease: &Lease, cancel: &CancellationToken) {
    let mut tick = tokio::time::interval(LEASE_TTL / 3);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_ms = lease.renewed_ms;
    loop {
        tick.tick().await;
        let at_ms = renewal_ms(now_ms(), last_ms);
        let command = Command::RenewLease(RenewLease {
            kind: lease.kind,
            config_key: lease.config_key.clone(),
            epoch: lease.epoch,
            node: node.id,
            at_ms,
        });
        match node.propose(command).await {
            Ok(_) => last_ms = at_ms,
            Err(ProposeError::Refused(reason)) => {
                tracing::info!(%reason, "the lease is over");
                cancel.cancel();
                std::future::pending::<()>().await;
            }
            // Without a quorum no other node can get the lease, so the work goes on.
            Err(error) => tracing::warn!(%error, "the lease was not renewed"),
        }
    }
}

/// Cancels the work as soon as the state says that the lease is over. Then it waits for ever, because the
/// work ends by itself.
async fn follow_state(node: &Context, lease: &Lease, cancel: &CancellationToken) {
    let mut state = node.raft.applied();
    // The wait fails when the node ends, and by then the shutdown has cancelled everything.
    let over = state.wait_for(|state| is_over(state, lease)).await.map(drop);
    if over.is_ok() {
        cancel.cancel();
    }
    std::future::pending::<()>().await;
}

/// The command that gives a lease back.
fn failed(lease: &Lease, error: String) -> Command {
    Command::FailLease(FailLease {
        kind: lease.kind,
        config_key: lease.config_key.clone(),
        epoch: lease.epoch,
        node: lease.node,
        error,
        at_ms: now_ms(),
    })
}

/// What to propose after a refusal of `command`: a node that still holds the lease gives it back, so that the
/// cluster knows the reason and need not wait until the lease expires.
fn after_refusal(lease: &Lease, command: &Command, error: &ProposeError) -> Option<Command> {
    let over = matches!(
        error,
        ProposeError::Refused(Refusal::StaleEpoch { .. } | Refusal::NotHolder(_)) | ProposeError::Stopped(_)
    );
    let failing = matches!(command, Command::FailLease(_));
    (!over && !failing).then(|| failed(lease, chain(error)))
}

async fn finish(
    node: &Context,
    lease: &Lease,
    work: impl Future<Output = Result<Command, WorkError>>,
    cancel: &CancellationToken,
) {
    let mut command = match work.await {
        Ok(command) => command,
        Err(_) if cancel.is_cancelled() => return,
        Err(error) => {
            let error = chain(&error);
            tracing::error!(error, "the work failed");
            failed(lease, error)
        }
    };
    while !cancel.is_cancelled() {
        match node.propose(command.clone()).await {
            Ok(_) => return,
            Err(error) if !error.is_retryable() => {
                tracing::warn!(%error, "the work does not count");
                match after_refusal(lease, &command, &error) {
                    Some(next) => command = next,
                    None => return,
                }
                continue;
            }
            Err(error) => tracing::warn!(%error, "the work is done but not recorded yet"),
        }
        let pause = tokio::time::sleep(PAUSE);
        if cancel.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// The text of an error with its causes, cut to what a command may carry.
fn chain(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        reason.push_str(": ");
        reason.push_str(&cause.to_string());
        source = cause.source();
    }
    text::clip(&reason, REASON_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World};
    use cluster_state::{EndCause, command::CancelLease};

    #[test]
    fn a_lease_is_taken_up_once() {
        let mut world = World::with_nodes(2);
        let mut taken = BTreeMap::new();
        world.play(500);
        world.cross();
        assert_eq!(next(&world.state, NodeId(2), LeaseKind::Training, &taken), None);
        let epoch = world.grant(LeaseKind::Training, 2, None);
        let found = next(&world.state, NodeId(2), LeaseKind::Training, &taken).unwrap();
        assert_eq!((found.epoch, found.node), (epoch, NodeId(2)));
        assert_eq!(next(&world.state, NodeId(1), LeaseKind::Training, &taken), None);
        assert_eq!(next(&world.state, NodeId(2), LeaseKind::Evaluation, &taken), None);
        taken.insert(KEY.into(), epoch);
        assert_eq!(next(&world.state, NodeId(2), LeaseKind::Training, &taken), None);
    }

    #[test]
    fn a_lease_is_over_when_the_state_says_so() {
        let mut world = World::with_nodes(2);
        world.play(500);
        world.cross();
        let epoch = world.grant(LeaseKind::Training, 2, None);
        let lease = next(&world.state, NodeId(2), LeaseKind::Training, &BTreeMap::new()).unwrap();
        assert!(!is_over(&world.state, &lease));
        world.apply(Command::CancelLease(CancelLease {
            kind: LeaseKind::Training,
            config_key: KEY.into(),
            epoch,
            cause: EndCause::Ordered,
            reason: "a drill".into(),
            at_ms: 0,
        }));
        assert!(is_over(&world.state, &lease));
        world.grant(LeaseKind::Training, 2, None);
        assert!(is_over(&world.state, &lease), "that is another one");
    }

    #[test]
    fn an_unhealthy_cluster_is_no_time_to_train() {
        let ill = ClusterView { unhealthy: Some("2 of 3 hosts are away".into()), ..ClusterView::default() };
        let begun =
            |view: &ClusterView| [LeaseKind::Training, LeaseKind::Evaluation].map(|kind| begins(kind, view));
        assert_eq!((begun(&ClusterView::default()), begun(&ill)), ([true, true], [false, true]));
    }

    #[test]
    fn a_renewal_is_always_news() {
        assert_eq!(renewal_ms(5_000, 1_000), 5_000);
        assert_eq!(renewal_ms(5_000, 9_000), 9_001, "this clock is behind");
    }

    #[test]
    fn a_refused_completion_gives_the_lease_back() {
        let mut world = World::with_nodes(2);
        world.play(500);
        world.cross();
        let epoch = world.grant(LeaseKind::Training, 2, None);
        let lease = next(&world.state, NodeId(2), LeaseKind::Training, &BTreeMap::new()).unwrap();
        let renewal = Command::RenewLease(RenewLease {
            kind: LeaseKind::Training,
            config_key: KEY.into(),
            epoch,
            node: NodeId(2),
            at_ms: 0,
        });
        let refused = ProposeError::Refused(Refusal::Full("models".into()));
        let back = after_refusal(&lease, &renewal, &refused).unwrap();
        assert!(
            matches!(&back, Command::FailLease(FailLease { error, node: NodeId(2), .. }) if error.contains("models"))
        );
        assert_eq!(after_refusal(&lease, &back, &refused), None, "once");
        let over = ProposeError::Refused(Refusal::StaleEpoch { current: epoch + 1, epoch });
        assert_eq!(after_refusal(&lease, &renewal, &over), None);
        world.apply(back);
        assert_eq!(next(&world.state, NodeId(2), LeaseKind::Training, &BTreeMap::new()), None);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let error = WorkError::NoSecondCopy("é".repeat(200));
        let text = chain(&error);
        assert!(text.len() <= REASON_BYTES_MAX && text.starts_with("no second copy: é"));
    }
}
