//! Golden vectors: what each primitive of `cuda/prims.cuh` makes of given inputs.
//!
//! Invariant: a vector says who made it. Those under `kernels/golden/` are emulation's until a
//! card has written its own; they prove that a card and emulation agree, and on which inputs,
//! and never that either is right by itself.

use crate::device::Device;
use crate::device::array::Array;
use crate::device::kernel::One;
use crate::device::ops::Ops;
use crate::device::ops::probe::{self, ProbeGrid};
use crate::device::trial::comparison::{Comparison, Tolerance};
use crate::error::DeviceError;
use crate::proof::inputs;
use serde::{Deserialize, Serialize};

/// Changes whenever vectors are written in another way.
pub(crate) const GOLDEN_VERSION: u32 = 1;

/// Words on a line of a vector.
const LINE: usize = 8;

/// What emulation, or a card, made of a probe's inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Of the format.
    version: u32,
    /// Of which primitives.
    probe: String,
    /// Who made it: `emulation`, or a card's name.
    source: String,
    /// BLAKE3 of the inputs, which follow from the probe alone.
    inputs: String,
    /// Words in hexadecimal, eight a line.
    output: Vec<String>,
}

/// How a card may differ.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Agreement {
    Words,
    Floats(Tolerance),
}

/// A kernel of `cuda/probe.cu` and what it is given.
pub(crate) struct Probe {
    pub(crate) name: &'static str,
    kernel: One,
    /// Input words of a piece, output words of a piece.
    words: (usize, usize),
    grid: ProbeGrid,
    agreement: Agreement,
    inputs: fn() -> Vec<u32>,
    golden: &'static str,
}

const EXACT: Agreement = Agreement::Floats(Tolerance::NONE);
/// A card adds sixteen products at once and cuts off what lies below the
/// largest: some units of the last place of 16.
const PRODUCTS: Agreement = Agreement::Floats(Tolerance { absolute: 3e-5, relative: 0.0 });
/// The same where a product meets another number; infinities and NaN are what they are.
const SPECIAL: Agreement = Agreement::Floats(Tolerance { absolute: 0.0, relative: 2.4e-7 });
/// The CUDA C++ Programming Guide, "Mathematical Functions": expf errs by at
/// most 2 units of the last place, logf by 1.
const FUNCTIONS: Agreement = Agreement::Floats(Tolerance { absolute: 3e-45, relative: 4e-7 });
/// Likewise: powf errs by at most 4 units of the last place, a logarithm in f64 by 1 of its own, which no
/// rounding to f32 makes more than 1. The host's powf errs by less than 1.
const POWERS: Agreement = Agreement::Floats(Tolerance { absolute: 7.1e-45, relative: 6e-7 });

macro_rules! probe {
    ($name:literal, $kernel:ident, $words:expr, $threads:literal, $shared:literal, $agreement:expr, $inputs:expr) => {
        Probe {
            name: $name,
            kernel: probe::$kernel,
            words: $words,
            grid: ProbeGrid { blocks: (1, 1), threads: $threads, shared_bytes: $shared },
            agreement: $agreement,
            inputs: $inputs,
            golden: include_str!(concat!("../../golden/", $name, ".json")),
        }
    };
}

/// The probe that tells blocks and threads apart has several blocks.
const IDS_GRID: ProbeGrid = ProbeGrid { blocks: (3, 2), threads: 64, shared_bytes: 0 };

/// Every probe, with the inputs and the agreement that is asked for.
pub(crate) const PROBES: [Probe; 15] = [
    Probe { grid: IDS_GRID, ..probe!("ids", IDS, (1, 128), 64, 0, Agreement::Words, || vec![0; 3]) },
    probe!("load_matrices", LOAD_MATRICES, (160, 256), 32, 512, Agreement::Words, inputs::matrices),
    probe!("products_exact", MULTIPLY_ADD, (320, 128), 32, 0, EXACT, inputs::products_exact),
    probe!("products", MULTIPLY_ADD, (320, 128), 32, 0, PRODUCTS, inputs::products),
    probe!("products_special", MULTIPLY_ADD, (320, 128), 32, 0, SPECIAL, inputs::products_special),
    probe!("copy_async", COPY_ASYNC, (576, 512), 64, 2048, Agreement::Words, inputs::copies),
    probe!("shuffles", SHUFFLES, (96, 1568), 32, 0, Agreement::Words, inputs::shuffles),
    probe!("ballot", BALLOT, (32, 256), 32, 0, Agreement::Words, inputs::ballots),
    probe!("bits", BITS, (2, 4), 128, 0, Agreement::Words, inputs::bits),
    probe!("bf16", BF16, (1, 6), 128, 0, Agreement::Words, inputs::floats),
    probe!("sums", SUMS, (128, 768), 128, 32, Agreement::Words, inputs::sums),
    probe!("arithmetic", ARITHMETIC, (2, 6), 128, 0, EXACT, inputs::pairs),
    probe!("exp_log", EXP_LOG, (1, 2), 128, 0, FUNCTIONS, inputs::exponents),
    probe!("pow_log", POW_LOG, (2, 3), 128, 0, POWERS, inputs::powers),
    probe!("random", RANDOM, (7, 5), 128, 0, Agreement::Words, inputs::counters),
];

fn hash(inputs: &[u32]) -> String {
    let bytes: Vec<u8> = inputs.iter().flat_map(|word| word.to_le_bytes()).collect();
    blake3::hash(&bytes).to_hex().to_string()
}

fn lines(words: &[u32]) -> Vec<String> {
    let line = |words: &[u32]| words.iter().map(|word| format!("{word:08x}")).collect::<Vec<_>>().join(" ");
    words.chunks(LINE).map(line).collect()
}

/// The words of lines; none if one of them is no number.
fn words(lines: &[String]) -> Option<Vec<u32>> {
    lines.iter().flat_map(|line| line.split(' ')).map(|word| u32::from_str_radix(word, 16).ok()).collect()
}

impl Probe {
    /// What a device makes of the inputs.
    pub(crate) fn run<D: Device>(&self, device: &D) -> Result<Vec<u32>, DeviceError> {
        let inputs = (self.inputs)();
        let count = inputs.len() / self.words.0;
        let len = count * self.words.1;
        let input = Array::from_slice(device, &inputs)?;
        // Words that no probe leaves, so that one that is not written shows.
        let output = Array::from_slice(device, &vec![0x5a5a_5a5a; len])?;
        Ops(device).probe(self.kernel, self.grid, (&input, &output), self.words, count)?;
        output.read(device, len)
    }

    /// What a device makes of the inputs, to be kept.
    pub(crate) fn vector<D: Device>(&self, device: &D, source: &str) -> Result<Vector, DeviceError> {
        let output = lines(&self.run(device)?);
        let inputs = hash(&(self.inputs)());
        Ok(Vector {
            version: GOLDEN_VERSION,
            probe: self.name.to_owned(),
            source: source.to_owned(),
            inputs,
            output,
        })
    }

    /// The maker and the words of the vector that is kept, or what is wrong with it.
    fn kept(&self) -> Result<(String, Vec<u32>), String> {
        let vector: Vector = serde_json::from_str(self.golden).map_err(|error| error.to_string())?;
        let known = vector.version == GOLDEN_VERSION && vector.probe == self.name;
        if !known || vector.inputs != hash(&(self.inputs)()) {
            return Err("is of other inputs".to_owned());
        }
        let words = words(&vector.output).ok_or_else(|| "is not in hexadecimal".to_owned())?;
        Ok((vector.source, words))
    }

    /// Compares a device with what is kept.
    pub(crate) fn check<D: Device>(&self, device: &D) -> Comparison {
        let (source, kept) = match self.kept() {
            Ok(kept) => kept,
            Err(wrong) => {
                let what = format!("{} against its golden vector", self.name);
                return Comparison::failed(what, &format_args!("the golden vector {wrong}"));
            }
        };
        let what = format!("{} against {source}", self.name);
        let got = match self.run(device) {
            Ok(got) => got,
            Err(error) => return Comparison::failed(what, &error),
        };
        let floats = |words: &[u32]| words.iter().map(|&word| f32::from_bits(word)).collect::<Vec<_>>();
        match self.agreement {
            Agreement::Words => Comparison::words(what, &got, &kept),
            Agreement::Floats(tolerance) => {
                Comparison::numbers(what, &floats(&got), &floats(&kept), tolerance)
            }
        }
    }
}

impl Vector {
    /// The file that it is kept in.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.json", self.probe)
    }

    /// The vector as its file holds it.
    ///
    /// # Panics
    /// Never: strings and a number can be written.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings and a number can be written");
        text.push('\n');
        text
    }
}
