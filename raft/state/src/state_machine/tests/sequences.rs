//! Every sequence of commands, sensible or not, keeps the invariants.

use super::*;
use crate::{
    admission::{Admission, ticket_id},
    command::{
        AddSegmentHolder, Appoint, ExpireLease, FailLease, ModelHeld, Promote, Reject, RenewLease,
        ReportForgery, ReportRegression, RevokeTicket, Rollback, SetBackpressure, SetCurriculum, SetDraining,
        SetFeedback, SetLeader, SetLearningRate, SetSecret, SetTarget, ThresholdReached,
    },
    samples::{issue, join, remove},
};
use crate::{
    receipt::Receipt,
    samples::{evidence_of, peer_id, signature},
};
use proptest::prelude::*;
use std::sync::LazyLock;

/// The number of the peer that is this node: they register in any order.
fn peer_of(state: &ClusterState, node: u64) -> u64 {
    static PEERS: LazyLock<Vec<String>> = LazyLock::new(|| (1..=4).map(peer_id).collect());
    let peer = state.nodes.get(&NodeId(node)).map(|node| &node.peer_id);
    (1..).zip(PEERS.iter()).find(|(_, id)| Some(*id) == peer).map_or(0, |(n, _)| n)
}

/// Three members that are online, if there are as many.
fn online_ids(state: &ClusterState) -> Vec<u64> {
    state.online().map(|node| node.id.0).take(3).collect()
}

/// The registration with the receipts of these nodes.
fn signed(state: &ClusterState, segment: RegisterSegment, holders: &[u64]) -> Command {
    let facts = segment.facts();
    let receipt =
        |node: &u64| Receipt { node: NodeId(*node), signature: signature(peer_of(state, *node), &facts) };
    let receipts = holders.iter().map(receipt).collect();
    Command::RegisterSegment(RegisterSegment { receipts, ..segment })
}

/// A command that mostly fits the state, so that sequences make progress.
fn sensible(state: &ClusterState, choice: u8, n: u8) -> Command {
    let config_key = || ConfigKey::from(CONFIG);
    let node = 1 + u64::from(n % 4);
    let at_ms = u64::from(n);
    let Some(config) = state.config(CONFIG) else {
        return if choice.is_multiple_of(2) { init(hash(1)) } else { register(node, at_ms % 3) };
    };
    // Who registers may be anybody; all else is about members, whose ids grow when one is removed.
    let (peer, members) = (node, state.nodes.len().max(1));
    let node = state.nodes.keys().nth(usize::from(n) % members).map_or(node, |node| node.0);
    let kind = if choice.is_multiple_of(2) { LeaseKind::Training } else { LeaseKind::Evaluation };
    let candidate = config.candidates.get(usize::from(n) % config.candidates.len().max(1)).copied();
    let slot = config.lease(kind);
    // What takes several steps is more often taken further than begun.
    let further = match (n % 4, &config.evaluation.live) {
        (0, Some(lease)) => Some(evaluation(state, config, lease, n)),
        (1, _) => review(state, candidate, n),
        _ => None,
    };
    if let Some(further) = further {
        return further;
    }
    match choice % 17 {
        16 => review(state, candidate.or(Some(config.champion)), n).unwrap_or_else(|| steering_of(choice, n)),
        0 => register(peer, at_ms % 3),
        1 => online(node, !n.is_multiple_of(3), state.nodes.get(&NodeId(node)).map_or(0, |node| node.boot)),
        2 => signed(state, unsigned(n, u64::from(n % 16)), &online_ids(state)),
        3 => Command::ThresholdReached(ThresholdReached {
            config_key: config_key(),
            crossing: config.crossings + 1,
            at_ms,
        }),
        4 | 5 => {
            let subject = candidate.or(Some(config.champion)).filter(|_| kind == LeaseKind::Evaluation);
            grant(kind, node, subject, at_ms)
        }
        6 | 7 => match (kind, &slot.live) {
            (LeaseKind::Training, Some(lease)) => trained(lease, model(hash(n), config.champion)),
            (LeaseKind::Evaluation, Some(lease)) => evaluation(state, config, lease, n),
            (_, None) => Command::RenewLease(RenewLease {
                kind,
                config_key: config_key(),
                epoch: slot.epoch,
                node: NodeId(node),
                at_ms,
            }),
        },
        8 => match &slot.live {
            Some(lease) if n.is_multiple_of(2) => Command::ExpireLease(ExpireLease {
                kind,
                config_key: config_key(),
                epoch: lease.epoch,
                last_renewed_ms: n.is_multiple_of(4).then_some(lease.renewed_ms),
                reason: "r".into(),
                at_ms,
            }),
            Some(lease) => Command::RenewLease(RenewLease {
                kind,
                config_key: config_key(),
                epoch: lease.epoch,
                node: lease.node,
                at_ms,
            }),
            None => Command::FailLease(FailLease {
                kind,
                config_key: config_key(),
                epoch: slot.epoch,
                node: NodeId(node),
                error: "e".into(),
                at_ms,
            }),
        },
        9 => Command::ModelHeld(ModelHeld {
            model: candidate.unwrap_or(config.champion),
            node: NodeId(node),
            at_ms,
        }),
        10 => Command::Promote(Promote {
            config_key: config_key(),
            candidate: candidate.unwrap_or(hash(n)),
            expected_champion: config.champion,
            elo_delta_min: 10.0,
            at_ms,
        }),
        11 => regression(choice, n, config),
        12 => steering_of(choice, n),
        13 => Command::Appoint(Appoint {
            config_key: config_key(),
            model: candidate.unwrap_or(config.initial),
            expected_champion: config.champion,
            reason: "r".into(),
            at_ms,
        }),
        14 => member(state, n),
        _ => match n % 5 {
            0 => Command::Reject(Reject {
                config_key: config_key(),
                candidate: candidate.unwrap_or(hash(n)),
                reason: "r".into(),
                at_ms,
            }),
            1 => Command::SetLeader(SetLeader { node: NodeId(node), term: at_ms, at_ms }),
            2 => Command::AddSegmentHolder(AddSegmentHolder {
                hash: hash(n),
                node: NodeId(node),
                signature: signature(peer_of(state, node), &unsigned(n, u64::from(n % 16)).facts()),
                at_ms,
            }),
            3 => Command::SetTarget(SetTarget {
                config_key: config_key(),
                target: SelfplayTarget { weight: f64::from(n), ..target() },
                at_ms,
            }),
            _ => Command::ReportForgery(ReportForgery {
                node: NodeId(node),
                segment: state.segments.iter().next().map_or(hash(n), |(id, _)| *id),
                game: u32::from(n % 2),
                ply: 3,
                at_ms,
            }),
        },
    }
}

/// A command about who may be a member.
fn member(state: &ClusterState, n: u8) -> Command {
    let token = n % 8;
    let secret = state.admissions.secret.as_ref().map_or(0, |secret| secret.number as u8 + 1);
    match n % 7 {
        0 => Command::SetSecret(SetSecret { secret: [secret; 32], by_secret: n.is_multiple_of(3), at_ms: 1 }),
        1 | 2 => issue(token, 1 + u32::from(n % 3)),
        3 => Command::RevokeTicket(RevokeTicket { ticket: ticket_id(&[token; 32]), at_ms: 1 }),
        4 => remove(1 + u64::from(n % 5), n.is_multiple_of(3), secret),
        5 => {
            let peer = 1 + u64::from(n % 5);
            join(peer, Admission::by_ticket(&[token; 32], &peer_id(peer)), u64::from(n))
        }
        _ => join(9, Admission::Secret([n; 32]), 1),
    }
}

/// The next step of an evaluation: its games come first.
fn evaluation(state: &ClusterState, config: &ConfigState, lease: &Lease, n: u8) -> Command {
    let watched = lease.subject == Some(config.champion);
    let before = config.fallback().filter(|_| watched).map(|before| before.model);
    let pair = (lease.subject.unwrap_or(hash(n)), before.unwrap_or(config.champion));
    let found = fresh(lease, evidence(pair.0, pair.1));
    match state.segments.get(&found.segments[0]) {
        Some(_) => evaluated(lease, found),
        None => {
            let mut holders = vec![lease.node.0];
            holders.extend(online_ids(state).into_iter().filter(|node| *node != lease.node.0));
            signed(state, games_of(&found, CONFIG), &holders)
        }
    }
}

/// The answer of the next verifier of a candidate or a watched champion, mostly that it counted the same.
fn review(state: &ClusterState, candidate: Option<ModelId>, n: u8) -> Option<Command> {
    let model = state.models.get(&candidate?)?;
    let config = state.config(CONFIG)?;
    let (found, review) = match &config.steering.round {
        Some(round) if config.champion == candidate? => (round.evidence.clone(), &round.review),
        Some(_) | None => (model.evidence.clone()?, model.review.as_ref()?),
    };
    let next = state.verifiers(model, Some(review)).find(|node| !review.checks.contains_key(node))?;
    let found = if n % 16 == 15 { evidence_of((hash(1), hash(2)), [1, 2, 3]) } else { found };
    Some(confirmation(candidate?, review.epoch, next.0, &found))
}

/// A command about a champion that regresses, is rolled back, and settles.
fn regression(choice: u8, n: u8, config: &ConfigState) -> Command {
    let (config_key, at_ms) = (ConfigKey::from(CONFIG), u64::from(n));
    let trigger = n.is_multiple_of(2).then(|| hash(n));
    let named = trigger.is_none() || n.is_multiple_of(3);
    let champion = named.then_some(config.champion);
    match choice % 3 {
        0 => Command::Rollback(Rollback {
            config_key,
            expected_champion: champion,
            reason: "r".into(),
            triggered_by: "t".into(),
            trigger,
            at_ms,
        }),
        _ => Command::ReportRegression(ReportRegression {
            config_key,
            champion,
            severity: [Some(Severity::Minor), Some(Severity::Critical), None][usize::from(n % 3)],
            elo_drop: f64::from(n),
            games: 50,
            reason: "r".into(),
            trigger,
            at_ms,
        }),
    }
}

/// The other commands by which the leader's daemons steer.
pub(super) fn steering_of(choice: u8, n: u8) -> Command {
    let (config_key, at_ms, reason) = (ConfigKey::from(CONFIG), u64::from(n), "r".to_owned());
    let factor = 0.5 + f64::from(n % 4);
    match choice % 5 {
        0 => Command::SetBackpressure(SetBackpressure {
            config_key,
            active: n.is_multiple_of(2),
            depth: 3,
            threshold: 2,
            release_threshold: 1,
            trigger: n.is_multiple_of(3).then(|| hash(n)),
            at_ms,
        }),
        1 => Command::SetFeedback(SetFeedback {
            config_key,
            feedback: Feedback { exploration: factor, ..Feedback::default() },
            at_ms,
        }),
        2 => Command::SetLearningRate(SetLearningRate { config_key, scale: factor, reason, at_ms }),
        3 => Command::SetCurriculum(SetCurriculum {
            config_key,
            weight: factor,
            reason,
            emergency: n > 200,
            at_ms,
        }),
        _ => Command::SetDraining(SetDraining {
            node: NodeId(1 + u64::from(n % 4)),
            draining: n > 200,
            cause: DrainCause::of(["idle", "ordered", "of a later version"][usize::from(n % 3)]),
            reason,
            at_ms,
        }),
    }
}

/// Steps of a sequence: mostly sensible commands, some arbitrary ones.
fn steps() -> impl Strategy<Value = Vec<(bool, u8, u8)>> {
    prop::collection::vec((prop::bool::weighted(0.9), any::<u8>(), any::<u8>()), 0..250)
}

fn command_of(state: &ClusterState, (fits, choice, n): (bool, u8, u8)) -> Command {
    let samples = commands();
    if fits { sensible(state, choice, n) } else { samples[usize::from(choice) % samples.len()].clone() }
}

/// Checks who may be a member, and that nothing belongs to who is none.
fn admissions(before: &ClusterState, after: &ClusterState) {
    let admissions = &after.admissions;
    assert!(admissions.shut_out.keys().all(|peer| after.node_of_peer(peer).is_none()));
    assert!(admissions.operators.iter().all(|id| after.nodes.contains_key(id)));
    assert!(before.nodes.is_empty() || !after.nodes.is_empty());
    let number = |state: &ClusterState| state.admissions.secret.as_ref().map_or(0, |secret| secret.number);
    assert!(number(after) >= number(before));
    let secrets = admissions.secret.iter().chain(&admissions.previous);
    assert!(secrets.map(|secret| secret.number).rev().is_sorted());
    let held = after.configs.values().flat_map(|it| [&it.training.live, &it.evaluation.live]);
    let holders = held.flatten().map(|lease| lease.node);
    let of_models = after.models.iter().flat_map(|(_, model)| model.holders.iter().copied());
    let of_segments = after.segments.iter().flat_map(|(_, segment)| segment.holders.iter().copied());
    assert!(holders.chain(of_models).chain(of_segments).all(|id| !after.was_removed(id)));
}

/// Checks what holds in every state, and between a state and the next.
fn invariants(before: &ClusterState, after: &ClusterState) {
    assert!(after.last_node_id >= before.last_node_id);
    let removed = (1..=after.last_node_id.0).filter(|id| after.was_removed(NodeId(*id)));
    assert_eq!(after.nodes.len() as u64 + removed.count() as u64, after.last_node_id.0);
    admissions(before, after);
    for (key, config) in after.configs.iter() {
        let mut champion = config.initial;
        let mut elo = ELO_INITIAL;
        for (generation, promotion) in (1..).zip(&config.history) {
            assert_eq!((promotion.generation, promotion.previous), (generation, champion));
            assert_eq!(promotion.previous_elo.to_bits(), elo.to_bits());
            (champion, elo) = (promotion.model, promotion.new_elo);
        }
        assert_eq!((config.champion, config.generation), (champion, config.history.len() as u64));
        assert!(config.consumed <= config.crossings && config.games_since_training <= config.games_total);
        let champions =
            after.models.iter().filter(|(_, m)| m.config_key == *key && m.status == ModelStatus::Champion);
        assert_eq!(champions.map(|(hash, _)| *hash).collect::<Vec<_>>(), [champion]);
        let candidates =
            after.models.iter().filter(|(_, m)| m.config_key == *key && m.status == ModelStatus::Candidate);
        let listed: BTreeSet<ModelId> = config.candidates.iter().copied().collect();
        let played = after.segments.iter().map(|(_, segment)| segment).filter(|segment| {
            segment.config_key == *key && segment.model == champion && segment.source == Source::Selfplay
        });
        assert_eq!(config.champion_games, played.map(|segment| segment.games).sum::<u64>());
        let steering = &config.steering;
        assert!(steering.regression.as_ref().is_none_or(|regression| regression.champion == champion));
        let before_it = config.fallback();
        assert!(before_it.is_none_or(|back| back.model != champion && back.generation < config.generation));
        assert!(
            steering.watch.is_none_or(|watch| before_it.is_some_and(|back| back.model == watch.opponent))
        );
        assert!(steering.watch.is_none_or(|watch| watch.wins + watch.losses <= watch.games));
        let round = steering.round.as_ref();
        assert!(round.is_none_or(|round| round.evidence.candidate == champion
            && before_it.is_some_and(|back| back.model == round.evidence.champion)));
        assert_eq!(candidates.map(|(hash, _)| *hash).collect::<BTreeSet<_>>(), listed);
        for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
            let slot = config.lease(kind);
            assert!(slot.live.as_ref().is_none_or(|lease| lease.epoch == slot.epoch && lease.kind == kind));
        }
        if let Some(old) = before.configs.get(key) {
            for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
                let (old, new) = (old.lease(kind), config.lease(kind));
                assert!(new.epoch == old.epoch || (new.epoch == old.epoch + 1 && old.live.is_none()));
            }
            assert!(config.crossings >= old.crossings && config.games_total >= old.games_total);
            assert!(config.history.starts_with(&old.history), "history was rewritten");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_sequence(steps in steps()) {
        let mut world = World::default();
        let mut kept = std::collections::BTreeMap::new();
        for step in steps {
            let command = command_of(&world.state, step);
            let before = world.clone();
            let mut twin = world.clone();
            let response = world.apply(&command);
            prop_assert_eq!(&twin.apply(&command), &response, "not deterministic: {:?}", command);
            prop_assert_eq!(&twin.state, &world.state);
            invariants(&before.state, &world.state);
            // Exactly what changed is written; a refusal writes nothing.
            let changes = rows::changes(&before.state, &world.state).unwrap();
            if matches!(response, Response::Refused(_) | Response::Unchanged) {
                twin.state.applied = before.state.applied;
                prop_assert_eq!(&twin.state, &before.state, "{:?} changed something", command);
                prop_assert!(changes == rows::Changes::default(), "{:?} wrote {:?}", command, changes);
            }
            for key in changes.removed {
                prop_assert!(kept.remove(&key).is_some(), "{:?} removed {:?}", command, key);
            }
            for row in changes.put {
                kept.insert((row.kind, row.key.clone()), row);
            }
            // A repeated command takes effect only once.
            let mut again = world.clone();
            again.apply(&command);
            again.state.applied = world.state.applied;
            prop_assert_eq!(&again.state, &world.state, "{:?} is not idempotent", command);
        }
        let restored = rows::restore(kept.into_values(), world.state.applied).unwrap();
        prop_assert_eq!(&restored, &world.state);
        let all = rows::rows(&world.state).unwrap();
        prop_assert_eq!(&rows::restore(all, world.state.applied).unwrap(), &world.state);
    }
}

/// The sequences above are useful: they reach promotions.
#[test]
fn sequences_get_somewhere() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(5);
    let (mut promotions, mut rollbacks, mut watched) = (0, 0, 0);
    for _ in 0..200 {
        let mut world = World::default();
        for _ in 0..250 {
            let command = command_of(&world.state, (rng.random_bool(0.9), rng.random(), rng.random()));
            rollbacks += u32::from(matches!(world.apply(&command), Response::RolledBack { .. }));
        }
        let config = world.state.config(CONFIG);
        promotions += config.map_or(0, |config| config.history.len());
        watched += u32::from(config.is_some_and(|config| world.state.watched(config).is_some()));
    }
    assert!(promotions >= 40 && rollbacks >= 2 && watched >= 5, "{promotions} {rollbacks} {watched}");
}
