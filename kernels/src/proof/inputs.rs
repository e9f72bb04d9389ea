//! What the probes are given: the same words every time.

use rules::playout::Choices;

/// Numbers that rounding, comparing and arithmetic may get wrong: zeros, ones, ties of bf16 and their
/// neighbours, subnormals of f32 and of bf16, the largest, infinities, quiet and signalling NaN.
const SPECIAL: [u32; 44] = [
    0x0000_0000,
    0x8000_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_8000,
    0x3f81_8000,
    0x3f80_7fff,
    0x3f80_8001,
    0xbf80_8000,
    0xbf81_8000,
    0x0000_0001,
    0x8000_0001,
    0x0000_7fff,
    0x0000_8000,
    0x0000_8001,
    0x0001_0000,
    0x0001_8000,
    0x007f_7fff,
    0x007f_8000,
    0x007f_ffff,
    0x0080_0000,
    0x807f_ffff,
    0x8080_0000,
    0x7f7f_7fff,
    0x7f7f_8000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc0_0000,
    0x7f80_0001,
    0xff80_0001,
    0x7fff_ffff,
    0x7f80_8000,
    0x4049_0fdb,
    0x3eaa_aaab,
    0x4780_0000,
    0x4f80_0000,
    0x5f00_0000,
    0x2f80_0000,
    0x1f00_0000,
    0x42f6_e979,
    0xc2f6_e979,
];

fn words(count: usize, seed: u64) -> Vec<u32> {
    let mut choices = Choices::new(seed);
    (0..count).map(|_| choices.next_u64() as u32).collect()
}

/// Numbers between -1 and 1 with eight significant bits.
fn small(choices: &mut Choices) -> f32 {
    (choices.below(257) as f32 - 128.0) / 128.0
}

fn bf16(value: f32) -> u32 {
    value.to_bits() >> 16
}

pub(super) fn matrices() -> Vec<u32> {
    words(4 * 160, 1)
}

/// Lays the matrices a: [16, 16], b: [16, 8] in bf16 and d: [16, 8] out
/// over the lanes as `multiply_add` wants them.
fn fragments(a: &[[u32; 16]; 16], b: &[[u32; 8]; 16], d: &[[f32; 8]; 16], out: &mut Vec<u32>) {
    for lane in 0..32 {
        let (group, pair) = (lane / 4, lane % 4 * 2);
        out.extend((0..4).map(|i| {
            let (row, column) = (group + i % 2 * 8, pair + i / 2 * 8);
            a[row][column] | a[row][column + 1] << 16
        }));
        out.extend((0..2).map(|i| b[pair + i * 8][group] | b[pair + i * 8 + 1][group] << 16));
        out.extend((0..4).map(|i| d[group + i / 2 * 8][pair + i % 2].to_bits()));
    }
}

/// Multiples of 1/8 up to 2: every sum is exact in f32 whatever the order.
pub(super) fn products_exact() -> Vec<u32> {
    let mut choices = Choices::new(2);
    let mut eighth = || (choices.below(33) as f32 - 16.0) / 8.0;
    let mut out = Vec::new();
    for _ in 0..4 {
        let a = [[(); 16]; 16].map(|row| row.map(|()| bf16(eighth())));
        let b = [[(); 8]; 16].map(|row| row.map(|()| bf16(eighth())));
        let d = [[(); 8]; 16].map(|row| row.map(|()| eighth()));
        fragments(&a, &b, &d, &mut out);
    }
    out
}

/// Numbers up to 1 whose sums are rounded.
pub(super) fn products() -> Vec<u32> {
    let mut choices = Choices::new(3);
    let mut out = Vec::new();
    for _ in 0..4 {
        let mut number = || small(&mut choices) * f32::exp2(-(choices.below(8) as f32));
        let a = [[(); 16]; 16].map(|row| row.map(|()| bf16(number())));
        let b = [[(); 8]; 16].map(|row| row.map(|()| bf16(number())));
        let d = [[(); 8]; 16].map(|row| row.map(|()| number()));
        fragments(&a, &b, &d, &mut out);
    }
    out
}

/// Every sixteenth of the special numbers times ones, twos, halves and
/// zeros: one product a sum, the others are zero.
pub(super) fn products_special() -> Vec<u32> {
    let factors = [1.0, -1.0, 2.0, 0.5, 0.0, -0.0, f32::INFINITY, 3.0].map(bf16);
    let mut out = Vec::new();
    for special in SPECIAL.chunks(16) {
        for start in [0.0, 1.0, f32::NEG_INFINITY] {
            let mut a = [[0; 16]; 16];
            for (row, &number) in a.iter_mut().zip(special) {
                row[3] = number >> 16;
            }
            let mut b = [[0; 8]; 16];
            b[3] = factors;
            fragments(&a, &b, &[[start; 8]; 16], &mut out);
        }
    }
    out
}

pub(super) fn copies() -> Vec<u32> {
    words(3 * 576, 4)
}

pub(super) fn shuffles() -> Vec<u32> {
    words(2 * 96, 5)
}

pub(super) fn ballots() -> Vec<u32> {
    words(3 * 32, 6)
}

/// Random words, single bits, all and none.
pub(super) fn bits() -> Vec<u32> {
    let mut out = words(64, 7);
    out.extend([0, 0, u32::MAX, u32::MAX, 0, 1, 1, 0, 0, 1 << 31, 1 << 31, 0]);
    out
}

/// The special numbers and random words.
pub(super) fn floats() -> Vec<u32> {
    SPECIAL.into_iter().chain(words(84, 8)).collect()
}

/// Numbers of many sizes, then the special ones that are numbers.
pub(super) fn sums() -> Vec<u32> {
    let mut choices = Choices::new(9);
    let mut out: Vec<u32> = (0..128)
        .map(|_| (small(&mut choices) * f32::exp2(choices.below(24) as f32 - 12.0)).to_bits())
        .collect();
    let finite = SPECIAL.into_iter().filter(|&word| f32::from_bits(word).abs() < 1e10);
    out.extend(finite.cycle().take(128));
    out
}

/// Special numbers with each other, and random ones.
pub(super) fn pairs() -> Vec<u32> {
    let mut out = words(64, 10);
    for (i, &a) in SPECIAL.iter().enumerate() {
        for step in [0, 1, 5, 17] {
            out.extend([a, SPECIAL[(i + step) % SPECIAL.len()]]);
        }
    }
    out
}

/// Where softmax and its logarithm are, and beyond.
pub(super) fn exponents() -> Vec<u32> {
    let steps = (-120..=120).map(|i| (f64::from(i) * 0.9) as f32);
    steps.map(f32::to_bits).chain(SPECIAL).collect()
}

/// Probabilities and the exponents of a search's temperature, the ends of what
/// 52 bits say, and pairs of special numbers.
pub(super) fn powers() -> Vec<u32> {
    let exponents = [1.0f32, 0.5, 2.0, 1.0 / 1.2, 1.0 / 1.5];
    let mut choices = Choices::new(12);
    let mut out = vec![0, 0, u32::MAX, u32::MAX, 0x1000, 0];
    for i in 0..120 {
        let share = choices.below(1 << 24) as f32 / (1 << 24) as f32;
        let share = share * f32::exp2(-(choices.below(30) as f32));
        out.extend([share, exponents[i % exponents.len()]].map(f32::to_bits));
    }
    out.extend(pairs());
    out
}

/// The published counters and keys of Philox4x32-10, and random ones.
pub(super) fn counters() -> Vec<u32> {
    let mut out = vec![0; 7];
    out.extend([u32::MAX; 7]);
    out.extend([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344, 0xa409_3822, 0x299f_31d0, 1]);
    out.extend(words(7 * 29, 11));
    out
}
