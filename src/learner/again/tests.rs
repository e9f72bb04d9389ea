//! Games of a network, played again by the same network, by another one, and by one that rounds.

use super::*;
use crate::learner::selfplay::Selfplay;
use cluster_state::NodeId;
use kernels::{Architecture, CpuEvaluator, Evaluation, Evaluator, Network};
use rules::Topology;
use std::sync::Arc;
use wire::Hash;

/// A network of a seed.
pub(crate) fn network(config: Config, seed: u64) -> Arc<Network> {
    Arc::new(Network::seeded(Architecture::small(config.board), seed))
}

/// Games of that network, many at a time.
pub(crate) fn play(
    config: Config,
    evaluator: Box<dyn AnyEvaluator>,
    (simulations, exploration): (u32, f32),
    backend: &str,
    (games, seed): (usize, u64),
) -> Vec<GameRecord> {
    let mut selfplay = Selfplay::new(config, 8, seed, NodeId(5));
    selfplay.set_model(model(), evaluator, simulations);
    selfplay.set_exploration(exploration);
    selfplay.set_backend(backend);
    let mut records = Vec::new();
    while records.len() < games {
        records.extend(selfplay.step());
    }
    records.truncate(games);
    records
}

pub(crate) fn model() -> ModelId {
    ModelId(Hash::of(b"model"))
}

pub(crate) fn cpu(config: Config, seed: u64) -> Box<dyn AnyEvaluator> {
    Box::new(CpuEvaluator::new(network(config, seed)))
}

/// Rounds what another evaluator says, as coarsely as a card that computes in bf16.
pub(crate) struct Rounding(pub(crate) CpuEvaluator);

impl<T: Topology> Evaluator<T> for Rounding {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let bf16 = |number: &mut f32| *number = f32::from_bits(number.to_bits() & 0xffff_0000);
        let mut evaluations = self.0.evaluate(queries);
        for evaluation in &mut evaluations {
            evaluation.logits.iter_mut().chain(&mut evaluation.value).for_each(bf16);
            let sum: f32 = evaluation.value.iter().sum();
            evaluation.value.iter_mut().for_each(|share| *share /= sum);
        }
        evaluations
    }
}

fn plies(record: &GameRecord) -> Vec<u32> {
    record.decisions.iter().map(|decision| decision.ply).collect()
}

/// All decisions of some games made again.
fn all(records: &[GameRecord], evaluator: &mut dyn AnyEvaluator) -> Vec<Outcome> {
    let wanted: Vec<_> = records.iter().map(|record| (record, plies(record))).collect();
    let wanted: Vec<_> = wanted.iter().map(|(record, plies)| (*record, plies.as_slice())).collect();
    compare(&wanted, records[0].config.game().unwrap(), evaluator).unwrap()
}

#[test]
fn every_decision_of_an_honest_game_comes_out_the_same_to_the_last_bit() {
    for (key, how, games) in [
        ("hex8_2p", (8, 1.0), 12),
        ("hex8_2p", (17, 1.4), 4),
        ("square8_3p", (8, 1.0), 3),
        ("hex8_4p", (6, 0.8), 3),
    ] {
        let config: Config = key.parse().unwrap();
        let records = play(config, cpu(config, 3), how, "b", (games, 1));
        let outcomes = all(&records, &mut *cpu(config, 3));
        for (record, outcome) in records.iter().zip(&outcomes) {
            let compared = outcome.as_ref().unwrap();
            assert_eq!(compared.len(), record.decisions.len());
            assert!(compared.iter().all(|one| one.equal && one.similar), "{key} {how:?}");
        }
        // One at a time, so with nothing beside it and nothing searched before.
        for record in &records {
            for ply in plies(record).into_iter().step_by(9) {
                let found = compare(&[(record, &[ply])], config, &mut *cpu(config, 3)).unwrap();
                assert_eq!(found[0], Ok(vec![Compared { ply, equal: true, similar: true }]));
            }
        }
    }
}

#[test]
fn the_share_of_decisions_that_another_network_or_another_rounding_makes_otherwise() {
    let config: Config = "hex8_2p".parse().unwrap();
    let records = play(config, cpu(config, 3), (16, 1.0), "b", (16, 2));
    let shares = |evaluator: &mut dyn AnyEvaluator| {
        let outcomes = all(&records, evaluator);
        let compared: Vec<Compared> = outcomes.into_iter().flat_map(|outcome| outcome.unwrap()).collect();
        let share = |count: usize| count as f64 / compared.len() as f64;
        let unequal = share(compared.iter().filter(|one| !one.equal).count());
        (unequal, share(compared.iter().filter(|one| !one.similar).count()))
    };
    let (other_unequal, other_dissimilar) = shares(&mut *cpu(config, 4));
    let (_, rounded_dissimilar) = shares(&mut Rounding(CpuEvaluator::new(network(config, 3))));
    println!("another network: {other_unequal:.3} unequal, {other_dissimilar:.3} dissimilar");
    println!("another rounding: {rounded_dissimilar:.3} dissimilar");
    assert!(other_unequal > 0.6 && other_dissimilar > 0.5, "{other_unequal} {other_dissimilar}");
    assert!(rounded_dissimilar < 0.03, "{rounded_dissimilar}");
}

#[test]
fn what_follows_from_the_seed_is_checked_whatever_the_backend() {
    let config: Config = "hex8_2p".parse().unwrap();
    let records = play(config, cpu(config, 3), (8, 1.0), "b", (40, 7));
    let check = |change: &dyn Fn(&mut GameRecord), expected: &str| {
        let mut found = 0;
        for record in &records {
            let mut record = record.clone();
            change(&mut record);
            let outcome = compare(&[(&record, &[])], config, &mut *cpu(config, 3)).unwrap().remove(0);
            found += usize::from(outcome.is_err_and(|untrue| expected.is_empty() || untrue.what == expected));
        }
        found
    };
    assert_eq!(check(&|_| {}, ""), 0);
    assert_eq!(check(&|record| record.swap = false, "self-play has other rules"), records.len());
    assert_eq!(check(&|record| drop(record.decisions.pop()), "the decision is missing"), records.len());
    let full = |record: &mut GameRecord| record.decisions.iter_mut().for_each(|it| it.policy = vec![(0, 9)]);
    assert_eq!(check(&full, "another kind of search"), records.len());
    // Another seed searches other steps thoroughly, and opens otherwise.
    assert_eq!(check(&|record| record.seed ^= 1, ""), records.len());
    let opened = |record: &GameRecord| Beginning::of(record.seed).opening > 0;
    assert!(records.iter().any(opened), "some games open with random moves");
}

#[test]
fn games_of_no_self_play_have_no_model() {
    let config: Config = "hex8_2p".parse().unwrap();
    let record = play(config, cpu(config, 3), (4, 1.0), "b", (1, 7)).remove(0);
    assert_eq!(model_of(&record), Some(model()));
    let other = Player::Model(ModelId(Hash::of(b"other")));
    for players in [vec![record.players[0], other], vec![record.players[0], Player::Random], vec![]] {
        assert_eq!(model_of(&GameRecord { players, ..record.clone() }), None);
    }
    assert_eq!(model_of(&GameRecord { kind: GameKind::Match, ..record.clone() }), None);
    let unsaid = GameRecord { played: None, ..record };
    assert_eq!(compare(&[(&unsaid, &[])], config, &mut *cpu(config, 3)), Err(Unjudged::Unsaid));
}

#[test]
fn distances_are_shares_of_the_weight() {
    let check = |one: &[(u16, u16)], other: &[(u16, u16)], expected: f32| {
        assert!(
            (distance(one, other) - expected).abs() < 1e-6 && (distance(other, one) - expected).abs() < 1e-6
        );
    };
    check(&[(0, 10), (3, 30)], &[(0, 100), (3, 300)], 0.0);
    check(&[(0, 10)], &[(1, 10)], 1.0);
    check(&[(0, 10), (1, 10)], &[(1, 7)], 0.5);
    check(&[], &[(1, 7)], 1.0);
}
