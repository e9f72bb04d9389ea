//! The geometry of a board: coordinates, rays, rows and symmetries, computed once for each board.
//!
//! Invariant: cells are numbered by x, then by y. A *row* is the cells of one x. Inside a row, bit `i` stands
//! for `y = i + y_min` of the whole board, so that neighbours in the next row lie at the same bit or one
//! beside it.

use std::fmt::Debug;
use std::sync::LazyLock;

use crate::bits::{Bitboard, Bits};
use crate::board::{Board, Cell, NONE_CELL};
use crate::stack::Stack;

/// The largest number of rows of any board, and of cells in a row.
pub(crate) const ROWS_MAX: usize = 25;

const KING_STEPS: [(i8, i8); 8] = [(1, 0), (1, 1), (0, 1), (1, -1), (-1, 0), (-1, -1), (0, -1), (-1, 1)];
const HEX_STEPS: [(i8, i8); 6] = [(1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1), (0, 1)];

/// Implements the supertraits and methods that are the same for all boards.
macro_rules! topology {
    ($(#[$doc:meta])* $name:ident, $words:literal, $cells:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name;

        impl Topology for $name {
            const BOARD: Board = Board::$name;
            type Bits = Bitboard<$words>;
            type Stacks = [Stack; $cells];
            const NO_STACKS: Self::Stacks = [Stack::EMPTY; $cells];

            #[inline]
            fn tables() -> &'static Tables {
                static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables::new(Board::$name));
                &TABLES
            }
        }
    };
}

topology!(
    /// 8 x 8 cells.
    Square8, 1, 64
);
topology!(
    /// 19 x 19 cells.
    Square19, 6, 361
);
topology!(
    /// A hexagon of radius 4.
    Hex8, 1, 61
);
topology!(
    /// A hexagon of radius 12.
    Hexagonal, 8, 469
);

/// A board as a type. Its sizes are constants and its tables are static.
pub trait Topology: Copy + Debug + Default + Send + Sync + PartialEq + Eq + 'static {
    /// The same board as a value.
    const BOARD: Board;
    /// Number of cells.
    const CELLS: usize = Self::BOARD.cells();
    /// Whether cells are hexagons.
    const HEX: bool = Self::BOARD.is_hex();
    /// Number of move directions; direction `d` and `d + DIRECTIONS / 2` are opposite.
    const DIRECTIONS: usize = if Self::HEX { 6 } else { 8 };
    /// Number of line axes: the directions `0..AXES`.
    const AXES: usize = Self::DIRECTIONS / 2;
    /// A set of cells.
    type Bits: Bits;
    /// One [`Stack`] for each cell.
    type Stacks: Copy + Debug + PartialEq + AsRef<[Stack]> + AsMut<[Stack]> + Send + Sync;
    /// The value without a stack on any cell.
    const NO_STACKS: Self::Stacks;

    /// What is computed once for this board.
    fn tables() -> &'static Tables;

    /// The coordinates x and y of a cell.
    fn coordinates(cell: Cell) -> (i8, i8) {
        Self::tables().coordinates[usize::from(cell)]
    }

    /// The cell with these coordinates, if the board has it.
    fn cell(x: i32, y: i32) -> Option<Cell> {
        Self::tables().cell(x, y)
    }

    /// The cells from `cell` to the edge in one direction, without `cell`, the nearest first.
    fn ray(cell: Cell, direction: usize) -> &'static [Cell] {
        Self::tables().ray(cell, direction)
    }

    /// The step (dx, dy) of a direction. Square boards: E, SE, S, NE, then the opposites. Hex boards:
    /// (1,0), (1,-1), (0,-1), then the opposites.
    fn step(direction: usize) -> (i8, i8) {
        steps(Self::BOARD)[direction]
    }

    /// The direction and distance from one cell to another, if a ray leads there.
    #[inline]
    fn direction(from: Cell, to: Cell) -> Option<(usize, usize)> {
        let ((x, y), (to_x, to_y)) = (Self::coordinates(from), Self::coordinates(to));
        let (dx, dy) = (to_x - x, to_y - y);
        let straight = dx == 0 || dy == 0 || dx == -dy || (dx == dy && !Self::HEX);
        let step = (dx.signum(), dy.signum());
        let direction = steps(Self::BOARD).iter().position(|&known| known == step)?;
        straight.then(|| (direction, usize::from(dx.unsigned_abs().max(dy.unsigned_abs()))))
    }
}

fn steps(board: Board) -> &'static [(i8, i8)] {
    if board.is_hex() { &HEX_STEPS } else { &KING_STEPS }
}

/// One row: the cells of one x.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) start: usize,
    pub(crate) len: u32,
    pub(crate) shift: u32,
}

/// The tables of one board.
#[derive(Debug)]
pub struct Tables {
    coordinates: Vec<(i8, i8)>,
    /// The cell at each pair of coordinates, both counted from the lowest; x has a stride of `ROWS_MAX`.
    index: Vec<Cell>,
    low: i32,
    /// For each cell and each of up to eight directions, where the ray starts in `ray_cells`, and its length.
    rays: Vec<[(u32, u32); 8]>,
    ray_cells: Vec<Cell>,
    pub(crate) rows: Vec<Row>,
    /// For each symmetry, the image of every cell.
    pub(crate) symmetries: Vec<Vec<Cell>>,
}

impl Tables {
    fn new(board: Board) -> Self {
        let (low, high, radius) = match board {
            Board::Square8 => (0, 7, None),
            Board::Square19 => (0, 18, None),
            Board::Hex8 => (-4, 4, Some(4)),
            Board::Hexagonal => (-12, 12, Some(12)),
        };
        let mut tables = Self {
            coordinates: Vec::new(),
            index: vec![NONE_CELL; ROWS_MAX * ROWS_MAX],
            low,
            rays: Vec::new(),
            ray_cells: Vec::new(),
            rows: Vec::new(),
            symmetries: Vec::new(),
        };
        for x in low..=high {
            let ys: Vec<i32> =
                (low..=high).filter(|y| radius.is_none_or(|r: i32| (x + y).abs() <= r)).collect();
            let start = tables.coordinates.len();
            tables.rows.push(Row { start, len: ys.len() as u32, shift: (ys[0] - low) as u32 });
            for y in ys {
                let at = (x - low) as usize * ROWS_MAX + (y - low) as usize;
                tables.index[at] = tables.coordinates.len() as Cell;
                tables.coordinates.push((x as i8, y as i8));
            }
        }
        assert_eq!(tables.coordinates.len(), board.cells());
        tables.add_rays(board);
        tables.add_symmetries(board, low + high);
        tables
    }

    fn add_rays(&mut self, board: Board) {
        for i in 0..self.coordinates.len() {
            let (x, y) = self.coordinates[i];
            let mut rays = [(0, 0); 8];
            for (ray, &(dx, dy)) in rays.iter_mut().zip(steps(board)) {
                let start = self.ray_cells.len();
                let mut at = (i32::from(x + dx), i32::from(y + dy));
                while let Some(cell) = self.cell(at.0, at.1) {
                    self.ray_cells.push(cell);
                    at = (at.0 + i32::from(dx), at.1 + i32::from(dy));
                }
                *ray = (start as u32, (self.ray_cells.len() - start) as u32);
            }
            self.rays.push(rays);
        }
    }

    /// The identity first, then the other rotations, then the reflections. `span` is the lowest plus the
    /// highest coordinate of a square board.
    fn add_symmetries(&mut self, board: Board, span: i32) {
        let turns = if board.is_hex() { 6 } else { 4 };
        for mirrored in [false, true] {
            for turn in 0..turns {
                let image = |&(x, y): &(i8, i8)| {
                    let (mut x, mut y) = (i32::from(x), i32::from(y));
                    if mirrored {
                        (x, y) = (y, x);
                    }
                    for _ in 0..turn {
                        (x, y) = if board.is_hex() { (-y, x + y) } else { (span - y, x) };
                    }
                    self.cell(x, y).expect("a symmetry keeps the board")
                };
                let images = self.coordinates.iter().map(image).collect();
                self.symmetries.push(images);
            }
        }
    }

    fn cell(&self, x: i32, y: i32) -> Option<Cell> {
        let inside = 0..ROWS_MAX as i32;
        let (row, column) = (x.checked_sub(self.low)?, y.checked_sub(self.low)?);
        if !inside.contains(&row) || !inside.contains(&column) {
            return None;
        }
        let cell = self.index[row as usize * ROWS_MAX + column as usize];
        (cell != NONE_CELL).then_some(cell)
    }

    #[inline]
    pub(crate) fn ray(&self, cell: Cell, direction: usize) -> &[Cell] {
        let (start, len) = self.rays[usize::from(cell)][direction];
        &self.ray_cells[start as usize..][..len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Topology>() {
        let tables = T::tables();
        assert!(tables.coordinates.is_sorted());
        assert!(T::CELLS < usize::from(NONE_CELL));
        for cell in 0..T::CELLS as Cell {
            let (x, y) = T::coordinates(cell);
            assert_eq!(T::cell(i32::from(x), i32::from(y)), Some(cell));
            for direction in 0..T::DIRECTIONS {
                let opposite = (direction + T::AXES) % T::DIRECTIONS;
                for (i, &other) in T::ray(cell, direction).iter().enumerate() {
                    assert_eq!(T::ray(other, opposite)[i], cell);
                    assert_eq!(T::direction(cell, other), Some((direction, i + 1)));
                }
            }
        }
        assert_eq!(T::cell(i32::MAX, i32::MIN), None);
        let mut all: Vec<_> = tables.symmetries.clone();
        assert!(all[0].iter().copied().eq(0..T::CELLS as Cell));
        for images in &all {
            for cell in 0..T::CELLS as Cell {
                for direction in 0..T::DIRECTIONS {
                    if let Some(&next) = T::ray(cell, direction).first() {
                        let image = T::direction(images[usize::from(cell)], images[usize::from(next)]);
                        assert_eq!(image.map(|(_, distance)| distance), Some(1));
                    }
                }
            }
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), if T::HEX { 12 } else { 8 });
    }

    #[test]
    fn tables_are_consistent() {
        check::<Square8>();
        check::<Square19>();
        check::<Hex8>();
        check::<Hexagonal>();
    }
}
