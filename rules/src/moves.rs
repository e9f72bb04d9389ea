//! A move in eight bytes.
//!
//! A move has a meaning only together with the position in which it was listed.
//!
//! Invariant: two legal moves of one position never have the same effect (docs/rules.md, finding 10).

use crate::board::{Cell, NONE_CELL};

/// What a move does. Each doc begins with the form in the notation (docs/rules.md, section 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MoveKind {
    /// `P:c*1`, one ring on `from`.
    Place1,
    /// `P:c*2`, two rings on `from`.
    Place2,
    /// `P:c*3`, three rings on `from`.
    Place3,
    /// `SP`, declines to place.
    SkipPlacement,
    /// `NP`, the null step when there is nothing to place.
    NoPlacement,
    /// `SW`, the pie rule.
    Swap,
    /// `M:from>to`, a plain move.
    Move,
    /// `C:from>aux>to`, a first capture over `aux`.
    Capture,
    /// `SC`, declines the capture.
    SkipCapture,
    /// `K:from>aux>to`, a further capture over `aux`.
    Chain,
    /// `R1:from>to@aux`, a recovery slide that forms a line; a buried ring of `aux` pays.
    RecoverLine,
    /// `R2:from>to[cells]`, a recovery slide that collapses a stretch, free.
    RecoverStretch,
    /// `RF:from>to@aux`, a recovery slide that forms none.
    RecoverFallback,
    /// `RS:from>to@aux`, a marker strikes the stack on `to`.
    RecoverStrike,
    /// `SR`, declines recovery.
    SkipRecovery,
    /// `NM`, the null step when there is nothing to move.
    NoMovement,
    /// `L:from-to`, a line of the exact length.
    Line,
    /// `O:from-to=all`, all of a longer line.
    LineAll,
    /// `O:from-to=aux-..`, the stretch of a longer line whose lower end is `aux`.
    LineStretch,
    /// `EL:from`, pays for a line.
    PayLine,
    /// `NL`, the null step when there is no line.
    NoLine,
    /// `T:cells`, claims the region whose lowest cell is `from` and which markers of the colour `aux` wall in
    /// (collapsed cells alone, if `aux` is 4).
    Territory,
    /// `ET:from`, pays for a region with a cap.
    PayTerritory,
    /// `ER:from`, pays for a region with a buried ring.
    PayRecovery,
    /// `ST`, declines the remaining regions.
    SkipTerritory,
    /// `NT`, the null step when there is no region to claim.
    NoTerritory,
    /// `F:from`, forced elimination.
    Forced,
}

/// Which of a move's three fields are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Bare,
    Cell,
    Pair,
    Triple,
    Region,
}

impl MoveKind {
    /// All kinds in the order of their codes.
    pub const ALL: [Self; 27] = [
        Self::Place1,
        Self::Place2,
        Self::Place3,
        Self::SkipPlacement,
        Self::NoPlacement,
        Self::Swap,
        Self::Move,
        Self::Capture,
        Self::SkipCapture,
        Self::Chain,
        Self::RecoverLine,
        Self::RecoverStretch,
        Self::RecoverFallback,
        Self::RecoverStrike,
        Self::SkipRecovery,
        Self::NoMovement,
        Self::Line,
        Self::LineAll,
        Self::LineStretch,
        Self::PayLine,
        Self::NoLine,
        Self::Territory,
        Self::PayTerritory,
        Self::PayRecovery,
        Self::SkipTerritory,
        Self::NoTerritory,
        Self::Forced,
    ];

    /// Whether a turn of nothing but such steps counts as idle.
    pub const fn is_idle(self) -> bool {
        matches!(
            self,
            Self::NoPlacement
                | Self::NoMovement
                | Self::NoLine
                | Self::NoTerritory
                | Self::SkipPlacement
                | Self::SkipTerritory
                | Self::SkipCapture
                | Self::SkipRecovery
        )
    }

    /// Number of rings a placement puts down, 0 for other moves.
    pub const fn placed(self) -> u32 {
        if self as u8 <= Self::Place3 as u8 { self as u32 + 1 } else { 0 }
    }

    const fn shape(self) -> Shape {
        match self {
            Self::SkipPlacement
            | Self::NoPlacement
            | Self::Swap
            | Self::SkipCapture
            | Self::SkipRecovery
            | Self::NoMovement
            | Self::NoLine
            | Self::SkipTerritory
            | Self::NoTerritory => Shape::Bare,
            Self::Place1
            | Self::Place2
            | Self::Place3
            | Self::PayLine
            | Self::PayTerritory
            | Self::PayRecovery
            | Self::Forced => Shape::Cell,
            Self::Move | Self::RecoverStretch | Self::Line | Self::LineAll => Shape::Pair,
            Self::Capture
            | Self::Chain
            | Self::RecoverLine
            | Self::RecoverFallback
            | Self::RecoverStrike
            | Self::LineStretch => Shape::Triple,
            Self::Territory => Shape::Region,
        }
    }
}

/// A move of a given position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Move {
    kind: MoveKind,
    from: Cell,
    to: Cell,
    aux: Cell,
}

impl Move {
    pub(crate) const fn bare(kind: MoveKind) -> Self {
        Self { kind, from: NONE_CELL, to: NONE_CELL, aux: NONE_CELL }
    }

    pub(crate) const fn at(kind: MoveKind, from: Cell) -> Self {
        Self { kind, from, to: NONE_CELL, aux: NONE_CELL }
    }

    pub(crate) const fn pair(kind: MoveKind, from: Cell, to: Cell) -> Self {
        Self { kind, from, to, aux: NONE_CELL }
    }

    pub(crate) const fn triple(kind: MoveKind, from: Cell, to: Cell, aux: Cell) -> Self {
        Self { kind, from, to, aux }
    }

    /// What the move does.
    #[inline]
    pub const fn kind(self) -> MoveKind {
        self.kind
    }

    /// The first cell, or [`NONE_CELL`]; the only one of a move on a single cell.
    #[inline]
    pub const fn from(self) -> Cell {
        self.from
    }

    /// The second cell, where the move leads, or [`NONE_CELL`].
    #[inline]
    pub const fn to(self) -> Cell {
        self.to
    }

    /// The third field, or [`NONE_CELL`]: see [`MoveKind`].
    #[inline]
    pub const fn aux(self) -> Cell {
        self.aux
    }

    /// [`Self::from`], if this kind of move uses it.
    pub fn from_cell(self) -> Option<Cell> {
        (self.from != NONE_CELL).then_some(self.from)
    }

    /// [`Self::to`], if this kind of move uses it.
    pub fn to_cell(self) -> Option<Cell> {
        (self.to != NONE_CELL).then_some(self.to)
    }

    /// [`Self::aux`], if this kind of move uses it for a cell. A claim keeps the colour of its wall there.
    pub fn aux_cell(self) -> Option<Cell> {
        (self.aux != NONE_CELL && self.kind != MoveKind::Territory).then_some(self.aux)
    }

    /// Whether all cells of the move are among the first `cells`.
    pub(crate) fn fits(self, cells: usize) -> bool {
        [self.from, self.to, self.aux].iter().all(|&cell| cell == NONE_CELL || usize::from(cell) < cells)
    }

    /// The move in 32 bits: 5 for the kind, then 9 for each field. Records and the network's input use it.
    pub const fn code(self) -> u32 {
        (self.kind as u32) << 27 | (self.from as u32) << 18 | (self.to as u32) << 9 | self.aux as u32
    }

    /// Reads a [`Self::code`] back; none if no board has such a move. The code may come from anywhere.
    pub fn from_code(code: u32) -> Option<Self> {
        let kind = *MoveKind::ALL.get((code >> 27) as usize)?;
        let [from, to, aux] = [18, 9, 0].map(|shift| (code >> shift & 511) as Cell);
        let used = |cell: Cell| cell < 469;
        let unused = |cell: Cell| cell == NONE_CELL;
        let fits = match kind.shape() {
            Shape::Bare => unused(from) && unused(to) && unused(aux),
            Shape::Cell => used(from) && unused(to) && unused(aux),
            Shape::Pair => used(from) && used(to) && unused(aux),
            Shape::Triple => used(from) && used(to) && used(aux),
            Shape::Region => used(from) && unused(to) && aux <= 4,
        };
        fits.then_some(Self { kind, from, to, aux })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_listed_by_code() {
        for (i, kind) in MoveKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i);
        }
        assert_eq!(size_of::<Move>(), 8);
    }

    #[test]
    fn codes_are_read_back_and_others_refused() {
        let moves = [
            Move::bare(MoveKind::NoLine),
            Move::at(MoveKind::Place3, 468),
            Move::pair(MoveKind::Line, 0, 3),
            Move::triple(MoveKind::Chain, 1, 5, 3),
            Move::triple(MoveKind::Territory, 7, NONE_CELL, 4),
        ];
        for mv in moves {
            assert_eq!(Move::from_code(mv.code()), Some(mv));
        }
        let bad = [
            Move::at(MoveKind::NoLine, 0),
            Move::at(MoveKind::Place1, 469),
            Move::bare(MoveKind::Place1),
            Move::triple(MoveKind::Territory, 7, NONE_CELL, 5),
            Move::pair(MoveKind::Capture, 1, 2),
        ];
        for mv in bad {
            assert_eq!(Move::from_code(mv.code()), None, "{mv:?}");
        }
        assert_eq!(Move::from_code(u32::MAX), None);
    }
}
