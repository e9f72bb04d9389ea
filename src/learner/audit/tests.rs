//! Cheats of several kinds, honest players with two backends, and what an audit costs.

use super::*;
use crate::learner::{
    again::tests::{Rounding, cpu, model, network, play},
    settings::AuditConfig,
};
use kernels::{CpuEvaluator, Evaluation, Evaluator, Query};
use rules::Topology;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

const KEY: &str = "hex8_2p";
const HOW: (u32, f32) = (16, 1.0);
/// The names of the auditor's backend and of another.
const MINE: &str = "cpu mine";
const OTHER: &str = "cpu other";

fn config() -> Config {
    KEY.parse().unwrap()
}

fn auditor(evaluator: &mut dyn AnyEvaluator) -> Auditor<'_> {
    Auditor { config: config(), model: model(), evaluator, backend: MINE }
}

/// Says something else each time, whatever the position: a made-up policy, in games that follow the seed.
struct MadeUp(Choices);

impl<T: Topology> Evaluator<T> for MadeUp {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let mut number = || self.0.below(1000) as f32 / 100.0;
        let judge = |query: &Query<'_, T>| {
            let first = number() / 10.0;
            let logits = query.legal.iter().map(|_| number()).collect();
            Evaluation { logits, value: [first, 1.0 - first, 0.0, 0.0] }
        };
        queries.iter().map(judge).collect()
    }
}

/// Counts the positions that an evaluator judges.
struct Counting(Box<dyn AnyEvaluator>, Arc<AtomicU64>);

impl<T: crate::search::Judged> Evaluator<T> for Counting {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        self.1.fetch_add(queries.len() as u64, Ordering::Relaxed);
        T::evaluator(&mut *self.0).evaluate(queries)
    }
}

fn counting(evaluator: Box<dyn AnyEvaluator>) -> (Box<dyn AnyEvaluator>, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    (Box::new(Counting(evaluator, Arc::clone(&count))), count)
}

/// The chance that a look at this game finds it forged, over the decisions that the look may draw.
fn power(record: &GameRecord, auditor: &mut Auditor<'_>) -> f64 {
    let plies: Vec<u32> = record.decisions.iter().map(|decision| decision.ply).collect();
    let outcome = again::compare(&[(record, &plies)], auditor.config, auditor.evaluator).unwrap().remove(0);
    let Ok(compared) = outcome else { return 1.0 };
    let same = auditor.is_same(record);
    if !same && auditor.doubted(record).unwrap().0.is_none() {
        return 0.0;
    }
    let differs = |one: &Compared| if same { !one.equal } else { !one.similar };
    let share = |thorough: bool| {
        let all = record.decisions.iter().zip(&compared);
        let drawn: Vec<_> = all.filter(|(it, _)| !thorough || !it.policy.is_empty()).collect();
        drawn.iter().filter(|(_, one)| differs(one)).count() as f64 / drawn.len().max(1) as f64
    };
    1.0 - (1.0 - share(same)) * (1.0 - share(false))
}

/// How often 50 forged games among 1000 are found, of 4000 times.
fn caught(powers: &[f64], share: f64) -> f64 {
    let mut choices = Choices::new(11);
    let mut unit = || (choices.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let runs = 4000;
    let hits = (0..runs).filter(|_| {
        let mut hit = false;
        for _ in 0..50 {
            let game = (unit() * powers.len() as f64) as usize;
            hit |= unit() < share && unit() < powers[game];
        }
        hit
    });
    hits.count() as f64 / f64::from(runs)
}

#[test]
fn a_player_that_forges_one_game_in_twenty_is_caught_within_a_thousand_games() {
    let share = AuditConfig::default().share;
    let made_up = || Box::new(MadeUp(Choices::new(3))) as Box<dyn AnyEvaluator>;
    for backend in [MINE, OTHER] {
        let forged = [
            ("another network", play(config(), cpu(config(), 4), HOW, backend, (24, 1))),
            ("a made-up policy", play(config(), made_up(), HOW, backend, (24, 2))),
        ];
        for (kind, records) in forged {
            let mut evaluator = cpu(config(), 3);
            let mut auditor = auditor(&mut *evaluator);
            let powers: Vec<f64> = records.iter().map(|record| power(record, &mut auditor)).collect();
            let share = auditor.share(&records[0], share);
            let (mean, caught) = (powers.iter().sum::<f64>() / powers.len() as f64, caught(&powers, share));
            println!(
                "{backend}, {kind}: a look finds a forged game with {mean:.3}, a player with {caught:.4}"
            );
            assert!(caught >= 0.99, "{backend}, {kind}: {caught}");
        }
    }
}

#[test]
fn a_look_finds_a_forged_game_and_another_node_confirms_it() {
    for backend in [MINE, OTHER] {
        let honest = play(config(), cpu(config(), 3), HOW, backend, (12, 1));
        let forged = play(config(), cpu(config(), 4), HOW, backend, (3, 2));
        let mut games: Vec<(u32, &GameRecord)> = (0..).zip(&honest).collect();
        let (mut evaluator, mut other) = (cpu(config(), 3), cpu(config(), 3));
        let mut choices = Choices::new(5);
        let examined = auditor(&mut *evaluator).sample(&games, &mut choices).unwrap();
        assert_eq!((examined.games, examined.forged), (12, None));
        assert!((12..=24).contains(&examined.decisions));
        games.extend((12..).zip(&forged));
        let mut look = || auditor(&mut *evaluator).sample(&games, &mut choices).unwrap().forged;
        let found = (0..20).find_map(|_| look()).expect("one look in a few finds it");
        assert!(found.game >= 12);
        let forged = games[found.game as usize].1;
        let confirmed = auditor(&mut *other).confirm(found.game, forged, found.ply).unwrap();
        assert!(confirmed.forged.is_some(), "{backend}");
        let denied = auditor(&mut *other).confirm(0, &honest[0], honest[0].decisions[3].ply).unwrap();
        assert_eq!(denied.forged, None);
    }
}

#[test]
fn honest_play_is_never_found_forged_on_either_backend() {
    let rounding = || Box::new(Rounding(CpuEvaluator::new(network(config(), 3)))) as Box<dyn AnyEvaluator>;
    let same = play(config(), cpu(config(), 3), HOW, MINE, (40, 1));
    let other = play(config(), rounding(), HOW, OTHER, (40, 2));
    let mut evaluator = cpu(config(), 3);
    let mut auditor = auditor(&mut *evaluator);
    for record in same.iter().chain(&other) {
        assert_eq!(auditor.whole(record).unwrap().0, None);
        let games = [(0, record)];
        let mut choices = Choices::new(record.seed);
        (0..4).for_each(|_| assert_eq!(auditor.sample(&games, &mut choices).unwrap().forged, None));
    }
    // On its own backend not a single decision differs.
    assert!(same.iter().all(|record| power(record, &mut auditor) == 0.0));
}

#[test]
fn audits_cost_less_than_a_hundredth_of_self_play() {
    let share = AuditConfig::default().share;
    let rounding = || Box::new(Rounding(CpuEvaluator::new(network(config(), 3)))) as Box<dyn AnyEvaluator>;
    for (backend, evaluator) in [(MINE, cpu(config(), 3)), (OTHER, rounding())] {
        let (evaluator, played) = counting(evaluator);
        let records = play(config(), evaluator, HOW, backend, (32, 1));
        // Games that had not ended are counted as well: as many as are played at a time, half done.
        let played = played.load(Ordering::Relaxed) as f64 * 32.0 / 36.0;
        let (mut evaluator, made_again) = counting(cpu(config(), 3));
        let games: Vec<(u32, &GameRecord)> = (0..).zip(&records).collect();
        let mut choices = Choices::new(1);
        let looks = 8;
        for _ in 0..looks {
            auditor(&mut *evaluator).sample(&games, &mut choices).unwrap();
        }
        let per_look = made_again.load(Ordering::Relaxed) as f64 / f64::from(looks);
        let share = auditor(&mut *evaluator).share(&records[0], share);
        let cost = share * per_look / played;
        println!("{backend}: {:.3} % of the positions of self-play are judged again", 100.0 * cost);
        assert!(cost < 0.01, "{backend}: {cost}");
    }
}

#[test]
fn the_sample_is_large_enough_whatever_is_forged() {
    // Of n games of which one in twenty is forged, all are missed with (1 - share * power)^(n / 20).
    let missed = |share: f64, power: f64| (1.0 - share * power).powi(1000 / 20);
    let share = AuditConfig::default().share;
    assert!(missed(share, 1.0) < 0.001 && missed(share, 0.7) < 0.01, "{}", missed(share, 0.7));
    assert!(missed(0.05, 1.0) > 0.01, "less would not do");
}

#[test]
fn the_tail_of_a_binomial_distribution() {
    let check = |tries, hits, share, expected: f64| {
        let found = tail(tries, hits, share);
        assert!((found - expected).abs() < 1e-3 * expected, "{tries} {hits}: {found}");
    };
    check(1, 0, 0.25, 1.0);
    check(2, 2, 0.25, 0.0625);
    check(3, 2, 0.5, 0.5);
    check(100, 50, 0.25, 6.6385e-8);
    assert_eq!(tail(3, 4, 0.5), 0.0);
    // So many of a game must be dissimilar.
    let needed = |tries| (0..=tries).find(|&hits| tail(tries, hits, DISSIMILAR_MAX) <= ALARM);
    assert_eq!([8, 9, 20, 57, 96].map(needed), [None, Some(9), Some(13), Some(23), Some(30)]);
    assert!(tail(DOUBT, DOUBT_MIN, DISSIMILAR_MAX) < 0.03);
}
