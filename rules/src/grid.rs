//! Sets of cells by rows, in which one shift gives the neighbours of a whole row.
//!
//! The search for connected cells and for runs of cells uses them. `topology` says what the bits of a row
//! mean.
//!
//! Invariant: words of rows that the board does not have are 0. Within a row [`Grid::grown`] and
//! [`Grid::grown_eight`] may set bits beyond the edge; their callers cut them off.

use crate::bits::Bits;
use crate::topology::{ROWS_MAX, Topology};

/// A set of cells, with one word for each row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid(pub(crate) [u32; ROWS_MAX]);

impl Grid {
    pub(crate) const EMPTY: Self = Self([0; ROWS_MAX]);

    pub(crate) fn of<T: Topology>(bits: T::Bits) -> Self {
        let mut grid = Self::EMPTY;
        for (out, row) in grid.0.iter_mut().zip(&T::tables().rows) {
            *out = bits.extract(row.start, row.len) << row.shift;
        }
        grid
    }

    /// All cells of the board.
    pub(crate) fn board<T: Topology>() -> Self {
        let mut grid = Self::EMPTY;
        for (out, row) in grid.0.iter_mut().zip(&T::tables().rows) {
            *out = (u32::MAX >> (32 - row.len)) << row.shift;
        }
        grid
    }

    pub(crate) fn bits<T: Topology>(&self) -> T::Bits {
        let mut bits = T::Bits::default();
        for (&word, row) in self.0.iter().zip(&T::tables().rows) {
            if word != 0 {
                bits.deposit(row.start, word >> row.shift);
            }
        }
        bits
    }

    pub(crate) fn minus(mut self, other: &Self) -> Self {
        for (word, mask) in self.0.iter_mut().zip(other.0) {
            *word &= !mask;
        }
        self
    }

    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (word, mask) in self.0.iter_mut().zip(other.0) {
            *word &= mask;
        }
        self
    }

    pub(crate) fn or(mut self, other: &Self) -> Self {
        for (word, mask) in self.0.iter_mut().zip(other.0) {
            *word |= mask;
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    /// The row of the lowest cell, and the word of that row with this cell alone; none if the set is empty.
    pub(crate) fn lowest<T: Topology>(&self) -> Option<(usize, u32)> {
        let row = self.0[..T::tables().rows.len()].iter().position(|&word| word != 0)?;
        Some((row, self.0[row] & self.0[row].wrapping_neg()))
    }

    /// What a row receives from the row below it in x.
    #[inline]
    fn from_lower<T: Topology>(word: u32) -> u32 {
        if T::HEX { word | word >> 1 } else { word }
    }

    /// What a row receives from the row above it in x.
    #[inline]
    fn from_upper<T: Topology>(word: u32) -> u32 {
        if T::HEX { word | word << 1 } else { word }
    }

    /// The component of `self` (under the territory neighbours) that holds the cell `seed` of `row`.
    pub(crate) fn component<T: Topology>(&self, row: usize, seed: u32) -> Self {
        let rows = T::tables().rows.len();
        let mut filled = Self::EMPTY;
        filled.0[row] = spread(seed, self.0[row]);
        let (mut low, mut high) = (row, row);
        loop {
            let mut changed = false;
            // The sweep goes up from the lowest row, and beyond the highest as long as cells are added.
            for r in low + 1..rows {
                let inflow = Self::from_lower::<T>(filled.0[r - 1]) & self.0[r] & !filled.0[r];
                if inflow != 0 {
                    filled.0[r] |= spread(inflow, self.0[r]);
                    high = high.max(r);
                    changed = true;
                } else if r > high {
                    break;
                }
            }
            for r in (0..high).rev() {
                let inflow = Self::from_upper::<T>(filled.0[r + 1]) & self.0[r] & !filled.0[r];
                if inflow != 0 {
                    filled.0[r] |= spread(inflow, self.0[r]);
                    low = low.min(r);
                    changed = true;
                } else if r < low {
                    break;
                }
            }
            if !changed {
                return filled;
            }
        }
    }

    /// The cells and their territory neighbours. The result may hold bits beyond the edge of a row.
    pub(crate) fn grown<T: Topology>(&self) -> Self {
        let rows = T::tables().rows.len();
        let mut grown = *self;
        for r in 0..rows {
            let word = self.0[r];
            grown.0[r] |= word << 1 | word >> 1;
            if r > 0 {
                grown.0[r] |= Self::from_lower::<T>(self.0[r - 1]);
            }
            if r + 1 < rows {
                grown.0[r] |= Self::from_upper::<T>(self.0[r + 1]);
            }
        }
        grown
    }

    /// The cells and those at the eight steps dx, dy in {-1, 0, 1}, on hex boards as well.
    pub(crate) fn grown_eight<T: Topology>(&self) -> Self {
        let rows = T::tables().rows.len();
        let mut wide = *self;
        for word in &mut wide.0 {
            *word |= *word << 1 | *word >> 1;
        }
        let mut grown = wide;
        for r in 0..rows {
            if r > 0 {
                grown.0[r] |= wide.0[r - 1];
            }
            if r + 1 < rows {
                grown.0[r] |= wide.0[r + 1];
            }
        }
        grown
    }

    /// Whether there is a straight run of `length` cells along a line axis.
    pub(crate) fn has_run<T: Topology>(&self, length: usize) -> bool {
        let rows = T::tables().rows.len();
        // Each axis as the shift that takes a row's bits to the next row's; hex boards lack (1, 1).
        let mut along = *self;
        let mut ahead = *self;
        let mut right = *self;
        let mut left = *self;
        for step in 1..length {
            for r in 0..rows {
                along.0[r] &= self.0[r] >> step;
                let next = if r + step < rows { self.0[r + step] } else { 0 };
                ahead.0[r] &= next;
                left.0[r] &= next << step;
                if !T::HEX {
                    right.0[r] &= next >> step;
                }
            }
        }
        if T::HEX {
            right = Self::EMPTY;
        }
        !along.or(&ahead).or(&left).or(&right).is_empty()
    }
}

/// The runs of `allowed` that hold a bit of `seeds`; `seeds` lies in `allowed`.
#[inline]
fn spread(seeds: u32, allowed: u32) -> u32 {
    let mut filled = seeds;
    // The carry of the addition runs from a seed to the upper end of its run.
    filled |= allowed & !allowed.wrapping_add(seeds);
    let mut open = allowed;
    for step in [1, 2, 4, 8, 16] {
        filled |= filled >> step & open;
        open &= open >> step;
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_fills_exactly_the_seeded_runs() {
        let mut seed = 1u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let allowed = (seed >> 32) as u32 & 0x1ff_ffff | (seed >> 7) as u32 & 0x1ff_ffff;
            let seeds = allowed & (seed >> 20) as u32 & (seed >> 13) as u32;
            let mut expected = seeds;
            loop {
                let next = expected | (expected << 1 | expected >> 1) & allowed;
                if next == expected {
                    break;
                }
                expected = next;
            }
            assert_eq!(spread(seeds, allowed), expected, "{seeds:b} in {allowed:b}");
        }
    }
}
