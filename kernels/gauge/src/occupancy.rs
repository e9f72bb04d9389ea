//! How many blocks of a kernel a multiprocessor holds at once.
//!
//! Limits are those of the CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
//! Registers are given to warps in units of 256 and live in four partitions, one a scheduler; shared memory
//! comes in units of 128 bytes, and the system keeps 1 kB of it for every block.

use serde::Serialize;

const REGISTERS: u32 = 65_536;
const REGISTER_UNIT: u32 = 256;
const PARTITIONS: u32 = 4;
const SHARED_UNIT: u32 = 128;
const SHARED_OF_SYSTEM: u32 = 1024;
pub(crate) const LANES: u32 = 32;

/// What a multiprocessor of a compute capability has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiprocessor {
    pub(crate) warps_max: u32,
    pub(crate) blocks_max: u32,
    /// Bytes of shared memory of all its blocks.
    pub(crate) shared_bytes: u32,
    /// Bytes of shared memory of one block, the system's part left out.
    pub(crate) block_shared_bytes_max: u32,
}

impl Multiprocessor {
    /// The multiprocessor of a compute capability; for an unknown one, that of the nearest older capability.
    pub(crate) const fn of(capability: (u32, u32)) -> Self {
        let (warps_max, blocks_max, kilobytes) = match capability {
            (..8, _) | (8, ..=5) => (64, 32, 164),
            (8, 6..=8) => (48, 16, 100),
            (8, 9..) => (48, 24, 100),
            (9..=11, _) => (64, 32, 228),
            (12.., _) => (48, 24, 100),
        };
        let shared_bytes = kilobytes * 1024;
        Self { warps_max, blocks_max, shared_bytes, block_shared_bytes_max: shared_bytes - SHARED_OF_SYSTEM }
    }

    /// How many blocks of a kernel fit, and what keeps another one away.
    pub(crate) fn occupancy(&self, of: Resources) -> Occupancy {
        let warps = of.threads.div_ceil(LANES).max(1);
        let of_warp = (of.registers.max(1) * LANES).next_multiple_of(REGISTER_UNIT);
        let by_registers = REGISTERS / PARTITIONS / of_warp * PARTITIONS / warps;
        let shared = (of.shared_bytes + SHARED_OF_SYSTEM).next_multiple_of(SHARED_UNIT);
        let by_shared =
            if of.shared_bytes > self.block_shared_bytes_max { 0 } else { self.shared_bytes / shared };
        let limits = [
            (self.blocks_max, Limit::Blocks),
            (self.warps_max / warps, Limit::Warps),
            (by_registers, Limit::Registers),
            (by_shared, Limit::SharedMemory),
        ];
        let (blocks, limit) = limits.into_iter().min_by_key(|&(blocks, _)| blocks).expect("four limits");
        Occupancy {
            blocks,
            warps: blocks * warps,
            share: f64::from(blocks * warps) / f64::from(self.warps_max),
            limit,
        }
    }
}

/// What a block of a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) threads: u32,
    /// Registers of a thread.
    pub(crate) registers: u32,
    /// Shared memory of a block, static and dynamic.
    pub(crate) shared_bytes: u32,
}

/// What keeps another block from a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The number of blocks.
    Blocks,
    /// The number of warps.
    Warps,
    /// Registers.
    Registers,
    /// Shared memory; with no block at all, a block does not fit.
    SharedMemory,
}

/// How full a multiprocessor is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Occupancy {
    /// Blocks at once.
    pub blocks: u32,
    /// Warps of those blocks.
    pub warps: u32,
    /// Warps as a share of the most there can be.
    pub share: f64,
    /// What keeps another block away.
    pub limit: Limit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occupancy_is_that_of_the_manuals() {
        let table = [
            // CUDA C++ Best Practices Guide, "Calculating Occupancy": 37 registers, blocks of 128 and of 320
            // threads, 64 warps a multiprocessor: 75 % with twelve blocks, 63 % with four.
            ((8, 0), (128, 37, 0), (12, 48, Limit::Registers)),
            ((8, 0), (320, 37, 0), (4, 40, Limit::Registers)),
            // The same guide: with 32 registers all warps fit; one more,
            // and those that fit are as many as 40 allow.
            ((8, 0), (256, 32, 0), (8, 64, Limit::Warps)),
            ((8, 0), (256, 33, 0), (6, 48, Limit::Registers)),
            ((9, 0), (1024, 64, 0), (1, 32, Limit::Registers)),
            ((9, 0), (1024, 65, 0), (0, 0, Limit::Registers)),
            // 255 registers: two warps a scheduler.
            ((9, 0), (128, 255, 0), (2, 8, Limit::Registers)),
            ((9, 0), (256, 255, 0), (1, 8, Limit::Registers)),
            // Small blocks: as many as there may be.
            ((8, 0), (32, 16, 0), (32, 32, Limit::Blocks)),
            ((8, 6), (32, 16, 0), (16, 16, Limit::Blocks)),
            ((8, 9), (32, 16, 0), (24, 24, Limit::Blocks)),
            ((12, 0), (32, 16, 0), (24, 24, Limit::Blocks)),
            ((8, 6), (128, 32, 0), (12, 48, Limit::Warps)),
            // Shared memory with 1 kB of the system's: 163 kB on 8.0,
            // 99 kB on 8.6, 227 kB on 9.0 for one block.
            ((8, 0), (128, 32, 163 * 1024), (1, 4, Limit::SharedMemory)),
            ((8, 0), (128, 32, 163 * 1024 + 1), (0, 0, Limit::SharedMemory)),
            ((8, 6), (128, 32, 49 * 1024), (2, 8, Limit::SharedMemory)),
            ((8, 6), (128, 32, 49 * 1024 + 1), (1, 4, Limit::SharedMemory)),
            ((9, 0), (128, 32, 227 * 1024), (1, 4, Limit::SharedMemory)),
            ((9, 0), (128, 32, 113 * 1024), (2, 8, Limit::SharedMemory)),
            ((10, 0), (128, 32, 227 * 1024), (1, 4, Limit::SharedMemory)),
        ];
        for (capability, (threads, registers, shared_bytes), (blocks, warps, limit)) in table {
            let resources = Resources { threads, registers, shared_bytes };
            let found = Multiprocessor::of(capability).occupancy(resources);
            assert_eq!(
                (found.blocks, found.warps, found.limit),
                (blocks, warps, limit),
                "{capability:?} {resources:?}"
            );
        }
        let full =
            Multiprocessor::of((9, 0)).occupancy(Resources { threads: 128, registers: 32, shared_bytes: 0 });
        assert!((full.share - 1.0).abs() < 1e-12);
    }
}
