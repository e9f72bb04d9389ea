//! Recorded games, replayed by the rules on a device.
//!
//! Invariant: a record is hostile. What cannot be read is an error that names its line, and no move is
//! played that the host's rules do not list.

use crate::device::Device;
use crate::device::trial::comparison::Comparison;
use crate::proof::referee::{CheckError, Checked, Referee};
use rules::{Board, Options, State, Topology, Victory, with_board};
use serde::Deserialize;
use serde_json::Value;
use std::io::{BufRead, Read as _};

/// The longest line that is read; the longest game that is kept has 4 MB.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Characters that are shown of something wrong in a record.
const EXCERPT: usize = 40;

/// What of a game's record is needed to replay it.
#[derive(Deserialize)]
struct RecordedGame {
    board: String,
    players: u8,
    swap: bool,
    victory: String,
    init: String,
    /// With the move in `m`, or first of all.
    steps: Vec<Value>,
}

/// Why recorded games were not replayed to their end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordedError {
    /// The file cannot be read.
    #[error("line {line} cannot be read: {source}")]
    Read {
        /// Number of the line, from 1.
        line: u64,
        source: std::io::Error,
    },
    /// The line is no game, or a game against the rules of the host.
    #[error("line {line}: {what}")]
    Record {
        /// Number of the line, from 1.
        line: u64,
        what: String,
    },
    /// The device plays by other rules, or failed.
    #[error("line {line}: {source}")]
    Rules {
        /// Number of the line, from 1.
        line: u64,
        source: CheckError,
    },
}

/// Replays games as [`replay`] does, and says what came of it. A file without a game proves nothing, so it is
/// wrong.
pub(crate) fn compare<D: Device>(
    device: &D,
    name: &str,
    input: impl BufRead,
    games_max: usize,
) -> Comparison {
    let what = format!("recorded games of {name}");
    match replay(device, input, games_max) {
        Ok(Checked { games: 0, .. }) => Comparison::failed(what, &"no game"),
        Ok(Checked { games, steps }) => {
            let compared = usize::try_from(steps).unwrap_or(usize::MAX);
            let what = format!("{games} {what}");
            Comparison { what, compared, tolerance: None, worst: None, wrong: None }
        }
        Err(error) => Comparison::failed(what, &error),
    }
}

/// Replays the first `games_max` games of a file of one game a line:
/// legal moves, next positions, step by step.
///
/// # Errors
/// [`RecordedError`] at the first line with something wrong.
pub(crate) fn replay<D: Device>(
    device: &D,
    mut input: impl BufRead,
    games_max: usize,
) -> Result<Checked, RecordedError> {
    let (mut checked, mut bytes) = (Checked::default(), Vec::new());
    let mut line = 0;
    while checked.games < games_max as u64 {
        line += 1;
        bytes.clear();
        let mut limited = (&mut input).take(LINE_BYTES_MAX + 1);
        let read =
            limited.read_until(b'\n', &mut bytes).map_err(|source| RecordedError::Read { line, source })?;
        let wrong = |what: String| RecordedError::Record { line, what };
        if read == 0 {
            break;
        }
        if read as u64 > LINE_BYTES_MAX {
            return Err(wrong(format!("more than {LINE_BYTES_MAX} bytes")));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let game: RecordedGame = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let board: Board = game.board.parse().map_err(|error| wrong(format!("{error}")))?;
        checked.steps += with_board!(board, T => replay_one::<D, T>(device, line, &game))?;
        checked.games += 1;
    }
    Ok(checked)
}

fn replay_one<D: Device, T: Topology>(
    device: &D,
    line: u64,
    game: &RecordedGame,
) -> Result<u64, RecordedError> {
    let wrong = |what: String| RecordedError::Record { line, what };
    let rules = |source: CheckError| RecordedError::Rules { line, source };
    let victory = match game.victory.as_str() {
        "every_move" => Victory::EveryMove,
        "turn_end" => Victory::TurnEnd,
        other => return Err(wrong(format!("{:?} is no victory timing", excerpt(other)))),
    };
    if !(2..=4).contains(&game.players) {
        return Err(wrong(format!("{} seats", game.players)));
    }
    let options = Options { swap: game.swap, victory };
    let start = State::<T>::parse(game.players, options, &game.init);
    let mut state = start.map_err(|error| wrong(format!("its first position: {error}")))?;
    let mut referee = Referee::<_, T>::new(device, 0);
    let mut legal = Vec::new();
    for (i, step) in game.steps.iter().enumerate() {
        let text = step.get("m").or_else(|| step.get(0)).and_then(Value::as_str);
        let text = text.ok_or_else(|| wrong(format!("step {i} has no move")))?;
        state.legal(&mut legal);
        let mv = state.parse_move(text).ok().filter(|mv| legal.contains(mv));
        let mv = mv.ok_or_else(|| wrong(format!("step {i}: {:?} is not legal", excerpt(text))))?;
        referee.step(&state, mv).map_err(rules)?;
        state.apply(mv);
    }
    Ok(referee.finish().map_err(rules)?.steps)
}

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).collect()
}
