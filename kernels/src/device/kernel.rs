//! How kernels are declared: once, under the name that they have in `cuda/`, in the file that launches them.
//!
//! Invariant: a declared kernel is in the shipped images and in the emulation,
//! or a test fails; see [`super::ops::all`].

use rules::Board;

/// The name of a kernel in `cuda/`.
pub(crate) type KernelName = &'static str;

/// Widths of the trunk that kernels are compiled for.
pub(crate) const WIDTHS: [usize; 4] = [32, 64, 96, 128];

/// A kernel on its own.
#[derive(Clone, Copy)]
pub(crate) struct One(pub(crate) [KernelName; 1]);

/// A family of kernels, one for each of [`WIDTHS`].
#[derive(Clone, Copy)]
pub(crate) struct Widths(pub(crate) [KernelName; 4]);

/// A family of kernels, one for each of [`Board::ALL`].
#[derive(Clone, Copy)]
pub(crate) struct Boards(pub(crate) [KernelName; 4]);

impl One {
    pub(crate) const fn name(self) -> KernelName {
        self.0[0]
    }
}

impl Widths {
    /// The kernel for a width. Whoever makes the arrays of a network refuses other widths first.
    pub(crate) fn of(self, width: usize) -> KernelName {
        let at = WIDTHS.iter().position(|&w| w == width).expect("a width that kernels are compiled for");
        self.0[at]
    }
}

impl Boards {
    pub(crate) const fn of(self, board: Board) -> KernelName {
        let [hex8, square8, square19, hexagonal] = self.0;
        match board {
            Board::Hex8 => hex8,
            Board::Square8 => square8,
            Board::Square19 => square19,
            Board::Hexagonal => hexagonal,
        }
    }
}

/// The size of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchGrid {
    /// Blocks, in two dimensions.
    pub blocks: (u32, u32),
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub shared_bytes: u32,
}

/// Declares the kernels of a file: a constant for each kernel or family, and `KERNELS`, which lists them.
macro_rules! kernels {
    ($($visibility:vis $constant:ident = $family:ident($name:literal);)*) => {
        $(
            $visibility const $constant: $crate::device::kernel::$family =
                $crate::device::kernel::$family($crate::device::kernel::names!($family $name));
        )*
        /// The names of the kernels that this file launches.
        pub(crate) const KERNELS: &[&[$crate::device::kernel::KernelName]] = &[$(&$constant.0),*];
    };
}
pub(crate) use kernels;

/// The names of the kernels of a family, as the macros of `cuda/` make them.
macro_rules! names {
    (One $name:literal) => {
        [$name]
    };
    (Widths $name:literal) => {
        [concat!($name, "_32"), concat!($name, "_64"), concat!($name, "_96"), concat!($name, "_128")]
    };
    (Boards $name:literal) => {
        [
            concat!($name, "_hex8"),
            concat!($name, "_square8"),
            concat!($name, "_square19"),
            concat!($name, "_hexagonal"),
        ]
    };
}
pub(crate) use names;
