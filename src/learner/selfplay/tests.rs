//! Self-play with evaluators that know nothing, and with broken ones.

use super::*;
use crate::search::Uniform;
use kernels::{Evaluation, Evaluator};
use rules::{State, Topology};
use wire::Hash;

fn play(key: &str, seed: u64, simulations: u32, games: usize) -> Vec<GameRecord> {
    let mut selfplay = Selfplay::new(key.parse().unwrap(), 8, seed, NodeId(5));
    assert!(selfplay.step().is_empty(), "no model yet");
    selfplay.set_model(ModelId(Hash::of(b"m")), Box::new(Uniform), simulations);
    let mut records = Vec::new();
    while records.len() < games {
        records.extend(selfplay.step());
    }
    assert_eq!(selfplay.aborted(), 0);
    records
}

/// Replays a record and returns how many positions had a choice.
fn replay(record: &GameRecord) -> usize {
    let config = record.config.game().unwrap();
    with_board!(config.board, T => {
        let mut state = State::<T>::new(config.seats, crate::learner::game::options(config));
        let (mut legal, mut choices) = (Vec::new(), 0);
        let mut decisions = record.decisions.iter().peekable();
        for (ply, &code) in record.moves.iter().enumerate() {
            state.legal(&mut legal);
            choices += usize::from(legal.len() > 1);
            if let Some(decision) = decisions.next_if(|decision| decision.ply as usize == ply) {
                assert!(legal.len() > 1, "forced moves are no decisions");
                assert!(decision.policy.is_sorted_by(|a, b| a.0 < b.0));
                assert!(decision.policy.iter().all(|&(i, w)| usize::from(i) < legal.len() && w > 0));
            }
            state.try_apply(Move::from_code(code).unwrap()).unwrap();
        }
        assert_eq!(decisions.next(), None);
        assert_eq!(state.outcome().unwrap().winner, record.winner_seat);
        choices
    })
}

#[test]
fn games_replay_and_teach() {
    for (key, games) in [("hex8_2p", 40), ("square8_3p", 6), ("hex8_4p", 6)] {
        let records = play(key, 1, 8, games);
        let (mut full, mut searched, mut choices) = (0, 0, 0);
        for record in &records {
            choices += replay(record);
            searched += record.decisions.len();
            full += record.decisions.iter().filter(|decision| !decision.policy.is_empty()).count();
            assert_eq!((record.kind, record.node), (GameKind::Selfplay, NodeId(5)));
            assert_eq!(record.players.len(), usize::from(record.config.game().unwrap().seats));
        }
        // Random openings are not searched, all else is.
        assert!(searched <= choices && searched * 100 >= choices * 95, "{searched} of {choices}");
        let share = full as f64 / searched as f64;
        assert!((0.2..0.3).contains(&share), "{share}");
    }
}

#[test]
fn games_follow_from_the_seed() {
    let strip = |records: Vec<GameRecord>| -> Vec<GameRecord> {
        records.into_iter().map(|record| GameRecord { created_ms: 0, ..record }).collect()
    };
    let first = strip(play("hex8_2p", 3, 4, 12));
    assert_eq!(first, strip(play("hex8_2p", 3, 4, 12)));
    assert_ne!(first, strip(play("hex8_2p", 4, 4, 12)));
    assert!(first.windows(2).all(|pair| pair[0].moves != pair[1].moves));
}

/// Prefers the first moves.
struct Leaning;

impl<T: Topology> Evaluator<T> for Leaning {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let mut evaluations = Uniform.evaluate(queries);
        for evaluation in &mut evaluations {
            (0u8..).zip(&mut evaluation.logits).for_each(|(i, logit)| *logit = -0.5 * f32::from(i % 8));
        }
        evaluations
    }
}

#[test]
fn more_exploration_plays_other_openings_and_one_changes_nothing() {
    let play = |exploration: Option<f32>| {
        let mut selfplay = Selfplay::new("hex8_2p".parse().unwrap(), 8, 3, NodeId(5));
        exploration.into_iter().for_each(|exploration| selfplay.set_exploration(exploration));
        selfplay.set_model(ModelId(Hash::of(b"m")), Box::new(Leaning), 8);
        let mut records = Vec::new();
        while records.len() < 12 {
            records.extend(selfplay.step());
        }
        records.into_iter().map(|record| record.moves).collect::<Vec<_>>()
    };
    assert!(play(None) == play(Some(1.0)));
    assert!(play(None) != play(Some(1.5)));
}

#[test]
fn a_game_has_one_model() {
    let [old, new] = [Hash::of(b"old"), Hash::of(b"new")].map(ModelId);
    let mut selfplay = Selfplay::new("hex8_2p".parse().unwrap(), 8, 9, NodeId(0));
    selfplay.set_model(old, Box::new(Uniform), 4);
    for _ in 0..50 {
        let _ = selfplay.step();
    }
    selfplay.set_model(new, Box::new(Uniform), 4);
    let mut records = Vec::new();
    while records.len() < 40 {
        records.extend(selfplay.step());
    }
    let by = |hash| records.iter().filter(|r| r.players == [Player::Model(hash); 2]).count();
    assert_eq!(by(old) + by(new), records.len());
    assert_eq!(by(old), 8, "the games in flight finish with their model");
    assert_eq!(selfplay.models(), [new]);
}

/// Answers what is no distribution.
struct Broken(u32);

impl<T: Topology> Evaluator<T> for Broken {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        self.0 += 1;
        let mut evaluations = Uniform.evaluate(queries);
        match self.0 % 4 {
            0 => evaluations[0].logits[0] = f32::NAN,
            1 => evaluations[0].value = [-1.0, 2.0, 0.0, 0.0],
            2 => drop(evaluations[0].logits.pop()),
            _ => drop(evaluations.pop()),
        }
        evaluations
    }
}

#[test]
fn an_error_drops_the_game() {
    let mut selfplay = Selfplay::new("hex8_2p".parse().unwrap(), 4, 9, NodeId(0));
    selfplay.set_model(ModelId(Hash::of(b"m")), Box::new(Broken(0)), 4);
    for step in 1..=100 {
        for record in selfplay.step() {
            replay(&record);
        }
        assert_eq!(selfplay.aborted(), step);
    }
}
