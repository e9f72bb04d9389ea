//! How many blocks of each kernel a multiprocessor holds, for every target that kernels are compiled for.

use crate::occupancy::{Multiprocessor, Occupancy, Resources};
use crate::rates::sizes;
use kernels::TrainError;
use kernels::cuda;
use kernels::dry_run::{self, LaunchGrid, RecordedPass};
use rules::{Board, Config};
use serde::Serialize;
use std::collections::BTreeMap;

/// Positions of a pass: so many that convolutions have their largest blocks.
const BATCH: usize = 1024;

/// How full multiprocessors are with a kernel, as the network launches it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelOccupancy {
    /// The architecture that the kernel was compiled for, as in `sm_90a`.
    pub target: String,
    /// The kernel's name in `cuda/`.
    pub kernel: String,
    /// Threads of a block.
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that are stored and loaded for lack of registers.
    pub spill_bytes: u32,
    /// Shared memory of a block, static and dynamic.
    pub shared_bytes: u32,
    /// How many blocks a multiprocessor holds at once.
    pub occupancy: Occupancy,
}

/// How full multiprocessors are with each kernel that the product launches, for every target.
///
/// # Errors
/// [`TrainError`] if a network cannot be recorded.
pub fn occupancies() -> Result<Vec<KernelOccupancy>, TrainError> {
    let grids = largest_grids()?;
    let mut found = Vec::new();
    for image in cuda::manifest()?.images {
        let Some(capability) = cuda::capability_of(&image.target) else { continue };
        for usage in &image.kernels {
            let Some(grid) = grids.get(usage.kernel.as_str()) else { continue };
            let shared_bytes = usage.shared_bytes + grid.shared_bytes;
            let (threads, registers) = (grid.threads, usage.registers);
            let resources = Resources { threads, registers, shared_bytes };
            found.push(KernelOccupancy {
                target: image.target.clone(),
                kernel: usage.kernel.clone(),
                threads,
                registers,
                spill_bytes: usage.spill_stores + usage.spill_loads,
                shared_bytes,
                occupancy: Multiprocessor::of(capability).occupancy(resources),
            });
        }
    }
    Ok(found)
}

/// The largest blocks that each kernel is launched with.
fn largest_grids() -> Result<BTreeMap<&'static str, LaunchGrid>, TrainError> {
    let mut grids: BTreeMap<&'static str, LaunchGrid> = BTreeMap::new();
    let mut add = |pass: RecordedPass| {
        for launch in pass.launches {
            let kept = grids.entry(launch.kernel).or_insert(launch.grid);
            let size = |grid: &LaunchGrid| (grid.threads, grid.shared_bytes);
            if size(&launch.grid) > size(kept) {
                *kept = launch.grid;
            }
        }
    };
    for board in [Board::Hex8, Board::Square19] {
        for architecture in sizes(board) {
            add(dry_run::forward(board, architecture, BATCH)?);
            add(dry_run::training(board, architecture, BATCH)?);
        }
    }
    for board in Board::ALL {
        add(dry_run::random_games(Config { board, seats: 2 }, 1)?);
        add(dry_run::single_games(board)?);
    }
    Ok(grids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kernel_but_the_probes_fits_on_every_target() {
        let found = occupancies().unwrap();
        let kernels: BTreeSet<_> = found.iter().map(|of| of.kernel.as_str()).collect();
        let mut known: BTreeSet<_> = cuda::kernels().into_iter().collect();
        known.retain(|kernel| !kernel.starts_with("probe_"));
        assert_eq!(kernels, known);
        for of in &found {
            assert!(of.occupancy.blocks >= 1, "{of:?}");
            assert_eq!(of.spill_bytes, 0, "{of:?}");
        }
        assert_eq!(found.len(), 6 * kernels.len());
    }
}
