//! Replays recorded games (docs/rules.md, section 17) and reports the first disagreement.
//!
//! Invariant: the input may be hostile, so the length of a line is bounded, and a line that cannot be read is
//! an error, not a disagreement.

use std::fmt;
use std::io::{self, BufRead, Read};

use crate::board::{Board, ConfigError, Options, Victory};
use crate::moves::Move;
use crate::parse::NotationError;
use crate::state::State;
use crate::topology::Topology;
use crate::with_board;

mod record;

use record::{Game, Step};

/// The longest line that is read. The longest recorded game takes 4 MB.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// What was replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Games replayed to their end without a mismatch.
    pub games: u64,
    /// Steps replayed without a mismatch, those of an unfinished game included.
    pub steps: u64,
    /// The first disagreement, at which the replay stops.
    pub mismatch: Option<Mismatch>,
}

/// Where rules and record disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The line of the file, from 1.
    pub line: u64,
    /// The step of the game, from 1; 0 for its initial position, one past the last for its end.
    pub step: usize,
    /// What differs.
    pub what: Difference,
    /// What the record says.
    pub expected: String,
    /// What these rules say.
    pub found: String,
    /// The position before the step.
    pub position: String,
    /// The move of the step, if there is one.
    pub played: Option<String>,
}

/// What differs between the rules and a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The initial position, read and printed.
    Init,
    /// The seat to move.
    Seat,
    /// The phase.
    Phase,
    /// The number of legal moves.
    LegalCount,
    /// The hash of the legal moves.
    LegalHash,
    /// The list of legal moves: `expected` has those that are missing here, `found` those that are too many.
    LegalMoves,
    /// The move played is not legal.
    Move,
    /// The position after the move.
    State,
    /// The hash of the position after the move.
    StateHash,
    /// The number of steps.
    Steps,
    /// Whether the game is over, and how it ended.
    Outcome,
}

impl Difference {
    /// A few words for people, and for the JSON report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "initial position",
            Self::Seat => "seat to move",
            Self::Phase => "phase",
            Self::LegalCount => "number of legal moves",
            Self::LegalHash => "hash of the legal moves",
            Self::LegalMoves => "legal moves",
            Self::Move => "move played",
            Self::State => "position after the move",
            Self::StateHash => "hash of the position after the move",
            Self::Steps => "number of steps",
            Self::Outcome => "outcome",
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "line {}, step {}: {} differs", self.line, self.step, self.what.as_str())?;
        writeln!(f, "  expected {}", self.expected)?;
        writeln!(f, "  found    {}", self.found)?;
        write!(f, "  position {}", self.position)?;
        match &self.played {
            Some(played) => write!(f, "\n  move     {played}"),
            None => Ok(()),
        }
    }
}

/// Why a trace could not be replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The input could not be read.
    #[error("cannot read line {line}")]
    Read {
        /// The number of the line, from 1.
        line: u64,
        /// What the reader answered.
        source: io::Error,
    },
    /// A line is longer than 64 MiB.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong {
        /// The number of the line, from 1.
        line: u64,
    },
    /// A line is not a game record as JSON.
    #[error("line {line} is not a game record")]
    Json {
        /// The number of the line, from 1.
        line: u64,
        /// What the JSON parser met.
        source: serde_json::Error,
    },
    /// A record has another version of the format than 1.
    #[error("line {line} has format version {version}, expected 1")]
    Version {
        /// The number of the line, from 1.
        line: u64,
        /// The version that the record names.
        version: u64,
    },
    /// A record names a board that does not exist.
    #[error("line {line} names an unknown configuration")]
    Config {
        /// The number of the line, from 1.
        line: u64,
        /// The name that is no board.
        source: ConfigError,
    },
    /// A victory timing or an end that does not exist.
    #[error("line {line} has an unknown {what}: {value:?}")]
    Value {
        /// The number of the line, from 1.
        line: u64,
        /// The name of the field.
        what: &'static str,
        /// The first 40 characters of its value.
        value: String,
    },
    /// The initial position cannot be read.
    #[error("line {line} starts from a position that cannot be read")]
    Init {
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with the position.
        source: NotationError,
    },
    /// The input holds no game.
    #[error("no game in the input")]
    Empty,
}

/// FNV-1a with 64 bits, the hash of the format.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// Replays a file with one game per line, until its end or the first mismatch. `progress` is called after
/// every game.
///
/// # Errors
/// [`TraceError`] for a line that cannot be read; the report about the games before it is lost.
pub fn check(
    mut input: impl BufRead,
    mut progress: impl FnMut(&ReplayReport),
) -> Result<ReplayReport, TraceError> {
    let mut report = ReplayReport::default();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let mut limited = (&mut input).take(LINE_BYTES_MAX + 1);
        let read =
            limited.read_until(b'\n', &mut bytes).map_err(|source| TraceError::Read { line, source })?;
        if read as u64 > LINE_BYTES_MAX {
            return Err(TraceError::LineTooLong { line });
        }
        if read == 0 {
            break;
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let game: Game =
            serde_json::from_slice(&bytes).map_err(|source| TraceError::Json { line, source })?;
        let (steps, mismatch) = replay(line, &game)?;
        report.steps += steps;
        if mismatch.is_some() {
            report.mismatch = mismatch;
            return Ok(report);
        }
        report.games += 1;
        progress(&report);
    }
    if report.games == 0 { Err(TraceError::Empty) } else { Ok(report) }
}

fn replay(line: u64, game: &Game) -> Result<(u64, Option<Mismatch>), TraceError> {
    if game.v != 1 {
        return Err(TraceError::Version { line, version: game.v });
    }
    let board: Board = game.board.parse().map_err(|source| TraceError::Config { line, source })?;
    let victory = match game.victory.as_ref() {
        "every_move" => Victory::EveryMove,
        "turn_end" => Victory::TurnEnd,
        other => {
            return Err(TraceError::Value { line, what: "victory", value: other.chars().take(40).collect() });
        }
    };
    let options = Options { swap: game.swap, victory };
    with_board!(board, T => Replay::<T>::start(line, game, options).map(Replay::run))
}

/// One game on its way.
struct Replay<'a, T: Topology> {
    line: u64,
    game: &'a Game<'a>,
    state: State<T>,
    step: usize,
    played: Option<&'a str>,
    legal: Vec<Move>,
    listing: Listing,
}

/// The texts of the legal moves, sorted.
#[derive(Default)]
struct Listing {
    text: String,
    /// Ends of the texts within `text`, and the moves.
    items: Vec<(u32, u32, Move)>,
    joined: Vec<u8>,
}

impl Listing {
    fn fill<T: Topology>(&mut self, state: &State<T>, legal: &[Move]) {
        self.text.clear();
        self.items.clear();
        for &mv in legal {
            let start = self.text.len() as u32;
            state.write_move(&mut self.text, mv);
            self.items.push((start, self.text.len() as u32, mv));
        }
        let text = self.text.as_bytes();
        self.items.sort_unstable_by_key(|&(start, end, _)| &text[start as usize..end as usize]);
        self.joined.clear();
        for (i, &(start, end, _)) in self.items.iter().enumerate() {
            if i > 0 {
                self.joined.push(b'\n');
            }
            self.joined.extend_from_slice(&text[start as usize..end as usize]);
        }
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|&(start, end, _)| &self.text[start as usize..end as usize])
    }

    fn find(&self, text: &str) -> Option<Move> {
        let bytes = self.text.as_bytes();
        let key = |&(start, end, _): &(u32, u32, Move)| &bytes[start as usize..end as usize];
        let at = self.items.binary_search_by_key(&text.as_bytes(), key).ok()?;
        Some(self.items[at].2)
    }
}

type Checked = Result<(), Box<Mismatch>>;

impl<'a, T: Topology> Replay<'a, T> {
    fn start(line: u64, game: &'a Game<'a>, options: Options) -> Result<Self, TraceError> {
        let state = State::parse(game.players, options, &game.init)
            .map_err(|source| TraceError::Init { line, source })?;
        let (legal, listing) = (Vec::new(), Listing::default());
        Ok(Self { line, game, state, step: 0, played: None, legal, listing })
    }

    /// The number of steps that agree, and the first that does not.
    fn run(mut self) -> (u64, Option<Mismatch>) {
        for (i, step) in self.game.steps.iter().enumerate() {
            self.step = i + 1;
            self.played = Some(&step.played);
            if let Err(mismatch) = self.take(step) {
                return (i as u64, Some(*mismatch));
            }
        }
        self.step = self.game.steps.len() + 1;
        self.played = None;
        (self.game.steps.len() as u64, self.end().err().map(|mismatch| *mismatch))
    }

    fn expect(&self, what: Difference, expected: &dyn ToString, found: &dyn ToString) -> Checked {
        let (expected, found) = (expected.to_string(), found.to_string());
        if expected == found {
            return Ok(());
        }
        let (line, step, position) = (self.line, self.step, self.state.to_string());
        let played = self.played.map(str::to_owned);
        Err(Box::new(Mismatch { line, step, what, expected, found, position, played }))
    }

    fn take(&mut self, step: &Step) -> Checked {
        if let Some(seat) = step.seat {
            self.expect(Difference::Seat, &seat, &(self.state.seat() + 1))?;
        }
        if let Some(phase) = &step.phase {
            self.expect(Difference::Phase, phase, &self.state.phase().as_str())?;
        }
        self.state.legal(&mut self.legal);
        self.listing.fill(&self.state, &self.legal);
        self.check_legal(step)?;
        let Some(mv) = self.listing.find(&step.played) else {
            return self.expect(Difference::Move, &step.played, &"not a legal move");
        };
        let mut next = self.state;
        next.apply(mv);
        let text = next.to_string();
        if let Some(state) = &step.state {
            self.expect(Difference::State, state, &text)?;
        }
        if step.state_hash != fnv1a(text.as_bytes()) {
            let expected = format!("{:016x}", step.state_hash);
            let found = format!("{:016x} {text}", fnv1a(text.as_bytes()));
            return self.expect(Difference::StateHash, &expected, &found);
        }
        self.state = next;
        Ok(())
    }

    fn check_legal(&self, step: &Step) -> Checked {
        if let Some(recorded) = &step.legal
            && !self.listing.texts().eq(recorded.iter().map(AsRef::as_ref))
        {
            let found: Vec<&str> = self.listing.texts().collect();
            let recorded: Vec<&str> = recorded.iter().map(AsRef::as_ref).collect();
            let beyond = |a: &[&str], b: &[&str]| {
                a.iter().filter(|text| !b.contains(text)).copied().collect::<Vec<_>>().join(" ")
            };
            let (missing, extra) = (beyond(&recorded, &found), beyond(&found, &recorded));
            self.expect(Difference::LegalMoves, &format!("also [{missing}]"), &format!("also [{extra}]"))?;
        }
        let found = self.listing.items.len() as u64;
        if step.count != found {
            let all: Vec<&str> = self.listing.texts().take(200).collect();
            self.expect(Difference::LegalCount, &step.count, &format!("{found}: {}", all.join(" ")))?;
        }
        let hash = fnv1a(&self.listing.joined);
        if step.legal_hash != hash {
            let all: Vec<&str> = self.listing.texts().take(200).collect();
            let found = format!("{hash:016x}: {}", all.join(" "));
            self.expect(Difference::LegalHash, &format!("{:016x}", step.legal_hash), &found)?;
        }
        Ok(())
    }

    fn end(&self) -> Checked {
        let end = &self.game.end;
        self.expect(Difference::Steps, &end.steps, &self.game.steps.len())?;
        if let Some(state) = &end.state {
            self.expect(Difference::State, state, &self.state)?;
        }
        let found = match self.state.outcome() {
            Some(outcome) => format!("over {} {}", outcome.winner + 1, outcome.reason.as_str()),
            None => "truncated".to_owned(),
        };
        let expected = match (end.status.as_ref(), end.winner, &end.reason) {
            ("over", Some(winner), Some(reason)) => format!("over {winner} {reason}"),
            (status, _, _) => status.to_owned(),
        };
        self.expect(Difference::Outcome, &expected, &found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAME: &str = r#"{"v":1,"board":"square8","players":2,"swap":false,"victory":"every_move","policy":"x",
        "seed":0,"init":"place p=1|h0e0t0|h0e0t0|S 0,0:1 7,7:2|M |C |L f=0 m= x=0 n=0","steps":[
        {"p":1,"ph":"place","n":1,"legal":["NP"],"lh":"09201c07b5b50533","m":"NP",
        "state":"move p=1|h0e0t0|h0e0t0|S 0,0:1 7,7:2|M |C |L f=0 m= x=0 n=0","sh":"HASH"}],
        "end":{"status":"truncated","steps":1}}"#;

    fn game() -> String {
        let state = "move p=1|h0e0t0|h0e0t0|S 0,0:1 7,7:2|M |C |L f=0 m= x=0 n=0";
        GAME.replace("HASH", &format!("{:016x}", fnv1a(state.as_bytes()))).replace('\n', "")
    }

    fn run(text: &str) -> Result<ReplayReport, TraceError> {
        check(text.as_bytes(), |_| {})
    }

    #[test]
    fn hash_of_the_format() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn agreement_is_counted() {
        let two = format!("{}\n\n{}", game(), game());
        assert_eq!(run(&two).unwrap(), ReplayReport { games: 2, steps: 2, mismatch: None });
    }

    #[test]
    fn disagreement_is_told_with_both_values() {
        let table = [
            (r#""p":1"#, r#""p":2"#, Difference::Seat, "2", "1"),
            (r#""ph":"place""#, r#""ph":"line""#, Difference::Phase, "line", "place"),
            (r#"["NP"]"#, r#"["SP"]"#, Difference::LegalMoves, "also [SP]", "also [NP]"),
            (r#""n":1"#, r#""n":3"#, Difference::LegalCount, "3", "1: NP"),
            (r#""m":"NP""#, r#""m":"SP""#, Difference::Move, "SP", "not a legal move"),
            (r#""steps":1"#, r#""steps":2"#, Difference::Steps, "2", "1"),
            ("truncated", "over", Difference::Outcome, "over", "truncated"),
        ];
        for (from, to, what, expected, found) in table {
            let text = format!("{}\n{}", game(), game().replacen(from, to, 1));
            let report = run(&text).unwrap();
            let mismatch = report.mismatch.unwrap();
            assert_eq!((mismatch.line, mismatch.what), (2, what));
            assert_eq!((mismatch.expected.as_str(), mismatch.found.as_str()), (expected, found));
            assert_eq!(report.games, 1);
        }
        let wrong = game().replace("09201c07b5b50533", "09201c07b5b50534");
        assert_eq!(run(&wrong).unwrap().mismatch.unwrap().what, Difference::LegalHash);
    }

    #[test]
    fn unreadable_input_is_an_error() {
        assert!(matches!(run(""), Err(TraceError::Empty)));
        assert!(matches!(run("{"), Err(TraceError::Json { line: 1, .. })));
        assert!(matches!(run(&game().replace("\"v\":1", "\"v\":2")), Err(TraceError::Version { .. })));
        assert!(matches!(run(&game().replace("square8", "cube")), Err(TraceError::Config { .. })));
        assert!(matches!(run(&game().replace("every_move", "never")), Err(TraceError::Value { .. })));
        assert!(matches!(run(&game().replace("0,0:1", "0,9:1")), Err(TraceError::Init { .. })));
        assert!(matches!(run(&game().replace("09201c07", "0920")), Err(TraceError::Json { .. })));
        assert!(matches!(check(&b"\xff\xfe\n"[..], |_| {}), Err(TraceError::Json { .. })));
    }
}
