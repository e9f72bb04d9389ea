//! What of the check is wanted.

use rules::Board;
use serde::Serialize;

/// A part of the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckPart {
    /// The card against the CPU, golden vectors and itself.
    Correctness,
    /// The same under compute-sanitizer.
    Sanitizer,
    /// How fast the card is.
    Benchmarks,
    /// The same network in PyTorch.
    Torch,
}

impl CheckPart {
    /// All parts, in the order in which they are done.
    pub const ALL: [Self; 4] = [Self::Correctness, Self::Sanitizer, Self::Benchmarks, Self::Torch];

    /// The part as the command line and names of reports have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Correctness => "correctness",
            Self::Sanitizer => "sanitizer",
            Self::Benchmarks => "benchmarks",
            Self::Torch => "torch",
        }
    }

    /// What the part does, in a few words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Correctness => "Against the CPU and golden vectors",
            Self::Sanitizer => "The same under compute-sanitizer",
            Self::Benchmarks => "How fast",
            Self::Torch => "The same network in PyTorch",
        }
    }
}

/// Which parts, on which boards, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckScope {
    /// Which parts, in the order in which they are done.
    pub parts: Vec<CheckPart>,
    /// Which boards, in the order of [`Board::ALL`].
    pub boards: Vec<Board>,
    /// Less of everything.
    pub quick: bool,
}

impl CheckScope {
    /// Parts and boards that were named; all of them if none was.
    #[must_use]
    pub fn of(parts: &[CheckPart], boards: &[Board], quick: bool) -> Self {
        Self {
            parts: CheckPart::ALL
                .into_iter()
                .filter(|part| parts.is_empty() || parts.contains(part))
                .collect(),
            boards: Board::ALL
                .into_iter()
                .filter(|board| boards.is_empty() || boards.contains(board))
                .collect(),
            quick,
        }
    }

    /// Whether a part is wanted.
    #[must_use]
    pub fn has(&self, part: CheckPart) -> bool {
        self.parts.contains(&part)
    }

    /// What a report of less than everything is told by, as in `-correctness-hex8-quick`.
    pub(crate) fn suffix(&self) -> String {
        let mut words = Vec::new();
        if self.parts.len() < CheckPart::ALL.len() {
            words.extend(self.parts.iter().map(|part| part.as_str()));
        }
        if self.boards.len() < Board::ALL.len() {
            words.extend(self.boards.iter().map(|board| board.as_str()));
        }
        words.extend(self.quick.then_some("quick"));
        words.iter().map(|word| format!("-{word}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_told_from_the_whole() {
        use CheckPart::{Benchmarks, Correctness, Sanitizer, Torch};
        for (parts, boards, quick, expected) in [
            (&[][..], &[][..], false, ""),
            (&[Torch, Benchmarks, Sanitizer, Correctness], &Board::ALL, false, ""),
            (&[], &[], true, "-quick"),
            (&[Torch, Correctness, Torch], &[], false, "-correctness-torch"),
            (&[], &[Board::Square19], false, "-square19"),
            (&[Benchmarks], &[Board::Square8, Board::Hex8], true, "-benchmarks-hex8-square8-quick"),
        ] {
            assert_eq!(CheckScope::of(parts, boards, quick).suffix(), expected);
        }
        let scope = CheckScope::of(&[Torch], &[], false);
        assert!(scope.has(Torch) && !scope.has(Correctness));
        assert_eq!(scope.boards, Board::ALL);
    }
}
