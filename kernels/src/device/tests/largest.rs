//! The largest batch there is: 16 384 positions on the largest board that a kernel takes. The last
//! blocks of each launch are run on arrays of that size, so an index that does not fit 32 bits
//! would miss what lies at the end of them.
//!
//! Rows times channels are 7 684 096 * 128 = 983 613 440, below 2^31;
//! bytes are not, and are counted in 64 bits.

use crate::device::array::Plain;
use crate::device::array::{Array, Bf16};
use crate::device::ops::conv::Epilogue;
use crate::device::ops::dense::dense_partial_len;
use crate::device::ops::policy::{MoveArrays, POLICY_PARTIAL, policy_blocks};
use crate::device::ops::weights_back::partial_len;
use crate::device::ops::{ConvShape, HEAD_COLUMNS, Ops};
use crate::device::targets::Targets;
use crate::device::tests::emulated::Emulated;
use crate::device::tests::{bf16, f32s, network, numbers, samples};
use crate::encoding::action::KINDS;
use crate::encoding::packed::{ACTION_WORDS, HEADER, Positions, reads_table};
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::encoding::taps::Taps;
use crate::network::architecture::{Architecture, Layout};
use rules::{Board, SEATS_MAX, with_board};

const BOARDS: usize = 16_384;

fn empty<T: Plain>(device: &Emulated, len: usize) -> Array<Emulated, T> {
    Array::new(device, len).unwrap()
}

/// An array of `len` zeros that ends in `values`.
fn ending<T: Plain>(device: &Emulated, len: usize, values: &[T]) -> Array<Emulated, T> {
    let array = empty(device, len);
    put(device, &array, len - values.len(), values);
    array
}

fn put<T: Plain>(device: &Emulated, array: &Array<Emulated, T>, at: usize, values: &[T]) {
    // SAFETY: plain values are their bytes.
    #[allow(unsafe_code, reason = "copies plain values as bytes")]
    let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) };
    device.poke(array.address() + (at * size_of::<T>()) as u64, bytes);
}

/// The last `len` values.
fn end<T: Plain>(device: &Emulated, array: &Array<Emulated, T>, len: usize) -> Vec<T> {
    let mut values = vec![T::default(); len];
    // SAFETY: plain values are their bytes, and any bytes are values.
    #[allow(unsafe_code, reason = "copies plain values as bytes")]
    let bytes = unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(&*values)) };
    device.peek(array.address() + ((array.len() - len) * size_of::<T>()) as u64, bytes);
    values
}

/// Runs a test with a small device and one that has the same at the end
/// of vast arrays; compares what they leave.
fn same_at_the_end<T: Plain + PartialEq + std::fmt::Debug>(
    last_blocks: u32,
    test: impl Fn(&Emulated, usize) -> Vec<Vec<T>>,
) {
    let (small, vast) = (test(&Emulated::new(1), 1), test(&Emulated::vast(1, last_blocks), BOARDS));
    assert!(!small.is_empty() && small == vast, "other results at the end of vast arrays");
}

/// Taps and cells of the largest board.
fn largest() -> (&'static Taps, usize) {
    let taps = Taps::of(Board::Hexagonal);
    (taps, taps.cells)
}

#[test]
fn convolutions() {
    let (taps, cells) = largest();
    const N: usize = 128;
    let (x, w) = (bf16(&numbers(cells * N, 1)), bf16(&numbers(taps.taps * N * N, 2)));
    let (other, by_board) = (bf16(&numbers(cells * N, 3)), numbers(N, 4));
    let most: Vec<u16> = (0..N).map(|i| (i * 3 % cells) as u16).collect();
    // The rows of the last board are in the last five blocks at most.
    for back in [false, true] {
        same_at_the_end(5, |device, boards| {
            let rows = boards * cells;
            let (x, w) = (ending(device, rows * N, &x), Array::from_slice(device, &w).unwrap());
            let other = ending(device, rows * N, &other);
            let by_board = ending(device, boards * N, &by_board);
            let most = ending(device, boards * N, &most);
            let sources = Array::from_slice(device, &taps.sources).unwrap();
            let (y, y32) = (empty::<Bf16>(device, rows * N), empty::<f32>(device, rows * N));
            let after = Epilogue {
                y: Some(&y),
                y32: Some(&y32),
                by_board: Some(&by_board),
                residual: Some(&other),
                mask: Some(&other),
                most: Some((&most, &by_board)),
                ..Epilogue::default()
            };
            let shape = ConvShape::new(taps, boards);
            let (ops, w, sizes) = (Ops(device), (&w, 0), (N, N));
            if back {
                ops.conv_back(&x, w, &sources, shape, sizes, &after).unwrap();
            } else {
                ops.conv(&x, w, &sources, shape, sizes, &after).unwrap();
            }
            vec![end(device, &y32, cells * N), f32s(&end(device, &y, cells * N))]
        });
    }
}

/// The last split of many has other rows than the only one of few, so zeros are before the last board.
#[test]
fn derivatives_by_weights() {
    let (taps, cells) = largest();
    const K: usize = 128;
    const N: usize = 32;
    let (x, dy) = (bf16(&numbers(cells * K, 1)), bf16(&numbers(cells * N, 2)));
    same_at_the_end(1, |device, boards| {
        let rows = boards * cells;
        let (x, dy) = (ending(device, rows * K, &x), ending(device, rows * N, &dy));
        let sources = Array::from_slice(device, &taps.sources).unwrap();
        let count = taps.taps * K * N;
        let shape = ConvShape::new(taps, boards);
        let (partial, dw) = (empty::<f32>(device, partial_len(shape, (K, N))), empty::<f32>(device, count));
        Ops(device).weights_back(&x, &dy, &sources, &partial, (&dw, 0), shape, (K, N, N)).unwrap();
        // The last block has the last 32 inputs of every tap.
        vec![end(device, &partial, 32 * N)]
    });
}

#[test]
fn towers() {
    let taps = Taps::of(Board::Square8);
    const C: usize = 128;
    let architecture = Architecture { blocks: 1, channels: C as u32, ..Architecture::small(Board::Square8) };
    let weights = network(architecture, 1).weights().to_vec();
    let layout = Layout::new(architecture);
    let layers = [layout.stem_w, layout.stem_b, layout.stem_globals].map(|span| span.start as u32);
    let (planes, globals) = (bf16(&numbers(taps.cells * CHANNELS, 1)), numbers(GLOBALS, 2));
    same_at_the_end(1, |device, boards| {
        let shape = ConvShape::new(taps, boards);
        let (all16, all32) = (
            Array::from_slice(device, &bf16(&weights)).unwrap(),
            Array::from_slice(device, &weights).unwrap(),
        );
        let layers = Array::from_slice(device, &layers).unwrap();
        let sources = Array::from_slice(device, &taps.sources).unwrap();
        let planes = ending(device, shape.rows() * CHANNELS, &planes);
        let globals = ending(device, boards * GLOBALS, &globals);
        let (x, pooled) = (empty::<Bf16>(device, shape.rows() * C), empty::<f32>(device, boards * 2 * C));
        let all = (&all16, &all32);
        Ops(device).tower(&planes, &globals, all, &layers, &sources, (&x, &pooled), shape, C).unwrap();
        vec![f32s(&end(device, &x, taps.cells * C)), end(device, &pooled, 2 * C)]
    });
}

#[test]
fn expansion_pools_and_small_layers() {
    let (_, cells) = largest();
    const N: usize = 128;
    let (_, packed) = with_board!(Board::Hexagonal, T => samples::<T>(2, 1));
    let positions = packed.packed.unwrap();
    let x = bf16(&numbers(cells * N, 1));
    let (vector, w) = (numbers(2 * N, 2), numbers(2 * N * 32, 3));
    same_at_the_end(1, |device, boards| {
        let (ops, shape) = (Ops(device), ConvShape { boards, cells, taps: 1, reach: 0 });
        let rows = shape.rows();
        let stacks = ending(device, rows, &positions.stacks);
        let ground = ending(device, rows, &positions.ground);
        let headers = ending(device, boards * HEADER, &positions.headers);
        let planes = empty::<Bf16>(device, rows * CHANNELS);
        let globals = empty::<f32>(device, boards * GLOBALS);
        ops.expand(&stacks, &ground, &headers, &planes, &globals, shape).unwrap();

        let x = ending(device, rows * N, &x);
        let (pooled, sums) = (empty::<f32>(device, boards * 2 * N), empty::<f32>(device, boards * N));
        let most = empty::<u16>(device, boards * N);
        ops.pool(&x, &pooled, Some(&most), shape, N).unwrap();
        ops.board_sums(&x, &sums, shape, N).unwrap();
        let vector = ending(device, boards * 2 * N, &vector);
        let (to_all, to_most) = (empty::<f32>(device, boards * N), empty::<f32>(device, boards * N));
        ops.pool_back(&vector, (&to_all, &to_most), shape, N).unwrap();
        let w = Array::from_slice(device, &w).unwrap();
        let (y, dx) = (empty::<f32>(device, boards * 32), empty::<f32>(device, boards * 2 * N));
        let sizes = (boards, 2 * N, 32);
        ops.dense(&vector, (&w, 0), None, &y, sizes, false).unwrap();
        ops.dense_back(&y, (&w, 0), None, &dx, sizes, false).unwrap();
        let dw = empty::<f32>(device, 2 * N * 32);
        let partial = empty::<f32>(device, dense_partial_len(sizes));
        ops.dense_weights(Some(&vector), &y, &partial, (&dw, 0), sizes).unwrap();
        let columns = empty::<f32>(device, 32);
        ops.column_sums(&y, (&columns, 0), (boards, 32, 32)).unwrap();
        vec![
            f32s(&end(device, &planes, cells * CHANNELS)),
            end(device, &globals, GLOBALS),
            end(device, &pooled, 2 * N),
            end(device, &sums, N),
            end(device, &most, N).into_iter().map(f32::from).collect(),
            end(device, &to_all, N),
            end(device, &to_most, N),
            // Of the last block, or of its threads.
            end(device, &y, 32),
            end(device, &dx, 32),
            end(device, &dw, 128),
            end(device, &columns, 1),
        ]
    });
}

/// Of the last position; the ones before have 500 moves each.
#[test]
fn policies() {
    let (_, cells) = largest();
    let (_, packed) = with_board!(Board::Hexagonal, T => samples::<T>(2, 1));
    let positions: Positions = packed.packed.unwrap();
    let moves = positions.moves();
    let layout = Layout::new(Architecture { blocks: 1, ..Architecture::small(Board::Hexagonal) });
    let weights = numbers(layout.total, 1);
    let (head, kinds, value) = (numbers(cells * HEAD_COLUMNS, 2), numbers(KINDS, 3), numbers(SEATS_MAX, 4));
    same_at_the_end(1, |device, boards| {
        let (ops, shape) = (Ops(device), ConvShape { boards, cells, taps: 1, reach: 0 });
        let count = (boards - 1) * 500 + moves;
        let mut ends: Vec<u32> = (1..=boards as u32).map(|board| board * 500).collect();
        ends[boards - 1] = count as u32;
        let weights = Array::from_slice(device, &weights).unwrap();
        let head = ending(device, boards * cells * HEAD_COLUMNS, &head);
        let kinds = ending(device, boards * KINDS, &kinds);
        let on = MoveArrays {
            reads: &Array::from_slice(device, &reads_table()).unwrap(),
            actions: &ending(device, count * ACTION_WORDS, &positions.actions),
            many: &Array::from_slice(device, &positions.many).unwrap(),
            ends: &Array::from_slice(device, &ends).unwrap(),
            count,
        };
        let logits = empty::<f32>(device, count);
        let tables = (&weights, layout.policy_pairs.start, layout.policy_rays.start);
        ops.logits(&head, &kinds, tables, &on, &logits, shape).unwrap();
        let of_moves = end(device, &logits, moves);

        let mut target_ends = vec![0; boards];
        target_ends[boards - 1] = positions.target_index.len() as u32;
        let targets = Targets {
            index: Array::from_slice(device, &positions.target_index).unwrap(),
            weight: Array::from_slice(device, &positions.target_weight).unwrap(),
            ends: Array::from_slice(device, &target_ends).unwrap(),
            seats: Array::from_slice(device, &vec![2; boards]).unwrap(),
            winners: Array::from_slice(device, &vec![1; boards]).unwrap(),
        };
        let (values, losses) = (ending(device, boards * SEATS_MAX, &value), empty::<f32>(device, 2 * boards));
        ops.losses(&logits, &on, &targets, &values, &losses, boards, (1.0, 1.0)).unwrap();

        let cells16 = shape.rows() * HEAD_COLUMNS;
        let (sums, dhead) = (empty::<f32>(device, cells16), empty::<Bf16>(device, cells16));
        let dkinds = empty::<f32>(device, boards * KINDS);
        let partial = empty::<f32>(device, policy_blocks(boards) * POLICY_PARTIAL);
        let pairs = (&weights, layout.policy_pairs.start);
        ops.policy_back(&head, pairs, &on, &logits, (&sums, &dhead), &dkinds, &partial, shape).unwrap();
        vec![
            of_moves,
            end(device, &logits, moves),
            end(device, &values, SEATS_MAX),
            end(device, &losses, 2),
            f32s(&end(device, &dhead, cells * HEAD_COLUMNS)),
            end(device, &dkinds, KINDS),
            end(device, &partial, POLICY_PARTIAL),
        ]
    });
}
