//! A finished game as it is written, sent and named.
//!
//! Invariant: positions are never stored. A record holds the moves, and everything else about the game
//! follows from them through the rules; [`GameRecord::validate`] checks that it does.

use cluster_state::NodeId;
use cluster_state::{ConfigKey, ModelId};
use serde::{Deserialize, Serialize};
use wire::{Hash, WireError};

/// The most steps of a recorded game.
pub const MOVES_MAX: usize = 20_000;
/// The most legal moves with a weight in one policy.
pub const POLICY_MAX: usize = 16_384;
/// The largest canonical encoding of one game, in bytes.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// The longest name of a backend, in bytes.
pub const BACKEND_BYTES_MAX: usize = 128;
/// The most simulations of a decision, as in the settings.
pub const SIMULATIONS_MAX: u32 = 4096;

/// The kind of the frame of a game that says how it was played.
pub(crate) const KIND_GAME: u8 = 0x22;
/// The kind of the frame of a game that does not: an older build played it, or it is no self-play.
pub(crate) const KIND_GAME_BARE: u8 = 0x20;

/// A complete game from the empty board, with the decisions that training learns from.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct GameRecord {
    /// The [`rules::RULES_VERSION`] under which the game was played.
    pub rules_version: u32,
    /// The configuration, such as `hex8_2p`.
    pub config: ConfigKey,
    /// Whether the pie rule was on.
    pub swap: bool,
    /// Whether the game was tested for a winner only where a turn ends.
    pub turn_end: bool,
    /// The seed of the game's randomness: every random choice of self-play follows from it and from the moves
    /// before.
    pub seed: u64,
    /// Why the game was played.
    pub kind: GameKind,
    /// Who played. Person `i` starts behind seat `i`.
    pub players: Vec<Player>,
    /// Every step as `rules::Move::code`.
    pub moves: Vec<u32>,
    /// The steps that were searched, by ascending ply.
    pub decisions: Vec<Decision>,
    /// The winning seat, from 0. After a swap another person sits there.
    pub winner_seat: u8,
    /// The node that played it.
    pub node: NodeId,
    /// When the game ended, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How self-play made the decisions. It has a frame of its own kind, so a game without it keeps its
    /// bytes.
    #[serde(skip)]
    pub played: Option<Played>,
}

/// How self-play made the decisions of a game. With the seed, the moves and the model it is all that is
/// needed to make any of them again.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Played {
    /// Simulations of a full search.
    pub simulations: u32,
    /// The factor of the search's noise, and the temperature of what is drawn.
    pub exploration: f32,
    /// What computed it, by name. Two nodes that compute the same to the last bit have the same name.
    pub backend: String,
}

/// A game with how it was played, as it is encoded.
#[derive(Deserialize)]
struct PlayedGame {
    game: GameRecord,
    played: Played,
}

/// Why a game was played. The enum is append-only, because its order is the encoding.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GameKind {
    /// A game to learn from.
    Selfplay,
    /// A candidate played against the champion.
    Match,
    /// A model played against a fixed baseline.
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

/// Who made the choices of one person. The enum is append-only, because its order is the encoding.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Player {
    /// A model, named by the hash of its checkpoint.
    Model(ModelId),
    /// A player that chooses uniformly among the legal moves.
    Random,
    /// The heuristic that looks one step ahead.
    Heuristic,
}

/// What a search found at one step.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The index of the step in [`GameRecord::moves`].
    pub ply: u32,
    /// Pairs of an index into the legal moves and a weight above zero, by ascending index. If it is empty,
    /// the step teaches only the value.
    pub policy: Vec<(u16, u16)>,
}

/// Why a record is no valid game. A ply counts the steps from 0.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// The record cannot be encoded or decoded.
    #[error("unreadable game record")]
    Wire(#[from] WireError),
    /// The game was played under another version of the rules.
    #[error("played by rules version {found}, this is version {expected}")]
    RulesVersion {
        /// The version in the record.
        found: u32,
        /// The version of this build.
        expected: u32,
    },
    /// There is no such configuration.
    #[error("unknown configuration")]
    Config(#[from] rules::ConfigError),
    /// The number of players is not the number of seats.
    #[error("{found} players for {seats} seats")]
    Players {
        /// The number of players in the record.
        found: usize,
        /// The number of seats of the configuration.
        seats: u8,
    },
    /// The pie rule is on, but there are not two seats.
    #[error("the pie rule with {0} seats")]
    Swap(u8),
    /// The record has no moves, or more than [`MOVES_MAX`].
    #[error("{0} moves, expected 1 to {MOVES_MAX}")]
    Length(usize),
    /// The time in the record does not fit a database's signed integer.
    #[error("ended {0} ms after the epoch, which is no time")]
    Created(u64),
    /// A code is no move of any board.
    #[error("ply {ply}: {code:#010x} is no move")]
    Code { ply: u32, code: u32 },
    /// The rules do not allow a move.
    #[error("ply {ply}: illegal {kind:?} (code {code:#010x}) in phase {}", phase.as_str())]
    Illegal {
        ply: u32,
        kind: rules::MoveKind,
        code: u32,
        /// The phase in which it was played.
        phase: rules::Phase,
    },
    /// Moves follow after the end of the game.
    #[error("ply {ply}: the game is over, {left} moves follow")]
    AfterEnd {
        /// The first step after the end.
        ply: u32,
        /// The number of steps after the end.
        left: usize,
    },
    /// The moves end before the game does.
    #[error("unfinished after {plies} moves")]
    Unfinished {
        /// The number of steps.
        plies: u32,
    },
    /// The rules say that another seat won.
    #[error("seat {claimed} is said to have won, seat {actual} did (from 0)")]
    Winner {
        /// The winner in the record.
        claimed: u8,
        /// The winner by the rules.
        actual: u8,
    },
    /// Decisions are out of order, or two are about one step.
    #[error("ply {ply}: decision after that of ply {previous}")]
    DecisionOrder {
        /// The step of the decision.
        ply: u32,
        /// The step of the decision before it.
        previous: u32,
    },
    /// A decision is about a step that was not played.
    #[error("ply {ply}: decision in a game of {plies} moves")]
    DecisionPly {
        /// The step of the decision.
        ply: u32,
        /// The number of steps of the game.
        plies: usize,
    },
    /// A weight is for a move that does not exist.
    #[error("ply {ply}: weight for move {index} of {legal}")]
    PolicyIndex {
        ply: u32,
        /// The index into the legal moves.
        index: u16,
        /// The number of legal moves.
        legal: usize,
    },
    /// Indices are out of order or occur twice, or a weight is zero.
    #[error("ply {ply}: policy entry {entry} is out of order or has no weight")]
    PolicyEntry {
        ply: u32,
        /// The entry of the policy, from 0.
        entry: usize,
    },
    /// What a record says of how it was played is out of bounds.
    #[error("{0} out of bounds")]
    Played(&'static str),
    /// A policy has more weights than [`POLICY_MAX`].
    #[error("ply {ply}: {entries} weights, at most {POLICY_MAX} are allowed")]
    PolicyLength {
        ply: u32,
        /// The number of weights.
        entries: usize,
    },
}

impl RecordError {
    /// Whether the game may be sound for a program of another version.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::RulesVersion { .. }) || matches!(self, Self::Wire(error) if error.is_foreign())
    }
}

impl GameRecord {
    /// The canonical encoding. Equal records have equal bytes.
    ///
    /// # Errors
    /// [`RecordError::Wire`] for a record above [`RECORD_BYTES_MAX`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        Ok(match &self.played {
            Some(played) => wire::encode(KIND_GAME, &(self, played), RECORD_BYTES_MAX)?,
            None => wire::encode(KIND_GAME_BARE, self, RECORD_BYTES_MAX)?,
        })
    }

    /// Reads [`Self::to_bytes`] back. The game is not validated.
    ///
    /// # Errors
    /// [`RecordError::Wire`] for anything that is no encoded record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        if wire::kind(bytes) == Some(KIND_GAME_BARE) {
            return Ok(wire::decode::<Self, RECORD_BYTES_MAX>(KIND_GAME_BARE, bytes)?);
        }
        let PlayedGame { game, played } = wire::decode::<_, RECORD_BYTES_MAX>(KIND_GAME, bytes)?;
        Ok(Self { played: Some(played), ..game })
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
            players: vec![Player::Model(ModelId(Hash([7; 32]))), Player::Random, Player::Heuristic],
            moves: vec![3, 4],
            decisions: vec![Decision { ply: 1, policy: vec![(5, 6)] }],
            winner_seat: 1,
            node: NodeId(8),
            created_ms: 9,
            played: None,
        }
    }

    #[test]
    fn golden_bytes() {
        let played = Played { simulations: 10, exploration: 1.5, backend: "cpu".into() };
        let record = |played: Option<&Played>| GameRecord { played: played.cloned(), ..record() };
        for (record, golden) in [(record(None), GOLDEN_BARE), (record(Some(&played)), GOLDEN)] {
            let bytes = record.to_bytes().unwrap();
            assert_eq!(hex::encode(&bytes), golden);
            assert_eq!(GameRecord::from_bytes(&bytes).unwrap(), record);
            assert_eq!(record.id(), Hash::of(&bytes));
        }
    }

    const GOLDEN: &str = "52520122a1000000010000000700000000000000686578385f327001000200000000000000020000\
        00030000000000000000000000070707070707070707070707070707070707070707070707070707\
        07070707070100000002000000020000000000000003000000040000000100000000000000010000\
        0001000000000000000500060001080000000000000009000000000000000a0000000000c03f0300\
        0000000000006370758d99127e";
    const GOLDEN_BARE: &str = "525201208e000000010000000700000000000000686578385f327001000200000000000000020000\
        00030000000000000000000000070707070707070707070707070707070707070707070707070707\
        07070707070100000002000000020000000000000003000000040000000100000000000000010000\
        0001000000000000000500060001080000000000000009000000000000007c5627ec";
}
