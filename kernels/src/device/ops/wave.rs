//! The search on a device, and the collection of the games that it has finished; see `cuda/wave.cu`.

use super::call::{ArrayPart, Call};
use super::games::{BLOCKS_MAX, PLAYED};
use super::{HEAD_COLUMNS, Ops};
use crate::device::Device;
use crate::device::array::Array;
use crate::device::kernel::kernels;
use crate::encoding::action::{KINDS, PAIRS, RAYS};
use crate::encoding::game::table_bytes;
use crate::encoding::packed::{HEADER, READS};
use crate::error::DeviceError;
use crate::network::architecture::KEY;
use rules::{SEATS_MAX, Topology};

kernels! {
    WAVE = Boards("wave");
    COLLECT = One("wave_collect");
}

/// Threads of a block: one warp.
const THREADS: u32 = 32;
/// Words of `Slot` in `cuda/wave/slot.cuh`.
pub(crate) const SLOT: usize = 20;

/// What games under way are kept in, in words.
pub(crate) struct WaveArrays<'a, D: Device> {
    pub(crate) settings: &'a Array<D, u32>,
    /// [`SLOT`] words a slot.
    pub(crate) slots: &'a Array<D, u32>,
    pub(crate) positions: &'a Array<D, u32>,
    pub(crate) nodes: &'a Array<D, u32>,
    pub(crate) paths: &'a Array<D, u32>,
    pub(crate) edges: &'a Array<D, u32>,
    pub(crate) records: &'a Array<D, u32>,
    /// Two words a slot: which of its records are finished.
    pub(crate) ready: &'a Array<D, u32>,
}

/// The positions that the search asks the network about, one a slot, as [`Ops::expand`] takes them.
pub(crate) struct QuestionArrays<'a, D: Device> {
    pub(crate) stacks: &'a Array<D, u64>,
    pub(crate) ground: &'a Array<D, u8>,
    pub(crate) headers: &'a Array<D, u16>,
}

/// What the network has computed of the questions, and what logits of moves are computed with.
pub(crate) struct AnswerArrays<'a, D: Device> {
    pub(crate) head: &'a Array<D, f32>,
    pub(crate) kinds: &'a Array<D, f32>,
    pub(crate) value: &'a Array<D, f32>,
    pub(crate) pairs: ArrayPart<'a, D, f32>,
    pub(crate) rays: ArrayPart<'a, D, f32>,
    pub(crate) reads: &'a Array<D, u8>,
}

impl<D: Device> Ops<'_, D> {
    /// Every game of so many slots goes on to its next question. `lengths`: words of
    /// positions, nodes, paths, edges and records.
    pub(crate) fn wave<T: Topology>(
        &self,
        wave: &WaveArrays<'_, D>,
        questions: &QuestionArrays<'_, D>,
        answers: &AnswerArrays<'_, D>,
        slots: usize,
        lengths: [usize; 5],
    ) -> Result<(), DeviceError> {
        let [positions, nodes, paths, edges, records] = lengths;
        let (cells, blocks) = (slots * T::CELLS, slots.min(BLOCKS_MAX));
        Call::new(WAVE.of(T::BOARD))
            .array(wave.settings, wave.settings.len())
            .array(wave.slots, slots * SLOT)
            .array(wave.positions, positions)
            .array(wave.nodes, nodes)
            .array(wave.paths, paths)
            .array(wave.edges, edges)
            .array(wave.records, records)
            .array(wave.ready, 2 * slots)
            .array(questions.stacks, cells)
            .array(questions.ground, cells)
            .array(questions.headers, slots * HEADER)
            .array(answers.head, cells * HEAD_COLUMNS)
            .array(answers.kinds, slots * KINDS)
            .array(answers.value, slots * SEATS_MAX)
            .part(answers.pairs, PAIRS * KEY)
            .part(answers.rays, RAYS)
            .array(answers.reads, KINDS * READS)
            .int(slots)
            .int(blocks)
            .uncounted(PLAYED)
            .launch(self.0, (blocks, 1), THREADS, table_bytes::<T>())
    }

    /// Moves finished games, of the records of so many slots, to the outbox. `rooms`: words that a record has
    /// for moves and for policies; `record`: words that it has in all.
    pub(crate) fn wave_collect(
        &self,
        wave: &WaveArrays<'_, D>,
        outbox: &Array<D, u32>,
        slots: usize,
        rooms: (usize, usize),
        record: usize,
    ) -> Result<(), DeviceError> {
        Call::new(COLLECT.name())
            .array(wave.records, 2 * slots * record)
            .array(wave.ready, 2 * slots)
            .array(outbox, outbox.len())
            .int(2 * slots)
            .int(rooms.0)
            .int(rooms.1)
            .int(outbox.len())
            .uncounted("it moves finished games, of which there are none to hundreds")
            .launch(self.0, (1, 1), THREADS, 0)
    }
}
