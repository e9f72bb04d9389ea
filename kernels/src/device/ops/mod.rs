//! The kernels' launches: shapes are checked, then the kernel is called. What each computes is said in its `.cu` file.
//!
//! Lengths are checked here at every launch. What arrays hold is not looked at: cells that are read and where layers and
//! moves lie come from [`crate::encoding::taps::Taps`], [`crate::network::architecture::Layout`] and [`crate::encoding::packed::Positions`], which
//! make nothing that points outside.

pub(crate) mod back;
pub(crate) mod conv;

use crate::device::array::{Array, Bf16};
use crate::device::{Argument, Device, Grid, KernelName};
use crate::encoding::action::{KINDS, PAIRS, RAYS};
use crate::encoding::packed::{ACTION_WORDS, HEADER, READS};
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::encoding::taps::Taps;
use crate::error::DeviceError;
use crate::network::architecture::KEY;
use rules::{NONE_CELL, SEATS_MAX};

/// Columns of the policy head on a device: [`crate::network::architecture::HEAD`] and zeros.
pub(crate) const HEAD_COLUMNS: usize = 96;
/// Sums that the policy head's derivative leaves for each block.
pub(crate) const POLICY_PARTIAL: usize = PAIRS * KEY + RAYS;
/// Rows and columns of a block of the small layers, and their shared memory.
pub(crate) const DENSE_SIDE: usize = 32;
pub(crate) const DENSE_SHARED_BYTES: usize = 2 * 4 * DENSE_SIDE * (DENSE_SIDE + 1);
/// A layer that has no third tensor.
pub(crate) const NO_TENSOR: u32 = u32::MAX;

/// Widths that kernels are compiled for.
pub(crate) const WIDTHS: [usize; 4] = [32, 64, 96, 128];

/// What a convolution is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) boards: usize,
    pub(crate) cells: usize,
    pub(crate) taps: usize,
    /// How far from a cell, in cells, what it reads is at most.
    pub(crate) reach: usize,
}

impl Shape {
    pub(crate) fn new(taps: &Taps, boards: usize) -> Self {
        Self { boards, cells: taps.cells, taps: taps.taps, reach: taps.reach() }
    }

    /// Of a plain product of the same rows.
    pub(crate) fn product(self) -> Self {
        Self { taps: 1, reach: 0, ..self }
    }

    pub(crate) fn rows(&self) -> usize {
        self.boards * self.cells
    }
}

/// The moves of positions, on the device.
pub(crate) struct Moves<'a, D: Device> {
    pub(crate) reads: &'a Array<D, u8>,
    pub(crate) actions: &'a Array<D, u32>,
    pub(crate) many: &'a Array<D, u16>,
    pub(crate) ends: &'a Array<D, u32>,
    /// How many there are.
    pub(crate) count: usize,
}

/// A part of an array, from an element on.
pub(crate) type Part<'a, D, T> = (&'a Array<D, T>, usize);

/// Launches kernels on a device.
pub(crate) struct Ops<'a, D: Device>(pub(crate) &'a D);

/// Numbers and threads of a launch are at most so many: a kernel may add the threads of a block without overflow.
pub(crate) const COUNT_MAX: usize = 1 << 30;

/// The arguments of a launch, collected with a check of every array.
pub(crate) struct Call {
    kernel: KernelName,
    arguments: Vec<Argument>,
}

impl Call {
    pub(crate) fn new(kernel: KernelName) -> Self {
        Self { kernel, arguments: Vec::with_capacity(16) }
    }

    /// An array from element `start` on, of which the kernel uses `len`.
    pub(crate) fn part<D: Device, T: crate::device::array::Plain>(
        mut self,
        (array, start): Part<'_, D, T>,
        len: usize,
    ) -> Self {
        let fits = start.checked_add(len).is_some_and(|end| end <= array.len());
        assert!(fits, "{}: {start} + {len} of {}", self.kernel, array.len());
        self.arguments.push(Argument::Address(array.address() + (start * size_of::<T>()) as u64));
        self
    }

    pub(crate) fn array<D: Device, T: crate::device::array::Plain>(
        self,
        array: &Array<D, T>,
        len: usize,
    ) -> Self {
        self.part((array, 0), len)
    }

    pub(crate) fn optional<D: Device, T: crate::device::array::Plain>(
        mut self,
        array: Option<&Array<D, T>>,
        len: usize,
    ) -> Self {
        match array {
            Some(array) => self.array(array, len),
            None => {
                self.arguments.push(Argument::Address(0));
                self
            }
        }
    }

    /// # Panics
    /// If the value is larger than kernels count.
    pub(crate) fn int(mut self, value: usize) -> Self {
        assert!(value <= COUNT_MAX, "{}: {value} is more than kernels count", self.kernel);
        self.arguments.push(Argument::Int(value as i32));
        self
    }

    pub(crate) fn word(mut self, value: u32) -> Self {
        self.arguments.push(Argument::Int(value as i32));
        self
    }

    pub(crate) fn float(mut self, value: f32) -> Self {
        self.arguments.push(Argument::Float(value));
        self
    }

    /// Launches a thread for each of `count` elements, in blocks of 128.
    pub(crate) fn each<D: Device>(self, device: &D, count: usize) -> Result<(), DeviceError> {
        assert!(count <= COUNT_MAX, "{}: {count} elements are more than kernels count", self.kernel);
        self.launch(device, (count.div_ceil(128), 1), 128, 0)
    }

    pub(crate) fn launch<D: Device>(
        self,
        device: &D,
        blocks: (usize, usize),
        threads: u32,
        shared: usize,
    ) -> Result<(), DeviceError> {
        if blocks.0 * blocks.1 == 0 {
            return Ok(());
        }
        assert!(blocks.0 <= COUNT_MAX && blocks.1 <= 0xffff, "{}: a grid of {blocks:?}", self.kernel);
        let grid = Grid { blocks: (blocks.0 as u32, blocks.1 as u32), threads, shared_bytes: shared as u32 };
        // SAFETY: each caller lists the arguments of its kernel in order, with arrays that it made on this device; every
        // array was found to be as long as the kernel's description says, and is borrowed until the launch is queued,
        // behind which the device frees nothing before it is done; what indices are in arrays point into those (see the
        // top of this file).
        #[allow(unsafe_code, reason = "the one place where kernels are called")]
        unsafe {
            device.launch(self.kernel, grid, &self.arguments)
        }
    }
}

/// The kernel of a family for a width; the family's architecture was checked before.
pub(crate) fn of_width(names: [KernelName; 4], width: usize) -> KernelName {
    let at = WIDTHS.iter().position(|&w| w == width).expect("a width that kernels are compiled for");
    names[at]
}

impl<D: Device> Ops<'_, D> {
    /// `expand_positions`.
    pub(crate) fn expand(
        &self,
        stacks: &Array<D, u64>,
        ground: &Array<D, u8>,
        headers: &Array<D, u16>,
        planes: &Array<D, Bf16>,
        globals: &Array<D, f32>,
        shape: Shape,
    ) -> Result<(), DeviceError> {
        let rows = shape.rows();
        Call::new("expand_positions")
            .array(stacks, rows)
            .array(ground, rows)
            .array(headers, shape.boards * HEADER)
            .array(planes, rows * CHANNELS)
            .array(globals, shape.boards * GLOBALS)
            .int(shape.cells)
            .launch(self.0, (shape.boards, 1), 128, 0)
    }

    /// `tower_*`. `layers`: as many triples as there are layers, whose tensors lie within the weights.
    #[allow(clippy::too_many_arguments, reason = "as many as the kernel has")]
    pub(crate) fn tower(
        &self,
        planes: &Array<D, Bf16>,
        globals: &Array<D, f32>,
        weights: (&Array<D, Bf16>, &Array<D, f32>),
        layers: &Array<D, u32>,
        sources: &Array<D, u16>,
        (x, pooled): (&Array<D, Bf16>, &Array<D, f32>),
        shape: Shape,
        width: usize,
    ) -> Result<(), DeviceError> {
        let kernel = of_width(["tower_32", "tower_64", "tower_96", "tower_128"], width);
        assert!(tower_fits(shape), "{kernel}: {shape:?}");
        let boards = tower_boards(width);
        let layer_count = layers.len() / 3;
        assert!(layer_count % 2 == 1, "{kernel}: {layer_count} layers are no stem and blocks");
        Call::new(kernel)
            .array(planes, shape.rows() * CHANNELS)
            .array(globals, shape.boards * GLOBALS)
            .array(weights.0, weights.0.len())
            .array(weights.1, weights.0.len())
            .array(layers, layer_count * 3)
            .array(sources, shape.cells * shape.taps)
            .array(x, shape.rows() * width)
            .array(pooled, shape.boards * 2 * width)
            .int(shape.boards)
            .int(shape.cells)
            .int(shape.taps)
            .int(layer_count)
            .launch(
                self.0,
                (shape.boards.div_ceil(boards), 1),
                (boards * 64) as u32,
                tower_shared_bytes(width),
            )
    }

    /// `pool`.
    pub(crate) fn pool(
        &self,
        x: &Array<D, Bf16>,
        pooled: &Array<D, f32>,
        most: Option<&Array<D, u16>>,
        shape: Shape,
        width: usize,
    ) -> Result<(), DeviceError> {
        assert!(width <= 128, "a thread for each of {width} channels");
        Call::new("pool")
            .array(x, shape.rows() * width)
            .array(pooled, shape.boards * 2 * width)
            .optional(most, shape.boards * width)
            .int(shape.cells)
            .int(width)
            .launch(self.0, (shape.boards, 1), 128, 0)
    }

    /// `dense`: `rows` vectors of `inputs` to `outputs` numbers.
    pub(crate) fn dense(
        &self,
        x: &Array<D, f32>,
        w: Part<'_, D, f32>,
        bias: Option<Part<'_, D, f32>>,
        y: &Array<D, f32>,
        (rows, inputs, outputs): (usize, usize, usize),
        relu: bool,
    ) -> Result<(), DeviceError> {
        let call = Call::new("dense").array(x, rows * inputs).part(w, inputs * outputs);
        let call = match bias {
            Some(bias) => call.part(bias, outputs),
            None => call.optional::<D, f32>(None, 0),
        };
        call.array(y, rows * outputs).int(rows).int(inputs).int(outputs).int(usize::from(relu)).launch(
            self.0,
            (rows.div_ceil(DENSE_SIDE), outputs.div_ceil(DENSE_SIDE)),
            128,
            DENSE_SHARED_BYTES,
        )
    }

    /// `policy_logits`.
    pub(crate) fn logits(
        &self,
        head: &Array<D, f32>,
        kinds: &Array<D, f32>,
        (weights, pairs, rays): (&Array<D, f32>, usize, usize),
        moves: &Moves<'_, D>,
        logits: &Array<D, f32>,
        shape: Shape,
    ) -> Result<(), DeviceError> {
        assert!(moves.count.max(moves.many.len()) <= COUNT_MAX, "{} moves", moves.count);
        Call::new("policy_logits")
            .array(head, shape.rows() * HEAD_COLUMNS)
            .array(kinds, shape.boards * KINDS)
            .part((weights, pairs), PAIRS * KEY)
            .part((weights, rays), RAYS)
            .array(moves.reads, KINDS * READS)
            .array(moves.actions, moves.count * ACTION_WORDS)
            .array(moves.many, moves.many.len())
            .array(moves.ends, shape.boards)
            .array(logits, moves.count)
            .int(shape.boards)
            .int(shape.cells)
            .int(KINDS)
            .launch(self.0, (shape.boards.div_ceil(4), 1), 128, 0)
    }
}

/// Whether a board is small enough for the fused tower.
pub(crate) fn tower_fits(shape: Shape) -> bool {
    (1..=64).contains(&shape.cells) && shape.taps <= 9
}

/// Boards of a block of the fused tower.
fn tower_boards(width: usize) -> usize {
    if width <= 64 { 4 } else { 2 }
}

/// Shared memory of a block of the fused tower.
pub(crate) fn tower_shared_bytes(width: usize) -> usize {
    let boards = tower_boards(width);
    let trunk = (boards * 64 + 1) * (width.max(CHANNELS) + 8);
    2 * (2 * trunk + 3 * 32 * (width + 8)) + 4 * boards * 3 * width + 9 * 64
}

/// Shared memory of a block of the other kernels, at most: what every card has.
pub(crate) const SHARED_BYTES_MAX: usize = 96 * 1024;

const _: () = assert!(SEATS_MAX == 4 && NONE_CELL == 511, "what the kernels take for granted");
