//! The compiled kernels inside the binary, and which of them a card takes.
//!
//! Invariant: an image is used only if the manifest says that it was compiled from the sources that are
//! embedded beside it; `scripts/build-kernels` makes both, and a test compares them.

use crate::error::DeviceError;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io::Read as _;

/// What kernels are compiled for: real architectures, exact ones with
/// a letter, and the virtual one of the PTX.
pub const TARGETS: [&str; 7] = ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120", "compute_80"];

/// The options of the compiler, besides the architecture.
pub const OPTIONS: [&str; 2] = ["--std=c++17", "--ptxas-options=-v"];

/// The pinned compiler.
pub const COMPILER: &str = "nvidia-cuda-nvrtc 13.0.88";

/// The most bytes of an unpacked image.
const IMAGE_BYTES_MAX: u64 = 64 << 20;

const SOURCES: [(&str, &str); 39] = [
    ("all.cu", include_str!("../../../cuda/all.cu")),
    ("prims.cuh", include_str!("../../../cuda/prims.cuh")),
    ("tile.cuh", include_str!("../../../cuda/tile.cuh")),
    ("position.cuh", include_str!("../../../cuda/position.cuh")),
    ("expand.cu", include_str!("../../../cuda/expand.cu")),
    ("conv.cu", include_str!("../../../cuda/conv.cu")),
    ("tower.cu", include_str!("../../../cuda/tower.cu")),
    ("pool.cu", include_str!("../../../cuda/pool.cu")),
    ("dense.cu", include_str!("../../../cuda/dense.cu")),
    ("policy.cuh", include_str!("../../../cuda/policy.cuh")),
    ("policy.cu", include_str!("../../../cuda/policy.cu")),
    ("train.cu", include_str!("../../../cuda/train.cu")),
    ("legal.cu", include_str!("../../../cuda/legal.cu")),
    ("playout.cu", include_str!("../../../cuda/playout.cu")),
    ("probe.cu", include_str!("../../../cuda/probe.cu")),
    ("wave.cu", include_str!("../../../cuda/wave.cu")),
    ("wave/slot.cuh", include_str!("../../../cuda/wave/slot.cuh")),
    ("wave/choices.cuh", include_str!("../../../cuda/wave/choices.cuh")),
    ("wave/order.cuh", include_str!("../../../cuda/wave/order.cuh")),
    ("wave/gumbel.cuh", include_str!("../../../cuda/wave/gumbel.cuh")),
    ("wave/record.cuh", include_str!("../../../cuda/wave/record.cuh")),
    ("wave/tree.cuh", include_str!("../../../cuda/wave/tree.cuh")),
    ("wave/query.cuh", include_str!("../../../cuda/wave/query.cuh")),
    ("wave/search.cuh", include_str!("../../../cuda/wave/search.cuh")),
    ("wave/game.cuh", include_str!("../../../cuda/wave/game.cuh")),
    ("rules.cuh", include_str!("../../../cuda/rules.cuh")),
    ("rules/geometry.cuh", include_str!("../../../cuda/rules/geometry.cuh")),
    ("rules/stack.cuh", include_str!("../../../cuda/rules/stack.cuh")),
    ("rules/state.cuh", include_str!("../../../cuda/rules/state.cuh")),
    ("rules/moves.cuh", include_str!("../../../cuda/rules/moves.cuh")),
    ("rules/rows.cuh", include_str!("../../../cuda/rules/rows.cuh")),
    ("rules/movement.cuh", include_str!("../../../cuda/rules/movement.cuh")),
    ("rules/placement.cuh", include_str!("../../../cuda/rules/placement.cuh")),
    ("rules/lines.cuh", include_str!("../../../cuda/rules/lines.cuh")),
    ("rules/territory.cuh", include_str!("../../../cuda/rules/territory.cuh")),
    ("rules/recovery.cuh", include_str!("../../../cuda/rules/recovery.cuh")),
    ("rules/outcome.cuh", include_str!("../../../cuda/rules/outcome.cuh")),
    ("rules/turn.cuh", include_str!("../../../cuda/rules/turn.cuh")),
    ("rules/random.cuh", include_str!("../../../cuda/rules/random.cuh")),
];

const MANIFEST: &str = include_str!("../../../dist/manifest.json");

const IMAGES: [(&str, &[u8]); 7] = [
    ("sm_80", include_bytes!("../../../dist/sm_80.gz")),
    ("sm_86", include_bytes!("../../../dist/sm_86.gz")),
    ("sm_89", include_bytes!("../../../dist/sm_89.gz")),
    ("sm_90a", include_bytes!("../../../dist/sm_90a.gz")),
    ("sm_100", include_bytes!("../../../dist/sm_100.gz")),
    ("sm_120", include_bytes!("../../../dist/sm_120.gz")),
    ("compute_80", include_bytes!("../../../dist/compute_80.gz")),
];

/// What was compiled, from which sources, by which compiler.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageManifest {
    /// The compiler's package and version.
    pub compiler: String,
    /// Options besides the architecture.
    pub options: Vec<String>,
    /// BLAKE3 of [`source`].
    pub source: String,
    /// One for each of [`TARGETS`].
    pub images: Vec<Image>,
}

/// A compiled module.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The architecture, one of [`TARGETS`].
    pub target: String,
    /// BLAKE3 of the image.
    pub hash: String,
    /// Bytes of the image.
    pub bytes: usize,
    /// What the assembler says of each kernel; empty for PTX.
    pub kernels: Vec<Usage>,
}

/// What a kernel needs of a card, as the assembler reports it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// The kernel's name.
    pub kernel: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes stored to memory for lack of registers.
    pub spill_stores: u32,
    /// Bytes loaded from there again.
    pub spill_loads: u32,
    /// Bytes of static shared memory of a block; dynamic shared memory is up to the launch.
    pub shared_bytes: u32,
}

/// The kernels as one file: every `#include` of ours replaced by what it names, the first time.
///
/// # Panics
/// If a source includes what is not embedded.
#[must_use]
pub fn source() -> String {
    let mut out = String::new();
    include("all.cu", &mut Vec::new(), &mut out);
    out
}

fn include(name: &'static str, done: &mut Vec<&'static str>, out: &mut String) {
    if done.contains(&name) {
        return;
    }
    done.push(name);
    let text = SOURCES.iter().find(|(file, _)| *file == name).expect("every source is embedded").1;
    for line in text.lines() {
        let included = line.strip_prefix("#include \"").and_then(|rest| rest.strip_suffix('"'));
        // The host's own header stands where the GPU's compiler never looks.
        match included.and_then(|file| SOURCES.iter().find(|(name, _)| *name == file)) {
            Some((file, _)) => include(file, done, out),
            None if line == "#pragma once" => {}
            None => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
}

/// BLAKE3 of the embedded sources.
#[must_use]
pub fn source_hash() -> String {
    blake3::hash(source().as_bytes()).to_hex().to_string()
}

/// The embedded manifest.
///
/// # Errors
/// [`DeviceError::Unsupported`] if it cannot be read.
pub fn manifest() -> Result<ImageManifest, DeviceError> {
    serde_json::from_str(MANIFEST)
        .map_err(|error| DeviceError::Unsupported(format!("the manifest of the kernels: {error}")))
}

/// An embedded image, unpacked.
pub(crate) fn image(target: &str) -> Result<Vec<u8>, DeviceError> {
    let packed = IMAGES.iter().find(|(name, _)| *name == target).map(|(_, packed)| *packed);
    let packed = packed.ok_or_else(|| DeviceError::Unsupported(format!("no kernels for {target}")))?;
    let mut image = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(packed).take(IMAGE_BYTES_MAX);
    reader
        .read_to_end(&mut image)
        .map_err(|error| DeviceError::Unsupported(format!("the kernels for {target}: {error}")))?;
    Ok(image)
}

/// The compute capability that a real architecture is for.
#[must_use]
pub fn capability_of(target: &str) -> Option<(u32, u32)> {
    let number: u32 = target.strip_prefix("sm_")?.trim_end_matches('a').parse().ok()?;
    Some((number / 10, number % 10))
}

/// Which images a card of a compute capability takes, best first: its own, those of an older minor
/// version of the same major one, and the PTX.
#[must_use]
pub fn candidates((major, minor): (u32, u32)) -> Vec<&'static str> {
    let of = |target: &&'static str| {
        let (of_major, of_minor) = capability_of(target)?;
        Some((*target, of_major, of_minor, target.ends_with('a')))
    };
    let mut cubins: Vec<_> = TARGETS.iter().filter_map(of).collect();
    // A cubin with a letter runs on that very version only.
    cubins.retain(|&(_, of_major, of_minor, exact)| {
        of_major == major && if exact { of_minor == minor } else { of_minor <= minor }
    });
    cubins.sort_by_key(|&(_, _, of_minor, _)| std::cmp::Reverse(of_minor));
    let ptx = (major >= 8).then_some("compute_80");
    cubins.into_iter().map(|(target, ..)| target).chain(ptx).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ops;

    #[test]
    fn a_card_gets_its_own_image_an_older_one_or_ptx() {
        for (capability, expected) in [
            ((7, 5), &[][..]),
            ((8, 0), &["sm_80", "compute_80"]),
            ((8, 6), &["sm_86", "sm_80", "compute_80"]),
            ((8, 9), &["sm_89", "sm_86", "sm_80", "compute_80"]),
            ((9, 0), &["sm_90a", "compute_80"]),
            ((10, 3), &["sm_100", "compute_80"]),
            ((11, 0), &["compute_80"]),
            ((12, 1), &["sm_120", "compute_80"]),
        ] {
            assert_eq!(candidates(capability), expected, "{capability:?}");
        }
    }

    #[test]
    fn images_are_of_the_sources_and_hold_every_kernel_without_a_spill() {
        let manifest = manifest().unwrap();
        assert_eq!(manifest.source, source_hash(), "run scripts/build-kernels");
        assert_eq!((manifest.compiler.as_str(), manifest.images.len()), (COMPILER, TARGETS.len()));
        for (of, target) in manifest.images.iter().zip(TARGETS) {
            let image = image(target).unwrap();
            assert_eq!((of.target.as_str(), of.bytes), (target, image.len()));
            assert_eq!(of.hash, blake3::hash(&image).to_hex().as_str(), "{target}");
            if target.starts_with("sm_") {
                assert!(image.starts_with(b"\x7fELF"));
                let mut names: Vec<_> = of.kernels.iter().map(|usage| usage.kernel.as_str()).collect();
                names.sort_unstable();
                let mut kernels = ops::all();
                kernels.sort_unstable();
                assert_eq!(names, kernels);
                let spills = |usage: &&Usage| usage.spill_stores + usage.spill_loads > 0;
                assert_eq!(of.kernels.iter().find(spills), None, "{target}");
            }
        }
    }
}
