//! What is fixed before a game starts: the board, the number of seats, the options.
//!
//! Invariant: every number of the rules that depends on board and seats stands here and nowhere else
//! (docs/rules.md, section 1).

use std::fmt;
use std::str::FromStr;

/// A cell as a dense index, `0..CELLS`, in cell order: by x, then by y.
pub type Cell = u16;

/// This value stands for "no cell" wherever a [`Cell`] is stored. It is larger than every cell and fits nine
/// bits.
pub const NONE_CELL: Cell = 511;

/// The largest number of seats.
pub const SEATS_MAX: usize = 4;

/// One of the four boards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Board {
    /// 8 x 8 cells.
    Square8,
    /// 19 x 19 cells.
    Square19,
    /// A hexagon of radius 4: 61 cells.
    Hex8,
    /// A hexagon of radius 12: 469 cells.
    Hexagonal,
}

/// A name that is no board, or no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no board of this name.
    #[error("unknown board {0:?}, expected square8, square19, hex8 or hexagonal")]
    Board(String),
    /// The game is not played with this number of seats.
    #[error("{0} seats, expected 2 to 4")]
    Seats(u64),
    /// The text does not have the form `<board>_<seats>p`.
    #[error("unknown configuration {0:?}, expected something like hex8_2p")]
    Key(String),
}

/// The first 40 characters of a name that anybody may have sent, for an error message.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

impl Board {
    /// All boards, from the fewest cells to the most.
    pub const ALL: [Self; 4] = [Self::Hex8, Self::Square8, Self::Square19, Self::Hexagonal];

    /// The board's name, as in traces and file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Square8 => "square8",
            Self::Square19 => "square19",
            Self::Hex8 => "hex8",
            Self::Hexagonal => "hexagonal",
        }
    }

    /// Number of cells.
    pub const fn cells(self) -> usize {
        match self {
            Self::Square8 => 64,
            Self::Square19 => 361,
            Self::Hex8 => 61,
            Self::Hexagonal => 469,
        }
    }

    /// Whether the cells are hexagons.
    pub const fn is_hex(self) -> bool {
        match self {
            Self::Square8 | Self::Square19 => false,
            Self::Hex8 | Self::Hexagonal => true,
        }
    }

    /// The rings with which each seat starts, which is also the most that it may have on the board.
    pub const fn supply(self) -> u16 {
        match self {
            Self::Square8 | Self::Hex8 => 18,
            Self::Square19 => 72,
            Self::Hexagonal => 96,
        }
    }

    /// The shortest run that a recovery slide is carried out with, whatever the number of seats
    /// (docs/rules.md, finding 6).
    pub(crate) const fn base_line(self) -> usize {
        match self {
            Self::Square8 => 3,
            Self::Square19 | Self::Hex8 | Self::Hexagonal => 4,
        }
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Board {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::ALL
            .into_iter()
            .find(|board| board.as_str() == text)
            .ok_or_else(|| ConfigError::Board(excerpt(text)))
    }
}

/// A board and a number of seats. Each model is trained for one configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Config {
    /// The board.
    pub board: Board,
    /// Number of seats, 2 to 4.
    pub seats: u8,
}

impl Config {
    /// Checks the number of seats.
    ///
    /// # Errors
    /// [`ConfigError::Seats`] unless there are 2 to 4.
    pub fn new(board: Board, seats: u8) -> Result<Self, ConfigError> {
        if (2..=4).contains(&seats) {
            Ok(Self { board, seats })
        } else {
            Err(ConfigError::Seats(u64::from(seats)))
        }
    }

    /// All twelve configurations, in the order of [`Board::ALL`].
    pub fn all() -> Vec<Self> {
        Board::ALL.into_iter().flat_map(|board| (2..=4).map(move |seats| Self { board, seats })).collect()
    }

    /// The name that file names and events use, such as `hex8_2p`.
    pub fn key(self) -> String {
        self.to_string()
    }

    /// The required line length L.
    pub const fn line_length(self) -> usize {
        match self.board {
            Board::Square8 | Board::Hex8 => {
                if self.seats == 2 {
                    4
                } else {
                    3
                }
            }
            Board::Square19 | Board::Hexagonal => 4,
        }
    }

    /// The shortest run that is reported as a line: L, except on hex8 with three or four seats
    /// (docs/rules.md, finding 1).
    pub const fn line_detected(self) -> usize {
        match self.board {
            Board::Square8 => self.line_length(),
            Board::Square19 | Board::Hex8 | Board::Hexagonal => 4,
        }
    }

    /// Eliminated rings that win the game: round(rings * (2/3 + (seats - 1)/3)).
    pub const fn elimination_threshold(self) -> u16 {
        self.board.supply() * (1 + self.seats as u16) / 3
    }

    /// Collapsed cells that can win the game: floor(cells / seats) + 1.
    pub const fn territory_minimum(self) -> u16 {
        (self.board.cells() / self.seats as usize) as u16 + 1
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}p", self.board, self.seats)
    }
}

impl FromStr for Config {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let unknown = || ConfigError::Key(excerpt(text));
        let (board, seats) = text.rsplit_once('_').ok_or_else(unknown)?;
        let seats = match seats {
            "2p" => 2,
            "3p" => 3,
            "4p" => 4,
            _ => return Err(unknown()),
        };
        Self::new(board.parse()?, seats)
    }
}

/// When the tests 1 to 4 for the end of a game are made (docs/rules.md, section 13).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Victory {
    /// After every step.
    #[default]
    EveryMove,
    /// Only where a turn ends.
    TurnEnd,
}

impl Victory {
    /// The name used in traces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EveryMove => "every_move",
            Self::TurnEnd => "turn_end",
        }
    }
}

/// What players agree on besides the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Whether the pie rule is on. With more than two seats it has no effect.
    pub swap: bool,
    /// When the game is tested for a winner.
    pub victory: Victory,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_those_of_the_rules() {
        let table = [
            (Board::Square8, [18, 24, 30], [33, 22, 17]),
            (Board::Hex8, [18, 24, 30], [31, 21, 16]),
            (Board::Square19, [72, 96, 120], [181, 121, 91]),
            (Board::Hexagonal, [96, 128, 160], [235, 157, 118]),
        ];
        for (board, rings, cells) in table {
            for seats in 2..=4u8 {
                let config = Config::new(board, seats).unwrap();
                assert_eq!(config.elimination_threshold(), rings[usize::from(seats) - 2]);
                assert_eq!(config.territory_minimum(), cells[usize::from(seats) - 2]);
            }
        }
    }

    #[test]
    fn keys_are_read_back_and_others_refused() {
        for config in Config::all() {
            assert_eq!(config.key().parse::<Config>(), Ok(config));
        }
        assert_eq!(Config::all().len(), 12);
        for bad in ["", "hex8", "hex8_5p", "hex8_02p", "hex9_2p", "hex8_2p ", "_2p"] {
            assert!(bad.parse::<Config>().is_err(), "{bad}");
        }
        assert!(Config::new(Board::Hex8, 1).is_err());
    }
}
