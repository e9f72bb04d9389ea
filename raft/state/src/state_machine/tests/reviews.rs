//! Who confirms an evaluation, and a champion that exists nowhere.

use super::*;
use crate::{
    command::{ConfirmEvidence, ThresholdReached},
    door::{Place, Proposal, Proposer, authorise},
    evidence::{Tallies, Tally},
    node::Forgery,
    receipt::Receipt,
    review::{Check, ReviewStanding},
    samples::{evidence_of, peer_id, receipt},
};

/// A world of these nodes in which node 1 trained candidate 9 and node 2 evaluated it.
fn evaluated_by_two(nodes: u64) -> World {
    let mut world = World::three();
    (4..=nodes).for_each(|n| drop(world.accept(register(n, n))));
    world.accept(segment(50, 10, &[1, 2]));
    let crossed = ThresholdReached { config_key: CONFIG.into(), crossing: 1, at_ms: 0 };
    world.accept(Command::ThresholdReached(crossed));
    let training = world.lease(LeaseKind::Training, None);
    world.accept(trained(&training, model(hash(9), hash(1))));
    world.evaluate_on_two();
    for node in 1..=nodes {
        world.accept(Command::ModelHeld(ModelHeld { model: hash(9), node: NodeId(node), at_ms: 0 }));
    }
    world
}

impl World {
    fn evaluate_on_two(&mut self) {
        let granted = self.accept(grant(LeaseKind::Evaluation, 2, Some(hash(9)), 50));
        let Response::Lease(lease) = granted else { panic!("{granted:?}") };
        self.evaluate(&lease, evidence(hash(9), hash(1)));
    }

    /// Node `node` counts other games, or none that are an evaluation.
    fn deny(&mut self, node: u64, counted: Option<Tallies>) {
        assert_eq!(self.accept(answer(1, node, counted)), Response::Done);
    }

    fn standing(&self) -> ReviewStanding {
        let model = self.state.models.get(&hash(9)).unwrap();
        self.state.review_standing(model, model.review.as_ref())
    }
}

fn answer(epoch: u64, node: u64, counted: Option<Tallies>) -> Command {
    let (config_key, candidate, node) = (CONFIG.into(), hash(9), NodeId(node));
    Command::ConfirmEvidence(ConfirmEvidence { config_key, candidate, epoch, node, counted, at_ms: 1 })
}

fn other_counts() -> Option<Tallies> {
    Some(evidence_of((hash(9), hash(1)), [20, 10, 0]).against)
}

#[test]
fn two_that_had_no_part_confirm() {
    let mut world = evaluated_by_two(5);
    let unconfirmed = |confirmed, denied| Refusal::Unconfirmed { confirmed, denied, need: 2 };
    let counted = Some(evidence(hash(9), hash(1)).against);
    world.refuse(promote(9, 1, 0.0), &unconfirmed(0, 0));
    world.refuse(answer(1, 1, counted.clone()), &Refusal::NotIndependent(NodeId(1)));
    world.refuse(answer(1, 2, counted.clone()), &Refusal::NotIndependent(NodeId(2)));
    world.refuse(answer(1, 9, counted.clone()), &Refusal::UnknownNode(NodeId(9)));
    world.refuse(answer(2, 3, counted.clone()), &Refusal::StaleEpoch { current: 1, epoch: 2 });
    let senseless = Tallies { random: Tally::new(3), ..Tallies::new(2) };
    world.refuse(answer(1, 3, Some(senseless)), &Refusal::Invalid("counts".into()));
    assert_eq!(world.accept(answer(1, 3, counted.clone())), Response::Done);
    assert_eq!(world.accept(answer(1, 3, counted.clone())), Response::Unchanged);
    assert_eq!(world.accept(answer(1, 3, None)), Response::Unchanged, "a node answers once");
    world.refuse(promote(9, 1, 0.0), &unconfirmed(1, 0));
    world.confirm(9, &[4]);
    assert_eq!(world.standing(), ReviewStanding { confirmed: 2, denied: 0, need: 2, open: 1 });
    let mut promoted = world.clone();
    assert!(matches!(promoted.accept(promote(9, 1, 0.0)), Response::Promoted { .. }));
    promoted.refuse(answer(1, 5, counted), &Refusal::NotCandidate(hash(9)));

    // Another evaluation is reviewed anew.
    world.evaluate_on_two();
    world.refuse(promote(9, 1, 0.0), &unconfirmed(0, 0));
    assert_eq!(world.state.models.get(&hash(9)).unwrap().review.as_ref().unwrap().rounds, 2);
}

#[test]
fn a_denial_blocks_until_more_confirm() {
    let mut world = evaluated_by_two(7);
    world.deny(3, other_counts());
    world.deny(4, None);
    world.confirm(9, &[5, 6]);
    world.refuse(promote(9, 1, 0.0), &Refusal::Unconfirmed { confirmed: 2, denied: 2, need: 2 });
    let checks = &world.state.models.get(&hash(9)).unwrap().review.as_ref().unwrap().checks;
    assert_eq!(checks[&NodeId(3)], Check::Denied { counted: other_counts() });
    world.confirm(9, &[7]);
    assert!(matches!(world.accept(promote(9, 1, 0.0)), Response::Promoted { .. }));
}

#[test]
fn a_small_cluster_asks_whom_it_has() {
    let mut world = evaluated_by_two(4);
    let need = |world: &World| world.standing().need;
    assert_eq!(need(&world), 2);
    world.accept(online(4, false, 4));
    assert_eq!(need(&world), 1);
    world.refuse(promote(9, 1, 0.0), &Refusal::Unconfirmed { confirmed: 0, denied: 0, need: 1 });
    let mut two = world.clone();
    two.accept(online(3, false, 3));
    assert_eq!(need(&two), 0, "nobody is left who had no part in it");
    assert!(matches!(two.accept(promote(9, 1, 0.0)), Response::Promoted { .. }));
    // One that has answered and left still counts.
    world.confirm(9, &[3]);
    world.accept(online(3, false, 3));
    world.accept(online(4, true, 4));
    assert_eq!(world.standing(), ReviewStanding { confirmed: 1, denied: 0, need: 1, open: 1 });
    // The only other one denies.
    let mut denied = evaluated_by_two(3);
    denied.deny(3, other_counts());
    denied.refuse(promote(9, 1, 0.0), &Refusal::Unconfirmed { confirmed: 0, denied: 1, need: 1 });
    assert_eq!(denied.standing().open, 0);
}

#[test]
fn who_forged_games_confirms_nothing() {
    let mut world = evaluated_by_two(5);
    world.confirm(9, &[3, 4]);
    let forged = Forgery { segment: hash(50), game: 0, ply: 0, confirmed_by: BTreeSet::new(), at_ms: 1 };
    let distrust = |world: &mut World, node| {
        std::sync::Arc::make_mut(&mut world.state.forgeries).insert(NodeId(node), forged.clone().into());
    };
    distrust(&mut world, 3);
    assert_eq!(world.standing(), ReviewStanding { confirmed: 1, denied: 0, need: 2, open: 1 });
    distrust(&mut world, 5);
    world.refuse(answer(1, 5, None), &Refusal::Distrusted(NodeId(5)));
    assert_eq!(world.standing(), ReviewStanding { confirmed: 1, denied: 0, need: 1, open: 0 });
}

/// A member that may propose whatever its own peer id may.
struct Liar {
    world: World,
    me: u64,
}

impl Liar {
    /// The refusal of a proposal by the liar, checked as every replica does; none if it took effect.
    fn propose(&mut self, command: Command) -> Option<Refusal> {
        let by = Proposer::peer(peer_id(self.me), false);
        let proposal = Proposal { by, command };
        let place = Place { index: self.world.index + 1, term: 1, leader: NodeId(1) };
        if let Err(refusal) = authorise(&proposal, place, &self.world.state) {
            return Some(refusal);
        }
        match self.world.apply(&proposal.command) {
            Response::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Node 2 of five holds both leases, as it may by chance, and wants a champion that exists nowhere.
#[test]
fn a_champion_that_exists_nowhere_is_refused_at_every_step() {
    let mut world = World::three();
    (4..=5).for_each(|n| drop(world.accept(register(n, n))));
    let before = world.config().champion;
    let mut liar = Liar { world, me: 2 };
    // Games that were never played, with the receipt of nobody else.
    let made_up = RegisterSegment { samples: u64::MAX, ..unsigned(60, 500) };
    let facts = made_up.facts();
    let forged = Receipt { node: NodeId(3), signature: receipt(2, &facts).signature };
    let with = |receipts| Command::RegisterSegment(RegisterSegment { receipts, ..made_up.clone() });
    assert_eq!(
        liar.propose(with(vec![receipt(2, &facts)])),
        Some(Refusal::TooFewHolders { have: 1, need: 2 })
    );
    assert_eq!(liar.propose(with(vec![receipt(2, &facts), forged])), Some(Refusal::NoReceipt(NodeId(3))));
    let crossed = ThresholdReached { config_key: CONFIG.into(), crossing: 1, at_ms: 0 };
    assert!(matches!(liar.propose(Command::ThresholdReached(crossed.clone())), Some(Refusal::NotAllowed(_))));
    // The others play, and the leader gives it the work.
    liar.world.accept(segment(50, 10, &[1, 3]));
    liar.world.accept(Command::ThresholdReached(crossed));
    let granted = |world: &mut World, kind, subject| match world.accept(grant(kind, 2, subject, 50)) {
        Response::Lease(lease) => lease,
        other => panic!("{other:?}"),
    };
    let training = granted(&mut liar.world, LeaseKind::Training, None);
    assert_eq!(liar.propose(trained(&training, model(hash(9), before))), None, "a hash that nobody has");
    let evaluation = granted(&mut liar.world, LeaseKind::Evaluation, Some(hash(9)));
    let claim = evidence(hash(9), before);
    // Figures without games, games of others, and games that nobody else has.
    let lie = Evidence { elo_delta: 900.0, ..claim.clone() };
    assert_eq!(liar.propose(evaluated(&evaluation, lie)), Some(Refusal::Invalid("evidence".into())));
    let segment = claim.segments[0];
    assert_eq!(liar.propose(evaluated(&evaluation, claim.clone())), Some(Refusal::UnknownSegment(segment)));
    let foreign = Evidence { segments: vec![hash(50)], ..claim.clone() };
    assert_eq!(liar.propose(evaluated(&evaluation, foreign)), Some(Refusal::NoEvidenceIn(hash(50))));
    let games = signed_by(games_of(&claim, CONFIG), [2]);
    assert_eq!(
        liar.propose(Command::RegisterSegment(games)),
        Some(Refusal::TooFewHolders { have: 1, need: 2 })
    );
    // Even with games of another outcome, which an honest holder has counted, nobody confirms the claim.
    let games = signed_by(games_of(&claim, CONFIG), [2, 3]);
    assert_eq!(liar.propose(Command::RegisterSegment(games)), None);
    assert_eq!(liar.propose(evaluated(&evaluation, claim.clone())), None);
    let epoch = evaluation.epoch;
    let own = liar.propose(confirmation(hash(9), epoch, 2, &claim));
    assert_eq!(own, Some(Refusal::NotIndependent(NodeId(2))));
    for node in [1, 3, 4, 5] {
        let in_its_name = liar.propose(confirmation(hash(9), epoch, node, &claim));
        assert!(matches!(in_its_name, Some(Refusal::NotAllowed(_))), "{in_its_name:?}");
        let held = Command::ModelHeld(ModelHeld { model: hash(9), node: NodeId(node), at_ms: 0 });
        assert!(matches!(liar.propose(held), Some(Refusal::NotAllowed(_))));
    }
    assert!(matches!(liar.propose(promote(9, 1, 0.0)), Some(Refusal::NotAllowed(_))));
    // A leader that believed it could not promote it either.
    let unconfirmed = Refusal::Unconfirmed { confirmed: 0, denied: 0, need: 2 };
    liar.world.refuse(promote(9, 1, 0.0), &unconfirmed);
    assert_eq!(liar.world.config().champion, before);
}
