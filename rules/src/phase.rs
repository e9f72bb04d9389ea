//! The phases of a turn (docs/rules.md, section 3).
//!
//! Invariant: a position is in one phase, and the phase says which kinds of moves are legal in it.

/// What the seat to move does next; the phases stand in the order of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The seat puts rings on the board, or declines.
    Place,
    /// The seat moves a stack, captures with it, or recovers.
    Move,
    /// The seat may capture with the stack that has just moved.
    Capture,
    /// The seat must go on to capture with the stack that has just captured.
    Chain,
    /// The seat collapses its lines.
    Line,
    /// The seat may claim regions.
    Territory,
    /// The seat gives up a cap, because its turn was idle although it controls a stack.
    Forced,
    /// The game is over.
    Over,
}

impl Phase {
    /// All phases, in the order of a turn.
    pub const ALL: [Self; 8] = [
        Self::Place,
        Self::Move,
        Self::Capture,
        Self::Chain,
        Self::Line,
        Self::Territory,
        Self::Forced,
        Self::Over,
    ];

    /// The name used in the notation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Move => "move",
            Self::Capture => "capture",
            Self::Chain => "chain",
            Self::Line => "line",
            Self::Territory => "territory",
            Self::Forced => "forced",
            Self::Over => "over",
        }
    }
}
