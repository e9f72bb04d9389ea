//! Which segment to look at next, and which report of another node: a pure decision.
//!
//! Invariant: a segment is looked at once, and only if this node did not play it. Everything that waits is
//! bounded, and so is the time that audits take.

use cluster_state::{ClusterState, NodeId, SegmentId, Source, state_machine::REPORTS_OPEN_MAX};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Most segments that wait to be looked at. The oldest one gives way, and is counted.
const WAITING_MAX: usize = 256;
/// Most reports that are remembered.
const REMEMBERED_MAX: usize = 1024;
/// Attempts at a report, because the segment or the model may not be here yet.
const TRIES_MAX: u32 = 3;
/// Share of the time of this node's self-play that audits may take.
const TIME_SHARE: f64 = 0.01;
/// Most time that is saved up, per thread of self-play.
const SAVED_MAX: Duration = Duration::from_secs(6);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum AuditTask {
    /// Look at a share of the games of a segment.
    Sample { segment: SegmentId, share: f64 },
    /// Make the decision again that another node has reported.
    Confirm { segment: SegmentId, game: u32, ply: u32 },
}

/// The time that audits may take: it grows with the time, up to a bound, and a long audit may leave a debt.
#[derive(Debug)]
pub(super) struct TimeBudget {
    left_s: f64,
    threads: f64,
    at: Instant,
}

impl TimeBudget {
    /// The budget of a node that plays on so many threads. It begins full.
    pub(super) fn new(threads: usize, at: Instant) -> Self {
        let threads = threads.max(1) as f64;
        Self { left_s: SAVED_MAX.as_secs_f64() * threads, threads, at }
    }

    /// Whether there is time for another audit.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let most = SAVED_MAX.as_secs_f64() * self.threads;
        self.left_s = (self.left_s + passed * TIME_SHARE * self.threads).min(most);
        self.left_s > 0.0
    }

    pub(super) fn took(&mut self, time: Duration) {
        self.left_s -= time.as_secs_f64();
    }
}

/// What waits, and what was looked at.
#[derive(Debug)]
pub(super) struct AuditDecider {
    me: NodeId,
    share: f64,
    waiting: VecDeque<SegmentId>,
    /// Segments that were never looked at because too many waited.
    skipped: u64,
    /// Attempts at each report, by segment and game.
    tries: BTreeMap<(SegmentId, u32), u32>,
}

impl AuditDecider {
    pub(super) fn new(me: NodeId, share: f64) -> Self {
        Self { me, share, waiting: VecDeque::new(), skipped: 0, tries: BTreeMap::new() }
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes note of the segments that other nodes have registered between two states.
    pub(super) fn look(&mut self, before: &ClusterState, state: &ClusterState) {
        let new = state.segments.changed_since(&before.segments).filter(|(_, segment)| {
            segment.log_index > before.applied
                && segment.source == Source::Selfplay
                && segment.origin != self.me
                && state.counts(segment)
        });
        let mut new: Vec<_> = new.map(|(id, segment)| (segment.log_index, *id)).collect();
        new.sort_unstable();
        self.waiting.extend(new.into_iter().map(|(_, id)| id));
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
            self.skipped += 1;
        }
    }

    /// Whether this node has other work, or none that it should do.
    fn rests(&self, state: &ClusterState) -> bool {
        let leases = state.configs.values().flat_map(|config| [&config.training, &config.evaluation]);
        self.share == 0.0
            || !state.is_trusted(self.me)
            || state.nodes.get(&self.me).is_none_or(|node| node.draining.is_some())
            || leases.into_iter().any(|slot| slot.live.as_ref().is_some_and(|lease| lease.node == self.me))
    }

    /// What to do now, if there is time for anything.
    pub(super) fn next(&mut self, state: &ClusterState) -> Option<AuditTask> {
        if self.rests(state) {
            return None;
        }
        if let Some(task) = self.reported(state) {
            return Some(task);
        }
        while let Some(segment) = self.waiting.pop_front() {
            let Some(known) = state.segments.get(&segment).filter(|known| state.counts(known)) else {
                continue;
            };
            return Some(AuditTask::Sample { segment, share: self.share / auditors(state, known.origin) });
        }
        None
    }

    /// A report of another node that this node has not judged yet.
    fn reported(&mut self, state: &ClusterState) -> Option<AuditTask> {
        let mine = &state.nodes.get(&self.me)?.standing.reports;
        let others = state.nodes.values().filter(|node| {
            node.id != self.me && state.is_trusted(node.id) && node.standing.is_heard(state.applied)
        });
        let report = others.flat_map(|node| &node.standing.reports).find(|report| {
            let key = (report.segment, report.game);
            let segment = state.segments.get(&report.segment);
            segment.is_some_and(|segment| segment.origin != self.me && state.counts(segment))
                && self.tries.get(&key).is_none_or(|tries| *tries < TRIES_MAX)
                && !mine.iter().any(|mine| (mine.segment, mine.game) == key)
        })?;
        let key = (report.segment, report.game);
        if self.tries.len() >= REMEMBERED_MAX {
            self.tries.pop_first();
        }
        *self.tries.entry(key).or_default() += 1;
        Some(AuditTask::Confirm { segment: report.segment, game: report.game, ply: report.ply })
    }

    /// Takes note that a task came to an end.
    pub(super) fn done(&mut self, task: AuditTask) {
        match task {
            AuditTask::Sample { .. } => {}
            AuditTask::Confirm { segment, game, .. } => {
                self.tries.insert((segment, game), TRIES_MAX);
            }
        }
    }

    /// Takes note that a task could not be done. A report is tried again.
    pub(super) fn failed(&mut self, task: AuditTask) {
        match task {
            AuditTask::Sample { .. } => self.skipped += 1,
            AuditTask::Confirm { .. } => {}
        }
    }
}

/// How many nodes look at the games of a node: all others that are online and do not drain.
fn auditors(state: &ClusterState, player: NodeId) -> f64 {
    let others = state.online().filter(|node| node.id != player && node.draining.is_none());
    others.filter(|node| state.is_trusted(node.id)).count().max(1) as f64
}

const _: () = assert!(REMEMBERED_MAX >= REPORTS_OPEN_MAX, "a node's open reports are remembered");

#[cfg(test)]
mod tests;
