//! Causes that this version does not know: they are kept, they decide nothing, and they stop nothing.

use super::*;
use crate::{
    command::{CancelLease, SetDraining, ThresholdReached},
    node::Draining,
};

/// Texts of another version, or of a hostile peer.
const UNKNOWN: [&str; 4] = ["", "cancelled: operator", "idle for 9 s", "é\u{0}"];

fn cancel(lease: &Lease, cause: EndCause) -> Command {
    Command::CancelLease(CancelLease {
        kind: lease.kind,
        config_key: CONFIG.into(),
        epoch: lease.epoch,
        cause,
        reason: "r".into(),
        at_ms: 1,
    })
}

fn drain(cause: DrainCause, draining: bool) -> Command {
    Command::SetDraining(SetDraining { node: NodeId(1), draining, cause, reason: "r".into(), at_ms: 1 })
}

fn played(n: u8, source: Source) -> Command {
    Command::RegisterSegment(signed_by(RegisterSegment { source, model: hash(9), ..unsigned(n, 10) }, [1, 2]))
}

/// The state is the same after a node has written it and read it again.
fn check_rows(world: &World) {
    let rows = rows::rows(&world.state).unwrap();
    assert_eq!(rows::restore(rows, world.state.applied).unwrap(), world.state);
}

#[test]
fn a_cause_of_another_version_is_kept_and_decides_nothing() {
    // Games that are none of self-play are those of an evaluation.
    let mut world = World::three().with_candidate(9);
    world.lease(LeaseKind::Evaluation, Some(hash(9)));
    world.accept(segment(50, 10, &[1, 2]));
    let crossing =
        ThresholdReached { config_key: CONFIG.into(), crossing: world.config().crossings + 1, at_ms: 0 };
    world.accept(Command::ThresholdReached(crossing));
    let (games, champion_games) = (world.config().games_total, world.config().champion_games);
    for (n, text) in (60..).zip(UNKNOWN) {
        world.accept(played(n, Source::of(text)));
        let found = world.state.segments.get(&hash(n)).map(|segment| segment.source.as_str());
        assert_eq!(found, Some(text));

        let lease = world.lease(LeaseKind::Training, None);
        world.accept(cancel(&lease, EndCause::of(text)));
        let slot = &world.config().training;
        let end = LeaseEnd { node: NodeId(1), cause: EndCause::of(text), reason: "cancelled: r".into() };
        assert_eq!((&slot.live, &slot.last_end, slot.failures), (&None, &Some(end), 0));

        world.accept(drain(DrainCause::of(text), true));
        let draining = Draining { cause: DrainCause::of(text), reason: "r".into() };
        assert_eq!(world.state.nodes[&NodeId(1)].draining, Some(draining));
        check_rows(&world);
        world.accept(drain(DrainCause::of(text), false));
    }
    assert_eq!((world.config().games_total, world.config().champion_games), (games, champion_games));
}

#[test]
fn a_promotion_of_another_version_is_no_rollback() {
    let mut world = World::three().with_candidate(2);
    world.accept(promote(2, 1, 1.0));
    let mut config = world.config().clone();
    assert_eq!(
        (config.history[0].kind.clone(), config.fallback().is_some()),
        (PromotionKind::Evidence, true)
    );
    for text in UNKNOWN {
        let promotion = Promotion { kind: PromotionKind::of(text), ..Promotion::clone(&config.history[0]) };
        config.history = vec![promotion.into()];
        assert_eq!(config.fallback().map(|before| before.model), Some(hash(1)), "{text}");
        std::sync::Arc::make_mut(&mut world.state.configs).insert(CONFIG.into(), config.clone().into());
        check_rows(&world);
    }
}

#[test]
fn a_cause_is_bounded_and_a_cancellation_is_no_failure() {
    let mut world = World::three();
    world.accept(segment(50, 10, &[1, 2]));
    world.accept(Command::ThresholdReached(ThresholdReached {
        config_key: CONFIG.into(),
        crossing: 1,
        at_ms: 0,
    }));
    let lease = world.lease(LeaseKind::Training, None);
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let too_long = Refusal::Invalid(format!("text over {TEXT_BYTES_MAX} bytes"));
    world.refuse(played(60, Source::of(&long)), &too_long);
    world.refuse(drain(DrainCause::of(&long), true), &too_long);
    world.refuse(cancel(&lease, EndCause::of(&long)), &too_long);
    for cause in [EndCause::Failed, EndCause::Expired] {
        world.refuse(cancel(&lease, cause), &Refusal::Invalid("cause of a cancellation".into()));
    }
}
