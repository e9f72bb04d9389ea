//! AdamW over the flat buffer of weights, with clipping, a schedule and an average of the weights.

use crate::network::architecture::Layout;

/// Hyper-parameters of training. The defaults suit runs of a few hundred steps on a CPU: a longer warm-up
/// or average would span several generations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer {
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f32,
    /// The largest norm of a gradient; a longer one is shortened.
    pub clip: f32,
    /// Steps over which the rate rises, counted from the seeded network.
    pub warmup: u64,
    /// What the average keeps of itself each step.
    pub average: f32,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self { learning_rate: 2e-3, weight_decay: 0.02, clip: 1.0, warmup: 100, average: 0.995 }
    }
}

pub(crate) const BETA1: f32 = 0.9;
pub(crate) const BETA2: f32 = 0.95;
const EPSILON: f32 = 1e-8;
/// The lowest rate of a run's last third, as a share of its peak.
const FLOOR: f64 = 0.1;

impl Optimizer {
    /// The learning rate of a step. `step` counts from the seeded network, `of_run` in `0..run` within a run;
    /// the rate rises over the warm-up and falls linearly in the last third of every run.
    #[must_use]
    pub fn rate(&self, step: u64, of_run: u64, run: u64) -> f32 {
        let warm = (step.saturating_add(1) as f64 / self.warmup.max(1) as f64).min(1.0);
        let left = run.saturating_sub(of_run) as f64 / run.max(1) as f64;
        let decayed = (left * 3.0).clamp(FLOOR, 1.0);
        (f64::from(self.learning_rate) * warm * decayed) as f32
    }
}

/// The first and second moments of the gradient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moments {
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
    /// How many steps went into them.
    pub(crate) steps: u64,
}

impl Moments {
    pub(crate) fn new(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len], steps: 0 }
    }

    /// One step of AdamW (*Loshchilov & Hutter 2019, algorithm 2*; moments of *Kingma & Ba
    /// 2015, algorithm 1*). A gradient longer than `clip` is shortened; one that is not
    /// finite is skipped, which is reported as false.
    pub(crate) fn step(
        &mut self,
        optimizer: &Optimizer,
        rate: f32,
        layout: &Layout,
        weights: &mut [f32],
        gradient: &[f32],
    ) -> bool {
        let norm = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return false;
        }
        let scale = (f64::from(optimizer.clip) / norm.max(f64::MIN_POSITIVE)).min(1.0) as f32;
        self.steps = self.steps.saturating_add(1);
        let correction = |beta: f32| 1.0 - beta.powi(self.steps.min(10_000) as i32);
        let (first, second) = (correction(BETA1), correction(BETA2));
        for tensor in &layout.tensors {
            let decay = if tensor.decays { rate * optimizer.weight_decay } else { 0.0 };
            let moments =
                tensor.span.of_mut(&mut self.first).iter_mut().zip(tensor.span.of_mut(&mut self.second));
            let both = tensor.span.of_mut(weights).iter_mut().zip(tensor.span.of(gradient));
            for ((weight, &g), (m, v)) in both.zip(moments) {
                let g = g * scale;
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                let step = (*m / first) / ((*v / second).sqrt() + EPSILON);
                *weight -= rate * step + decay * *weight;
            }
        }
        true
    }
}

/// What the average keeps of itself in a step. Early on, when a fixed share would remember the
/// seeded weights, it is that of the plain mean.
pub(crate) fn keep(most: f32, step: u64) -> f32 {
    most.min((step as f32 + 1.0) / (step as f32 + 10.0))
}

/// Moves the average towards the weights.
pub(crate) fn average(average: &mut [f32], weights: &[f32], most: f32, step: u64) {
    let keep = keep(most, step);
    for (average, &weight) in average.iter_mut().zip(weights) {
        *average = keep * *average + (1.0 - keep) * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::architecture::Architecture;
    use rules::Board;

    #[test]
    fn the_rate_rises_holds_and_falls() {
        let optimizer = Optimizer { learning_rate: 1.0, warmup: 10, ..Optimizer::default() };
        let table = [(0, 0, 0.1), (4, 4, 0.5), (9, 9, 1.0), (60, 60, 1.0), (85, 85, 0.45), (99, 99, 0.1)];
        for (step, of_run, expected) in table {
            let rate = optimizer.rate(step, of_run, 100);
            assert!((rate - expected).abs() < 0.02, "{step}: {rate}");
        }
        assert_eq!(optimizer.rate(1000, 0, 100), 1.0);
        assert!(optimizer.rate(1000, 0, 0) > 0.0);
    }

    #[test]
    fn a_quadratic_is_minimised_and_nonsense_skipped() {
        let layout = Layout::new(Architecture { channels: 4, blocks: 1, ..Architecture::small(Board::Hex8) });
        let optimizer = Optimizer { weight_decay: 0.0, ..Optimizer::default() };
        let mut weights = vec![0.0; layout.total];
        let mut moments = Moments::new(layout.total);
        let mut mean = weights.clone();
        for step in 0..500 {
            let gradient: Vec<f32> = weights.iter().map(|w| w - 0.25).collect();
            assert!(moments.step(&optimizer, 5e-3, &layout, &mut weights, &gradient));
            average(&mut mean, &weights, 0.9, step);
        }
        assert!(weights.iter().chain(&mean).all(|w| (w - 0.25).abs() < 0.02), "{:?}", &weights[..4]);
        let before = (weights.clone(), moments.clone());
        let mut gradient = vec![0.0; layout.total];
        gradient[3] = f32::NAN;
        assert!(!moments.step(&optimizer, 5e-3, &layout, &mut weights, &gradient));
        assert_eq!(before, (weights, moments));
    }
}
