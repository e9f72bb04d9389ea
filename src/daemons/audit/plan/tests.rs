//! What is looked at, by whom and for how long, as tables over a cluster's state.

use super::*;
use crate::daemons::fixture::World;
use cluster_state::{
    Command, LeaseKind, UNCONFIRMED_FADES, UNCONFIRMED_MAX,
    command::{AddSegmentHolder, ReportForgery},
    samples,
};

const ME: u64 = 2;

fn report(world: &mut World, node: u64, segment: SegmentId, game: u32) {
    let at_ms = world.now;
    world.apply(Command::ReportForgery(ReportForgery { node: NodeId(node), segment, game, ply: 7, at_ms }));
}

/// A decider that has seen the world as it is.
fn decider() -> AuditDecider {
    AuditDecider::new(NodeId(ME), 0.15)
}

#[test]
fn each_new_segment_of_another_node_is_looked_at_once() {
    let mut world = World::with_nodes(4);
    let mut decider = decider();
    world.play_on(10, vec![1, 3]);
    let before = world.state.clone();
    let theirs = world.play_on(10, vec![1, 2]);
    world.play_on(10, vec![ME, 1]);
    decider.look(&before, &world.state);
    let share = 0.15 / 3.0;
    assert_eq!(decider.next(&world.state), Some(AuditTask::Sample { segment: theirs, share }));
    assert_eq!(decider.next(&world.state), None, "not what was there before, and not its own");
    let before = world.state.clone();
    let signature = samples::signature(4, &world.state.segments.get(&theirs).unwrap().facts(theirs));
    let add = AddSegmentHolder { hash: theirs, node: NodeId(4), signature, at_ms: 1 };
    world.apply(Command::AddSegmentHolder(add));
    decider.look(&before, &world.state);
    assert_eq!(decider.next(&world.state), None, "another copy is nothing new");
}

#[test]
fn the_nodes_that_are_there_divide_the_work() {
    for (nodes, expected) in [(2, 1.0), (3, 2.0), (8, 7.0)] {
        let world = World::with_nodes(nodes);
        assert_eq!(auditors(&world.state, NodeId(1)), expected);
    }
    let mut world = World::with_nodes(5);
    world.drain(3, true);
    world.offline(4);
    assert_eq!(auditors(&world.state, NodeId(1)), 2.0);
}

#[test]
fn what_waits_is_bounded() {
    let mut world = World::with_nodes(3);
    let mut decider = decider();
    let before = world.state.clone();
    for _ in 0..WAITING_MAX + 5 {
        world.play_on(1, vec![1, 2]);
    }
    decider.look(&before, &world.state);
    assert_eq!((decider.waiting(), decider.skipped()), (WAITING_MAX, 5));
}

#[test]
fn a_node_with_other_work_looks_at_nothing() {
    let check = |change: &dyn Fn(&mut World), share, expected: bool| {
        let mut world = World::with_nodes(3);
        let mut decider = AuditDecider::new(NodeId(ME), share);
        let before = world.state.clone();
        world.play_on(500, vec![1, 2]);
        world.cross();
        change(&mut world);
        decider.look(&before, &world.state);
        assert_eq!(decider.next(&world.state).is_some(), expected);
    };
    check(&|_| {}, 0.15, true);
    check(&|_| {}, 0.0, false);
    check(&|world| world.drain(ME, true), 0.15, false);
    let grants = |node| move |world: &mut World| assert!(world.grant(LeaseKind::Training, node, None) > 0);
    check(&grants(ME), 0.15, false);
    check(&grants(1), 0.15, true);
}

#[test]
fn a_report_of_another_node_goes_first_and_is_judged_once() {
    let mut world = World::with_nodes(4);
    let mut decider = decider();
    let (before, theirs) = (world.state.clone(), world.play_on(10, vec![1, 2]));
    decider.look(&before, &world.state);
    report(&mut world, 3, theirs, 4);
    let task = AuditTask::Confirm { segment: theirs, game: 4, ply: 7 };
    assert_eq!(decider.next(&world.state), Some(task));
    decider.done(task);
    assert!(matches!(decider.next(&world.state), Some(AuditTask::Sample { .. })));
    assert_eq!(decider.next(&world.state), None);
    // One that could not be judged is tried again, a few times.
    report(&mut world, 3, theirs, 5);
    let task = AuditTask::Confirm { segment: theirs, game: 5, ply: 7 };
    for _ in 0..TRIES_MAX {
        assert_eq!(decider.next(&world.state), Some(task));
        decider.failed(task);
    }
    assert_eq!(decider.next(&world.state), None);
}

#[test]
fn a_report_is_not_judged_if_it_is_about_this_node_or_of_a_liar() {
    let check = |change: &dyn Fn(&mut World, SegmentId), expected: bool| {
        let mut world = World::with_nodes(4);
        let segment = world.play_on(90, vec![1, 2]);
        change(&mut world, segment);
        let mut decider = decider();
        assert_eq!(decider.next(&world.state).is_some(), expected);
    };
    check(&|world, segment| report(world, 3, segment, 4), true);
    // The reporter's clock is years behind.
    check(
        &|world, segment| {
            world.now = 0;
            report(world, 3, segment, 4);
        },
        true,
    );
    check(
        &|world, _| {
            let mine = world.play_on(10, vec![ME, 1]);
            report(world, 3, mine, 4);
        },
        false,
    );
    check(&|world, segment| report(world, ME, segment, 4), false);
    let many = UNCONFIRMED_MAX as u32 + REPORTS_OPEN_MAX as u32;
    check(&move |world, segment| (0..many).for_each(|game| report(world, 3, segment, game)), false);
    // That is not for ever.
    check(
        &move |world, segment| {
            (0..many).for_each(|game| report(world, 3, segment, game));
            world.state.applied += UNCONFIRMED_FADES;
        },
        true,
    );
}

#[test]
fn nothing_of_a_distrusted_player_is_looked_at_any_more() {
    let mut world = World::with_nodes(4);
    let mut decider = decider();
    let (before, theirs) = (world.state.clone(), world.play_on(10, vec![1, 2]));
    decider.look(&before, &world.state);
    report(&mut world, 3, theirs, 4);
    report(&mut world, 4, theirs, 4);
    assert!(!world.state.is_trusted(NodeId(1)));
    assert_eq!(decider.next(&world.state), None);
}

#[test]
fn audits_take_a_hundredth_of_the_time() {
    let start = Instant::now();
    let mut budget = TimeBudget::new(2, start);
    assert!(budget.allows(start));
    budget.took(Duration::from_secs(13));
    assert!(!budget.allows(start));
    assert!(!budget.allows(start + Duration::from_secs(40)), "0.8 s of the debt of 1 s");
    assert!(budget.allows(start + Duration::from_secs(60)));
    assert!(budget.allows(start + Duration::from_secs(1_000_000)));
    budget.took(Duration::from_secs(12));
    assert!(!budget.allows(start + Duration::from_secs(1_000_000)), "no more than 12 s are saved up");
}
