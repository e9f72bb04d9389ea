//! What a network consists of: sizes, and where each tensor lies in the one buffer of weights.
//!
//! Invariant: an architecture decides names, shapes and order of all tensors. Only the number
//! of taps depends on the board, and only through its topology: weights for hex8 fit
//! hexagonal, weights for square8 fit square19.

use crate::encoding::action::{KINDS, PAIRS, PLANES, RAYS};
use crate::encoding::planes::{CHANNELS, GLOBALS};
use rules::{Board, SEATS_MAX};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Length of the query and key of a cell.
pub(crate) const KEY: usize = 32;
/// What the policy head computes for a cell: query, key, planes.
pub(crate) const HEAD: usize = 2 * KEY + PLANES;
/// Hidden units of the value head.
pub(crate) const VALUE_HIDDEN: usize = 64;

/// How cells tile the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tiling {
    /// Six neighbours.
    Hex,
    /// Eight neighbours.
    Square,
}

impl Tiling {
    /// The tiling of a board.
    #[must_use]
    pub const fn of(board: Board) -> Self {
        if board.is_hex() { Self::Hex } else { Self::Square }
    }

    /// How many cells a convolution reads: a cell and its neighbours.
    #[must_use]
    pub const fn taps(self) -> usize {
        match self {
            Self::Hex => 7,
            Self::Square => 9,
        }
    }
}

/// The sizes of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The tiling of the boards that the network plays on.
    pub grid: Tiling,
    /// Residual blocks.
    pub blocks: u32,
    /// Channels of the trunk.
    pub channels: u32,
}

impl Architecture {
    /// The most residual blocks.
    pub const BLOCKS_MAX: u32 = 64;
    /// The most channels of the trunk.
    pub const CHANNELS_MAX: u32 = 1024;

    /// b4c32, the default on a CPU.
    #[must_use]
    pub const fn small(board: Board) -> Self {
        Self { grid: Tiling::of(board), blocks: 4, channels: 32 }
    }

    /// Whether the sizes are within bounds.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.blocks >= 1
            && self.blocks <= Self::BLOCKS_MAX
            && self.channels >= 4
            && self.channels <= Self::CHANNELS_MAX
            && self.channels.is_multiple_of(4)
    }

    /// Whether a network of this architecture plays on the board.
    #[must_use]
    pub fn fits(&self, board: Board) -> bool {
        self.grid == Tiling::of(board)
    }

    /// Number of weights.
    #[must_use]
    pub fn parameters(&self) -> usize {
        Layout::new(*self).total
    }

    pub(crate) const fn width(&self) -> usize {
        self.channels as usize
    }

    /// Blocks and channels as people call a network, as in `b6c96`.
    #[must_use]
    pub fn size(&self) -> String {
        format!("b{}c{}", self.blocks, self.channels)
    }

    /// Whether a block adds a bias from the pooled trunk.
    pub(crate) const fn pools(block: usize) -> bool {
        block % 3 == 2
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grid = match self.grid {
            Tiling::Hex => "hex",
            Tiling::Square => "square",
        };
        write!(f, "{}-{grid}", self.size())
    }
}

/// A range of the buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Span {
    pub(crate) fn of<F>(self, buffer: &[F]) -> &[F] {
        &buffer[self.start..self.start + self.len]
    }

    pub(crate) fn of_mut<F>(self, buffer: &mut [F]) -> &mut [F] {
        &mut buffer[self.start..self.start + self.len]
    }
}

/// How a tensor starts out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    Zero,
    One,
    /// Uniform with this standard deviation.
    Uniform(f64),
}

/// A tensor by name.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: [usize; 2],
    pub(crate) span: Span,
    pub(crate) init: Init,
    /// Whether weight decay applies.
    pub(crate) decays: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    pub(crate) w1: Span,
    pub(crate) b1: Span,
    pub(crate) w2: Span,
    pub(crate) b2: Span,
    /// The weights of the pooled trunk; empty where the block does not pool.
    pub(crate) pool: Span,
}

/// Where each tensor lies in the buffer of weights.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) total: usize,
    pub(crate) stem_w: Span,
    pub(crate) stem_b: Span,
    pub(crate) stem_globals: Span,
    pub(crate) blocks: Vec<Block>,
    pub(crate) policy_w: Span,
    pub(crate) policy_b: Span,
    pub(crate) policy_pairs: Span,
    pub(crate) policy_rays: Span,
    pub(crate) policy_kinds_w: Span,
    pub(crate) policy_kinds_b: Span,
    pub(crate) value_w1: Span,
    pub(crate) value_b1: Span,
    pub(crate) value_w2: Span,
    pub(crate) value_b2: Span,
}

/// Collects tensors, each behind the one before.
#[derive(Default)]
struct LayoutBuilder {
    tensors: Vec<Tensor>,
    total: usize,
}

impl LayoutBuilder {
    fn add(&mut self, name: impl Into<String>, shape: [usize; 2], init: Init) -> Span {
        let span = Span { start: self.total, len: shape[0] * shape[1] };
        self.total += span.len;
        let decays = shape[0] > 1;
        self.tensors.push(Tensor { name: name.into(), shape, span, init, decays });
        span
    }
}

/// Standard deviation that keeps the variance through a ReLU (*He et al. 2015*).
fn he(fan_in: usize) -> Init {
    Init::Uniform((2.0 / fan_in as f64).sqrt())
}

impl Layout {
    /// Residual branches end in zeros, so that every block starts as the identity and the
    /// variance does not depend on the depth (*Zhang, Dauphin & Ma 2019*, Fixup); the heads
    /// start small: an even policy, an even value.
    pub(crate) fn new(architecture: Architecture) -> Self {
        let (c, taps) = (architecture.width(), architecture.grid.taps());
        let mut b = LayoutBuilder::default();
        // Few of a cell's channels are set.
        let stem_w = b.add("stem.weight", [taps * CHANNELS, c], he(taps * 8));
        let stem_b = b.add("stem.bias", [1, c], Init::Zero);
        let stem_globals = b.add("stem.globals", [GLOBALS, c], he(GLOBALS));
        let mut blocks = Vec::new();
        for i in 0..architecture.blocks as usize {
            let w1 = b.add(format!("block{i}.conv1.weight"), [taps * c, c], he(taps * c));
            let b1 = b.add(format!("block{i}.conv1.bias"), [1, c], Init::Zero);
            let w2 = b.add(format!("block{i}.conv2.weight"), [taps * c, c], Init::Zero);
            let b2 = b.add(format!("block{i}.conv2.bias"), [1, c], Init::Zero);
            let pool = if Architecture::pools(i) {
                b.add(format!("block{i}.pool.weight"), [2 * c, c], he(4 * c))
            } else {
                Span::default()
            };
            blocks.push(Block { w1, b1, w2, b2, pool });
        }
        let policy_w = b.add("policy.cells.weight", [c, HEAD], Init::Uniform(0.25 / (c as f64).sqrt()));
        let policy_b = b.add("policy.cells.bias", [1, HEAD], Init::Zero);
        let policy_pairs = b.add("policy.pairs", [PAIRS, KEY], Init::One);
        let policy_rays = b.add("policy.rays", [RAYS, 1], Init::Zero);
        let policy_kinds_w = b.add("policy.kinds.weight", [2 * c, KINDS], Init::Zero);
        let policy_kinds_b = b.add("policy.kinds.bias", [1, KINDS], Init::Zero);
        let value_w1 = b.add("value.hidden.weight", [2 * c, VALUE_HIDDEN], he(2 * c));
        let value_b1 = b.add("value.hidden.bias", [1, VALUE_HIDDEN], Init::Zero);
        let value_w2 = b.add("value.seats.weight", [VALUE_HIDDEN, SEATS_MAX], Init::Uniform(0.02));
        let value_b2 = b.add("value.seats.bias", [1, SEATS_MAX], Init::Zero);
        Self {
            tensors: b.tensors,
            total: b.total,
            stem_w,
            stem_b,
            stem_globals,
            blocks,
            policy_w,
            policy_b,
            policy_pairs,
            policy_rays,
            policy_kinds_w,
            policy_kinds_b,
            value_w1,
            value_b1,
            value_w2,
            value_b2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_fill_the_buffer_without_overlap() {
        for board in Board::ALL {
            let layout = Layout::new(Architecture::small(board));
            let mut at = 0;
            for tensor in &layout.tensors {
                assert_eq!(tensor.span.start, at, "{}", tensor.name);
                assert_eq!(tensor.span.len, tensor.shape[0] * tensor.shape[1]);
                at += tensor.span.len;
            }
            assert_eq!(at, layout.total);
        }
    }

    #[test]
    fn boards_of_one_grid_share_their_weights() {
        let names = |board| -> Vec<_> {
            let layout = Layout::new(Architecture::small(board));
            layout.tensors.into_iter().map(|t| (t.name, t.shape)).collect()
        };
        assert_eq!(names(Board::Hex8), names(Board::Hexagonal));
        assert_eq!(names(Board::Square8), names(Board::Square19));
        assert_ne!(names(Board::Hex8), names(Board::Square8));
        assert_eq!(Architecture::small(Board::Hex8).to_string(), "b4c32-hex");
    }
}
