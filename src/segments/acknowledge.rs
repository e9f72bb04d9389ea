//! CoordinationBootstrap: gets closed segments acknowledged, including those that an earlier process left
//! behind and those that an event names and this node holds.
//!
//! Invariant: after a start, every segment of this node that the cluster does not know is on the list of
//! pending segments, and is tried until it is acknowledged. A segment that no other node takes does not delay
//! the others.

use super::Segments;
use crate::{
    events::{Event, Logged, caused::node_name, runner::Handled},
    peer::{Daemon, WorkError, blocking},
    store::{PendingSegment, PendingSegments, Segment, segment::SEGMENT_BYTES_MAX},
};
use cluster_state::{ClusterState, ModelId, NodeId, SegmentId, Source};
use p2p::blobs::BlobStore;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Pause between two looks at the list when nothing is new, and after a failure.
const PAUSE: Duration = Duration::from_secs(1);

pub struct AcknowledgeDaemon {
    segments: Segments,
}

impl Daemon for AcknowledgeDaemon {
    const NAME: &'static str = "sync";

    async fn run(&mut self) -> Result<(), WorkError> {
        let shared = &self.segments.0;
        let (state, me) = (shared.node.raft.local(), shared.node.id);
        let (blobs, list) = (shared.node.blobs.clone(), Arc::clone(&shared.pending));
        blocking(move || reclaim(&state, me, &blobs, &list)).await??;
        let mut failures = BTreeMap::new();
        while !shared.node.shutdown.is_cancelled() {
            self.round(&mut failures).await?;
            tokio::select! {
                () = shared.node.shutdown.cancelled() => {}
                () = shared.acknowledge.woken() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        Ok(())
    }
}

impl AcknowledgeDaemon {
    pub(super) fn new(segments: Segments) -> Self {
        Self { segments }
    }

    /// Gets all waiting segments acknowledged, up to the first failure, because trouble with one segment is
    /// most often trouble with all. The next round begins with the others.
    async fn round(&self, failures: &mut BTreeMap<SegmentId, u32>) -> Result<(), WorkError> {
        let list = Arc::clone(&self.segments.0.pending);
        let mut waiting = blocking(move || list.pending()).await??;
        // A segment leaves the list once it is acknowledged, so its event must have been emitted before.
        self.segments.emit_played().await?;
        let mut games = waiting.iter().map(|segment| segment.games).sum();
        self.segments.set_unacknowledged(games);
        by_failures(&mut waiting, failures);
        for segment in waiting {
            if let Some(why) = self.hopeless(&segment).await? {
                tracing::error!(segment = %segment.hash, why, "a segment will never be acknowledged");
                let list = Arc::clone(&self.segments.0.pending);
                blocking(move || list.acknowledged(&segment.hash)).await??;
                continue;
            }
            let acknowledged = self.segments.acknowledge(&segment);
            match self.segments.0.node.shutdown.run_until_cancelled(acknowledged).await {
                None => return Ok(()),
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    *failures.entry(segment.hash).or_insert(0u32) += 1;
                    tracing::info!(segment = segment.hash.short(), %error, "not acknowledged yet");
                    return Ok(());
                }
            }
            games = games.saturating_sub(segment.games);
            self.segments.set_unacknowledged(games);
        }
        Ok(())
    }

    /// Why nobody would keep or register a segment, if that is so.
    async fn hopeless(&self, segment: &PendingSegment) -> Result<Option<&'static str>, WorkError> {
        let node = &self.segments.0.node;
        if !node.raft.local().is_trusted(node.id) {
            return Ok(Some("the cluster does not trust the games of this node"));
        }
        if !is_wanted(&node.raft.local(), node.id, segment) {
            return Ok(Some("its evaluation is over"));
        }
        let Some(content) = node.get_content(segment.hash.0).await? else {
            return Ok(Some("it was lost"));
        };
        let other = Segment::peek(&content).is_ok_and(|header| header.node != node.id);
        Ok(other.then_some("this node played it when it had another number"))
    }
}

/// Whether the cluster still asks node `me` for the games: those of an evaluation are registered while its
/// lease is in force, or never.
fn is_wanted(state: &ClusterState, me: NodeId, segment: &PendingSegment) -> bool {
    let PendingSegment { config_key, source, model, hash, .. } = segment;
    match source {
        Source::Selfplay => true,
        Source::Evaluation | Source::Other(_) => {
            let live = state.config(config_key).and_then(|config| config.evaluation.live.as_ref());
            let asked = live.is_some_and(|lease| lease.node == me && lease.subject == Some(*model));
            asked || state.segments.contains_key(hash)
        }
    }
}

/// Moves the segments that failed more often behind those that failed less.
fn by_failures(waiting: &mut [PendingSegment], failures: &mut BTreeMap<SegmentId, u32>) {
    failures.retain(|hash, _| waiting.iter().any(|segment| segment.hash == *hash));
    waiting.sort_by_key(|segment| failures.get(&segment.hash).copied().unwrap_or_default());
}

/// The segment in `content`, if it is sound and node `me` played it.
fn played_by(me: NodeId, content: Vec<u8>) -> Option<PendingSegment> {
    let header = Segment::peek(&content).ok()?;
    let segment = (header.node == me).then(|| Segment::open(content).ok()).flatten()?;
    Some(PendingSegment::from(&segment))
}

/// Lists again the segments that node `me` played and that neither the cluster nor the list knows: the
/// process was killed between keeping a segment and listing it, or the list was damaged.
pub(super) fn reclaim(
    state: &ClusterState,
    me: NodeId,
    blobs: &BlobStore,
    list: &PendingSegments,
) -> Result<(), WorkError> {
    for (hash, size) in blobs.list()? {
        let known =
            state.segments.get(&SegmentId(hash)).is_some() || state.models.contains_key(&ModelId(hash));
        if known || size > SEGMENT_BYTES_MAX as u64 {
            continue;
        }
        // An error means that the content is damaged and was set aside.
        let Ok(Some(content)) = blobs.get(hash) else { continue };
        if let Some(segment) = played_by(me, content) {
            list.add_pending(&segment)?;
        }
    }
    Ok(())
}

/// What an event asks of this node.
#[derive(Debug, PartialEq, Eq)]
enum SyncRequest {
    /// Get the segments that wait here acknowledged now.
    Acknowledge,
    /// Try a segment again, but later, because it failed this many times.
    HoldBack(SegmentId, u32),
    /// Connect to a node that could not fetch a segment which this node holds.
    Connect(NodeId),
}

fn requested_by(state: &ClusterState, me: NodeId, event: &Event) -> Option<SyncRequest> {
    let name = node_name(me);
    if let Event::SelfplayComplete(games) = event {
        (games.node_id == name).then_some(SyncRequest::Acknowledge)
    } else if let Event::EvaluationStarted(_) = event {
        // The verdict should count every game, and the next training run should use it.
        Some(SyncRequest::Acknowledge)
    } else if let Event::DataSyncFailed(it) = event {
        if it.node_id == name {
            return Some(SyncRequest::HoldBack(it.segment, it.retry_count));
        }
        let held = state.segments.get(&it.segment)?.holders.contains(&me);
        let other = state.nodes.values().find(|node| node_name(node.id) == it.node_id)?;
        held.then_some(SyncRequest::Connect(other.id))
    } else {
        None
    }
}

/// Gets the segments of this node acknowledged, holds back a copy that failed, and connects to nodes that
/// could not fetch a segment from this node. An operator may have put a segment here by hand and named it in
/// an event: if it is not registered, the node that has played it lists it.
///
/// # Errors
/// When the content or the list cannot be read.
pub async fn handle(segments: Segments, logged: Arc<Logged>) -> Handled {
    let node = &segments.0.node;
    let state = node.raft.local();
    if let Event::SelfplayComplete(games) = &logged.event
        && logged.injected
    {
        if state.segments.get(&games.segment).is_none() {
            segments.adopt(games.segment).await?;
        }
        segments.0.acknowledge.wake();
    }
    match requested_by(&state, node.id, &logged.event) {
        Some(SyncRequest::Acknowledge) => segments.0.acknowledge.wake(),
        Some(SyncRequest::HoldBack(segment, attempts)) => {
            segments.0.retries.hold_back(segment, attempts.max(1), Instant::now());
        }
        Some(SyncRequest::Connect(other)) => {
            let other = state.nodes.get(&other).filter(|other| !node.p2p.is_connected(&other.peer_id));
            if let Some(other) = other {
                node.p2p.add_peer(&other.peer_id, &other.addrs).await;
            }
        }
        None => {}
    }
    Ok(None)
}

impl Segments {
    /// Lists a segment that is here and sound.
    async fn adopt(&self, hash: SegmentId) -> Result<(), WorkError> {
        let Some(content) = self.0.node.get_content(hash.0).await? else { return Ok(()) };
        let (list, me) = (Arc::clone(&self.0.pending), self.0.node.id);
        blocking(move || match played_by(me, content) {
            Some(segment) => list.add_pending(&segment).map_err(WorkError::from),
            // Another node played it, and registers it; or the event named something else, which
            // consolidation reports, because it handles the same event.
            None => Ok(()),
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemons::fixture::{KEY, World, hash},
        events::{Component, DataSyncFailed, EvaluationStarted, Games, golden::examples},
        store::fixture,
    };
    use cluster_state::LeaseKind;
    use wire::Hash;

    #[test]
    fn only_own_and_sound_segments_are_reclaimed() {
        let games = vec![fixture::game("hex8_2p", 0)];
        let segment =
            Segment::build(&"hex8_2p".into(), Source::Selfplay, fixture::model(), NodeId(1), games).unwrap();
        let expected = PendingSegment::from(&segment);
        let content = segment.into_bytes();
        assert_eq!(played_by(NodeId(1), content.clone()), Some(expected));
        assert_eq!(played_by(NodeId(2), content.clone()), None);
        assert_eq!(played_by(NodeId(1), content[..content.len() - 1].to_vec()), None);
        assert_eq!(played_by(NodeId(1), b"a model".to_vec()), None);
    }

    #[test]
    fn games_of_an_evaluation_that_is_over_are_given_up() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        let segment = |source| PendingSegment {
            hash: SegmentId(Hash::of(b"games")),
            config_key: KEY.into(),
            games: 1,
            samples: 1,
            source,
            model: hash("a"),
        };
        let wanted = |world: &World, node, source| is_wanted(&world.state, NodeId(node), &segment(source));
        assert!(wanted(&world, 3, Source::Selfplay) && !wanted(&world, 3, Source::Evaluation));
        world.grant(LeaseKind::Evaluation, 3, Some(hash("a")));
        assert!(wanted(&world, 3, Source::Evaluation) && !wanted(&world, 1, Source::Evaluation));
    }

    #[test]
    fn what_events_ask_for() {
        let mut world = World::with_nodes(3);
        let segment = world.play_on(10, vec![1, 2]);
        let failed = |node: &str, segment, retry_count| {
            Event::DataSyncFailed(DataSyncFailed {
                config_key: KEY.into(),
                node_id: node.into(),
                segment,
                error: "x".into(),
                retry_count,
                timestamp: 1.0,
            })
        };
        let games = |node: &str| {
            Event::SelfplayComplete(Games {
                config_key: KEY.into(),
                node_id: node.into(),
                game_count: 1,
                total_games: 1,
                db_path: String::new(),
                segment,
                timestamp: 1.0,
            })
        };
        let evaluation = Event::EvaluationStarted(EvaluationStarted {
            config_key: KEY.into(),
            node_id: "node-2".into(),
            job_id: "evaluation:hex8_2p:1".into(),
            model_id: ModelId(segment.0),
            model_path: String::new(),
            games_planned: 1,
            timestamp: 1.0,
        });
        let check = |me, event: &Event, expected| {
            assert_eq!(requested_by(&world.state, me, event), expected, "{event:?}")
        };
        check(NodeId(1), &games("node-1"), Some(SyncRequest::Acknowledge));
        check(NodeId(2), &games("node-1"), None);
        check(NodeId(1), &evaluation, Some(SyncRequest::Acknowledge));
        check(NodeId(3), &failed("node-3", segment, 4), Some(SyncRequest::HoldBack(segment, 4)));
        check(NodeId(1), &failed("node-3", segment, 4), Some(SyncRequest::Connect(NodeId(3))));
        check(NodeId(1), &failed("node-3", SegmentId(Hash::of(b"unknown")), 1), None);
        check(NodeId(1), &failed("node-77", segment, 1), None);
        let elsewhere = requested_by(&world.state, NodeId(3), &failed("node-2", segment, 1));
        assert_eq!(elsewhere, None, "not here either");
    }

    #[test]
    fn an_event_asks_for_something_if_the_table_sends_it_here() {
        let world = World::with_nodes(3);
        for event in examples() {
            let handled = event.kind().handled_by(Component::Sync).is_some();
            // The examples are of node 2.
            assert_eq!(requested_by(&world.state, NodeId(2), &event).is_some(), handled, "{}", event.name());
        }
    }

    #[test]
    fn a_segment_that_nobody_takes_keeps_no_other_waiting() {
        let segment = |name: &str| PendingSegment {
            hash: SegmentId(Hash::of(name.as_bytes())),
            config_key: "hex8_2p".into(),
            games: 1,
            samples: 1,
            source: Source::Selfplay,
            model: ModelId(Hash([0; 32])),
        };
        let all = ["bad", "a", "b"].map(segment);
        let mut failures = BTreeMap::new();
        let mut order = all.clone();
        by_failures(&mut order, &mut failures);
        assert_eq!(order, all, "the oldest first");
        failures = BTreeMap::from([(all[0].hash, 2), (all[1].hash, 1), (SegmentId(Hash::of(b"gone")), 9)]);
        by_failures(&mut order, &mut failures);
        assert_eq!(order, [all[2].clone(), all[1].clone(), all[0].clone()]);
        assert_eq!(failures.len(), 2);
    }
}
