//! Self-play with the search on a device: its games replayed by the crate `rules`, and played twice.
//!
//! Invariant: what is right does not depend on how a device rounds. A record is held against the rules alone,
//! and a device against itself: the same seed gives the same games, unless lanes or launches race.

use crate::device::ReplayDevice;
use crate::device::games::wave::Wave;
use crate::device::games::wave_games::{PlayWaves as _, WaveDecision, WaveGame, WaveReport, WaveSettings};
use crate::device::trial::comparison::Comparison;
use crate::device::trial::samples;
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use rules::{Config, Options, State, Topology, with_board};

/// Evaluations between two looks at what has ended.
pub(super) const EVALUATIONS: u32 = 64;
/// The weight of a certainty in a record.
const CERTAINTY: u32 = 65535;

/// How many games, and how they are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waves {
    /// Games side by side.
    pub slots: usize,
    /// Games that are begun at least; more than `slots` has a slot begin again.
    pub games: u64,
    /// Simulations of a fully searched decision; the others have a quarter of it.
    pub simulations: u32,
}

pub(super) fn settings(config: Config, waves: Waves) -> WaveSettings {
    WaveSettings {
        slots: waves.slots,
        seed: 1,
        swap: config.seats == 2,
        full: waves.simulations,
        quick: waves.simulations.div_ceil(4),
        full_share: 0.25,
        sampled: 8,
        sampled_spread: 3,
        opening_share: 0.3,
        opening_max: 12,
        exploration: 1.0,
        considered: 16,
        visit_offset: 50.0,
        value_scale: 1.0,
    }
}

/// The most evaluations that games may take. They take far fewer: even the longest have no more than some
/// steps for each cell.
pub(super) fn evaluations_max(config: Config, waves: Waves) -> u32 {
    let games_of_slot = waves.games.div_ceil(waves.slots.max(1) as u64) as u32 + 1;
    16 * config.board.cells() as u32 * (waves.simulations + 1) * games_of_slot
}

/// Plays the same games twice, each time on a device that is opened for it.
pub(crate) fn games<D: ReplayDevice + Send>(
    open: impl Fn() -> Result<D, DeviceError>,
    config: Config,
    (blocks, channels): (u32, u32),
    waves: Waves,
) -> Result<Vec<Comparison>, DeviceError>
where
    D::Memory: Send,
    D::Recording: Send,
{
    let architecture = Architecture { blocks, channels, ..Architecture::small(config.board) };
    let play = || with_board!(config.board, T => play::<D, T>(open()?, config, architecture, waves));
    let (first, second) = (play()?, play()?);
    let settings = settings(config, waves);
    let checked = first
        .unsound(&settings)
        .map_or_else(|| with_board!(config.board, T => check::<T>(config, &settings, &first.games)), Err);
    let (compared, wrong) = match checked {
        Ok(steps) => (steps, None),
        Err(wrong) => (0, Some(wrong)),
    };
    let what = format!("{} games of {config} with the search on the card", first.games.len());
    let replayed = Comparison { what, compared, tolerance: None, worst: None, wrong };
    let what = format!("{} games of {config} with the search on the card, played again", second.games.len());
    let wrong = difference(&first.games, &second.games);
    let again = Comparison { what, compared: second.games.len(), tolerance: None, worst: None, wrong };
    Ok(vec![replayed, again])
}

/// What a wave has come to.
#[derive(Debug)]
struct PlayedWaves {
    /// The games, by ascending seed.
    games: Vec<WaveGame>,
    /// The last report, without its games.
    report: WaveReport,
    evaluations: u32,
}

impl PlayedWaves {
    /// Why not every game that was begun is there.
    fn unsound(&self, settings: &WaveSettings) -> Option<String> {
        let WaveReport { begun, dropped, playing, .. } = self.report;
        let (games, evaluations) = (self.games.len(), self.evaluations);
        if playing > 0 {
            return Some(format!("{playing} of {begun} games did not end within {evaluations} evaluations"));
        }
        if dropped > 0 {
            return Some(format!("{dropped} of {begun} games were dropped"));
        }
        let seeds = self.games.windows(2).all(|pair| pair[0].seed < pair[1].seed);
        if games as u64 != begun || games < settings.slots || !seeds {
            return Some(format!("{games} games of {} slots, {begun} were begun", settings.slots));
        }
        None
    }
}

fn play<D: ReplayDevice + Send, T: Topology>(
    device: D,
    config: Config,
    architecture: Architecture,
    waves: Waves,
) -> Result<PlayedWaves, DeviceError>
where
    D::Memory: Send,
    D::Recording: Send,
{
    let network = samples::network(architecture);
    let mut wave = Wave::<D, T>::new(device, config, &network, settings(config, waves))?;
    let (mut games, mut evaluations, mut retired) = (Vec::new(), 0, false);
    loop {
        let mut report = wave.play(EVALUATIONS)?;
        evaluations += EVALUATIONS;
        let ended = report.games.len();
        games.append(&mut report.games);
        if retired && report.playing == 0 && ended == 0 || evaluations >= evaluations_max(config, waves) {
            games.sort_by_key(|game| game.seed);
            return Ok(PlayedWaves { games, report, evaluations });
        }
        if !retired && report.begun >= waves.games {
            wave.retire()?;
            retired = true;
        }
    }
}

/// Replays games, and says how many steps they have, or what is wrong with one.
fn check<T: Topology>(config: Config, settings: &WaveSettings, games: &[WaveGame]) -> Result<usize, String> {
    let (mut steps, mut searched, mut full) = (0, 0, 0);
    for game in games {
        replay::<T>(config, settings, game).map_err(|wrong| format!("seed {:#x}: {wrong}", game.seed))?;
        steps += game.moves.len();
        searched += game.decisions.len();
        full += game.decisions.iter().filter(|decision| !decision.policy.is_empty()).count();
    }
    // A quarter, give or take.
    if !(searched / 8..=searched / 2).contains(&full) {
        return Err(format!("{full} of {searched} searches have a policy"));
    }
    Ok(steps)
}

/// Every step is legal; every choice behind the opening was searched, and
/// nothing else; the winner is who has won.
fn replay<T: Topology>(config: Config, settings: &WaveSettings, game: &WaveGame) -> Result<(), String> {
    let options = Options { swap: settings.swap, ..Options::default() };
    let mut state = State::<T>::new(config.seats, options);
    let mut decisions = game.decisions.iter().peekable();
    let (mut legal, mut opening) = (Vec::new(), settings.opening_max);
    for (step, &code) in (0u32..).zip(&game.moves) {
        state.legal(&mut legal);
        let Some(&mv) = legal.iter().find(|mv| mv.code() == code) else {
            return Err(format!("step {step}: {code:#010x} is not legal in {state}"));
        };
        match decisions.next_if(|decision| decision.step == step) {
            Some(_) if legal.len() == 1 => return Err(format!("step {step} was no choice in {state}")),
            Some(decision) => {
                weigh(decision, legal.len()).map_err(|wrong| format!("step {step}: {wrong}"))?;
                opening = 0;
            }
            None if legal.len() == 1 => {}
            None if opening > 0 => opening -= 1,
            None => return Err(format!("step {step} was not searched in {state}")),
        }
        state.apply(mv);
    }
    if let Some(decision) = decisions.next() {
        return Err(format!("a search of step {}", decision.step));
    }
    match state.outcome() {
        Some(outcome) if outcome.winner == game.winner => Ok(()),
        Some(outcome) => Err(format!("seat {} has won, not {}", outcome.winner, game.winner)),
        None => Err(format!("ends in {state}")),
    }
}

/// A policy is a distribution over the legal moves, each weight rounded down; or there is none.
fn weigh(decision: &WaveDecision, legal: usize) -> Result<(), String> {
    let policy = &decision.policy;
    let ascends = policy.is_sorted_by(|a, b| a.0 < b.0);
    if !ascends || policy.iter().any(|&(i, weight)| usize::from(i) >= legal || weight == 0) {
        return Err(format!("{policy:?} of {legal} moves"));
    }
    let sum: u32 = policy.iter().map(|&(_, weight)| u32::from(weight)).sum();
    // Besides, the probabilities do not add up to exactly 1.
    let (most, lost) = (CERTAINTY + 8, legal as u32 + 8);
    if !policy.is_empty() && !(CERTAINTY.saturating_sub(lost)..=most).contains(&sum) {
        return Err(format!("{legal} moves weigh {sum} in all"));
    }
    Ok(())
}

fn difference(first: &[WaveGame], second: &[WaveGame]) -> Option<String> {
    let apart = first.iter().zip(second).find(|(first, second)| first != second);
    if let Some((first, second)) = apart {
        let step = first.moves.iter().zip(&second.moves).position(|(a, b)| a != b);
        return Some(format!("seed {:#x} and {:#x}: apart from step {step:?} on", first.seed, second.seed));
    }
    (first.len() != second.len()).then(|| format!("{} games, not {}", second.len(), first.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::playout::Choices;
    use rules::{Hex8, Move};

    type Spoil<'a> = &'a dyn Fn(&mut WaveGame);

    const WAVES: Waves = Waves { slots: 1, games: 1, simulations: 4 };

    /// A random game, every choice of which was searched, every third time in full.
    fn game(config: Config) -> WaveGame {
        let mut state = State::<Hex8>::new(config.seats, Options { swap: true, ..Options::default() });
        let (mut legal, mut choices) = (Vec::new(), Choices::new(1));
        let mut game = WaveGame { seed: 1, moves: Vec::new(), decisions: Vec::new(), winner: 0 };
        while state.outcome().is_none() {
            state.legal(&mut legal);
            if legal.len() > 1 {
                let even = (CERTAINTY / legal.len() as u32) as u16;
                let full = game.decisions.len().is_multiple_of(3);
                let policy = (0..legal.len() as u16).filter(|_| full).map(|i| (i, even)).collect();
                game.decisions.push(WaveDecision { step: game.moves.len() as u32, policy });
            }
            let mv = legal[choices.below(legal.len())];
            game.moves.push(mv.code());
            state.apply(mv);
        }
        game.winner = state.outcome().unwrap().winner;
        game
    }

    #[test]
    fn a_game_by_the_rules_passes_and_no_other() {
        let config: Config = "hex8_2p".parse().unwrap();
        let settings = settings(config, WAVES);
        let right = game(config);
        let check = |game: &WaveGame| check::<Hex8>(config, &settings, std::slice::from_ref(game));
        assert_eq!(check(&right), Ok(right.moves.len()));
        // An opening is not searched.
        let mut opened = right.clone();
        opened.decisions.drain(..6);
        assert_eq!(check(&opened), Ok(right.moves.len()));
        let place = Move::from_code(right.moves[0]).unwrap().code();
        let wrong: [(&str, Spoil); 11] = [
            ("has won", &|game| game.winner ^= 1),
            ("ends in", &|game| drop((game.moves.pop(), game.decisions.pop()))),
            ("is not legal", &|game| game.moves.push(place)),
            ("is not legal", &|game| game.moves[1] = u32::MAX),
            ("was not searched", &|game| drop(game.decisions.remove(20))),
            ("was not searched", &|game| drop(game.decisions.drain(..20))),
            ("a search of step", &|game| game.decisions.push(WaveDecision { step: 9999, policy: vec![] })),
            ("weigh", &|game| game.decisions[0].policy.truncate(1)),
            ("of", &|game| game.decisions[0].policy[1].0 = u16::MAX),
            ("of", &|game| game.decisions[0].policy.swap(0, 1)),
            ("have a policy", &|game| game.decisions.iter_mut().for_each(|one| one.policy.clear())),
        ];
        for (i, (reason, spoil)) in wrong.into_iter().enumerate() {
            let mut game = right.clone();
            spoil(&mut game);
            let found = check(&game).unwrap_err();
            assert!(found.contains(reason), "{i}: {found}");
        }
    }

    #[test]
    fn games_that_are_missing_or_differ_are_noticed() {
        let config: Config = "hex8_2p".parse().unwrap();
        let (settings, game) = (settings(config, WAVES), game(config));
        let unsound = |games: Vec<WaveGame>, begun, dropped, playing| {
            let report = WaveReport { games: Vec::new(), begun, dropped, playing };
            PlayedWaves { games, report, evaluations: 64 }.unsound(&settings)
        };
        assert_eq!(unsound(vec![game.clone()], 1, 0, 0), None);
        for (games, begun, dropped, playing) in [
            (vec![], 0, 0, 0),
            (vec![game.clone(); 2], 2, 0, 0),
            (vec![game.clone()], 2, 0, 1),
            (vec![], 1, 1, 0),
        ] {
            assert!(unsound(games, begun, dropped, playing).is_some());
        }
        let (once, twice) = (vec![game.clone()], vec![game; 2]);
        let mut other = once.clone();
        other[0].moves[3] ^= 1;
        assert_eq!(difference(&once, &once), None);
        assert!(difference(&once, &other).is_some_and(|found| found.contains("step Some(3)")));
        assert!(difference(&once, &twice).is_some());
    }
}
