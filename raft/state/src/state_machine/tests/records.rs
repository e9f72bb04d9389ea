//! What the cluster keeps of nodes, configurations and segments.

use super::*;
use crate::{
    command::{AddSegmentHolder, InitConfig, RegisterSegment, SetLeader, SetTarget, ThresholdReached},
    receipt::{Receipt, Signature},
    samples::{receipt, signature},
};

#[test]
fn nodes() {
    let mut world = World::three();
    // A report of the same start is no news; another start is, and it keeps the id.
    assert_eq!(world.accept(register(2, 2)), Response::Node { id: NodeId(2), came_online: false });
    assert_eq!(world.accept(register(2, 9)), Response::Node { id: NodeId(2), came_online: true });
    assert_eq!(world.accept(online(2, true, 9)), Response::Unchanged);
    assert_eq!(world.accept(online(2, false, 9)), Response::Online { distributed: vec![] });
    assert_eq!(world.state.online().count(), 2);
    assert_eq!(world.accept(register(2, 9)), Response::Node { id: NodeId(2), came_online: true });
    world.refuse(online(2, false, 2), &Refusal::StaleBoot { current: 9, observed: 2 });
    world.refuse(online(7, false, 2), &Refusal::UnknownNode(NodeId(7)));
    let leader = |node, term| Command::SetLeader(SetLeader { node: NodeId(node), term, at_ms: 1 });
    assert_eq!(world.accept(leader(1, 5)), Response::Done);
    assert_eq!(world.accept(leader(1, 5)), Response::Unchanged);
    world.refuse(leader(2, 5), &Refusal::StaleTerm { current: 5, term: 5 });
    world.refuse(leader(2, 4), &Refusal::StaleTerm { current: 5, term: 4 });
    world.refuse(leader(9, 6), &Refusal::UnknownNode(NodeId(9)));
    assert_eq!(world.accept(leader(2, 6)), Response::Done);
    assert_eq!(world.state.leader.as_ref().unwrap().elections, 2);
    for n in 4..=NODES_MAX as u64 {
        world.accept(register(n, 1));
    }
    world.refuse(register(5000, 1), &Refusal::Full("nodes".into()));
}

#[test]
fn configurations_and_targets() {
    let mut world = World::three();
    assert_eq!(world.accept(init(hash(1))), Response::Unchanged);
    world.refuse(init(hash(2)), &Refusal::ConfigExists(hash(1)));
    let other = |key: &str, champion| {
        Command::InitConfig(InitConfig {
            config_key: key.into(),
            champion,
            size: 1,
            threshold: 1,
            target: target(),
            at_ms: 1,
        })
    };
    world.refuse(other("square8_2p", hash(1)), &Refusal::ModelExists(hash(1)));
    let aim = |key: &str, target| Command::SetTarget(SetTarget { config_key: key.into(), target, at_ms: 1 });
    assert_eq!(world.accept(aim(CONFIG, target())), Response::Unchanged);
    assert_eq!(world.accept(aim(CONFIG, SelfplayTarget::default())), Response::Done);
    world.refuse(aim("square8_2p", target()), &Refusal::UnknownConfig("square8_2p".into()));
    for n in 1..CONFIGS_MAX {
        world.accept(other(&format!("c{n}"), Hash::of(&n.to_le_bytes()).into()));
    }
    world.refuse(other("more", hash(200)), &Refusal::Full("configurations".into()));
}

#[test]
fn segments_and_thresholds() {
    let mut world = World::three();
    let counts = |total, since| Response::Segment { games_total: total, games_since_training: since };
    assert_eq!(world.accept(segment(50, 6, &[1, 2])), counts(6, 6));
    assert_eq!(world.accept(segment(50, 6, &[3])), Response::Duplicate);
    assert_eq!(world.state.segments.get(&hash(50)).unwrap().holders, BTreeSet::from([1, 2, 3].map(NodeId)));
    let evaluation = RegisterSegment { source: Source::Evaluation, ..unsigned(51, 5) };
    world.refuse(Command::RegisterSegment(signed_by(evaluation, [1, 2])), &Refusal::NotAsked(NodeId(1)));
    world.refuse(segment(52, 1, &[1]), &Refusal::TooFewHolders { have: 1, need: 2 });
    world.refuse(segment(52, 1, &[]), &Refusal::TooFewHolders { have: 0, need: 2 });
    world.refuse(segment(52, 1, &[1, 9]), &Refusal::UnknownNode(NodeId(9)));
    let unknown = RegisterSegment { model: hash(77), ..unsigned(52, 1) };
    let unknown = Command::RegisterSegment(signed_by(unknown, [1, 2]));
    world.refuse(unknown, &Refusal::UnknownModel(hash(77)));
    world.refuse(segment(52, 0, &[1, 2]), &Refusal::Invalid("segment".into()));
    world.accept(online(2, false, 2));
    world.refuse(segment(52, 1, &[1, 2]), &Refusal::TooFewHolders { have: 1, need: 2 });
    world.accept(online(3, false, 3));
    assert_eq!(world.accept(segment(52, 1, &[1])), counts(7, 7)); // in a cluster of one, one holder is enough
    let add = |n, node: NodeId| {
        let signature = signature(node.0, &unsigned(n, 1).facts());
        Command::AddSegmentHolder(AddSegmentHolder { hash: hash(n), node, signature, at_ms: 1 })
    };
    assert_eq!(world.accept(add(52, NodeId(2))), Response::Done);
    assert_eq!(world.accept(add(52, NodeId(2))), Response::Unchanged);
    world.refuse(add(52, NodeId(9)), &Refusal::UnknownNode(NodeId(9)));
    world.refuse(add(99, NodeId(1)), &Refusal::UnknownSegment(hash(99)));
    let reached = |crossing| {
        Command::ThresholdReached(ThresholdReached { config_key: CONFIG.into(), crossing, at_ms: 1 })
    };
    world.refuse(reached(1), &Refusal::BelowThreshold { games: 7, threshold: 10 });
    world.refuse(reached(2), &Refusal::WrongCrossing { expected: 1, given: 2 });
    world.refuse(reached(0), &Refusal::WrongCrossing { expected: 1, given: 0 });
    assert_eq!(world.accept(segment(53, u64::MAX, &[1])), counts(u64::MAX, u64::MAX)); // no overflow
    assert_eq!(world.accept(reached(1)), Response::Done);
    assert_eq!(world.accept(reached(1)), Response::Unchanged);
    assert_eq!((world.config().games_since_training, world.config().crossings), (0, 1));
    // The holders are bounded, so the row is bounded too.
    for n in 4..=100 {
        world.accept(register(n, 1));
    }
    for node in 3..=64 {
        world.accept(add(52, NodeId(node)));
    }
    world.refuse(add(52, NodeId(65)), &Refusal::Full("holders".into()));
    let many: Vec<u64> = (30..=90).collect();
    assert_eq!(world.accept(segment(50, 6, &many)), Response::Duplicate);
    assert_eq!(world.state.segments.get(&hash(50)).unwrap().holders.len(), HOLDERS_MAX);
}

#[test]
fn only_a_receipt_makes_a_holder() {
    let mut world = World::three();
    let honest = unsigned(50, 6);
    let facts = honest.facts();
    let with = |receipts| Command::RegisterSegment(RegisterSegment { receipts, ..honest.clone() });
    let other = RegisterSegment { samples: u64::MAX, ..honest.clone() };
    let of = |node, signature| Receipt { node: NodeId(node), signature };
    let own = || receipt(1, &facts);
    for (second, refusal) in [
        // Somebody else's receipt, in the name of node 2.
        (of(2, signature(1, &facts)), Refusal::NoReceipt(NodeId(2))),
        (of(2, signature(3, &facts)), Refusal::NoReceipt(NodeId(2))),
        // Node 2 has signed another count, or for another segment.
        (receipt(2, &other.facts()), Refusal::NoReceipt(NodeId(2))),
        (receipt(2, &unsigned(51, 6).facts()), Refusal::NoReceipt(NodeId(2))),
        (of(2, Signature::of(&[0; 64]).unwrap()), Refusal::NoReceipt(NodeId(2))),
        (receipt(9, &facts), Refusal::UnknownNode(NodeId(9))),
        (own(), Refusal::Invalid("receipts: a node gives one".into())),
    ] {
        world.refuse(with(vec![own(), second]), &refusal);
    }
    // Counts that the content does not have: node 2 has signed what it counted.
    let lie = RegisterSegment { receipts: vec![receipt(1, &other.facts()), receipt(2, &facts)], ..other };
    world.refuse(Command::RegisterSegment(lie), &Refusal::NoReceipt(NodeId(2)));
    world.accept(with(vec![own(), receipt(2, &facts)]));
    // What is registered is not registered again as something else.
    let again = signed_by(RegisterSegment { games: 7, ..honest.clone() }, [1, 3]);
    world.refuse(Command::RegisterSegment(again), &Refusal::SegmentExists(hash(50)));
    world.refuse(with(vec![of(3, signature(1, &facts))]), &Refusal::NoReceipt(NodeId(3)));
    let add = |signature| {
        Command::AddSegmentHolder(AddSegmentHolder { hash: hash(50), node: NodeId(3), signature, at_ms: 1 })
    };
    world.refuse(add(signature(2, &facts)), &Refusal::NoReceipt(NodeId(3)));
    world.refuse(add(signature(3, &unsigned(51, 6).facts())), &Refusal::NoReceipt(NodeId(3)));
    assert_eq!(world.accept(add(signature(3, &facts))), Response::Done);
}
