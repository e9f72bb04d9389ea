//! Which cells a convolution reads: the only thing about a board that the network knows.

use rules::{Board, NONE_CELL, Topology, with_board};
use std::{ops::Range, sync::OnceLock};

/// For every cell of a board the cells that a convolution reads: the cell itself, then its neighbours by
/// direction.
#[derive(Debug)]
pub(crate) struct Taps {
    pub(crate) cells: usize,
    pub(crate) taps: usize,
    /// `[cells, taps]`, [`NONE_CELL`] off the board.
    pub(crate) sources: Vec<u16>,
}

impl Taps {
    /// The taps of a board; they are made once.
    pub(crate) fn of(board: Board) -> &'static Self {
        static TAPS: [OnceLock<Taps>; 4] = [const { OnceLock::new() }; 4];
        TAPS[board as usize].get_or_init(|| with_board!(board, T => Self::new::<T>()))
    }

    fn new<T: Topology>() -> Self {
        let taps = 1 + T::DIRECTIONS;
        let mut sources = Vec::with_capacity(T::CELLS * taps);
        for cell in 0..T::CELLS as u16 {
            sources.push(cell);
            sources.extend((0..T::DIRECTIONS).map(|d| T::ray(cell, d).first().copied().unwrap_or(NONE_CELL)));
        }
        Self { cells: T::CELLS, taps, sources }
    }

    /// The tap that looks the other way: `d` and `d + DIRECTIONS / 2` are opposite.
    pub(crate) fn mirror(&self, tap: usize) -> usize {
        let directions = self.taps - 1;
        if tap == 0 { 0 } else { 1 + (tap - 1 + directions / 2) % directions }
    }

    /// The largest distance, in cell numbers, from a cell to one that it reads.
    pub(crate) fn reach(&self) -> usize {
        let rows = self.sources.chunks_exact(self.taps).enumerate();
        let sources = rows.flat_map(|(cell, row)| row.iter().map(move |&source| (cell, source)));
        let read = sources.filter(|&(_, source)| source != NONE_CELL);
        read.map(|(cell, source)| cell.abs_diff(source.into())).max().unwrap_or(0)
    }

    /// Lays the neighbourhood of each of the rows `rows` of `x` (`[_, width]`, whole boards) side by side:
    /// `out[row] = x[taps of row]`, zeros off the board.
    pub(crate) fn gather<F: Copy + Default>(&self, x: &[F], width: usize, rows: Range<usize>, out: &mut [F]) {
        // A copy of known length is a few moves instead of a call.
        match width {
            32 => self.gather_of::<F, 32>(x, rows, out),
            48 => self.gather_of::<F, 48>(x, rows, out),
            64 => self.gather_of::<F, 64>(x, rows, out),
            _ => self.gather_with(x, width, rows, out, |out, x| out.copy_from_slice(x)),
        }
    }

    fn gather_of<F: Copy + Default, const W: usize>(&self, x: &[F], rows: Range<usize>, out: &mut [F]) {
        self.gather_with(x, W, rows, out, |out, x| {
            if let (Some(out), Some(x)) = (out.first_chunk_mut::<W>(), x.first_chunk::<W>()) {
                *out = *x;
            }
        });
    }

    #[inline]
    fn gather_with<F: Copy + Default>(
        &self,
        x: &[F],
        width: usize,
        rows: Range<usize>,
        out: &mut [F],
        copy: impl Fn(&mut [F], &[F]),
    ) {
        let mut board = rows.start / self.cells * self.cells;
        let mut cell = rows.start - board;
        for out in out.chunks_exact_mut(self.taps * width).take(rows.len()) {
            let sources = &self.sources[cell * self.taps..][..self.taps];
            for (out, &source) in out.chunks_exact_mut(width).zip(sources) {
                if source == NONE_CELL {
                    out.fill(F::default());
                } else {
                    copy(out, &x[(board + usize::from(source)) * width..][..width]);
                }
            }
            cell += 1;
            if cell == self.cells {
                (cell, board) = (0, board + self.cells);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_sees_back_through_the_mirrored_tap() {
        for board in Board::ALL {
            let taps = Taps::of(board);
            assert_eq!(taps.cells, board.cells());
            for cell in 0..taps.cells {
                for tap in 0..taps.taps {
                    let source = taps.sources[cell * taps.taps + tap];
                    if source != NONE_CELL {
                        let back = taps.sources[usize::from(source) * taps.taps + taps.mirror(tap)];
                        assert_eq!(usize::from(back), cell);
                    }
                }
            }
        }
    }

    #[test]
    fn gathering_in_pieces_is_gathering_at_once() {
        let taps = Taps::of(Board::Hex8);
        let x: Vec<u16> = (1..=61 * 3 * 2).collect();
        let mut whole = vec![9; 183 * 14];
        taps.gather(&x, 2, 0..183, &mut whole);
        let mut piece = vec![9; 100 * 14];
        taps.gather(&x, 2, 50..150, &mut piece);
        assert_eq!(whole[50 * 14..150 * 14], piece);
        assert_eq!(whole[61 * 14..61 * 14 + 2], [123, 124]);
        assert!(whole.contains(&0));
    }
}
