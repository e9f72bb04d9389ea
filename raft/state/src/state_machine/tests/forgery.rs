//! Reports of forged games, honest ones and those of liars.

use super::*;
use crate::{
    Pardon,
    command::{FailLease, PardonNode, RegisterSegment, RenewLease, ReportForgery},
    node::{UNCONFIRMED_FADES, UNCONFIRMED_MAX},
    state_machine::forgery::FORGERIES_MAX,
};
use std::sync::Arc;

const PLAYER: u64 = 1;

fn about(node: u64, n: u8, game: u32, at_ms: u64) -> Command {
    Command::ReportForgery(ReportForgery { node: NodeId(node), segment: hash(n), game, ply: 7, at_ms })
}

/// A cluster of `nodes`, of which node 1 has played segment 50 with ten games.
fn played(nodes: u64) -> World {
    let mut world = World::default();
    for n in 1..=nodes {
        world.accept(register(n, n));
    }
    world.accept(init(hash(1)));
    world.accept(segment(50, 10, &[PLAYER, 2]));
    world
}

fn distrusted(world: &World) -> Vec<u64> {
    world.state.forgeries.keys().map(|id| id.0).collect()
}

/// How many reports of node 2 nobody confirmed.
fn unconfirmed(world: &World) -> u64 {
    world.state.nodes[&NodeId(2)].standing.unconfirmed(world.index)
}

#[test]
fn two_others_find_the_same_game_forged() {
    for nodes in [3, 4, 9] {
        let mut world = played(nodes);
        assert_eq!(world.accept(about(2, 50, 3, 100)), Response::Done);
        assert_eq!(world.accept(about(2, 50, 3, 200)), Response::Unchanged, "one node is one node");
        world.refuse(about(PLAYER, 50, 3, 200), &Refusal::Invalid("report of a forgery".into()));
        world.accept(about(3, 50, 4, 200));
        assert_eq!(distrusted(&world), [0; 0], "that is another game");
        world.accept(about(3, 50, 3, 300));
        assert_eq!(distrusted(&world), [PLAYER]);
        let forgery = &world.state.forgeries[&NodeId(PLAYER)];
        assert_eq!((forgery.segment, forgery.game, forgery.ply, forgery.at_ms), (hash(50), 3, 7, 300));
        assert_eq!(forgery.confirmed_by, [2, 3].map(NodeId).into());
        assert!(world.state.nodes.values().all(|node| node.standing.reports.is_empty()), "all are closed");
        assert_eq!(world.accept(about(2, 50, 3, 400)), Response::Unchanged);
        let rows = rows::rows(&world.state).unwrap();
        assert_eq!(rows::restore(rows, world.state.applied).unwrap(), world.state);
    }
}

#[test]
fn in_a_cluster_of_two_the_other_decides() {
    let mut world = played(2);
    world.accept(about(2, 50, 0, 100));
    assert_eq!(distrusted(&world), [PLAYER]);
}

#[test]
fn a_distrusted_node_plays_and_works_for_nothing() {
    let mut world = played(3);
    world.accept(Command::ThresholdReached(ThresholdReached {
        config_key: CONFIG.into(),
        crossing: 1,
        at_ms: 0,
    }));
    let lease = world.lease(LeaseKind::Training, None);
    assert_eq!(lease.node, NodeId(PLAYER));
    world.accept(about(2, 50, 3, 100));
    world.accept(about(3, 50, 3, 100));
    let refusal = Refusal::Distrusted(NodeId(PLAYER));
    world.refuse(segment(51, 1, &[PLAYER, 2]), &refusal);
    let renew = RenewLease {
        kind: LeaseKind::Training,
        config_key: CONFIG.into(),
        epoch: lease.epoch,
        node: lease.node,
        at_ms: 9,
    };
    world.refuse(Command::RenewLease(renew), &refusal);
    world.refuse(trained(&lease, model(hash(2), hash(1))), &refusal);
    world.accept(Command::FailLease(FailLease {
        kind: LeaseKind::Training,
        config_key: CONFIG.into(),
        epoch: lease.epoch,
        node: lease.node,
        error: "distrusted".into(),
        at_ms: 9,
    }));
    world.refuse(grant(LeaseKind::Training, PLAYER, None, 60), &refusal);
    // Its own word counts no more, and what others play counts on.
    world.accept(segment(52, 1, &[2, PLAYER]));
    world.refuse(about(PLAYER, 52, 0, 100), &refusal);
    // A start of its process changes nothing.
    world.accept(register(PLAYER, 77));
    assert_eq!(distrusted(&world), [PLAYER]);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut world = played(3);
    let invalid = Refusal::Invalid("report of a forgery".into());
    world.refuse(about(2, 99, 0, 1), &Refusal::UnknownSegment(hash(99)));
    world.refuse(about(2, 50, 10, 1), &invalid);
    world.refuse(about(9, 50, 0, 1), &Refusal::UnknownNode(NodeId(9)));
    world = world.with_candidate(9);
    world.accept(grant(LeaseKind::Evaluation, PLAYER, Some(hash(9)), 50));
    let evaluation = RegisterSegment { source: Source::Evaluation, model: hash(9), ..unsigned(51, 5) };
    world.accept(Command::RegisterSegment(signed_by(evaluation, [PLAYER, 2])));
    world.refuse(about(2, 51, 0, 1), &invalid);
}

#[test]
fn reports_agree_whatever_the_clocks_of_the_reporters_say() {
    for (first, second) in [(0, 1 << 40), (1 << 40, 0), (1, 1)] {
        let mut world = played(3);
        world.accept(about(2, 50, 3, first));
        world.index += 1_000_000;
        assert_eq!(world.accept(about(2, 50, 3, second)), Response::Unchanged, "it is open still");
        world.accept(about(3, 50, 3, second));
        assert_eq!(distrusted(&world), [PLAYER]);
    }
}

#[test]
fn a_liar_excludes_nobody_fills_nothing_and_shows() {
    let mut world = played(4);
    for game in 0..10 {
        world.accept(about(2, 50, game, 100 + u64::from(game)));
    }
    assert_eq!(distrusted(&world), [0; 0]);
    let open = world.state.nodes[&NodeId(2)].standing.reports.len();
    assert_eq!((open, unconfirmed(&world)), (REPORTS_OPEN_MAX, 6));
    // What others find is not hidden by it.
    world.accept(about(3, 50, 1, 200));
    world.accept(about(4, 50, 1, 200));
    assert_eq!(distrusted(&world), [PLAYER]);
}

#[test]
fn what_nobody_confirmed_fades_with_the_log_and_a_liar_stays_slow() {
    let mut world = played(4);
    let mut said = 0;
    let mut lies = |world: &mut World, count: u32| {
        (said..said + count).for_each(|n| drop(world.accept(about(2, 50, n % 10, 100))));
        said += count;
    };
    lies(&mut world, REPORTS_OPEN_MAX as u32 + 1);
    let first = world.index;
    lies(&mut world, 200);
    assert_eq!(unconfirmed(&world), UNCONFIRMED_MAX, "no more are counted");
    let heard = |world: &World, after| world.state.nodes[&NodeId(2)].standing.is_heard(first + after);
    assert!(!heard(&world, UNCONFIRMED_FADES - 1) && heard(&world, UNCONFIRMED_FADES));
    // Each time, one report more silences it again; who reports no more is as good as new.
    for round in 1..4 {
        world.index = first + round * UNCONFIRMED_FADES;
        lies(&mut world, 3);
        assert!(!heard(&world, (round + 1) * UNCONFIRMED_FADES - 1));
        assert!(heard(&world, (round + 1) * UNCONFIRMED_FADES));
    }
    world.index += (UNCONFIRMED_MAX + 1) * UNCONFIRMED_FADES;
    assert_eq!(unconfirmed(&world), 0);
    lies(&mut world, 1);
    assert_eq!(unconfirmed(&world), 1);
}

fn pardon(node: u64, epoch: Option<i64>) -> Command {
    Command::PardonNode(PardonNode { node: NodeId(node), epoch, reason: "mended".into(), at_ms: 500 })
}

#[test]
fn a_pardoned_node_plays_on_and_what_it_played_before_stays_out() {
    let mut world = played(3);
    world.refuse(pardon(PLAYER, None), &Refusal::NothingToPardon(NodeId(PLAYER)));
    world.refuse(pardon(9, None), &Refusal::UnknownNode(NodeId(9)));
    let forged = |world: &mut World, n| {
        world.accept(about(2, n, 0, 100));
        world.accept(about(3, n, 0, 100));
        assert_eq!(distrusted(world), [PLAYER]);
    };
    forged(&mut world, 50);
    for n in [51, 52] {
        let counts = |world: &World, n: u8| world.state.counts(world.state.segments.get(&hash(n)).unwrap());
        let before = world.state.clone();
        assert_eq!(world.accept(pardon(PLAYER, None)), Response::Done);
        let changes = rows::changes(&before, &world.state).unwrap();
        assert_eq!((changes.put.len(), changes.removed.len()), (1, 1));
        world.refuse(pardon(PLAYER, None), &Refusal::NothingToPardon(NodeId(PLAYER)));
        assert_eq!(distrusted(&world), [0; 0]);
        world.accept(segment(n, 10, &[PLAYER, 2]));
        assert!(!counts(&world, 50) && counts(&world, n));
        assert_eq!(world.accept(about(2, 50, 1, 300)), Response::Unchanged, "it is settled");
        let rows = rows::rows(&world.state).unwrap();
        assert_eq!(rows::restore(rows, world.state.applied).unwrap(), world.state);
        // It is found out again.
        forged(&mut world, n);
        assert!(!counts(&world, n));
    }
}

#[test]
fn there_is_an_end_to_the_pardons_that_are_kept() {
    for (games_after, fits) in [(0, true), (1, false)] {
        let mut world = played(3);
        let known = Arc::new(Pardon { games_after, ..Pardon::default() });
        let pardons = (1000..1000 + FORGERIES_MAX as u64).map(|id| (NodeId(id), Arc::clone(&known)));
        world.state.pardons = Arc::new(pardons.collect());
        if fits {
            assert_eq!(world.accept(pardon(PLAYER, Some(7))), Response::Done);
            assert!(world.state.pardons.contains_key(&NodeId(PLAYER)));
        } else {
            world.refuse(pardon(PLAYER, Some(7)), &Refusal::Full("pardons".into()));
        }
        assert_eq!(world.state.pardons.len(), FORGERIES_MAX);
    }
}

#[test]
fn a_shunned_node_is_pardoned_for_an_epoch_and_its_games_count_on() {
    let mut world = played(3);
    assert_eq!(world.accept(pardon(PLAYER, Some(7))), Response::Done);
    assert!(world.state.counts(world.state.segments.get(&hash(50)).unwrap()));
    assert_eq!(world.accept(pardon(PLAYER, Some(7))), Response::Unchanged);
    for epoch in 8..23 {
        assert_eq!(world.accept(pardon(PLAYER, Some(epoch))), Response::Done);
    }
    assert_eq!(world.state.pardons[&NodeId(PLAYER)].epochs, (7..23).collect());
    world.refuse(pardon(PLAYER, Some(99)), &Refusal::Full("pardons".into()));
}
