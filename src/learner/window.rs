//! The replay window: the newest positions to learn from.
//!
//! Invariant: every position in the window comes from replaying the moves of a game through the rules of this
//! build. The hash of a game alone decides whether it is for training or for validation, for ever and on
//! every node.
//!
//! Games are kept as moves with a snapshot every few plies, which takes about a tenth of the memory of all
//! positions.

use crate::store::record::{Decision, GameRecord};
use cluster_state::ConfigKey;
use kernels::{Batch, Target};
use rules::{
    Board, Config, Move, MoveKind, Options, RULES_VERSION, State, Symmetry, Topology, Victory,
    playout::Choices, with_board,
};
use std::collections::{HashSet, VecDeque};
use wire::Hash;

/// The number of plies between two snapshots.
const SNAPSHOT: usize = 8;
/// One game in this many is set aside for validation.
const VALIDATION_SHARE: u16 = 20;

/// Why nothing can be learned from a game.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WindowError {
    /// The game was played under another version of the rules.
    #[error("game of rules version {found}, expected {RULES_VERSION}")]
    RulesVersion { found: u32 },
    /// The game has another configuration.
    #[error("game of {found:?}, expected {expected}")]
    Config {
        found: String,
        /// The configuration of the window.
        expected: Config,
    },
    /// The rules do not allow a move, or moves follow after the end.
    #[error("illegal move at ply {ply}")]
    IllegalMove {
        /// The index of the move.
        ply: usize,
    },
    /// The game is not over, or another seat has won.
    #[error("the recorded winner has not won")]
    Winner,
    /// A decision is out of order, or names no legal move.
    #[error("decision {index} does not fit the game")]
    Decision {
        /// The index of the decision.
        index: usize,
    },
}

/// Whether a game is set aside for validation. About one in twenty is.
#[must_use]
pub fn is_validation(game: &Hash) -> bool {
    u16::from_be_bytes([game.0[0], game.0[1]]).is_multiple_of(VALIDATION_SHARE)
}

/// The newest games of one configuration.
pub struct ReplayWindow {
    config: Config,
    known: HashSet<Hash>,
    /// The games in the order of arrival: id, number of positions, whether the game is set aside.
    order: VecDeque<(Hash, usize, bool)>,
    positions: usize,
    positions_max: usize,
    games: Box<dyn AnyWindow>,
}

impl ReplayWindow {
    /// An empty window of at most `positions_max` positions.
    #[must_use]
    pub fn new(config: Config, positions_max: usize) -> Self {
        let games: Box<dyn AnyWindow> = with_board!(config.board, T => Box::new(BoardWindow::<T>::default()));
        Self {
            config,
            known: HashSet::new(),
            order: VecDeque::new(),
            positions: 0,
            positions_max: positions_max.max(1),
            games,
        }
    }

    #[must_use]
    pub fn config(&self) -> Config {
        self.config
    }

    /// Adds a game and drops the oldest ones above the capacity. The result is false if the game was here
    /// already or has no decision. After an error the window is unchanged.
    pub fn add(&mut self, record: &GameRecord) -> Result<bool, WindowError> {
        if record.rules_version != RULES_VERSION {
            return Err(WindowError::RulesVersion { found: record.rules_version });
        }
        if record.config != ConfigKey::from(self.config) {
            let found = record.config.as_str().chars().take(40).collect();
            return Err(WindowError::Config { found, expected: self.config });
        }
        let id = record.id();
        if record.decisions.is_empty() || self.known.contains(&id) {
            return Ok(false);
        }
        let validation = is_validation(&id);
        self.games.add(self.config.seats, record, validation)?;
        self.known.insert(id);
        self.order.push_back((id, record.decisions.len(), validation));
        self.positions += record.decisions.len();
        while self.positions > self.positions_max && self.order.len() > 1 {
            if let Some((id, positions, validation)) = self.order.pop_front() {
                self.known.remove(&id);
                self.positions -= positions;
                self.games.drop_oldest(validation);
            }
        }
        Ok(true)
    }

    /// The number of games in the window.
    #[must_use]
    pub fn games(&self) -> usize {
        self.order.len()
    }

    /// The number of positions for training.
    #[must_use]
    pub fn training(&self) -> usize {
        self.games.len(false)
    }

    /// The number of positions for training that were ever added, including those that were dropped since.
    /// The difference between two calls is what is new.
    #[must_use]
    pub fn training_added(&self) -> u64 {
        self.games.added(false)
    }

    /// The number of positions that are set aside.
    #[must_use]
    pub fn validation(&self) -> usize {
        self.games.len(true)
    }

    /// Adds the training position `index`, counted from the oldest, to a batch, turned by a symmetry that
    /// `choices` picks. It panics if there is no such position.
    pub(crate) fn push_training(&mut self, batch: &mut Batch, index: usize, choices: &mut Choices) {
        self.games.push(batch, false, index, Some(choices));
    }

    /// Adds the position `index` of those set aside to a batch, as it was played. It panics if there is no
    /// such position.
    pub(crate) fn push_validation(&mut self, batch: &mut Batch, index: usize) {
        self.games.push(batch, true, index, None);
    }

    #[must_use]
    pub fn board(&self) -> Board {
        self.config.board
    }
}

/// The games of any board: [`BoardWindow`] without its type parameter.
trait AnyWindow: Send {
    fn add(&mut self, seats: u8, record: &GameRecord, validation: bool) -> Result<(), WindowError>;
    fn drop_oldest(&mut self, validation: bool);
    fn len(&self, validation: bool) -> usize;
    fn added(&self, validation: bool) -> u64;
    fn push(&mut self, batch: &mut Batch, validation: bool, index: usize, choices: Option<&mut Choices>);
}

/// A game that was replayed.
struct WindowGame<T: Topology> {
    moves: Box<[Move]>,
    /// The position before every ply whose number is a multiple of [`SNAPSHOT`].
    snapshots: Box<[State<T>]>,
    decisions: Box<[Decision]>,
    /// The seat that won. After the pie rule another person sits there than at the start.
    winner: u8,
    /// The step at which the pie rule swapped the people.
    swapped_at: Option<usize>,
    /// The number of positions in all games before it, since the window was made.
    before: u64,
}

impl<T: Topology> WindowGame<T> {
    fn replay(seats: u8, record: &GameRecord) -> Result<Self, WindowError> {
        let victory = if record.turn_end { Victory::TurnEnd } else { Victory::EveryMove };
        let mut state = State::<T>::new(seats, Options { swap: record.swap, victory });
        let mut decisions = record.decisions.iter().enumerate().peekable();
        let (mut snapshots, mut moves, mut legal) = (Vec::new(), Vec::new(), Vec::new());
        for (ply, &code) in record.moves.iter().enumerate() {
            if ply % SNAPSHOT == 0 {
                snapshots.push(state);
            }
            state.legal(&mut legal);
            if let Some((index, decision)) = decisions.next_if(|(_, decision)| decision.ply as usize == ply) {
                let sorted = decision.policy.is_sorted_by(|a, b| a.0 < b.0);
                let fits =
                    decision.policy.iter().all(|&(at, weight)| usize::from(at) < legal.len() && weight > 0);
                if !(sorted && fits) {
                    return Err(WindowError::Decision { index });
                }
            }
            let mv = Move::from_code(code).filter(|mv| legal.contains(mv));
            let mv = mv.ok_or(WindowError::IllegalMove { ply })?;
            state.apply(mv);
            moves.push(mv);
        }
        if let Some((index, _)) = decisions.next() {
            return Err(WindowError::Decision { index });
        }
        if state.outcome().map(|outcome| outcome.winner) != Some(record.winner_seat) {
            return Err(WindowError::Winner);
        }
        let swapped_at = moves.iter().position(|mv| mv.kind() == MoveKind::Swap);
        Ok(Self {
            moves: moves.into(),
            snapshots: snapshots.into(),
            decisions: record.decisions.clone().into(),
            winner: record.winner_seat,
            swapped_at,
            before: 0,
        })
    }

    /// The seat of the winner when the step `ply` is chosen. Before the pie rule has swapped the people, it
    /// is the other one.
    fn winner_at(&self, ply: usize) -> u8 {
        match self.swapped_at {
            Some(swap) if ply <= swap => 1 - self.winner,
            Some(_) | None => self.winner,
        }
    }

    fn position(&self, ply: usize) -> State<T> {
        let mut state = self.snapshots[ply / SNAPSHOT];
        self.moves[ply / SNAPSHOT * SNAPSHOT..ply].iter().for_each(|&mv| state.apply(mv));
        state
    }
}

/// The games for training, or those for validation, the oldest first.
struct GameQueue<T: Topology> {
    games: VecDeque<WindowGame<T>>,
    /// The number of positions that were ever added.
    total: u64,
}

/// The games of one board, for training and for validation, with buffers that are reused.
struct BoardWindow<T: Topology> {
    queues: [GameQueue<T>; 2],
    legal: Vec<Move>,
    images: Vec<Move>,
    policy: Vec<(u16, f32)>,
    sorted: Vec<(Move, u16)>,
}

impl<T: Topology> Default for BoardWindow<T> {
    fn default() -> Self {
        let queue = || GameQueue { games: VecDeque::new(), total: 0 };
        Self {
            queues: [queue(), queue()],
            legal: Vec::new(),
            images: Vec::new(),
            policy: Vec::new(),
            sorted: Vec::new(),
        }
    }
}

impl<T: Topology> GameQueue<T> {
    fn first(&self) -> u64 {
        self.games.front().map_or(self.total, |game| game.before)
    }
}

impl<T: Topology> BoardWindow<T> {
    /// Turns the position, its legal moves and the policy by a symmetry. Where the rules are not symmetric,
    /// the turned moves may not be the legal ones; then nothing is turned.
    fn turn(&mut self, state: State<T>, symmetry: Symmetry) -> State<T> {
        let image = symmetry.state(&state);
        image.legal(&mut self.images);
        if self.images.len() != self.legal.len() {
            return state;
        }
        self.sorted.clear();
        self.sorted.extend(self.images.iter().enumerate().map(|(i, &mv)| (mv, i as u16)));
        self.sorted.sort_unstable();
        let find =
            |mv: Move| self.sorted.binary_search_by_key(&mv, |&(mv, _)| mv).ok().map(|at| self.sorted[at].1);
        let turned = |&mv: &Move| symmetry.mv(&state, mv);
        if !self.legal.iter().all(|mv| find(turned(mv)).is_some()) {
            return state;
        }
        for (index, _) in &mut self.policy {
            if let Some(at) = find(turned(&self.legal[usize::from(*index)])) {
                *index = at;
            }
        }
        std::mem::swap(&mut self.legal, &mut self.images);
        image
    }
}

impl<T: Topology> AnyWindow for BoardWindow<T> {
    fn add(&mut self, seats: u8, record: &GameRecord, validation: bool) -> Result<(), WindowError> {
        let queue = &mut self.queues[usize::from(validation)];
        let game = WindowGame::replay(seats, record)?;
        let before = queue.total;
        queue.total += game.decisions.len() as u64;
        queue.games.push_back(WindowGame { before, ..game });
        Ok(())
    }

    fn drop_oldest(&mut self, validation: bool) {
        self.queues[usize::from(validation)].games.pop_front();
    }

    fn len(&self, validation: bool) -> usize {
        let queue = &self.queues[usize::from(validation)];
        (queue.total - queue.first()) as usize
    }

    fn added(&self, validation: bool) -> u64 {
        self.queues[usize::from(validation)].total
    }

    fn push(&mut self, batch: &mut Batch, validation: bool, index: usize, choices: Option<&mut Choices>) {
        let queue = &self.queues[usize::from(validation)];
        let at = queue.first() + index as u64;
        let game = &queue.games[queue.games.partition_point(|game| game.before <= at) - 1];
        let decision = &game.decisions[(at - game.before) as usize];
        let ply = decision.ply as usize;
        let (winner, mut state) = (game.winner_at(ply), game.position(ply));
        state.legal(&mut self.legal);
        self.policy.clear();
        self.policy.extend(decision.policy.iter().map(|&(at, weight)| (at, f32::from(weight))));
        let pick = choices.map_or(0, |choices| choices.below(Symmetry::count::<T>()));
        if pick != 0 {
            state = self.turn(state, Symmetry::nth::<T>(pick));
        }
        batch.push_sample(&state, &self.legal, Target { policy: &self.policy, winner });
    }
}

#[cfg(test)]
pub(crate) mod tests;
