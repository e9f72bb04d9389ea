//! UnifiedQueuePopulator: what work there is, in which order, and why some of it waits.
//!
//! Invariant: no queue is stored that could run full or go stale; what waits follows from the replicated
//! state whenever somebody asks. Work earns credit while it waits, at the weight of its configuration, and a
//! grant spends it, so no configuration waits for ever while nodes are few. At each turn of the leader a node
//! gets one lease at most.

use super::{
    placement::{choose_evaluator, choose_other},
    training::{CANDIDATES_WAITING_MAX, pauses},
    verification::waits_for,
};
use crate::{
    api::{health::ClusterView, work::QueueItem},
    events::caused::node_name,
};
use cluster_state::{
    ClusterState, Command, ConfigKey, ConfigState, EndCause, LeaseKind, LeaseSlot, ModelId,
    command::GrantLease,
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// Most items that are listed.
const ITEMS_MAX: usize = 256;
/// Most that credit can add to a priority: with it an evaluation overtakes a training that has just become
/// due.
const CREDIT_MAX: f64 = 50.0;
/// A minute of waiting at weight 1 is one point.
const CREDIT_PER_MS: f64 = 1.0 / 60_000.0;
/// How long work that an operator cancelled is not granted again.
const CANCELLED_MS: u64 = 60_000;

const fn priority(kind: LeaseKind) -> f64 {
    match kind {
        LeaseKind::Training => 100.0,
        LeaseKind::Evaluation => 85.0,
    }
}

/// The priority of work of this kind, with the credit for its waiting.
fn rank(config: &ConfigState, kind: LeaseKind, since_ms: u64, now_ms: u64) -> f64 {
    let waited = now_ms.saturating_sub(since_ms) as f64;
    priority(kind) + (waited * CREDIT_PER_MS * config.steering.weight).min(CREDIT_MAX)
}

/// Since when work on a model waits. A training waits since the newest model was made.
fn since(state: &ClusterState, config: &ConfigState, subject: Option<ModelId>) -> u64 {
    state.models.get(&subject.unwrap_or(config.newest)).map_or(0, |model| model.at_ms)
}

/// All work, the most urgent first: what goes on, then what waits. `view` is how this node sees the cluster.
#[must_use]
pub fn queue(state: &ClusterState, view: &ClusterView, now_ms: u64) -> Vec<QueueItem> {
    let mut items = Vec::new();
    for config in state.configs.values() {
        for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
            items.extend(config.lease(kind).live.as_ref().map(|lease| QueueItem {
                kind: kind.to_string(),
                config_key: config.config_key.clone(),
                subject: lease.subject,
                priority: priority(kind),
                node_id: Some(node_name(lease.node)),
                epoch: Some(lease.epoch),
                waits_for: None,
                since_ms: lease.granted_ms,
            }));
        }
        let waiting = |kind: LeaseKind, subject: Option<ModelId>, reason: String| {
            let since_ms = since(state, config, subject);
            QueueItem {
                kind: kind.to_string(),
                config_key: config.config_key.clone(),
                subject,
                priority: rank(config, kind, since_ms, now_ms),
                node_id: None,
                epoch: None,
                waits_for: Some(reason),
                since_ms,
            }
        };
        if config.crossings > config.consumed && config.training.live.is_none() {
            let reason = training_waits_for(config, view);
            let reason = reason.unwrap_or_else(|| free(state, config, LeaseKind::Training));
            items.push(waiting(LeaseKind::Training, None, reason));
        }
        if let Some(standing) = state.round_standing(config).filter(|standing| !standing.is_confirmed()) {
            items.push(waiting(LeaseKind::Evaluation, Some(config.champion), waits_for(&standing)));
        }
        let busy = config.evaluation.live.as_ref().and_then(|lease| lease.subject);
        for candidate in config.candidates.iter().filter(|candidate| Some(**candidate) != busy) {
            let model = state.models.get(candidate);
            let evidence = model.and_then(|model| model.evidence.as_ref());
            if evidence.is_some_and(|evidence| evidence.champion == config.champion) {
                let standing = model.map(|model| state.review_standing(model, model.review.as_ref()));
                if let Some(standing) = standing.filter(|standing| !standing.is_confirmed()) {
                    items.push(waiting(LeaseKind::Evaluation, Some(*candidate), waits_for(&standing)));
                }
                continue;
            }
            let reason = match &config.evaluation.live {
                Some(_) => "another evaluation of the configuration goes on".to_owned(),
                None => free(state, config, LeaseKind::Evaluation),
            };
            items.push(waiting(LeaseKind::Evaluation, Some(*candidate), reason));
        }
    }
    items.sort_by(order);
    items.truncate(ITEMS_MAX);
    items
}

/// What goes on comes first, then what is more urgent, then what is older.
fn order(a: &QueueItem, b: &QueueItem) -> Ordering {
    let waits = a.waits_for.is_some().cmp(&b.waits_for.is_some());
    waits.then(b.priority.total_cmp(&a.priority)).then(a.since_ms.cmp(&b.since_ms))
}

/// Why a training that is due is not granted, if the reason is another than that no node is free.
fn training_waits_for(config: &ConfigState, view: &ClusterView) -> Option<String> {
    if let Some(pause) = pauses(config, view).into_iter().next() {
        return Some(format!("paused: {}", pause.reason));
    }
    if config.candidates.len() >= CANDIDATES_WAITING_MAX {
        return Some("a candidate waits for its verdict".to_owned());
    }
    let games = config.champion_games;
    let threshold = config.threshold;
    (games < threshold).then(|| format!("{games} of {threshold} games of the present champion"))
}

fn free(state: &ClusterState, config: &ConfigState, kind: LeaseKind) -> String {
    let slot = config.lease(kind);
    if choose_other(state, kind, &config.config_key, &BTreeSet::new()).is_none() {
        return "a free node".to_owned();
    }
    match &slot.last_end {
        Some(end) if cancelled(slot) => end.reason.clone(),
        Some(end) if slot.failures > 0 => format!("a pause after {} failures: {}", slot.failures, end.reason),
        Some(_) | None => "the leader's next turn".to_owned(),
    }
}

/// Whether an operator cancelled the last lease, and none was granted since.
fn cancelled(slot: &LeaseSlot) -> bool {
    match slot.last_end.as_ref().filter(|_| slot.live.is_none()).map(|end| &end.cause) {
        Some(EndCause::Ordered) => true,
        Some(EndCause::Failed | EndCause::Expired | EndCause::Regressed | EndCause::RolledBack)
        | Some(EndCause::Other(_))
        | None => false,
    }
}

/// What the leader remembers: since when it has known that the work of an epoch was cancelled.
#[derive(Debug, Default)]
pub struct QueueDecider(BTreeMap<(LeaseKind, ConfigKey), (u64, u64)>);

impl QueueDecider {
    /// Puts the grants among `commands` in the order of the queue and behind everything else, at most one for
    /// a node: who comes first chooses, and who finds no node asks again at the next turn.
    pub fn arrange(&mut self, state: &ClusterState, commands: Vec<Command>, now_ms: u64) -> Vec<Command> {
        self.remember(state, now_ms);
        let mut grants = Vec::new();
        let mut arranged = Vec::new();
        for command in commands {
            let Command::GrantLease(GrantLease { kind, ref config_key, subject, .. }) = command else {
                arranged.push(command);
                continue;
            };
            let Some(config) = state.config(config_key) else { continue };
            let cancelled = self.0.get(&(kind, config_key.clone()));
            if cancelled.is_some_and(|(_, since)| now_ms.saturating_sub(*since) < CANCELLED_MS) {
                continue;
            }
            let since_ms = since(state, config, subject);
            grants.push((rank(config, kind, since_ms, now_ms), since_ms, command));
        }
        grants.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut taken = BTreeSet::new();
        for (_, _, mut grant) in grants {
            let Command::GrantLease(GrantLease { kind, config_key, node, subject, .. }) = &mut grant else {
                continue;
            };
            if taken.contains(node) {
                let other = match subject {
                    Some(model) => choose_evaluator(state, config_key, *model, None, &taken),
                    None => choose_other(state, *kind, config_key, &taken),
                };
                let Some(other) = other else { continue };
                *node = other;
            }
            taken.insert(*node);
            arranged.push(grant);
        }
        arranged
    }

    /// Keeps what was cancelled and not granted since, and nothing else.
    fn remember(&mut self, state: &ClusterState, now_ms: u64) {
        let mut held = BTreeMap::new();
        for config in state.configs.values() {
            for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
                let slot = config.lease(kind);
                let work = (kind, config.config_key.clone());
                let seen = self.0.get(&work).filter(|(epoch, _)| *epoch == slot.epoch);
                let entry = seen.copied().unwrap_or((slot.epoch, now_ms));
                if cancelled(slot) {
                    held.insert(work, entry);
                }
            }
        }
        self.0 = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemons::fixture::{KEY, World, hash},
        leader::{evaluation::EvaluationDecider, training::TrainingDecider},
    };

    const OTHER: &str = "square8_2p";

    fn shown(world: &World) -> Vec<(String, Option<String>)> {
        let items = queue(&world.state, &ClusterView::default(), world.now);
        items.into_iter().map(|item| (format!("{} {}", item.kind, item.config_key), item.waits_for)).collect()
    }

    #[test]
    fn every_piece_of_work_is_told_with_what_it_waits_for() {
        let mut world = World::with_nodes(3);
        assert_eq!(shown(&world), []);
        world.play(300);
        world.play(200);
        world.cross();
        let check = |world: &World, expected: &[(&str, Option<&str>)]| {
            let found = shown(world);
            let found: Vec<_> = found.iter().map(|(what, why)| (what.as_str(), why.as_deref())).collect();
            assert_eq!(found, expected);
        };
        check(&world, &[("training hex8_2p", Some("the leader's next turn"))]);
        world.press(true);
        check(&world, &[("training hex8_2p", Some("paused: 9 candidates wait"))]);
        world.press(false);
        (1..=3).for_each(|node| world.offline(node));
        check(&world, &[("training hex8_2p", Some("a free node"))]);
        (1..=3).for_each(|node| world.online(node, true));
        let epoch = world.grant(LeaseKind::Training, 2, None);
        let item = queue(&world.state, &ClusterView::default(), world.now).remove(0);
        assert_eq!(
            (item.node_id.as_deref(), item.epoch, item.waits_for),
            (Some("node-2"), Some(epoch), None)
        );
        world.cancel(LeaseKind::Training, epoch, EndCause::Ordered, "operator: test");
        check(&world, &[("training hex8_2p", Some("cancelled: operator: test"))]);
        world.train_now("a", 2);
        check(&world, &[("evaluation hex8_2p", Some("the leader's next turn"))]);
        world.play(500);
        world.cross();
        world.grant(LeaseKind::Evaluation, 3, Some(hash("a")));
        let waits = ("training hex8_2p", Some("a candidate waits for its verdict"));
        check(&world, &[("evaluation hex8_2p", None), waits]);
    }

    #[test]
    fn evidence_that_nobody_has_confirmed_yet_is_told() {
        let mut world = World::with_nodes(4);
        world.train("a", 2);
        let champion = world.state.config(KEY).unwrap().champion;
        world.evaluated(3, cluster_state::samples::evidence(hash("a"), champion));
        let waits = |world: &World| shown(world).into_iter().filter_map(|(_, why)| why).collect::<Vec<_>>();
        assert_eq!(waits(&world), ["2 verifiers to count its games, for 2 h at most"]);
        world.confirm("a", 1);
        assert_eq!(waits(&world), ["1 verifier to count its games, for 2 h at most"]);
        world.confirm("a", 4);
        assert_eq!(waits(&world), [""; 0]);
    }

    #[test]
    fn there_are_never_more_items_than_a_reader_can_take() {
        let mut world = World::with_nodes(1);
        for config in 10..30 {
            let key = format!("hex8_{config}p");
            world.add_config(&key);
            for candidate in 0..15 {
                world.play_in(&key, 500);
                world.cross_in(&key);
                world.train_in(&key, &format!("{key} {candidate}"), 1);
            }
        }
        assert_eq!(queue(&world.state, &ClusterView::default(), 0).len(), ITEMS_MAX);
    }

    fn grants(commands: &[Command]) -> Vec<(LeaseKind, &str, u64)> {
        let one = |command| {
            let &Command::GrantLease(GrantLease { kind, ref config_key, node, .. }) = command else {
                return None;
            };
            Some((kind, config_key.as_str(), node.0))
        };
        commands.iter().filter_map(one).collect()
    }

    /// What training and evaluation ask for, arranged.
    fn turn(queue: &mut QueueDecider, world: &World) -> Vec<Command> {
        let view = ClusterView::default();
        let mut commands = TrainingDecider::default().decide(&world.state, &view, world.now);
        let settings = crate::learner::settings::EvaluationConfig::default();
        commands.extend(EvaluationDecider::default().decide(&world.state, &settings, world.now));
        queue.arrange(&world.state, commands, world.now)
    }

    #[test]
    fn a_node_gets_one_lease_at_a_turn_and_who_waited_longer_comes_first() {
        let mut world = World::with_nodes(1);
        world.now += 60_000;
        world.add_config(OTHER);
        for key in [KEY, OTHER] {
            world.play_in(key, 500);
            world.cross_in(key);
        }
        let mut order = QueueDecider::default();
        let commands = turn(&mut order, &world);
        assert_eq!(grants(&commands), [(LeaseKind::Training, KEY, 1)], "it has waited for a minute");
        world.weigh(OTHER, 2.0, "fewer games");
        world.now += 90_000;
        let commands = turn(&mut order, &world);
        assert_eq!(grants(&commands), [(LeaseKind::Training, OTHER, 1)], "its minutes count twice");
        world.online(1, true);
        world.train_in(OTHER, "b", 1);
        world.now += 1;
        let commands = turn(&mut order, &world);
        assert_eq!(grants(&commands), [(LeaseKind::Training, KEY, 1)], "the evaluation takes its turn later");
        world.grant_in(KEY, LeaseKind::Training, 1, None);
        assert_eq!(grants(&turn(&mut order, &world)), [(LeaseKind::Evaluation, OTHER, 1)]);
    }

    #[test]
    fn those_of_one_turn_go_to_different_nodes() {
        let mut world = World::with_nodes(3);
        for key in ["hex8_3p", "hex8_4p", OTHER] {
            world.add_config(key);
        }
        for key in [KEY, "hex8_3p", "hex8_4p", OTHER] {
            world.play_in(key, 500);
            world.cross_in(key);
        }
        let commands = turn(&mut QueueDecider::default(), &world);
        let nodes: BTreeSet<u64> = grants(&commands).into_iter().map(|(_, _, node)| node).collect();
        assert_eq!((commands.len(), nodes.len()), (3, 3));
    }

    #[test]
    fn what_an_operator_cancelled_rests_for_a_minute() {
        let mut world = World::with_nodes(2);
        world.play(500);
        world.cross();
        let mut order = QueueDecider::default();
        let epoch = world.grant(LeaseKind::Training, 2, None);
        world.cancel(LeaseKind::Training, epoch, EndCause::Ordered, "test");
        for (later, granted) in [(0, 0), (59_999, 0), (1, 1), (1, 1)] {
            world.now += later;
            assert_eq!(turn(&mut order, &world).len(), granted, "{later}");
        }
        let epoch = world.grant(LeaseKind::Training, 2, None);
        world.cancel(LeaseKind::Training, epoch, EndCause::Regressed, "operator: test");
        assert_eq!(turn(&mut order, &world).len(), 1, "not an operator's, whatever the sentence says");
    }
}
