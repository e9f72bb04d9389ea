//! Random choices among moves.

use rules::{Move, playout::Choices};

/// The index of a uniformly random legal move. It panics if there is none.
#[must_use]
pub fn random(legal: &[Move], choices: &mut Choices) -> usize {
    assert!(!legal.is_empty(), "an unfinished game has legal moves");
    choices.below(legal.len())
}

/// An index that is drawn in proportion to weights, which must not be negative. If rounding leaves a rest, it
/// is the last one with a positive weight.
#[must_use]
pub fn sample(weights: &[f32], choices: &mut Choices) -> usize {
    let mut left = unit(choices) * weights.iter().sum::<f32>();
    let mut last = 0;
    for (i, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = i;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    last
}

/// [`sample`] at a temperature: each weight is raised to the power of the inverse temperature first. At 1
/// nothing changes.
#[must_use]
pub fn sample_at(temperature: f32, weights: &[f32], choices: &mut Choices) -> usize {
    if temperature == 1.0 {
        return sample(weights, choices);
    }
    let power = temperature.recip();
    let tempered: Vec<f32> = weights.iter().map(|weight| weight.powf(power)).collect();
    sample(&tempered, choices)
}

/// A number that is uniform in `[0, 1)`.
pub(crate) fn unit(choices: &mut Choices) -> f32 {
    (choices.next_u64() >> 40) as f32 / (1u64 << 24) as f32
}
