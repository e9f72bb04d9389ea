//! `ringrift engine`: offers the game and its players to other programs, line by line.
//!
//! Invariant: the engine answers every line with exactly one line, in order. An `error` line changes nothing.
//! Only `quit` and the end of input end the engine.

use super::players;
use crate::{
    learner::arena::Contestant,
    search::{Judged, Search, SearchSettings, heuristic, random},
};
use ::rules::{Board, Config, Move, Options, State, playout::Choices, with_board};
use anyhow::Context;
use std::{
    io::{self, BufRead, Read, Write},
    process::ExitCode,
};

/// Bytes of the longest line: a position of 64 KiB and its command.
const LINE_MAX: usize = (64 << 10) + 64;
/// Most simulations of one `go`.
const NODES_MAX: u32 = 10_000;

/// Play and check the rules line by line, for other programs.
///
/// Reads commands from standard input and answers each with one line on standard output. Moves and positions
/// are written as in the recorded games (docs/rules.md, sections 15 and 16). The engine starts with a new
/// game of hex8_2p.
#[derive(Debug, clap::Args)]
#[command(after_long_help = PROTOCOL)]
pub(super) struct Args {}

const PROTOCOL: &str = "\
Commands and their answers:
  new CONFIG             state STATE         a new game, such as hex8_2p; two seats have the pie rule
  set STATE              state STATE         a position of the same board and number of seats
  legal                  legal N MOVE...     the number of legal moves, then the moves
  play MOVE              state STATE         plays a legal move
  state                  state STATE         the position
  go NODES [PLAYER] [SEED]
                         move MOVE [value V... nodes N]
                                             the move that PLAYER would play; it is not played
  quit                   (none)              ends the engine with status 0, as does the end of input
  anything else          error MESSAGE       nothing changes

PLAYER is `heuristic` (one step ahead; the default), `random`, or the path of a model, without blanks. A model searches
with NODES simulations (1 to 10000), the others ignore NODES. SEED is a whole number: it seeds `random` (0 if left out)
and makes the search of a model noisy; without it a model plays its best. With a model, V... are the chances of the
people behind seats 1, 2, ... to win after the move and N counts the simulations; a forced move has neither.

A finished game has a state that begins with `over`, 0 legal moves, and no answer to `go` but an error. Lines are at most
65600 bytes long. Empty lines are errors.

Example (lines after > are typed):
  > new hex8_2p
  state place p=1|h18e0t0|h18e0t0|S |M |C |L f=0 m= x=0 n=0
  > play P:0,0*1
  state move p=1 must=0,0 acted=1|h17e0t0|h18e0t0|S 0,0:1|M |C |L f=0 m= x=0 n=0
  > go 1 random 7
  move M:0,0>0,-2
  > play M:0,0>9,9
  error not a move: \"M:0,0>9,9\"
  > quit
";

pub(super) fn run(_: &Args) -> anyhow::Result<ExitCode> {
    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    match serve(&mut input, &mut output) {
        // The program that asked has ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => result.context("the other program cannot be talked to").map(|()| ExitCode::SUCCESS),
    }
}

pub(crate) fn serve(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    let mut engine = Engine::new();
    let mut line = Vec::new();
    loop {
        let answer = match read_line(input, &mut line)? {
            Line::End => return Ok(()),
            Line::TooLong => Err(format!("a line of more than {LINE_MAX} bytes")),
            Line::Complete => match std::str::from_utf8(&line).map(str::trim) {
                Ok("quit") => return Ok(()),
                Ok(text) => engine.answer(text),
                Err(_) => Err("not UTF-8".to_owned()),
            },
        };
        match answer {
            Ok(text) => writeln!(output, "{text}")?,
            // The answer stays one line, whatever a message quotes.
            Err(message) => writeln!(output, "error {}", message.replace(char::is_control, " "))?,
        }
        output.flush()?;
    }
}

#[derive(Debug, PartialEq)]
enum Line {
    Complete,
    TooLong,
    End,
}

/// Reads a line without its end. Of a line that is too long, nothing is kept.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let limit = LINE_MAX as u64 + 1;
    if input.by_ref().take(limit).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Line::Complete);
    }
    if line.len() <= LINE_MAX {
        return Ok(Line::Complete); // the end of input without a line end
    }
    line.clear();
    loop {
        let buffer = input.fill_buf()?;
        let (used, found) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(i) => (i + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if found {
            return Ok(Line::TooLong);
        }
    }
}

/// The answer to a command: a line, or what is wrong.
type Answer = Result<String, String>;

struct Engine {
    table: Box<dyn Table>,
    /// The player of the last `go`, kept so that a model is read only once.
    player: Option<(String, Contestant)>,
    board: Board,
}

impl Engine {
    fn new() -> Self {
        let board = Board::Hex8;
        Self { table: table(Config { board, seats: 2 }), player: None, board }
    }

    fn answer(&mut self, line: &str) -> Answer {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        let alone = |answer: String| if rest.is_empty() { Ok(answer) } else { Err(unknown(line)) };
        match command {
            "new" => {
                let config = rest.parse::<Config>().map_err(|error| error.to_string())?;
                // A model that was read for the other board may not fit this one.
                self.player = self.player.take().filter(|_| self.board == config.board);
                (self.table, self.board) = (table(config), config.board);
                Ok(self.state())
            }
            "set" => self.table.set(rest).map(|()| self.state()),
            "play" => self.table.play(rest).map(|()| self.state()),
            "legal" => alone(self.table.legal()),
            "state" => alone(self.state()),
            "go" => self.go(rest),
            _ => Err(unknown(line)),
        }
    }

    fn state(&self) -> String {
        format!("state {}", self.table.text())
    }

    fn go(&mut self, rest: &str) -> Answer {
        const USAGE: &str = "expected: go NODES [MODEL|heuristic|random] [SEED]";
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (nodes, name, seed) = match words[..] {
            [nodes] => (nodes, None, None),
            [nodes, last] if last.parse::<u64>().is_ok() => (nodes, None, Some(last)),
            [nodes, name] => (nodes, Some(name), None),
            [nodes, name, seed] => (nodes, Some(name), Some(seed)),
            _ => return Err(USAGE.to_owned()),
        };
        let nodes = nodes.parse().ok().filter(|nodes| (1..=NODES_MAX).contains(nodes));
        let nodes = nodes.ok_or_else(|| format!("NODES is a number from 1 to {NODES_MAX}"))?;
        let seed =
            seed.map(|seed| seed.parse().map_err(|_| "SEED is a number from 0 to 2^64 - 1".to_owned()));
        let seed = seed.transpose()?;
        let name = name.unwrap_or("heuristic");
        if self.player.as_ref().is_none_or(|(last, _)| last != name) {
            let player = players::player(name, self.board).map_err(|error| format!("{error:#}"))?;
            self.player = Some((name.to_owned(), player));
        }
        let (_, player) = self.player.as_mut().ok_or(USAGE)?;
        self.table.go(player, nodes, seed)
    }
}

fn unknown(line: &str) -> String {
    let excerpt: String = line.chars().take(40).collect();
    format!("no command: {excerpt:?}, expected new, set, legal, play, go, state or quit")
}

/// A [`Session`] on any board.
trait Table {
    fn set(&mut self, text: &str) -> Result<(), String>;
    fn play(&mut self, text: &str) -> Result<(), String>;
    fn legal(&mut self) -> String;
    fn text(&self) -> String;
    fn go(&mut self, player: &mut Contestant, nodes: u32, seed: Option<u64>) -> Answer;
}

fn table(config: Config) -> Box<dyn Table> {
    let options = Options { swap: config.seats == 2, ..Options::default() };
    with_board!(config.board, T => Box::new(Session { state: State::<T>::new(config.seats, options), legal: Vec::new() }))
}

struct Session<T: Judged> {
    state: State<T>,
    legal: Vec<Move>,
}

impl<T: Judged> Table for Session<T> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        let parsed = State::parse(self.state.seats(), self.state.options(), text);
        self.state = parsed.map_err(|error| error.to_string())?;
        Ok(())
    }

    fn play(&mut self, text: &str) -> Result<(), String> {
        let mv = self.state.parse_move(text).map_err(|error| error.to_string())?;
        self.state.try_apply(mv).map_err(|error| error.to_string())
    }

    fn legal(&mut self) -> String {
        self.state.legal(&mut self.legal);
        let mut text = format!("legal {}", self.legal.len());
        for &mv in &self.legal {
            text.push(' ');
            self.state.write_move(&mut text, mv);
        }
        text
    }

    fn text(&self) -> String {
        self.state.to_string()
    }

    fn go(&mut self, player: &mut Contestant, nodes: u32, seed: Option<u64>) -> Answer {
        self.state.legal(&mut self.legal);
        if self.legal.is_empty() {
            return Err("the game is over".to_owned());
        }
        let mut choices = Choices::new(seed.unwrap_or(0));
        let named = |i: usize| format!("move {}", self.state.move_text(self.legal[i]));
        let model = match player {
            Contestant::Random => return Ok(named(random(&self.legal, &mut choices))),
            Contestant::Heuristic => return Ok(named(heuristic::choose(&self.state, &self.legal))),
            Contestant::Model(model) => model,
        };
        let mut search = Search::new(SearchSettings::default());
        let noise = seed.is_some().then_some(&mut choices);
        search.start(&self.state, nodes, noise).map_err(|error| error.to_string())?;
        while let Some(query) = search.query() {
            let evaluation = T::evaluator(&mut *model.evaluator).evaluate(&[query]).pop().unwrap_or_default();
            search.answer(&evaluation).map_err(|error| error.to_string())?;
        }
        let mut text = named(search.best());
        if let Some(value) = search.value() {
            text.push_str(" value");
            for chance in &value[..usize::from(self.state.seats())] {
                text.push_str(&format!(" {chance:.4}"));
            }
            text.push_str(&format!(" nodes {}", search.visits().sum::<u32>()));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{learner::arena::ModelPlayer, search::Uniform};
    use cluster_state::ModelId;
    use wire::Hash;

    fn talk(lines: &[u8]) -> Vec<String> {
        let mut output = Vec::new();
        // The buffer is small, so that lines arrive in parts.
        serve(&mut io::BufReader::with_capacity(16, lines), &mut output).unwrap();
        String::from_utf8(output).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_example_of_the_help_is_true() {
        let example = PROTOCOL.split_once("Example").unwrap().1;
        let (mut typed, mut expected) = (String::new(), Vec::new());
        for line in example.lines().skip(1).map(str::trim_start) {
            match line.strip_prefix("> ") {
                Some(command) => typed.extend([command, "\n"]),
                None => expected.push(line.to_owned()),
            }
        }
        assert_eq!(talk(typed.as_bytes()), expected);
    }

    #[test]
    fn lines_are_bounded() {
        let mut lines = vec![b'x'; LINE_MAX * 3];
        lines.extend(b"\nstate\n");
        let answers = talk(&lines);
        assert_eq!(answers.len(), 2);
        assert!(answers[0].starts_with("error a line of more than"), "{}", answers[0]);
        assert!(answers[1].starts_with("state place"));
        assert_eq!(talk(&vec![b'x'; LINE_MAX * 3]).len(), 1);
        assert!(talk(&vec![b'x'; LINE_MAX])[0].starts_with("error no command"));
    }

    #[test]
    fn a_model_searches() {
        let mut engine = Engine::new();
        let model = ModelPlayer { hash: ModelId(Hash::of(b"m")), evaluator: Box::new(Uniform) };
        engine.player = Some(("m".to_owned(), Contestant::Model(model)));
        let answer = engine.answer("go 16 m").unwrap();
        assert!(answer.starts_with("move P:"), "{answer}");
        assert!(answer.ends_with("value 0.5000 0.5000 nodes 16"), "{answer}");
        assert_eq!(engine.answer("go 16 m").unwrap(), answer);
        assert_eq!(engine.answer("go 16 m 5").unwrap(), engine.answer("go 16 m 5").unwrap());
        engine.answer("play P:0,0*1").unwrap();
        engine.answer("play M:0,0>1,0").unwrap();
        assert_eq!(engine.answer("go 16 m").unwrap(), "move NL", "a forced move needs no search");
    }
}
