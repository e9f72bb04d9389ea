//! A finished game as it is written, sent and named.
//!
//! Invariant: positions are never stored. A record holds the moves; everything else about the game follows from
//! them through the rules, and [`GameRecord::validate`] checks that it does.

use serde::{Deserialize, Serialize};
use wire::{Hash, WireError};

/// Most steps of a recorded game.
pub const MOVES_MAX: usize = 20_000;
/// Most legal moves with a weight in one policy.
pub const POLICY_MAX: usize = 16_384;
/// Largest canonical encoding of one game.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Frame kind of a single encoded game.
const KIND_GAME: u8 = 0x20;

/// A complete game from the empty board, with what was learned from while it was played.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct GameRecord {
    /// [`rules::RULES_VERSION`] of the player.
    pub rules_version: u32,
    /// Configuration key such as `hex8_2p`.
    pub config: String,
    /// Whether the pie rule was on offer.
    pub swap: bool,
    /// Whether victories were tested only where a turn ends.
    pub turn_end: bool,
    /// Seed of the game's randomness; informative.
    pub seed: u64,
    /// Why the game was played.
    pub kind: GameKind,
    /// Who played: person `i` starts behind seat `i`.
    pub players: Vec<Player>,
    /// Every step as `rules::Move::code`.
    pub moves: Vec<u32>,
    /// The searched steps, by ascending ply.
    pub decisions: Vec<Decision>,
    /// The winning seat, 0-based. After a swap another person sits there.
    pub winner_seat: u8,
    /// The node that played it.
    pub node: u64,
    /// When it ended, milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// Why a game was played. Append-only: the order is the encoding.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GameKind {
    /// To learn from.
    Selfplay,
    /// A candidate against the champion.
    Match,
    /// A model against a fixed baseline.
    Baseline,
}

impl GameKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Selfplay, Self::Match, Self::Baseline];

    /// The name in databases and on screen.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Selfplay => "selfplay",
            Self::Match => "match",
            Self::Baseline => "baseline",
        }
    }
}

/// Who made the choices of one person. Append-only: the order is the encoding.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Player {
    /// A model, by the hash of its checkpoint.
    Model(Hash),
    /// Uniformly random legal moves.
    Random,
    /// The one-ply heuristic.
    Heuristic,
}

/// What a search found at one step.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Index into [`GameRecord::moves`].
    pub ply: u32,
    /// `(index into the legal moves, weight)` by ascending index, weights above zero. Empty: the step teaches
    /// the value only.
    pub policy: Vec<(u16, u16)>,
}

/// Why a record is no valid game. A ply counts the steps from 0.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// The record cannot be encoded or decoded.
    #[error("unreadable game record")]
    Wire(#[from] WireError),
    /// Played by other rules.
    #[error("played by rules version {found}, this is version {expected}")]
    RulesVersion {
        /// The record's.
        found: u32,
        /// This build's.
        expected: u32,
    },
    /// No such configuration.
    #[error("unknown configuration")]
    Config(#[from] rules::ConfigError),
    /// Not one player a seat.
    #[error("{found} players for {seats} seats")]
    Players {
        /// Players in the record.
        found: usize,
        /// Seats of the configuration.
        seats: u8,
    },
    /// The pie rule is for two seats.
    #[error("the pie rule with {0} seats")]
    Swap(u8),
    /// No moves, or more than [`MOVES_MAX`].
    #[error("{0} moves, expected 1 to {MOVES_MAX}")]
    Length(usize),
    /// A time that no database can hold.
    #[error("ended {0} ms after the epoch, which is no time")]
    Created(u64),
    /// A code that is no move of any board.
    #[error("ply {ply}: {code:#010x} is no move")]
    Code {
        /// Where.
        ply: u32,
        /// What stands there.
        code: u32,
    },
    /// A move that the rules do not allow.
    #[error("ply {ply}: illegal {kind:?} (code {code:#010x}) in phase {}", phase.as_str())]
    Illegal {
        /// Where.
        ply: u32,
        /// What it would do.
        kind: rules::MoveKind,
        /// The move.
        code: u32,
        /// The phase it was played in.
        phase: rules::Phase,
    },
    /// The game goes on after its end.
    #[error("ply {ply}: the game is over, {left} moves follow")]
    AfterEnd {
        /// The first step too many.
        ply: u32,
        /// Steps too many.
        left: usize,
    },
    /// The moves end before the game does.
    #[error("unfinished after {plies} moves")]
    Unfinished {
        /// Steps played.
        plies: u32,
    },
    /// The rules say that another seat won.
    #[error("seat {claimed} is said to have won, seat {actual} did (from 0)")]
    Winner {
        /// The record's winner.
        claimed: u8,
        /// The rules'.
        actual: u8,
    },
    /// Decisions out of order, or two for one step.
    #[error("ply {ply}: decision after that of ply {previous}")]
    DecisionOrder {
        /// The decision's step.
        ply: u32,
        /// That of the decision before it.
        previous: u32,
    },
    /// A decision about a step that was not played.
    #[error("ply {ply}: decision in a game of {plies} moves")]
    DecisionPly {
        /// The decision's step.
        ply: u32,
        /// Steps of the game.
        plies: usize,
    },
    /// A weight for a move that does not exist.
    #[error("ply {ply}: weight for move {index} of {legal}")]
    PolicyIndex {
        /// Where.
        ply: u32,
        /// Index into the legal moves.
        index: u16,
        /// Number of legal moves.
        legal: usize,
    },
    /// Indexes out of order or twice, or a weight of zero.
    #[error("ply {ply}: policy entry {entry} is out of order or has no weight")]
    PolicyEntry {
        /// Where.
        ply: u32,
        /// Which entry of the policy, from 0.
        entry: usize,
    },
    /// More weights than [`POLICY_MAX`].
    #[error("ply {ply}: {entries} weights, at most {POLICY_MAX} are allowed")]
    PolicyLength {
        /// Where.
        ply: u32,
        /// Entries.
        entries: usize,
    },
}

impl GameRecord {
    /// The canonical encoding: equal records have equal bytes.
    ///
    /// # Errors
    /// [`RecordError::Wire`] for a record above [`RECORD_BYTES_MAX`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        Ok(wire::encode(KIND_GAME, self, RECORD_BYTES_MAX)?)
    }

    /// Reads [`Self::to_bytes`] back. The game is not validated.
    ///
    /// # Errors
    /// [`RecordError::Wire`] for anything that is no encoded record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        Ok(wire::decode::<Self, RECORD_BYTES_MAX>(KIND_GAME, bytes)?)
    }

    /// The game's name: the hash of its canonical encoding.
    ///
    /// # Panics
    /// For a record above [`RECORD_BYTES_MAX`], which no decoder or validation lets through.
    #[must_use]
    pub fn id(&self) -> Hash {
        Hash::of(&self.to_bytes().expect("a game of bounded length fits its frame"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> GameRecord {
        GameRecord {
            rules_version: 1,
            config: "hex8_2p".into(),
            swap: true,
            turn_end: false,
            seed: 2,
            kind: GameKind::Baseline,
            players: vec![Player::Model(Hash([7; 32])), Player::Random, Player::Heuristic],
            moves: vec![3, 4],
            decisions: vec![Decision { ply: 1, policy: vec![(5, 6)] }],
            winner_seat: 1,
            node: 8,
            created_ms: 9,
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = record().to_bytes().unwrap();
        assert_eq!(hex::encode(&bytes), GOLDEN);
        assert_eq!(GameRecord::from_bytes(&bytes).unwrap(), record());
        assert_eq!(record().id(), Hash::of(&bytes));
    }

    const GOLDEN: &str = "525201208e000000010000000700000000000000686578385f327001000200000000000000020000\
        00030000000000000000000000070707070707070707070707070707070707070707070707070707\
        07070707070100000002000000020000000000000003000000040000000100000000000000010000\
        0001000000000000000500060001080000000000000009000000000000007c5627ec";
}
