//! A match between two players, with many games at the same time.
//!
//! Invariant: games come in sets. The games of a set start from the same random opening. The first player
//! takes each seat in turn, and copies of the second take the others, so that the luck of the opening and of
//! the seat cancels out. A win belongs to the person, at whichever seat the pie rule has put them. No search
//! uses noise.

use super::game::{GameError, LiveGame, person};
use crate::{
    search::{AnyEvaluator, Judged, Search, SearchSettings, heuristic, random},
    store::{GameKind, GameRecord, Played, Player},
};
use cluster_state::{ModelId, NodeId};
use kernels::Query;
use rules::{Config, Move, Topology, playout::Choices, with_board};

/// A network that plays.
pub struct ModelPlayer {
    /// The hash of its checkpoint.
    pub hash: ModelId,
    pub evaluator: Box<dyn AnyEvaluator>,
}

/// One of the two players of a match.
pub enum Contestant {
    /// The player searches with a network.
    Model(ModelPlayer),
    /// The player chooses uniformly among the legal moves.
    Random,
    /// The player looks one step ahead.
    Heuristic,
}

impl Contestant {
    /// The player as game records name it.
    #[must_use]
    pub fn player(&self) -> Player {
        match self {
            Self::Model(model) => Player::Model(model.hash),
            Self::Random => Player::Random,
            Self::Heuristic => Player::Heuristic,
        }
    }

    fn evaluator(&mut self) -> Option<&mut dyn AnyEvaluator> {
        match self {
            Self::Model(model) => Some(&mut *model.evaluator),
            Self::Random | Self::Heuristic => None,
        }
    }
}

/// How a match is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArenaSettings {
    /// The number of games, which is rounded up to whole sets.
    pub games: u32,
    /// The number of games that are played at the same time.
    pub parallel: usize,
    /// The number of simulations of a decision.
    pub simulations: u32,
    /// The seed of the openings and of random players.
    pub seed: u64,
    pub kind: GameKind,
    pub node: NodeId,
    /// The name of what computes the networks, as records say it.
    pub backend: String,
}

/// The least and the largest number of random choices that open each set.
const OPENING: (usize, usize) = (2, 8);

/// A set of games that was played to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct GameSet {
    /// The number of games that the first player won.
    pub wins: u32,
    /// The games, ordered by the seat of the first player at the start.
    pub records: Vec<GameRecord>,
}

/// A match between two players.
pub struct Arena {
    games: Box<dyn AnyArena>,
}

/// [`ArenaGames`] without its type parameter.
trait AnyArena: Send {
    fn step(&mut self, contestants: [&mut Contestant; 2]) -> Vec<GameSet>;
    fn finished(&self) -> bool;
    fn aborted(&self) -> u64;
}

impl Arena {
    /// A match that has not started.
    #[must_use]
    pub fn new(config: Config, settings: ArenaSettings) -> Self {
        let games: Box<dyn AnyArena> =
            with_board!(config.board, T => Box::new(ArenaGames::<T>::new(config, settings)));
        Self { games }
    }

    /// Advances every game by one evaluation and returns the sets that are complete, in the order in which
    /// they were begun; otherwise short games would count first. The caller passes the same contestants at
    /// every step.
    #[must_use]
    pub fn step(&mut self, first: &mut Contestant, second: &mut Contestant) -> Vec<GameSet> {
        self.games.step([first, second])
    }

    /// Whether every set has been returned.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.games.finished()
    }

    /// The number of sets that were dropped because of an error.
    #[must_use]
    pub fn aborted(&self) -> u64 {
        self.games.aborted()
    }
}

/// The seed of the games of a set, in a match with this seed.
#[must_use]
pub fn seed_of_set(seed: u64, set: u32) -> u64 {
    Choices::new(seed ^ u64::from(set).wrapping_mul(0xd134_2543_de82_ef95)).next_u64()
}

/// The opening of the games with this seed, as moves of their records.
#[must_use]
pub fn opening(config: Config, seed: u64) -> Vec<u32> {
    with_board!(config.board, T => opened::<T>(config, seed).0.moves().to_vec())
}

/// A game after the opening of its seed, and what is left of its randomness.
pub(super) fn opened<T: Topology>(config: Config, seed: u64) -> (LiveGame<T>, Choices) {
    let mut choices = Choices::new(seed);
    let mut game = LiveGame::new(config, seed);
    let (least, most) = OPENING;
    let length = least + choices.below(most - least + 1);
    // The same error will occur at the first choice, which reports it.
    let _ = game.open(length, &mut choices);
    (game, choices)
}

struct ArenaSlot<T: Judged> {
    game: LiveGame<T>,
    /// One search for each contestant, so that neither sees what the other knows.
    searches: [Search<T>; 2],
    choices: Choices,
    set: u32,
    /// The person of the first player, which is the seat behind which it started.
    first: u8,
}

impl<T: Judged> ArenaSlot<T> {
    /// The contestant that chooses now: 0 or 1.
    fn mover(&self) -> usize {
        usize::from(person(&self.game.state, self.game.state.seat()) != self.first)
    }

    fn query(&self) -> Option<(usize, Query<'_, T>)> {
        let query = |i: usize| self.searches[i].query().map(|query| (i, query));
        query(0).or_else(|| query(1))
    }

    /// Plays until a search needs an evaluation. The result is false if the game is over.
    fn settle(
        &mut self,
        contestants: &[&mut Contestant; 2],
        simulations: u32,
        legal: &mut Vec<Move>,
    ) -> Result<bool, GameError> {
        while self.query().is_none() {
            self.game.settle(legal)?;
            if legal.is_empty() {
                return Ok(false);
            }
            let mover = self.mover();
            match contestants[mover] {
                Contestant::Random => self.game.apply(legal[random(legal, &mut self.choices)])?,
                Contestant::Heuristic => {
                    self.game.apply(legal[heuristic::choose(&self.game.state, legal)])?
                }
                Contestant::Model(_) => {
                    self.searches[mover].start(&self.game.state, simulations, None)?;
                    if self.searches[mover].query().is_none() {
                        self.decide(mover)?;
                    }
                }
            }
        }
        Ok(true)
    }

    /// Plays the move that the finished search has chosen.
    fn decide(&mut self, mover: usize) -> Result<(), GameError> {
        let search = &mut self.searches[mover];
        let best = search.best();
        let mv = search.legal()[best];
        self.game.decided(&[]);
        self.game.apply(mv)
    }
}

/// A set that is being played: the finished games by the seat of the first player, and the wins so far.
struct OpenSet {
    records: Vec<Option<GameRecord>>,
    wins: u32,
    dropped: bool,
}

impl OpenSet {
    fn is_complete(&self) -> bool {
        self.dropped || self.records.iter().all(Option::is_some)
    }
}

struct ArenaGames<T: Judged> {
    config: Config,
    settings: ArenaSettings,
    slots: Vec<ArenaSlot<T>>,
    /// The next game to begin: its set, and the seat of the first player.
    next: (u32, u8),
    /// The sets that were begun and not yet returned, the oldest first. `oldest` is the number of the first.
    open: std::collections::VecDeque<OpenSet>,
    oldest: u32,
    legal: Vec<Move>,
    aborted: u64,
}

/// The number of dropped sets after which a match ends, because the evaluator is broken and more games would
/// fail too.
const ABORTED_MAX: u64 = 16;

impl<T: Judged> ArenaGames<T> {
    fn new(config: Config, settings: ArenaSettings) -> Self {
        Self {
            config,
            settings,
            slots: Vec::new(),
            next: (0, 0),
            open: std::collections::VecDeque::new(),
            oldest: 0,
            legal: Vec::new(),
            aborted: 0,
        }
    }

    fn sets(&self) -> u32 {
        self.settings.games.div_ceil(u32::from(self.config.seats))
    }

    /// Begins the next game, if there is one and the match goes on.
    fn begin(&mut self) -> Option<ArenaSlot<T>> {
        let (set, first) = self.next;
        if set >= self.sets() || self.aborted >= ABORTED_MAX {
            return None;
        }
        if first == 0 {
            let records = vec![None; usize::from(self.config.seats)];
            self.open.push_back(OpenSet { records, wins: 0, dropped: false });
        }
        self.next = if first + 1 == self.config.seats { (set + 1, 0) } else { (set, first + 1) };
        // All games of a set have the same seed, and so the same opening.
        let (game, choices) = opened(self.config, seed_of_set(self.settings.seed, set));
        let searches = [(); 2].map(|()| Search::new(SearchSettings::default()));
        Some(ArenaSlot { game, searches, choices, set, first })
    }

    fn open_set(&mut self, set: u32) -> Option<&mut OpenSet> {
        self.open.get_mut(set.checked_sub(self.oldest)? as usize)
    }

    fn drop_set(&mut self, set: u32, error: GameError) {
        tracing::warn!(%error, config = %self.config, set, "games of a match dropped");
        if let Some(open) = self.open_set(set)
            && !open.dropped
        {
            open.dropped = true;
            self.aborted += 1;
        }
    }

    /// Adds a finished game to its set.
    fn finish(&mut self, slot: ArenaSlot<T>, contestants: &[&mut Contestant; 2]) {
        let (set, first) = (slot.set, slot.first);
        let won = slot.game.winner() == Some(first);
        let player = |person| contestants[usize::from(person != first)].player();
        let players = (0..self.config.seats).map(player).collect();
        let ArenaSettings { simulations, kind, node, ref backend, .. } = self.settings;
        let played = Played { simulations, exploration: 1.0, backend: backend.clone() };
        let record = slot.game.record(kind, players, node, Some(played));
        if let Some(open) = self.open_set(set) {
            open.wins += u32::from(won);
            open.records[usize::from(first)] = record;
        }
    }

    /// Plays every game until it needs an evaluation, and begins new games when some end.
    fn settle(&mut self, contestants: &[&mut Contestant; 2]) {
        let mut i = 0;
        loop {
            if i == self.slots.len() {
                if self.slots.len() >= self.settings.parallel.max(1) {
                    return;
                }
                match self.begin() {
                    Some(slot) => self.slots.push(slot),
                    None => return,
                }
            }
            let slot = &mut self.slots[i];
            match slot.settle(contestants, self.settings.simulations, &mut self.legal) {
                Ok(true) => i += 1,
                Ok(false) => {
                    let slot = self.slots.swap_remove(i);
                    self.finish(slot, contestants);
                    // Two players that need no evaluation would otherwise play the whole match in one step.
                    if self.slots.is_empty() {
                        return;
                    }
                }
                Err(error) => {
                    let slot = self.slots.swap_remove(i);
                    self.drop_set(slot.set, error);
                }
            }
        }
    }

    fn evaluate(&mut self, contestants: &mut [&mut Contestant; 2]) {
        let mut failed = Vec::new();
        for (who, contestant) in contestants.iter_mut().enumerate() {
            let Some(evaluator) = contestant.evaluator() else { continue };
            let waiting = self.slots.iter().enumerate();
            let waiting = waiting.filter_map(|(i, slot)| match slot.query() {
                Some((asking, query)) if asking == who => Some((i, query)),
                Some(_) | None => None,
            });
            let (indices, queries): (Vec<usize>, Vec<Query<'_, T>>) = waiting.unzip();
            if queries.is_empty() {
                continue;
            }
            let mut evaluations = T::evaluator(evaluator).evaluate(&queries).into_iter();
            for i in indices {
                let slot = &mut self.slots[i];
                // A missing evaluation fails as one with too few logits does.
                let answer = evaluations.next().unwrap_or_default();
                let search = &mut slot.searches[who];
                let result = search.answer(&answer).map_err(GameError::from);
                let asks = search.query().is_some();
                let result = result.and_then(|()| if asks { Ok(()) } else { slot.decide(who) });
                if let Err(error) = result {
                    failed.push((i, error));
                }
            }
        }
        failed.sort_by_key(|(i, _)| std::cmp::Reverse(*i));
        for (i, error) in failed {
            let slot = self.slots.swap_remove(i);
            self.drop_set(slot.set, error);
        }
    }
}

impl<T: Judged> AnyArena for ArenaGames<T> {
    fn step(&mut self, mut contestants: [&mut Contestant; 2]) -> Vec<GameSet> {
        self.settle(&contestants);
        self.evaluate(&mut contestants);
        let mut sets = Vec::new();
        while self.open.front().is_some_and(OpenSet::is_complete) {
            let Some(open) = self.open.pop_front() else { break };
            self.oldest += 1;
            if !open.dropped {
                sets.push(GameSet { wins: open.wins, records: open.records.into_iter().flatten().collect() });
            }
        }
        sets
    }

    fn finished(&self) -> bool {
        self.aborted >= ABORTED_MAX
            || (self.slots.is_empty() && self.open.is_empty() && self.next.0 >= self.sets())
    }

    fn aborted(&self) -> u64 {
        self.aborted
    }
}

#[cfg(test)]
mod tests;
