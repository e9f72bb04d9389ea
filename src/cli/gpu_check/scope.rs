//! What of the check is wanted.

use clap::ValueEnum;
use rules::Board;
use serde::Serialize;

/// A part of the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// Against the CPU and golden vectors.
    Correctness,
    /// The same under compute-sanitizer.
    Sanitizer,
    /// How fast.
    Benchmarks,
    /// The same network in PyTorch.
    Torch,
}

impl Part {
    const ALL: [Self; 4] = [Self::Correctness, Self::Sanitizer, Self::Benchmarks, Self::Torch];

    fn as_str(self) -> &'static str {
        match self {
            Self::Correctness => "correctness",
            Self::Sanitizer => "sanitizer",
            Self::Benchmarks => "benchmarks",
            Self::Torch => "torch",
        }
    }
}

/// Which parts, on which boards, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// In the order in which they are done.
    pub(super) parts: Vec<Part>,
    /// In the order of [`Board::ALL`].
    pub(super) boards: Vec<Board>,
    pub(super) quick: bool,
}

impl Scope {
    /// Parts and boards that were named; all of them if none was.
    pub(super) fn of(parts: &[Part], boards: &[Board], quick: bool) -> Self {
        Self {
            parts: Part::ALL.into_iter().filter(|part| parts.is_empty() || parts.contains(part)).collect(),
            boards: Board::ALL
                .into_iter()
                .filter(|board| boards.is_empty() || boards.contains(board))
                .collect(),
            quick,
        }
    }

    /// Whether a part is wanted.
    pub(super) fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// What a report of less than everything is told by, as in `-correctness-hex8-quick`.
    pub(super) fn suffix(&self) -> String {
        let mut words = Vec::new();
        if self.parts.len() < Part::ALL.len() {
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
        use Part::{Benchmarks, Correctness, Sanitizer, Torch};
        for (parts, boards, quick, expected) in [
            (&[][..], &[][..], false, ""),
            (&[Torch, Benchmarks, Sanitizer, Correctness], &Board::ALL, false, ""),
            (&[], &[], true, "-quick"),
            (&[Torch, Correctness, Torch], &[], false, "-correctness-torch"),
            (&[], &[Board::Square19], false, "-square19"),
            (&[Benchmarks], &[Board::Square8, Board::Hex8], true, "-benchmarks-hex8-square8-quick"),
        ] {
            assert_eq!(Scope::of(parts, boards, quick).suffix(), expected);
        }
        let scope = Scope::of(&[Torch], &[], false);
        assert!(scope.has(Torch) && !scope.has(Correctness));
        assert_eq!(scope.boards, Board::ALL);
    }
}
