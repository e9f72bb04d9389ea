//! Searches of real positions.

use super::{Judged, Search, SearchError, SearchSettings, Uniform, heuristic, sample, tree};
use kernels::{Evaluation, Evaluator, Query};
use rules::{
    Config, Hex8, Move, MoveKind, Options, SEATS_MAX, State, Topology,
    playout::{Choices, play},
    with_board,
};

/// Runs a search to its end; returns the index chosen and how many evaluations it took.
fn run<T: Topology>(
    search: &mut Search<T>,
    evaluator: &mut dyn Evaluator<T>,
    state: &State<T>,
    simulations: u32,
    noise: Option<u64>,
) -> (usize, usize) {
    let mut choices = noise.map(Choices::new);
    search.start(state, simulations, choices.as_mut()).unwrap();
    let mut evaluations = 0;
    while let Some(query) = search.query() {
        let evaluation = evaluator.evaluate(&[query]).remove(0);
        evaluations += 1;
        search.answer(&evaluation).unwrap();
    }
    (search.best(), evaluations)
}

fn new<T: Topology>() -> Search<T> {
    Search::new(SearchSettings::default())
}

/// Positions of random games with their legal moves.
fn positions<T: Topology>(seats: u8, games: u32, mut visit: impl FnMut(&State<T>, &[Move])) {
    let mut choices = Choices::new(11);
    let mut legal = Vec::new();
    for _ in 0..games {
        let start = State::<T>::new(seats, Options { swap: seats == 2, ..Options::default() });
        play(start, &mut choices, &mut legal, &mut visit);
    }
}

fn winning<T: Topology>(state: &State<T>, mv: Move) -> bool {
    let mut next = *state;
    next.apply(mv);
    next.outcome().is_some_and(|outcome| outcome.winner == state.seat())
}

/// Whether the mover loses before its next choice, if the opponents see it: a move, then single legal moves,
/// then a win in one step for another seat.
fn losing<T: Topology>(state: &State<T>, mv: Move) -> bool {
    let mut next = *state;
    next.apply(mv);
    let mut legal = Vec::new();
    loop {
        if let Some(outcome) = next.outcome() {
            return outcome.winner != state.seat();
        }
        next.legal(&mut legal);
        match legal[..] {
            [single] => next.apply(single),
            _ => break,
        }
    }
    next.seat() != state.seat() && legal.iter().any(|&mv| winning(&next, mv))
}

#[test]
fn samples_follow_the_weights() {
    let mut choices = Choices::new(3);
    let mut seen = [0u32; 4];
    for _ in 0..10_000 {
        seen[sample(&[0.0, 1.0, 3.0, 0.0], &mut choices)] += 1;
    }
    assert_eq!((seen[0], seen[3]), (0, 0));
    assert!((2_300..2_700).contains(&seen[1]), "{seen:?}");
}

#[test]
fn a_win_in_one_step_is_played() {
    for key in ["hex8_2p", "hex8_3p", "square8_2p", "square8_4p"] {
        let config: Config = key.parse().unwrap();
        with_board!(config.board, T => {
            let (mut search, mut wins, mut seen) = (new::<T>(), 0, 0);
            positions::<T>(config.seats, 150, |state, legal| {
                let exists = legal.len() > 1 && legal.iter().any(|&mv| winning(state, mv));
                let known = legal.len() > 1 && tree::wins(state, legal).next().is_some();
                assert!(exists || !known, "{state:?}");
                seen += u32::from(exists);
                if known {
                    let (best, _) = run(&mut search, &mut Uniform, state, 2, Some(1));
                    assert!(winning(state, legal[best]), "{state:?}");
                    let taught: f32 = legal.iter().zip(search.policy())
                        .filter(|(mv, _)| winning(state, **mv)).map(|(_, p)| p).sum();
                    assert!((taught - 1.0).abs() < 1e-5);
                    wins += 1;
                }
            });
            println!("{key}: {wins} of {seen} wins");
            assert!(wins >= 30 && wins * 100 >= seen * 99, "{key}: {wins} of {seen}");
        });
    }
}

#[test]
fn a_loss_in_one_step_is_avoided() {
    for key in ["hex8_2p", "square8_2p", "hex8_3p", "hex8_4p"] {
        let config: Config = key.parse().unwrap();
        with_board!(config.board, T => {
            let (mut search, mut avoided) = (new::<T>(), 0);
            positions::<T>(config.seats, 150, |state, legal| {
                if !(2..=16).contains(&legal.len()) || legal.iter().any(|&mv| winning(state, mv)) {
                    return;
                }
                let losses = legal.iter().filter(|mv| losing(state, **mv)).count();
                if losses > 0 && losses < legal.len() {
                    let (best, _) = run(&mut search, &mut Uniform, state, 16, None);
                    assert!(!losing(state, legal[best]), "{state:?}");
                    avoided += 1;
                }
            });
            println!("{key}: {avoided} losses avoided");
            assert!(avoided >= 10, "{key}: {avoided}");
        });
    }
}

#[test]
fn searches_follow_from_the_seed() {
    let mut differ = 0;
    positions::<Hex8>(2, 1, |state, legal| {
        if legal.len() > 1 {
            let once = |seed| {
                let mut search = new();
                let chosen = run(&mut search, &mut Uniform, state, 16, Some(seed));
                (chosen, search.policy().to_vec(), search.visits().collect::<Vec<_>>())
            };
            assert_eq!(once(1), once(1));
            differ += u32::from(once(1).0 != once(2).0);
        }
    });
    assert!(differ > 10, "noise explores: {differ}");
}

#[test]
fn simulations_are_counted_and_policies_are_distributions() {
    for config in Config::all() {
        with_board!(config.board, T => {
            let state = State::<T>::new(config.seats, Options::default());
            let mut search = new();
            let (best, evaluations) = run(&mut search, &mut Uniform, &state, 16, Some(1));
            assert!(best < search.legal().len());
            assert_eq!(evaluations, 17);
            assert_eq!(search.visits().sum::<u32>(), 16);
            assert_eq!(search.visits().filter(|&visits| visits > 0).count(), 16);
            let sum: f32 = search.policy().iter().sum();
            assert!((sum - 1.0).abs() < 1e-4, "{config}: {sum}");
            let value = search.value().unwrap();
            let expected = 1.0 / f32::from(config.seats);
            assert!(value[..usize::from(config.seats)].iter().all(|v| (v - expected).abs() < 1e-4));
        });
    }
}

/// Believes in a seat, and a little in the pie rule.
struct Biased([f32; SEATS_MAX], f32);

impl<T: Topology> Evaluator<T> for Biased {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let logit = |mv: &Move| if mv.kind() == MoveKind::Swap { self.1 } else { 0.0 };
        let evaluation = |query: &Query<'_, T>| Evaluation {
            logits: query.legal.iter().map(logit).collect(),
            value: self.0,
        };
        queries.iter().map(evaluation).collect()
    }
}

/// The position after seat 1 has placed: it moves, then seat 2 may swap.
fn opening() -> (State<Hex8>, State<Hex8>) {
    let mut state = State::<Hex8>::new(2, Options { swap: true, ..Options::default() });
    let mut legal = Vec::new();
    state.legal(&mut legal);
    state.apply(legal[90]);
    let moving = state;
    while !state.swap_available() {
        state.legal(&mut legal);
        state.apply(legal[0]);
    }
    (moving, state)
}

#[test]
fn swapping_is_chosen_where_it_is_right() {
    let (_, state) = opening();
    for noise in [None, Some(1), Some(2)] {
        for simulations in [2, 4, 16, 64] {
            let mut search = new();
            let (best, _) =
                run(&mut search, &mut Biased([0.9, 0.1, 0.0, 0.0], 0.0), &state, simulations, noise);
            assert_eq!(search.legal()[best].kind(), MoveKind::Swap);
            // The person who is asked goes on to win, whichever seat it will sit on.
            assert!((search.value().unwrap()[1] - 0.9).abs() < 1e-4, "{:?}", search.value());
            assert!(search.policy()[best] > 0.99);
            let (best, _) =
                run(&mut search, &mut Biased([0.1, 0.9, 0.0, 0.0], 0.0), &state, simulations, noise);
            assert_ne!(search.legal()[best].kind(), MoveKind::Swap);
        }
    }
}

#[test]
fn the_threat_of_a_swap_is_seen_from_the_other_side() {
    // With a position this good for seat 1, its person will not keep it: seat 2 swaps.
    let (moving, _) = opening();
    let value = |logit| {
        let mut search = new();
        run(&mut search, &mut Biased([0.9, 0.1, 0.0, 0.0], logit), &moving, 400, None);
        search.value().unwrap()[0]
    };
    assert!(value(5.0) < 0.3, "{}", value(5.0));
    // Without the pie rule in sight nothing changes.
    let mut search = new();
    let state = State::<Hex8>::new(2, Options::default());
    run(&mut search, &mut Biased([0.9, 0.1, 0.0, 0.0], 5.0), &state, 100, None);
    assert!(search.value().unwrap()[0] > 0.85);
}

#[test]
fn what_was_evaluated_is_not_asked_again() {
    let mut state = State::<Hex8>::new(2, Options::default());
    let mut search = new();
    let (mut asked, mut searches) = (0, 0);
    let mut legal = Vec::new();
    for seed in 0..60 {
        state.legal(&mut legal);
        if state.outcome().is_some() {
            break;
        }
        if legal.len() > 1 {
            let (best, evaluations) = run(&mut search, &mut Uniform, &state, 16, Some(seed));
            assert!(evaluations <= 17);
            asked += evaluations;
            searches += 1;
            state.apply(legal[best]);
        } else {
            state.apply(legal[0]);
        }
    }
    assert!(asked < searches * 17 - searches / 2, "{asked} for {searches} searches");
}

#[test]
fn known_evaluations_change_nothing_but_the_cost() {
    // Reusing evaluations must not change the choice: they are the same as fresh ones.
    let mut state = State::<Hex8>::new(2, Options { swap: true, ..Options::default() });
    let mut kept = new();
    let mut legal = Vec::new();
    for seed in 0..80 {
        state.legal(&mut legal);
        if state.outcome().is_some() {
            break;
        }
        let mut evaluator = Biased([0.6, 0.4, 0.0, 0.0], 0.0);
        let (best, _) = run(&mut kept, &mut evaluator, &state, 16, Some(seed));
        let mut fresh = new();
        assert_eq!(run(&mut fresh, &mut evaluator, &state, 16, Some(seed)).0, best);
        assert_eq!(fresh.policy(), kept.policy());
        state.apply(legal[best]);
    }
    assert!(state.ply() > 40);
}

#[test]
fn broken_answers_and_finished_games_are_errors() {
    let state = State::<Hex8>::new(2, Options::default());
    let mut search = new();
    let good = Uniform.evaluate(&[Query { state: &state, legal: &[] }]).remove(0);
    for break_it in [
        (|e: &mut Evaluation| e.logits.truncate(3)) as fn(&mut Evaluation),
        |e| e.logits[7] = f32::INFINITY,
        |e| e.value[0] = f32::NAN,
        |e| e.value = [0.5, 0.25, 0.25, 0.0],
        |e| e.value = [0.0; 4],
    ] {
        search.start(&state, 16, None).unwrap();
        let legal = search.legal().len();
        let mut bad = Evaluation { logits: vec![0.0; legal], ..good.clone() };
        break_it(&mut bad);
        assert_eq!(search.answer(&bad), Err(SearchError::Evaluation { legal }));
        assert!(search.query().is_none());
    }
    let mut choices = Choices::new(1);
    let over = play(state, &mut choices, &mut Vec::new(), |_, _| {});
    assert_eq!(search.start(&over, 16, None), Err(SearchError::NoLegalMove));
}

#[test]
fn every_board_has_its_evaluator() {
    fn judge<T: Judged>(seats: u8) -> f32 {
        let state = State::<T>::new(seats, Options::default());
        let mut legal = Vec::new();
        state.legal(&mut legal);
        T::evaluator(&mut Uniform).evaluate(&[Query { state: &state, legal: &legal }])[0].value[0]
    }
    for config in Config::all() {
        let value = with_board!(config.board, T => judge::<T>(config.seats));
        assert_eq!(value, 1.0 / f32::from(config.seats));
    }
}

/// The heuristic's features as an evaluator: the policy is what the heuristic thinks of each move.
struct Featured;

impl<T: Topology> Evaluator<T> for Featured {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let evaluation = |query: &Query<'_, T>| {
            let after = |mv: &Move| {
                let mut next = *query.state;
                next.apply(*mv);
                heuristic::judge(&next, query.state.seat()).clamp(-50.0, 50.0) * 0.5
            };
            let first = 1.0 / (1.0 + (heuristic::judge(query.state, 0) * -0.1).exp());
            let logits = query.legal.iter().map(after).collect();
            Evaluation { logits, value: [first, 1.0 - first, 0.0, 0.0] }
        };
        queries.iter().map(evaluation).collect()
    }
}

#[test]
fn a_search_is_stronger_than_its_evaluator() {
    let games = 100;
    let (mut search, mut legal, mut won) = (new(), Vec::new(), 0);
    for game in 0..games {
        let me = (game % 2) as u8;
        let mut choices = Choices::new(game / 2);
        let mut state = State::<Hex8>::new(2, Options::default());
        let mut random = 4;
        while state.outcome().is_none() {
            state.legal(&mut legal);
            let i = if random > 0 && legal.len() > 1 {
                random -= 1;
                choices.below(legal.len())
            } else if state.seat() == me {
                run(&mut search, &mut Featured, &state, 16, None).0
            } else {
                heuristic::choose(&state, &legal)
            };
            state.apply(legal[i]);
        }
        won += u32::from(state.outcome().is_some_and(|outcome| outcome.winner == me));
    }
    println!("{won} of {games} won with 16 simulations against one ply of the same features");
    assert!(won >= 60, "{won}");
}
