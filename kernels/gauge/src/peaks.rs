//! What cards can do at most: by their name where that is known,
//! otherwise computed from what the driver says.

use crate::occupancy::Multiprocessor;
use kernels::proof::CardProperties;
use serde::Serialize;

/// The most that a card can do, and where the figures are from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peaks {
    /// The card's name, as the driver says it.
    pub card: String,
    /// Compute capability, as in 9.0.
    pub capability: (u32, u32),
    /// How many multiprocessors the card has.
    pub multiprocessors: u32,
    /// Cycles per second of a multiprocessor.
    pub clock_hz: f64,
    /// Multiplications and additions per second of the tensor cores, dense bf16 with sums in f32.
    pub tensor_flops: f64,
    /// Bytes per second to and from the memory.
    pub memory_bytes_per_s: f64,
    /// Bytes per second out of the second-level cache.
    pub cache_bytes_per_s: f64,
    /// Where these figures are from: a data sheet, a measurement, or a computation.
    pub source: &'static str,
}

const DATA_SHEET: &str = "data sheet";
const MEASURED: &str = "measured: largest matrix product and largest copy on such a card";
const COMPUTED: &str = "computed from multiprocessors and clocks";

/// `(part of the name, multiprocessors, TFLOP/s, GB/s, GB/s of the cache, source)`; a name is
/// looked for from the top. Caches: published microbenchmarks for 8.0 and 9.0, estimates of the
/// same order per multiprocessor for the others.
const KNOWN: [(&str, u32, f64, f64, f64, &str); 17] = [
    ("H200", 132, 790.0, 4300.0, 5500.0, MEASURED),
    ("H100 NVL", 132, 835.0, 3900.0, 5500.0, DATA_SHEET),
    ("H100 PCIe", 114, 756.0, 2000.0, 4500.0, DATA_SHEET),
    ("GH200", 132, 989.0, 4000.0, 5500.0, DATA_SHEET),
    ("H100", 132, 989.0, 3350.0, 5500.0, DATA_SHEET),
    ("B200", 148, 2250.0, 8000.0, 10_000.0, DATA_SHEET),
    ("A100-SXM4-80GB", 108, 312.0, 2039.0, 4500.0, DATA_SHEET),
    ("A100 80GB PCIe", 108, 312.0, 1935.0, 4500.0, DATA_SHEET),
    ("A100", 108, 312.0, 1555.0, 4500.0, DATA_SHEET),
    ("L40S", 142, 362.0, 864.0, 4000.0, DATA_SHEET),
    ("L4", 58, 121.0, 300.0, 1500.0, DATA_SHEET),
    ("A40", 84, 149.7, 696.0, 2500.0, DATA_SHEET),
    ("A10", 72, 125.0, 600.0, 2000.0, DATA_SHEET),
    ("RTX 5090", 170, 209.5, 1792.0, 5000.0, DATA_SHEET),
    ("RTX 4090", 128, 165.2, 1008.0, 4500.0, DATA_SHEET),
    ("RTX 4080", 76, 97.5, 716.8, 3000.0, DATA_SHEET),
    ("RTX 3090", 82, 71.0, 936.2, 2000.0, DATA_SHEET),
];

/// One H200, for a prediction without a card.
#[must_use]
pub fn h200() -> CardProperties {
    CardProperties {
        name: "NVIDIA H200".into(),
        capability: (9, 0),
        multiprocessors: 132,
        clock_hz: 1.98e9,
        memory_clock_hz: 3.201e9,
        memory_bus_bits: 6144,
        memory_bytes: 141 << 30,
        driver: "none".into(),
        image: "sm_90a".into(),
    }
}

/// What a card holds of its highest clock when all of it is busy.
const SUSTAINED: f64 = 0.88;

/// Dense bf16 operations that a multiprocessor's tensor cores do each cycle. Cards for games have half of
/// what others of 8.6 to 12.0 have; the smaller number is taken.
pub(crate) const fn tensor_flops_per_cycle(capability: (u32, u32)) -> u32 {
    match capability {
        (..8, _) => 1024,
        (8, ..=5) => 2048,
        (8, 6..) | (12.., _) => 512,
        (9, _) => 4096,
        (10..=11, _) => 8192,
    }
}

impl Peaks {
    /// The most that a card can do: by its name, if the name and the number of multiprocessors are known (a
    /// part of a divided card has fewer); computed otherwise.
    #[must_use]
    pub fn of(card: &CardProperties) -> Self {
        let known = KNOWN.iter().find(|known| card.name.contains(known.0) && known.1 == card.multiprocessors);
        let cycles = card.clock_hz * f64::from(card.multiprocessors);
        let (tensor_flops, memory, cache, source) = match known {
            Some(&(_, _, tensor, memory, cache, source)) => {
                (tensor * 1e12, memory * 1e9, cache * 1e9, source)
            }
            None => (
                f64::from(tensor_flops_per_cycle(card.capability)) * cycles,
                2.0 * card.memory_clock_hz * f64::from(card.memory_bus_bits) / 8.0,
                20.0 * cycles,
                COMPUTED,
            ),
        };
        Self {
            card: card.name.clone(),
            capability: card.capability,
            multiprocessors: card.multiprocessors,
            clock_hz: card.clock_hz * SUSTAINED,
            tensor_flops,
            memory_bytes_per_s: memory,
            cache_bytes_per_s: cache,
            source,
        }
    }

    pub(crate) fn multiprocessor(&self) -> Multiprocessor {
        Multiprocessor::of(self.capability)
    }

    /// Cycles per second of all multiprocessors together.
    pub(crate) fn cycles_per_s(&self) -> f64 {
        self.clock_hz * f64::from(self.multiprocessors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_known_by_name_or_computed() {
        let of = |name: &str, multiprocessors: u32, capability: (u32, u32)| {
            Peaks::of(&CardProperties { name: name.into(), multiprocessors, capability, ..h200() })
        };
        for (name, multiprocessors, capability, tera) in [
            ("NVIDIA H200", 132, (9, 0), 790.0),
            ("NVIDIA H100 80GB HBM3", 132, (9, 0), 989.0),
            ("NVIDIA H100 PCIe", 114, (9, 0), 756.0),
            ("NVIDIA A100-SXM4-40GB", 108, (8, 0), 312.0),
            ("NVIDIA L40S", 142, (8, 9), 362.0),
            ("NVIDIA L4", 58, (8, 9), 121.0),
            ("NVIDIA GeForce RTX 4090", 128, (8, 9), 165.2),
        ] {
            let peaks = of(name, multiprocessors, capability);
            assert!((peaks.tensor_flops - tera * 1e12).abs() < 1e6, "{name}: {}", peaks.tensor_flops);
            assert_ne!(peaks.source, COMPUTED);
        }
        // A part of a card, and an unknown one.
        let part = of("NVIDIA H200 MIG 1g.18gb", 16, (9, 0));
        assert_eq!(part.source, COMPUTED);
        assert!((part.tensor_flops - 4096.0 * 16.0 * 1.98e9).abs() < 1.0);
        assert!((of("NVIDIA New", 100, (13, 0)).memory_bytes_per_s - 2.0 * 3.201e9 * 768.0).abs() < 1.0);
    }
}
