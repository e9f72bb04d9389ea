//! Sets of cells, with one bit for each cell.
//!
//! Invariant: bits at and above the board's number of cells are never set.

use std::fmt::Debug;
use std::hash::Hash;
use std::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign};

use crate::board::Cell;

/// A set of cells of one board.
pub trait Bits:
    Copy
    + Debug
    + Default
    + Eq
    + Hash
    + Send
    + Sync
    + BitAnd<Output = Self>
    + BitAndAssign
    + BitOr<Output = Self>
    + BitOrAssign
    + 'static
{
    /// Whether the cell is in the set.
    fn get(&self, cell: Cell) -> bool;
    /// Adds a cell below the board's number of cells.
    fn insert(&mut self, cell: Cell);
    /// Removes a cell; a cell that is not in the set is no error.
    fn remove(&mut self, cell: Cell);
    /// The cells that are in this set and not in the other.
    fn minus(self, other: Self) -> Self;
    /// Number of cells.
    fn count(&self) -> u32;
    /// Whether there is no cell in the set.
    fn is_empty(&self) -> bool;
    /// The lowest cell.
    fn first(&self) -> Option<Cell>;
    /// The cells `start..start + len` as the low bits of a word; `len` is at most 32.
    fn extract(&self, start: usize, len: u32) -> u32;
    /// Adds the cells `start + i` for the bits i of `row`.
    fn deposit(&mut self, start: usize, row: u32);

    /// Whether the sets share a cell.
    fn meets(self, other: Self) -> bool {
        !(self & other).is_empty()
    }

    /// The cells in cell order.
    fn cells(self) -> Cells<Self> {
        Cells(self)
    }
}

/// Iterates over the cells of a set, in cell order.
#[derive(Debug, Clone)]
pub struct Cells<B>(B);

impl<B: Bits> Iterator for Cells<B> {
    type Item = Cell;

    #[inline]
    fn next(&mut self) -> Option<Cell> {
        let cell = self.0.first()?;
        self.0.remove(cell);
        Some(cell)
    }
}

/// `N` words of 64 cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bitboard<const N: usize>(pub [u64; N]);

impl<const N: usize> Default for Bitboard<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> BitAnd for Bitboard<N> {
    type Output = Self;

    #[inline]
    fn bitand(mut self, other: Self) -> Self {
        self &= other;
        self
    }
}

impl<const N: usize> BitAndAssign for Bitboard<N> {
    #[inline]
    fn bitand_assign(&mut self, other: Self) {
        for (word, mask) in self.0.iter_mut().zip(other.0) {
            *word &= mask;
        }
    }
}

impl<const N: usize> BitOr for Bitboard<N> {
    type Output = Self;

    #[inline]
    fn bitor(mut self, other: Self) -> Self {
        self |= other;
        self
    }
}

impl<const N: usize> BitOrAssign for Bitboard<N> {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        for (word, mask) in self.0.iter_mut().zip(other.0) {
            *word |= mask;
        }
    }
}

impl<const N: usize> Bits for Bitboard<N> {
    #[inline]
    fn get(&self, cell: Cell) -> bool {
        let word = if N == 1 { self.0[0] } else { self.0[usize::from(cell >> 6)] };
        word >> (cell & 63) & 1 != 0
    }

    #[inline]
    fn insert(&mut self, cell: Cell) {
        self.0[usize::from(cell >> 6)] |= 1 << (cell & 63);
    }

    #[inline]
    fn remove(&mut self, cell: Cell) {
        self.0[usize::from(cell >> 6)] &= !(1 << (cell & 63));
    }

    #[inline]
    fn minus(mut self, other: Self) -> Self {
        for (word, mask) in self.0.iter_mut().zip(other.0) {
            *word &= !mask;
        }
        self
    }

    #[inline]
    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    #[inline]
    fn first(&self) -> Option<Cell> {
        let index = self.0.iter().position(|&word| word != 0)?;
        Some((index as u32 * 64 + self.0[index].trailing_zeros()) as Cell)
    }

    #[inline]
    fn extract(&self, start: usize, len: u32) -> u32 {
        let (word, shift) = (start >> 6, start & 63);
        let mut row = self.0[word] >> shift;
        if shift > 32 && word + 1 < N {
            row |= self.0[word + 1] << (64 - shift);
        }
        row as u32 & (u32::MAX >> (32 - len))
    }

    #[inline]
    fn deposit(&mut self, start: usize, row: u32) {
        let (word, shift) = (start >> 6, start & 63);
        self.0[word] |= u64::from(row) << shift;
        if shift > 32 && word + 1 < N {
            self.0[word + 1] |= u64::from(row) >> (64 - shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_cross_words() {
        for start in 0..(512 - 25) {
            let mut bits = Bitboard::<8>::default();
            let row = 0x155_5555 & 0x1ff_ffff;
            bits.deposit(start, row);
            assert_eq!(bits.extract(start, 25), row);
            assert_eq!(bits.count(), row.count_ones());
            assert_eq!(bits.first(), Some(start as Cell));
            assert!(bits.cells().all(|cell| (usize::from(cell) - start).is_multiple_of(2)));
        }
    }

    #[test]
    fn set_algebra() {
        let mut a = Bitboard::<6>::default();
        a.insert(3);
        a.insert(300);
        let mut b = Bitboard::<6>::default();
        b.insert(300);
        assert!(a.meets(b) && a.get(300) && !b.get(3));
        assert_eq!(a.minus(b).cells().collect::<Vec<_>>(), [3]);
        a.remove(3);
        assert_eq!(a, b);
        assert!(a.minus(b).is_empty());
    }
}
