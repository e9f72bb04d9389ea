//! Training steps on a device: forward, losses, backward, optimiser; nothing but the losses comes back.

use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::forward::{DeviceSpace, DeviceWeights};
use crate::device::ops::conv::Epilogue;
use crate::device::ops::dense::dense_partial_len;
use crate::device::ops::optimizer::{AdamRates, AdamState, norm_blocks};
use crate::device::ops::policy::{POLICY_PARTIAL, policy_blocks, policy_blocks_max};
use crate::device::ops::weights_back::partial_len;
use crate::device::ops::{ConvShape, HEAD_COLUMNS, Ops};
use crate::device::targets::Targets;
use crate::encoding::action::KINDS;
use crate::encoding::batch::Batch;
use crate::encoding::packed::Positions;
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::error::DeviceError;
use crate::network::architecture::{HEAD, Layout, Span, VALUE_HIDDEN};
use crate::network::weights::Network;
use crate::training::checkpoint::Checkpoint;
use crate::training::losses::LossSums;
use crate::training::optimizer::{BETA1, BETA2, Moments, Optimizer, keep};
use crate::training::train::{Loss, NotFinite, Progress, Train, TrainError};
use rules::{Board, SEATS_MAX};

/// Weights in training, on a device.
pub(crate) struct DeviceTrainer<D: Device> {
    device: D,
    optimizer: Optimizer,
    weights: DeviceWeights<D>,
    average: Array<D, f32>,
    first: Array<D, f32>,
    second: Array<D, f32>,
    decays: Array<D, u8>,
    space: DeviceSpace<D>,
    back: Back<D>,
    /// The average of the last step, to evaluate with; none until that is asked for.
    averaged: Option<DeviceWeights<D>>,
    /// How many steps went into the moments.
    moments: u64,
    step: u64,
}

/// The memory of the way back.
struct Back<D: Device> {
    targets: Targets<D>,
    gradient: Array<D, f32>,
    /// Derivatives by the trunk, which take turns.
    g: [Array<D, Bf16>; 2],
    dh: Array<D, Bf16>,
    dhead32: Array<D, f32>,
    dhead: Array<D, Bf16>,
    dkinds: Array<D, f32>,
    dhidden: Array<D, f32>,
    dpooled: Array<D, f32>,
    to_all: Array<D, f32>,
    to_most: Array<D, f32>,
    sums: Array<D, f32>,
    partial: Array<D, f32>,
    policy_partial: Array<D, f32>,
    losses: Array<D, f32>,
    squares: Array<D, f64>,
    scale: Array<D, f32>,
}

impl<D: Device> Back<D> {
    fn new(device: &D, layout: &Layout, shape: ConvShape, width: usize) -> Result<Self, DeviceError> {
        let (rows, n) = (shape.rows(), shape.boards);
        let trunk = || Array::new(device, rows * width);
        let stem = partial_len(shape, (CHANNELS, width));
        let partial = stem.max(partial_len(shape, (width, width)));
        let partial = partial.max(partial_len(shape.product(), (width, HEAD_COLUMNS)));
        // Of all small layers, none has more inputs than the pool, nor more outputs than these.
        let outputs = width.max(VALUE_HIDDEN).max(KINDS);
        let partial = partial.max(dense_partial_len((n, (2 * width).max(VALUE_HIDDEN), outputs)));
        Ok(Self {
            targets: Targets::new(device, n)?,
            gradient: Array::new(device, layout.total)?,
            g: [trunk()?, trunk()?],
            dh: trunk()?,
            dhead32: Array::new(device, rows * HEAD_COLUMNS)?,
            dhead: Array::new(device, rows * HEAD_COLUMNS)?,
            dkinds: Array::new(device, n * KINDS)?,
            dhidden: Array::new(device, n * VALUE_HIDDEN)?,
            dpooled: Array::new(device, n * 2 * width)?,
            to_all: Array::new(device, n * width)?,
            to_most: Array::new(device, n * width)?,
            sums: Array::new(device, n * width.max(HEAD_COLUMNS))?,
            // Enough for every smaller batch too.
            partial: Array::new(device, partial)?,
            policy_partial: Array::new(device, policy_blocks_max(n) * POLICY_PARTIAL)?,
            losses: Array::new(device, n * 2)?,
            squares: Array::new(device, norm_blocks(layout.total))?,
            scale: Array::new(device, 2)?,
        })
    }
}

impl<D: Device> DeviceTrainer<D> {
    /// Goes on from the raw weights of a checkpoint, with batches of up to so many positions of a board.
    pub(crate) fn new(
        device: D,
        parent: &Checkpoint,
        board: Board,
        optimizer: Optimizer,
        positions_max: usize,
    ) -> Result<Self, DeviceError> {
        let architecture = parent.header.architecture;
        let weights = DeviceWeights::new(&device, architecture, &parent.raw)?;
        let space = DeviceSpace::new(&device, architecture, board, positions_max, true)?;
        let back = Back::new(&device, &weights.layout, space.shape(positions_max), architecture.width())?;
        let mut decays = vec![0; weights.layout.total];
        for tensor in weights.layout.tensors.iter().filter(|tensor| tensor.decays) {
            tensor.span.of_mut(&mut decays).fill(1);
        }
        let zeros = vec![0.0; weights.layout.total];
        let (first, second, moments) =
            parent.moments.as_ref().map_or((&zeros, &zeros, 0), |m| (&m.first, &m.second, m.steps));
        Ok(Self {
            optimizer,
            average: Array::from_slice(&device, parent.network.weights())?,
            first: Array::from_slice(&device, first)?,
            second: Array::from_slice(&device, second)?,
            decays: Array::from_slice(&device, &decays)?,
            weights,
            space,
            back,
            averaged: None,
            moments,
            step: parent.header.step,
            device,
        })
    }

    fn make_step(&mut self, samples: &Positions, of_run: u64, run: u64) -> Result<Loss, TrainError> {
        self.averaged = None;
        self.gradient(samples)?;
        let rate = self.optimizer.rate(self.step, of_run, run);
        let moments = self.moments.saturating_add(1);
        let correction = |beta: f32| 1.0 - beta.powi(moments.min(10_000) as i32);
        let rates = AdamRates {
            rate,
            weight_decay: self.optimizer.weight_decay,
            first_correction: correction(BETA1),
            second_correction: correction(BETA2),
            keep: keep(self.optimizer.average, self.step),
        };
        let (ops, back, weights) = (Ops(&self.device), &self.back, &self.weights);
        ops.scale(&back.gradient, &back.squares, &back.scale, self.optimizer.clip)?;
        let state = AdamState {
            weights: &weights.all32,
            weights16: &weights.all16,
            average: &self.average,
            first: &self.first,
            second: &self.second,
        };
        ops.adamw(&state, &back.gradient, &self.decays, &back.scale, rates)?;
        let (w, bias) = (weights.layout.policy_w.start, weights.layout.policy_b.start);
        let width = weights.architecture.width();
        ops.pack_head(
            (&weights.all32, w),
            (&weights.all32, bias),
            &weights.head16,
            &weights.head_bias,
            width,
        )?;
        // Nothing is read before all is launched: the device has no reason to wait.
        let sums = self.sums(samples)?;
        if back.scale.read(&self.device, 2)?[1] == 0.0 {
            return Err(NotFinite { step: self.step }.into());
        }
        self.moments = moments;
        self.step = self.step.saturating_add(1);
        Ok(Loss::of(sums))
    }

    /// Forward, losses, backward: leaves the derivative of the mean loss by every weight.
    fn gradient(&mut self, samples: &Positions) -> Result<(), DeviceError> {
        self.load(samples)?;
        self.space.forward(&self.device, &self.weights, samples, false)?;
        self.losses(samples)?;
        let shape = self.space.shape(samples.len());
        self.backward_heads(shape, samples.moves())?;
        self.backward_trunk(shape)
    }

    /// Copies samples to the device, with what they have to teach.
    fn load(&mut self, samples: &Positions) -> Result<(), DeviceError> {
        self.space.load(&self.device, samples)?;
        self.back.targets.write(&self.device, samples)
    }

    /// The losses of what forward has left, and their derivatives in its place.
    fn losses(&self, samples: &Positions) -> Result<(), DeviceError> {
        let n = samples.len();
        let (device, space, back) = (&self.device, &self.space, &self.back);
        let share = |count: usize| 1.0 / count.max(1) as f32;
        let (per_policy, per_value) = (share(samples.policies()), share(n));
        let moves = space.moves(samples.moves());
        let per = (per_policy, per_value);
        Ops(device).losses(&space.logits, &moves, &back.targets, &space.value, &back.losses, n, per)
    }

    fn sums(&self, samples: &Positions) -> Result<LossSums, DeviceError> {
        let n = samples.len();
        let losses = self.back.losses.read(&self.device, 2 * n)?;
        let sum = |from: usize| losses.iter().skip(from).step_by(2).map(|&loss| f64::from(loss)).sum();
        Ok(LossSums { policy: sum(0), policies: samples.policies(), value: sum(1), values: n })
    }

    fn backward_heads(&self, shape: ConvShape, moves: usize) -> Result<(), DeviceError> {
        let Self { device, space, back, weights, .. } = self;
        let (ops, layout, width, n) =
            (Ops(device), &weights.layout, weights.architecture.width(), shape.boards);
        let of = |span: Span| (&weights.all32, span.start);
        let into = |span: Span| (&back.gradient, span.start);
        let last = layout.blocks.len();
        let (x, pooled) = (space.x(last), space.pooled(last));
        let pairs = of(layout.policy_pairs);
        let moves = space.moves(moves);
        let out = (&back.dhead32, &back.dhead);
        ops.policy_back(
            &space.head,
            pairs,
            &moves,
            &space.logits,
            out,
            &back.dkinds,
            &back.policy_partial,
            shape,
        )?;
        // The pairs and the rays lie one behind the other.
        let sizes = (POLICY_PARTIAL, POLICY_PARTIAL, POLICY_PARTIAL);
        ops.sum_partials(&back.policy_partial, into(layout.policy_pairs), policy_blocks(n), sizes)?;

        let (hidden, dhidden, dpooled) = (&space.hidden, &back.dhidden, &back.dpooled);
        let sizes = (n, VALUE_HIDDEN, SEATS_MAX);
        ops.dense_weights(Some(hidden), &space.value, &back.partial, into(layout.value_w2), sizes)?;
        ops.column_sums(&space.value, into(layout.value_b2), (n, SEATS_MAX, SEATS_MAX))?;
        ops.dense_back(&space.value, of(layout.value_w2), Some(hidden), dhidden, sizes, false)?;
        let sizes = (n, 2 * width, VALUE_HIDDEN);
        ops.dense_weights(Some(pooled), dhidden, &back.partial, into(layout.value_w1), sizes)?;
        ops.column_sums(dhidden, into(layout.value_b1), (n, VALUE_HIDDEN, VALUE_HIDDEN))?;
        ops.dense_back(dhidden, of(layout.value_w1), None, dpooled, sizes, false)?;
        let sizes = (n, 2 * width, KINDS);
        ops.dense_weights(Some(pooled), &back.dkinds, &back.partial, into(layout.policy_kinds_w), sizes)?;
        ops.column_sums(&back.dkinds, into(layout.policy_kinds_b), (n, KINDS, KINDS))?;
        ops.dense_back(&back.dkinds, of(layout.policy_kinds_w), None, dpooled, sizes, true)?;
        ops.pool_back(dpooled, (&back.to_all, &back.to_most), shape, width)?;

        let product = shape.product();
        let sizes = (width, HEAD_COLUMNS, HEAD);
        let dw = into(layout.policy_w);
        ops.weights_back(x, &back.dhead, &space.own, &back.partial, dw, product, sizes)?;
        ops.board_sums(&back.dhead, &back.sums, shape, HEAD_COLUMNS)?;
        ops.column_sums(&back.sums, into(layout.policy_b), (n, HEAD_COLUMNS, HEAD))?;
        let after = Epilogue {
            y: Some(&back.g[last % 2]),
            by_board: Some(&back.to_all),
            most: Some((&space.most[last], &back.to_most)),
            mask: Some(x),
            ..Epilogue::default()
        };
        let sizes = (HEAD_COLUMNS, width);
        ops.conv_back(&back.dhead, (&weights.head16, 0), &space.own, product, sizes, &after)
    }

    fn backward_trunk(&self, shape: ConvShape) -> Result<(), DeviceError> {
        let Self { device, space, back, weights, .. } = self;
        let (ops, layout, width, n) =
            (Ops(device), &weights.layout, weights.architecture.width(), shape.boards);
        let into = |span: Span| (&back.gradient, span.start);
        let (sources, partial, sums, dh) = (&space.sources, &back.partial, &back.sums, &back.dh);
        let square = (width, width, width);
        for (i, block) in layout.blocks.iter().enumerate().rev() {
            let (x, h) = (space.x(i), space.h(i));
            let (g, before) = (&back.g[(i + 1) % 2], &back.g[i % 2]);
            ops.board_sums(g, sums, shape, width)?;
            ops.column_sums(sums, into(block.b2), (n, width, width))?;
            ops.weights_back(h, g, sources, partial, into(block.w2), shape, square)?;
            let inner = Epilogue { y: Some(dh), mask: Some(h), ..Epilogue::default() };
            let w2 = (&weights.all16, block.w2.start);
            ops.conv_back(g, w2, sources, shape, (width, width), &inner)?;
            ops.board_sums(dh, sums, shape, width)?;
            ops.column_sums(sums, into(block.b1), (n, width, width))?;
            ops.weights_back(x, dh, sources, partial, into(block.w1), shape, square)?;
            let mut outer =
                Epilogue { y: Some(before), residual: Some(g), mask: Some(x), ..Epilogue::default() };
            if block.pool.len > 0 {
                let (pooled, sizes) = (space.pooled(i), (n, 2 * width, width));
                ops.dense_weights(Some(pooled), sums, partial, into(block.pool), sizes)?;
                let w = (&weights.all32, block.pool.start);
                ops.dense_back(sums, w, None, &back.dpooled, sizes, false)?;
                ops.pool_back(&back.dpooled, (&back.to_all, &back.to_most), shape, width)?;
                outer.by_board = Some(&back.to_all);
                outer.most = Some((&space.most[i], &back.to_most));
            }
            let w1 = (&weights.all16, block.w1.start);
            ops.conv_back(dh, w1, sources, shape, (width, width), &outer)?;
        }
        let g = &back.g[0];
        ops.board_sums(g, sums, shape, width)?;
        ops.column_sums(sums, into(layout.stem_b), (n, width, width))?;
        ops.dense_weights(
            Some(&space.globals),
            sums,
            partial,
            into(layout.stem_globals),
            (n, GLOBALS, width),
        )?;
        let sizes = (CHANNELS, width, width);
        ops.weights_back(&space.planes, g, sources, partial, into(layout.stem_w), shape, sizes)
    }
}

impl<D: Device + Send> Train for DeviceTrainer<D>
where
    D::Memory: Send,
{
    fn step(&mut self, batch: &Batch, of_run: u64, run: u64) -> Result<Loss, TrainError> {
        let samples = batch.packed.as_ref().expect("a batch of the backend that trains");
        self.make_step(samples, of_run, run)
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<Loss, DeviceError> {
        let samples = batch.packed.as_ref().expect("a batch of the backend that trains");
        self.load(samples)?;
        let averaged = match self.averaged.take() {
            Some(averaged) => averaged,
            None => {
                let average = self.average.read(&self.device, self.weights.layout.total)?;
                DeviceWeights::new(&self.device, self.weights.architecture, &average)?
            }
        };
        self.space.forward(&self.device, self.averaged.insert(averaged), samples, true)?;
        self.losses(samples)?;
        self.sums(samples).map(Loss::of)
    }

    fn step_count(&self) -> u64 {
        self.step
    }

    fn network(&self) -> Result<Option<Network>, DeviceError> {
        let average = self.average.read(&self.device, self.weights.layout.total)?;
        Ok(Network::from_weights(self.weights.architecture, average))
    }

    fn progress(&self) -> Result<Progress, DeviceError> {
        let read = |array: &Array<D, f32>| array.read(&self.device, self.weights.layout.total);
        let moments = Moments { first: read(&self.first)?, second: read(&self.second)?, steps: self.moments };
        Ok(Progress { raw: read(&self.weights.all32)?, moments })
    }
}

#[cfg(test)]
impl<D: Device> DeviceTrainer<D> {
    /// The losses, and the derivative by every weight.
    pub(super) fn gradient_of(&mut self, samples: &Positions) -> Result<(Loss, Vec<f32>), DeviceError> {
        self.gradient(samples)?;
        Ok((Loss::of(self.sums(samples)?), self.back.gradient.read(&self.device, self.weights.layout.total)?))
    }

    /// The weights, their average and the moments.
    pub(super) fn state(&self) -> Result<[Vec<f32>; 4], DeviceError> {
        let read = |array: &Array<D, f32>| array.read(&self.device, self.weights.layout.total);
        Ok([read(&self.weights.all32)?, read(&self.average)?, read(&self.first)?, read(&self.second)?])
    }
}
