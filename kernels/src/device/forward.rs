//! A network on a device, and evaluation with it.
//!
//! Boards of up to 64 cells go through the fused tower; larger ones, layer
//! by layer. The heads are the same for both.

use crate::device::Device;
use crate::device::array::{Array, Bf16, Plain, grow};
use crate::device::kernel::WIDTHS;
use crate::device::ops::conv::Epilogue;
use crate::device::ops::policy::MoveArrays;
use crate::device::ops::tower::{NO_TENSOR, tower_fits};
use crate::device::ops::{ConvShape, HEAD_COLUMNS, Ops};
use crate::encoding::action::KINDS;
use crate::encoding::packed::{ACTION_WORDS, HEADER, Positions, reads_table};
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::encoding::taps::Taps;
use crate::error::DeviceError;
use crate::network::architecture::{Architecture, HEAD, Layout, VALUE_HIDDEN};
use rules::{Board, SEATS_MAX};

/// Weights on a device: as one flat buffer in f32, and what the tensor cores multiply with in bf16.
pub(crate) struct DeviceWeights<D: Device> {
    pub(crate) all32: Array<D, f32>,
    /// The same buffer in bf16.
    pub(crate) all16: Array<D, Bf16>,
    /// The policy head's weights for cells, `[width, HEAD_COLUMNS]`.
    pub(crate) head16: Array<D, Bf16>,
    /// The bias of the policy head, padded to [`HEAD_COLUMNS`].
    pub(crate) head_bias: Array<D, f32>,
    /// What the fused tower needs to know of the layout.
    pub(crate) layers: Array<D, u32>,
    pub(crate) layout: Layout,
    pub(crate) architecture: Architecture,
}

impl<D: Device> DeviceWeights<D> {
    /// Copies weights to a device.
    ///
    /// # Errors
    /// [`DeviceError::Architecture`] if there are no kernels for the width.
    pub(crate) fn new(device: &D, architecture: Architecture, weights: &[f32]) -> Result<Self, DeviceError> {
        let width = architecture.width();
        if !WIDTHS.contains(&width) {
            return Err(DeviceError::Architecture(architecture));
        }
        let layout = Layout::new(architecture);
        assert_eq!(weights.len(), layout.total, "weights of {architecture}");
        let rounded: Vec<Bf16> = weights.iter().map(|&w| Bf16::of(w)).collect();
        let mut head = vec![Bf16::default(); width * HEAD_COLUMNS];
        let rows = head.chunks_exact_mut(HEAD_COLUMNS);
        for (row, values) in rows.zip(layout.policy_w.of(&rounded).chunks_exact(HEAD)) {
            row[..HEAD].copy_from_slice(values);
        }
        let mut bias = layout.policy_b.of(weights).to_vec();
        bias.resize(HEAD_COLUMNS, 0.0);
        Ok(Self {
            all32: Array::from_slice(device, weights)?,
            all16: Array::from_slice(device, &rounded)?,
            head16: Array::from_slice(device, &head)?,
            head_bias: Array::from_slice(device, &bias)?,
            layers: Array::from_slice(device, &layers_of(&layout))?,
            layout,
            architecture,
        })
    }
}

/// Where each layer's weights, bias and third tensor are; see `cuda/tower.cu`. Tensors of the trunk are as
/// long as a multiple of the width, so each begins at a multiple of 16 bytes, in bf16 too.
fn layers_of(layout: &Layout) -> Vec<u32> {
    let mut layers = vec![layout.stem_w.start, layout.stem_b.start, layout.stem_globals.start];
    for block in &layout.blocks {
        let pool = if block.pool.len > 0 { block.pool.start } else { NO_TENSOR as usize };
        layers.extend([block.w1.start, block.b1.start, pool]);
        layers.extend([block.w2.start, block.b2.start, NO_TENSOR as usize]);
    }
    assert!(
        layers.iter().step_by(3).all(|at| at.is_multiple_of(8)),
        "weights that cannot be copied 16 bytes at a time"
    );
    layers.into_iter().map(|at| at as u32).collect()
}

/// The memory of a pass over up to so many positions of a board.
pub(crate) struct DeviceSpace<D: Device> {
    pub(crate) board: Board,
    pub(crate) positions_max: usize,
    pub(crate) sources: Array<D, u16>,
    /// The sources of a plain product: each cell itself.
    pub(crate) own: Array<D, u16>,
    pub(crate) reads: Array<D, u8>,
    pub(crate) stacks: Array<D, u64>,
    pub(crate) ground: Array<D, u8>,
    pub(crate) headers: Array<D, u16>,
    pub(crate) planes: Array<D, Bf16>,
    pub(crate) globals: Array<D, f32>,
    /// A bias for each board.
    pub(crate) by_board: Array<D, f32>,
    /// The trunk before each block and after the last; for evaluation, two that take turns.
    pub(crate) x: Vec<Array<D, Bf16>>,
    /// The activations inside each block; for evaluation, one.
    pub(crate) h: Vec<Array<D, Bf16>>,
    /// The trunk pooled: before each block that pools, and after the last; for evaluation, one.
    pub(crate) pooled: Vec<Array<D, f32>>,
    /// Where the maxima are; for training.
    pub(crate) most: Vec<Array<D, u16>>,
    pub(crate) head: Array<D, f32>,
    pub(crate) kinds: Array<D, f32>,
    pub(crate) hidden: Array<D, f32>,
    pub(crate) value: Array<D, f32>,
    // As long as the positions at hand need.
    pub(crate) actions: Array<D, u32>,
    pub(crate) many: Array<D, u16>,
    pub(crate) ends: Array<D, u32>,
    pub(crate) logits: Array<D, f32>,
}

impl<D: Device> DeviceSpace<D> {
    /// The memory for evaluation, or with everything that training needs.
    pub(crate) fn new(
        device: &D,
        architecture: Architecture,
        board: Board,
        positions_max: usize,
        training: bool,
    ) -> Result<Self, DeviceError> {
        let taps = Taps::of(board);
        let (n, width, blocks) = (positions_max, architecture.width(), architecture.blocks as usize);
        let rows = n * taps.cells;
        let (trunks, inner, pools) = if training { (blocks + 1, blocks, blocks + 1) } else { (2, 1, 1) };
        Ok(Self {
            board,
            positions_max,
            sources: Array::from_slice(device, &taps.sources)?,
            own: Array::from_slice(device, &(0..taps.cells as u16).collect::<Vec<_>>())?,
            reads: Array::from_slice(device, &reads_table())?,
            stacks: Array::new(device, rows)?,
            ground: Array::new(device, rows)?,
            headers: Array::new(device, n * HEADER)?,
            planes: Array::new(device, rows * CHANNELS)?,
            globals: Array::new(device, n * GLOBALS)?,
            by_board: Array::new(device, n * width)?,
            x: arrays(device, trunks, rows * width)?,
            h: arrays(device, inner, rows * width)?,
            pooled: arrays(device, pools, n * 2 * width)?,
            most: arrays(device, if training { pools } else { 0 }, n * width)?,
            head: Array::new(device, rows * HEAD_COLUMNS)?,
            kinds: Array::new(device, n * KINDS)?,
            hidden: Array::new(device, n * VALUE_HIDDEN)?,
            value: Array::new(device, n * SEATS_MAX)?,
            actions: Array::new(device, 0)?,
            many: Array::new(device, 0)?,
            ends: Array::new(device, n)?,
            logits: Array::new(device, 0)?,
        })
    }

    /// What the arrays of `boards` positions look like.
    pub(crate) fn shape(&self, boards: usize) -> ConvShape {
        ConvShape::new(Taps::of(self.board), boards)
    }

    /// The moves of the positions at hand.
    pub(crate) fn moves(&self, count: usize) -> MoveArrays<'_, D> {
        MoveArrays { reads: &self.reads, actions: &self.actions, many: &self.many, ends: &self.ends, count }
    }

    /// Copies positions to the device and expands them.
    pub(crate) fn load(&mut self, device: &D, positions: &Positions) -> Result<(), DeviceError> {
        assert!(positions.len() <= self.positions_max && positions.board == self.board, "another space");
        self.stacks.write(device, &positions.stacks)?;
        self.ground.write(device, &positions.ground)?;
        self.headers.write(device, &positions.headers)?;
        self.ends.write(device, &positions.ends)?;
        let moves = positions.moves();
        grow(device, &mut self.actions, moves * ACTION_WORDS)?;
        grow(device, &mut self.many, positions.many.len())?;
        grow(device, &mut self.logits, moves)?;
        self.actions.write(device, &positions.actions)?;
        self.many.write(device, &positions.many)?;
        self.expand(device, positions.len())
    }

    /// Expands the first `boards` packed positions, which are on the device.
    pub(crate) fn expand(&self, device: &D, boards: usize) -> Result<(), DeviceError> {
        let shape = self.shape(boards);
        Ops(device).expand(&self.stacks, &self.ground, &self.headers, &self.planes, &self.globals, shape)
    }

    /// The trunk after a block, or before the first.
    pub(crate) fn x(&self, i: usize) -> &Array<D, Bf16> {
        &self.x[i % self.x.len()]
    }

    pub(crate) fn h(&self, i: usize) -> &Array<D, Bf16> {
        &self.h[i % self.h.len()]
    }

    pub(crate) fn pooled(&self, i: usize) -> &Array<D, f32> {
        &self.pooled[i % self.pooled.len()]
    }

    fn most(&self, i: usize) -> Option<&Array<D, u16>> {
        self.most.get(i)
    }

    /// Runs the network on the positions that were loaded. `fused`: through the tower in one
    /// kernel, which leaves nothing for training.
    pub(crate) fn forward(
        &self,
        device: &D,
        weights: &DeviceWeights<D>,
        positions: &Positions,
        fused: bool,
    ) -> Result<(), DeviceError> {
        self.judge(device, weights, positions.len(), fused)?;
        let (layout, moves) = (&weights.layout, positions.moves());
        let tables = (&weights.all32, layout.policy_pairs.start, layout.policy_rays.start);
        let shape = self.shape(positions.len());
        Ops(device).logits(&self.head, &self.kinds, tables, &self.moves(moves), &self.logits, shape)
    }

    /// [`Self::forward`] up to what logits of moves are computed from: `head`, `kinds`, and `value`.
    pub(crate) fn judge(
        &self,
        device: &D,
        weights: &DeviceWeights<D>,
        boards: usize,
        fused: bool,
    ) -> Result<(), DeviceError> {
        let shape = self.shape(boards);
        let blocks = weights.layout.blocks.len();
        if fused && tower_fits(shape) {
            Ops(device).tower(
                &self.planes,
                &self.globals,
                (&weights.all16, &weights.all32),
                &weights.layers,
                &self.sources,
                (self.x(blocks), self.pooled(blocks)),
                shape,
                weights.architecture.width(),
            )?;
        } else {
            self.trunk(device, weights, shape)?;
        }
        self.heads(device, weights, shape)
    }

    fn trunk(&self, device: &D, weights: &DeviceWeights<D>, shape: ConvShape) -> Result<(), DeviceError> {
        let (ops, layout, width) = (Ops(device), &weights.layout, weights.architecture.width());
        let (all32, all16) = (&weights.all32, &weights.all16);
        let n = shape.boards;
        let globals = (all32, layout.stem_globals.start);
        ops.dense(&self.globals, globals, None, &self.by_board, (n, GLOBALS, width), false)?;
        let stem = Epilogue {
            y: Some(self.x(0)),
            bias: Some((all32, layout.stem_b.start)),
            by_board: Some(&self.by_board),
            relu: true,
            ..Epilogue::default()
        };
        let w = (all16, layout.stem_w.start);
        ops.conv(&self.planes, w, &self.sources, shape, (CHANNELS, width), &stem)?;
        for (i, block) in layout.blocks.iter().enumerate() {
            let (x, h, y) = (self.x(i), self.h(i), self.x(i + 1));
            let pools = block.pool.len > 0;
            if pools {
                ops.pool(x, self.pooled(i), self.most(i), shape, width)?;
                let w = (all32, block.pool.start);
                ops.dense(self.pooled(i), w, None, &self.by_board, (n, 2 * width, width), false)?;
            }
            let first = Epilogue {
                y: Some(h),
                bias: Some((all32, block.b1.start)),
                by_board: pools.then_some(&self.by_board),
                relu: true,
                ..Epilogue::default()
            };
            ops.conv(x, (all16, block.w1.start), &self.sources, shape, (width, width), &first)?;
            let second = Epilogue {
                y: Some(y),
                bias: Some((all32, block.b2.start)),
                residual: Some(x),
                relu: true,
                ..Epilogue::default()
            };
            ops.conv(h, (all16, block.w2.start), &self.sources, shape, (width, width), &second)?;
        }
        let last = layout.blocks.len();
        ops.pool(self.x(last), self.pooled(last), self.most(last), shape, width)
    }

    fn heads(&self, device: &D, weights: &DeviceWeights<D>, shape: ConvShape) -> Result<(), DeviceError> {
        let (ops, layout, width) = (Ops(device), &weights.layout, weights.architecture.width());
        let (all32, last, n) = (&weights.all32, layout.blocks.len(), shape.boards);
        let cells =
            Epilogue { y32: Some(&self.head), bias: Some((&weights.head_bias, 0)), ..Epilogue::default() };
        let product = shape.product();
        ops.conv(self.x(last), (&weights.head16, 0), &self.own, product, (width, HEAD_COLUMNS), &cells)?;
        let pooled = self.pooled(last);
        let part = |span: crate::network::architecture::Span| (all32, span.start);
        let kinds = (part(layout.policy_kinds_w), Some(part(layout.policy_kinds_b)));
        ops.dense(pooled, kinds.0, kinds.1, &self.kinds, (n, 2 * width, KINDS), false)?;
        let hidden = (part(layout.value_w1), Some(part(layout.value_b1)));
        ops.dense(pooled, hidden.0, hidden.1, &self.hidden, (n, 2 * width, VALUE_HIDDEN), true)?;
        let value = (part(layout.value_w2), Some(part(layout.value_b2)));
        ops.dense(&self.hidden, value.0, value.1, &self.value, (n, VALUE_HIDDEN, SEATS_MAX), false)
    }
}

fn arrays<D: Device, T: Plain>(
    device: &D,
    count: usize,
    len: usize,
) -> Result<Vec<Array<D, T>>, DeviceError> {
    (0..count).map(|_| Array::new(device, len)).collect()
}
