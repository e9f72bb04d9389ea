//! What launches are given, on a device that carries nothing out: arrays too short are refused, and the
//! largest batch stays within what kernels count and cards launch.

use crate::device::array::Plain;
use crate::device::array::{Array, Bf16};
use crate::device::ops;
use crate::device::ops::conv::Epilogue;
use crate::device::ops::optimizer::{AdamRates, AdamState};
use crate::device::ops::policy::{MoveArrays, POLICY_PARTIAL};
use crate::device::ops::tower::tower_shared_bytes;
use crate::device::ops::{ConvShape, HEAD_COLUMNS, Ops, SHARED_BYTES_MAX};
use crate::device::targets::Targets;
use crate::device::tests::training::parent;
use crate::device::train::DeviceTrainer;
use crate::dry_run::{RecordedLaunch, Recorder};
use crate::encoding::action::{KINDS, PAIRS, RAYS};
use crate::encoding::batch::Batch;
use crate::encoding::packed::{ACTION_WORDS, HEADER, READS};
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::encoding::target::Target;
use crate::error::DeviceError;
use crate::network::architecture::{HEAD, KEY};
use crate::training::optimizer::Optimizer;
use crate::training::train::Train as _;
use rules::playout::{self, Choices};
use rules::{Board, Hexagonal, Move, SEATS_MAX, State as Position};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Makes the arrays of a launch; the one at `cut` too short by an element.
struct Arrays {
    device: Recorder,
    cut: Option<usize>,
    made: Cell<usize>,
}

impl Arrays {
    fn of<T: Plain>(&self, len: usize) -> Array<Recorder, T> {
        let at = self.made.replace(self.made.get() + 1);
        Array::new(&self.device, if self.cut == Some(at) { len - 1 } else { len }).unwrap()
    }

    fn ops(&self) -> Ops<'_, Recorder> {
        Ops(&self.device)
    }
}

/// The arrays of 70 moves.
struct OwnedMoves {
    reads: Array<Recorder, u8>,
    actions: Array<Recorder, u32>,
    many: Array<Recorder, u16>,
    ends: Array<Recorder, u32>,
}

impl OwnedMoves {
    fn new(a: &Arrays) -> Self {
        // How many cells there are in the third is in the second: no launch knows.
        let many = Array::new(&a.device, 9).unwrap();
        Self { reads: a.of(KINDS * READS), actions: a.of(70 * ACTION_WORDS), many, ends: a.of(BOARDS) }
    }

    fn moves(&self) -> MoveArrays<'_, Recorder> {
        let Self { reads, actions, many, ends } = self;
        MoveArrays { reads, actions, many, ends, count: 70 }
    }
}

/// The launch is made with arrays that are as long as they must be, and with none that is shorter.
fn refuses_short_arrays(what: &str, launch: impl Fn(&Arrays) -> Result<(), DeviceError>) {
    let run = |cut: Option<usize>| {
        let arrays = Arrays { device: Recorder::default(), cut, made: Cell::new(0) };
        let panics = catch_unwind(AssertUnwindSafe(|| launch(&arrays).unwrap())).is_err();
        (panics, arrays.made.get())
    };
    let (panics, made) = run(None);
    assert!(!panics && made > 0, "{what}");
    for cut in 0..made {
        assert!(run(Some(cut)).0, "{what}: array {cut} is too short");
    }
}

const BOARDS: usize = 3;
const CELLS: usize = 61;
const ROWS: usize = BOARDS * CELLS;
const SHAPE: ConvShape = ConvShape { boards: BOARDS, cells: CELLS, taps: 7, reach: 9 };

#[test]
fn short_arrays_of_a_pass_forward_are_refused() {
    refuses_short_arrays("expand", |a| {
        let (planes, globals) = (a.of(ROWS * CHANNELS), a.of(BOARDS * GLOBALS));
        let headers = a.of(BOARDS * HEADER);
        a.ops().expand(&a.of(ROWS), &a.of(ROWS), &headers, &planes, &globals, SHAPE)
    });
    for back in [false, true] {
        refuses_short_arrays("conv", |a| {
            let (x, w, sources) = (a.of(ROWS * 48), a.of(8 + 7 * 48 * 32), a.of(CELLS * 7));
            let after = Epilogue {
                y: Some(&a.of(ROWS * 32)),
                y32: Some(&a.of(ROWS * 32)),
                bias: Some((&a.of(5 + 32), 5)),
                by_board: Some(&a.of(BOARDS * 32)),
                residual: Some(&a.of(ROWS * 32)),
                mask: Some(&a.of(ROWS * 32)),
                most: Some((&a.of(BOARDS * 32), &a.of(BOARDS * 32))),
                relu: true,
            };
            if back {
                a.ops().conv_back(&x, (&w, 8), &sources, SHAPE, (48, 32), &after)
            } else {
                a.ops().conv(&x, (&w, 8), &sources, SHAPE, (48, 32), &after)
            }
        });
    }
    refuses_short_arrays("tower", |a| {
        // Weights of both kinds are one buffer, whose length the layers know.
        let (all16, layers) = (Array::new(&a.device, 9000)?, Array::new(&a.device, 9)?);
        let out = (&a.of(ROWS * 32), &a.of(BOARDS * 64));
        let (planes, globals, sources) = (a.of(ROWS * CHANNELS), a.of(BOARDS * GLOBALS), a.of(CELLS * 7));
        a.ops().tower(&planes, &globals, (&all16, &a.of(9000)), &layers, &sources, out, SHAPE, 32)
    });
    refuses_short_arrays("pool", |a| {
        let (x, most) = (a.of(ROWS * 33), a.of(BOARDS * 33));
        a.ops().pool(&x, &a.of(BOARDS * 66), Some(&most), SHAPE, 33)
    });
    refuses_short_arrays("dense", |a| {
        let (w, bias) = (a.of(7 + 5 * 9), a.of(3 + 9));
        a.ops().dense(&a.of(3 * 5), (&w, 7), Some((&bias, 3)), &a.of(3 * 9), (3, 5, 9), true)
    });
    refuses_short_arrays("logits", |a| {
        let (head, kinds) = (a.of(ROWS * HEAD_COLUMNS), a.of(BOARDS * KINDS));
        let tables = a.of(PAIRS * KEY + RAYS);
        let moves = OwnedMoves::new(a);
        a.ops().logits(&head, &kinds, (&tables, 0, PAIRS * KEY), &moves.moves(), &a.of(70), SHAPE)
    });
}

#[test]
fn short_arrays_of_the_way_back_are_refused() {
    refuses_short_arrays("pool_back", |a| {
        let out = (&a.of(BOARDS * 33), &a.of(BOARDS * 33));
        a.ops().pool_back(&a.of(BOARDS * 66), out, SHAPE, 33)
    });
    refuses_short_arrays("board_sums", |a| {
        a.ops().board_sums(&a.of(ROWS * 33), &a.of(BOARDS * 33), SHAPE, 33)
    });
    refuses_short_arrays("column_sums", |a| {
        let sums = a.of(2 + 7);
        a.ops().column_sums(&a.of(5 * 9), (&sums, 2), (5, 9, 7))
    });
    refuses_short_arrays("dense_back", |a| {
        let (w, mask) = (a.of(4 + 5 * 9), a.of(3 * 5));
        a.ops().dense_back(&a.of(3 * 9), (&w, 4), Some(&mask), &a.of(3 * 5), (3, 5, 9), true)
    });
    refuses_short_arrays("dense_weights", |a| {
        let (partial, dw) = (a.of(5 * 9), a.of(1 + 5 * 9));
        a.ops().dense_weights(Some(&a.of(3 * 5)), &a.of(3 * 9), &partial, (&dw, 1), (3, 5, 9))
    });
    refuses_short_arrays("losses", |a| {
        let moves = MoveArrays {
            reads: &Array::new(&a.device, 0)?,
            actions: &Array::new(&a.device, 0)?,
            many: &Array::new(&a.device, 0)?,
            ends: &a.of(BOARDS),
            count: 70,
        };
        let targets = Targets {
            index: Array::new(&a.device, 8)?,
            weight: a.of(8),
            ends: a.of(BOARDS),
            seats: a.of(BOARDS),
            winners: a.of(BOARDS),
        };
        let (values, losses) = (a.of(BOARDS * SEATS_MAX), a.of(2 * BOARDS));
        a.ops().losses(&a.of(70), &moves, &targets, &values, &losses, BOARDS, (1.0, 1.0))
    });
    refuses_short_arrays("policy_back", |a| {
        let moves = OwnedMoves::new(a);
        let (head, pairs) = (a.of(ROWS * HEAD_COLUMNS), a.of(PAIRS * KEY));
        let out = (&a.of(ROWS * HEAD_COLUMNS), &a.of(ROWS * HEAD_COLUMNS));
        let (dkinds, partial) = (a.of(BOARDS * KINDS), a.of(BOARDS * POLICY_PARTIAL));
        a.ops().policy_back(&head, (&pairs, 0), &moves.moves(), &a.of(70), out, &dkinds, &partial, SHAPE)
    });
    refuses_short_arrays("weights_back", |a| {
        let (x, dy, sources) = (a.of(ROWS * 48), a.of(ROWS * 96), a.of(CELLS * 7));
        let (partial, dw) = (a.of(7 * 48 * 96), a.of(3 + 7 * 48 * 84));
        a.ops().weights_back(&x, &dy, &sources, &partial, (&dw, 3), SHAPE, (48, 96, 84))
    });
}

#[test]
fn short_arrays_of_the_optimiser_are_refused() {
    refuses_short_arrays("scale", |a| {
        let gradient = Array::new(&a.device, 10_000)?;
        a.ops().scale(&gradient, &a.of(2), &a.of(2), 1.0)
    });
    refuses_short_arrays("adamw", |a| {
        let gradient = Array::new(&a.device, 1000)?;
        let state = AdamState {
            weights: &a.of(1000),
            weights16: &a.of(1000),
            average: &a.of(1000),
            first: &a.of(1000),
            second: &a.of(1000),
        };
        let rates = AdamRates {
            rate: 0.1,
            weight_decay: 0.1,
            first_correction: 1.0,
            second_correction: 1.0,
            keep: 0.9,
        };
        a.ops().adamw(&state, &gradient, &a.of(1000), &a.of(2), rates)
    });
    refuses_short_arrays("pack_head", |a| {
        let (w, bias) = (a.of(1 + 33 * HEAD), a.of(2 + HEAD));
        let (head16, head_bias) = (a.of(33 * HEAD_COLUMNS), a.of(HEAD_COLUMNS));
        a.ops().pack_head((&w, 1), (&bias, 2), &head16, &head_bias, 33)
    });
}

#[test]
fn shapes_that_no_kernel_takes_are_refused() {
    let device = Recorder::default();
    let ops = Ops(&device);
    let array = || Array::<_, f32>::new(&device, 1 << 20).unwrap();
    let (x, w) =
        (Array::<_, Bf16>::new(&device, 1 << 20).unwrap(), Array::<_, Bf16>::new(&device, 1 << 20).unwrap());
    let sources = Array::<_, u16>::new(&device, 1 << 12).unwrap();
    let after = || Epilogue::default();
    let refused = |what: &str, launch: &dyn Fn()| {
        assert!(catch_unwind(AssertUnwindSafe(launch)).is_err(), "{what}");
    };
    let conv =
        |at: usize, k: usize, n: usize| ops.conv(&x, (&w, at), &sources, SHAPE, (k, n), &after()).unwrap();
    conv(8, 16, 32);
    refused("a width without a kernel", &|| conv(8, 16, 48));
    refused("inputs in no pieces of 16", &|| conv(8, 24, 32));
    refused("weights at an odd place", &|| conv(4, 16, 32));
    refused("more channels than threads", &|| ops.pool(&x, &array(), None, SHAPE, 129).unwrap());
    refused("more channels than threads", &|| ops.board_sums(&x, &array(), SHAPE, 129).unwrap());
    refused("more columns than there are", &|| ops.column_sums(&array(), (&array(), 0), (3, 4, 5)).unwrap());
    refused("inputs of a bias", &|| {
        ops.dense_weights(None, &array(), &array(), (&array(), 0), (3, 4, 5)).unwrap()
    });
    refused("more columns kept than there are", &|| {
        ops.sum_partials(&array(), (&array(), 0), 2, (12, 4, 5)).unwrap();
    });
    let wide = ConvShape { cells: 65, ..SHAPE };
    let layers = Array::<_, u32>::new(&device, 9).unwrap();
    let tower = |shape: ConvShape| {
        let all = (&x, &array());
        ops.tower(&w, &array(), all, &layers, &sources, (&x, &array()), shape, 32).unwrap();
    };
    tower(SHAPE);
    refused("a board that a tower does not hold", &|| tower(wide));
}

/// All launches of a step on the largest batch, with the widest network, on the largest
/// board.
#[test]
fn the_largest_batch_stays_within_what_cards_launch() {
    let (blocks, channels, positions) = (10, 128, 16_384);
    let parent = parent(Board::Hexagonal, (blocks, channels), 2);
    let device = Recorder::default();
    let board = Board::Hexagonal;
    let mut trainer =
        DeviceTrainer::new(device.clone(), &parent, board, Optimizer::default(), positions).unwrap();
    let mut batch = Batch::packed(board);
    let mut most: (Position<Hexagonal>, Vec<Move>) = (Position::new(2, Default::default()), Vec::new());
    playout::play(most.0, &mut Choices::new(1), &mut Vec::new(), |state, legal| {
        if legal.len() > most.1.len() {
            most = (*state, legal.to_vec());
        }
    });
    for _ in 0..positions {
        batch.push_sample(&most.0, &most.1, Target { policy: &[(0, 1.0)], winner: 0 });
    }
    trainer.step(&batch, 0, 1).unwrap();
    let seen = device.take();
    let shared_max = tower_shared_bytes(128).max(SHARED_BYTES_MAX) as u32;
    let known = ops::all();
    for RecordedLaunch { kernel, grid, .. } in &seen.pass.launches {
        assert!(known.contains(kernel));
        assert!(
            grid.blocks.0 < 1 << 31 && grid.blocks.1 <= 0xffff && grid.threads <= 288,
            "{kernel}: {grid:?}"
        );
        assert!(grid.shared_bytes <= shared_max, "{kernel}: {grid:?}");
    }
    assert!(seen.ints.iter().all(|&value| value <= 1 << 30), "{:?}", seen.ints.iter().max());
    let kernels: std::collections::HashSet<_> =
        seen.pass.launches.iter().map(|launch| launch.kernel).collect();
    assert!(kernels.len() > 15 && seen.next > 50 << 30, "{kernels:?}, {} bytes", seen.next);
}
