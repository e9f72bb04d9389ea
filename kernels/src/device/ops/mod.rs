//! The launches of the kernels, a file for each kind. What a kernel computes is said in its `.cu` file.
//!
//! Invariant: every kernel is declared here, once, with its name, the shapes that it takes and
//! its cost, and is launched nowhere else. Lengths of arrays are checked at every launch. What
//! arrays hold is not looked at: the cells that are read and the places of layers and moves come
//! from [`Taps`], [`crate::network::architecture::Layout`] and
//! [`crate::encoding::packed::Positions`], which make nothing that points outside.

pub(crate) mod call;
pub(crate) mod conv;
pub(crate) mod dense;
pub(crate) mod expand;
pub(crate) mod games;
pub(crate) mod optimizer;
pub(crate) mod policy;
pub(crate) mod pool;
pub(crate) mod probe;
pub(crate) mod tower;
pub(crate) mod wave;
pub(crate) mod weights_back;

use super::kernel::KernelName;
use crate::encoding::taps::Taps;
use rules::{NONE_CELL, SEATS_MAX};

/// Columns of the policy head on a device: those of [`crate::network::architecture::HEAD`], then zeros.
pub(crate) const HEAD_COLUMNS: usize = 96;
/// The most shared memory of a block of any kernel but the tower: what every card has.
pub(crate) const SHARED_BYTES_MAX: usize = 96 * 1024;

const _: () = assert!(SEATS_MAX == 4 && NONE_CELL == 511, "what the kernels take for granted");

/// Launches kernels on a device.
pub(crate) struct Ops<'a, D>(pub(crate) &'a D);

/// What a convolution is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvShape {
    pub(crate) boards: usize,
    /// Cells of a board.
    pub(crate) cells: usize,
    /// Cells that a cell reads: itself and its neighbours.
    pub(crate) taps: usize,
    /// The largest distance, in cells, from a cell to one that it reads.
    pub(crate) reach: usize,
}

impl ConvShape {
    pub(crate) fn new(taps: &Taps, boards: usize) -> Self {
        Self { boards, cells: taps.cells, taps: taps.taps, reach: taps.reach() }
    }

    /// The shape of a plain product of the same rows.
    pub(crate) fn product(self) -> Self {
        Self { taps: 1, reach: 0, ..self }
    }

    /// Cells of all boards.
    pub(crate) fn rows(&self) -> usize {
        self.boards * self.cells
    }
}

/// Every kernel that there is.
#[must_use]
pub fn all() -> Vec<KernelName> {
    let files = [
        expand::KERNELS,
        conv::KERNELS,
        tower::KERNELS,
        pool::KERNELS,
        dense::KERNELS,
        policy::KERNELS,
        weights_back::KERNELS,
        optimizer::KERNELS,
        games::KERNELS,
        wave::KERNELS,
        probe::KERNELS,
    ];
    files.into_iter().flatten().copied().flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_has_every_kernel_and_no_other() {
        let (mut declared, mut emulated) = (all(), emu::kernels());
        emulated.retain(|kernel| !kernel.starts_with("planted_") && !kernel.starts_with("mutant_"));
        declared.sort_unstable();
        emulated.sort_unstable();
        assert_eq!(declared, emulated, "emu/src/kernels.cpp lists what is launched here");
        assert!(declared.windows(2).all(|pair| pair[0] != pair[1]), "a kernel is declared once");
    }
}
