//! Whether a device evaluates as the CPU does, before it is trusted with anything.

use super::evaluator::DeviceEvaluator;
use super::{Device, DeviceError};
use crate::architecture::Architecture;
use crate::cpu::CpuEvaluator;
use crate::evaluator::{Evaluation, Evaluator, Query};
use crate::network::Network;
use rules::{Board, Hex8, Move, Options, State, playout};
use std::sync::Arc;

/// `|got - want| <= ABSOLUTE + RELATIVE * |want|`: some times what the rounding of bf16 does to a network of this size. A
/// device that computes something else is further off.
const ABSOLUTE: f32 = 0.1;
const RELATIVE: f32 = 0.1;
/// Every so many positions of a game, one is evaluated.
const EVERY: usize = 3;

/// Has a device evaluate positions of a random game and compares the answers with the CPU's.
///
/// # Errors
/// [`DeviceError::Unsupported`] if they differ, or what the device says.
pub(crate) fn trial<D: Device>(device: D) -> Result<(), DeviceError> {
    let network = network().ok_or_else(|| DeviceError::Unsupported("no network to try it with".into()))?;
    let network = Arc::new(network);
    let positions = positions();
    let queries: Vec<_> = positions.iter().map(|(state, legal)| Query { state, legal }).collect();
    let got = DeviceEvaluator::new(device, Arc::clone(&network))?.try_evaluate(&queries)?;
    if agree(&got, &CpuEvaluator::new(network).evaluate(&queries)) {
        Ok(())
    } else {
        Err(DeviceError::Unsupported("its answers are not those of the CPU".into()))
    }
}

fn agree(got: &[Evaluation], want: &[Evaluation]) -> bool {
    let near = |got: &[f32], want: &[f32]| {
        let near = |(g, w): (&f32, &f32)| (g - w).abs() <= ABSOLUTE + RELATIVE * w.abs();
        got.len() == want.len() && got.iter().zip(want).all(near)
    };
    let same = |(g, w): (&Evaluation, &Evaluation)| near(&g.logits, &w.logits) && near(&g.value, &w.value);
    got.len() == want.len() && got.iter().zip(want).all(same)
}

/// A small network, none of whose tensors is zero as those of an untrained one are.
fn network() -> Option<Network> {
    let seeded = Network::seeded(Architecture::small(Board::Hex8), 1);
    let mut choices = playout::Choices::new(1);
    let noise = |weight: &f32| weight + (choices.below(2001) as f32 - 1000.0) * 3e-5;
    let weights = seeded.weights().iter().map(noise).collect();
    Network::from_weights(seeded.architecture(), weights)
}

fn positions() -> Vec<(State<Hex8>, Vec<Move>)> {
    let mut positions = Vec::new();
    let start = State::<Hex8>::new(2, Options::default());
    playout::play(start, &mut playout::Choices::new(1), &mut Vec::new(), |state, legal| {
        positions.push((*state, legal.to_vec()));
    });
    positions.into_iter().step_by(EVERY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_agrees_and_nothing_else() {
        let one =
            |logit: f32, share: f32| Evaluation { logits: vec![logit, 2.0], value: [share, 0.5, 0.0, 0.0] };
        let want = [one(1.0, 0.5)];
        assert!(agree(&[], &[]) && agree(&[one(1.19, 0.4)], &want));
        for wrong in [one(1.3, 0.5), one(1.0, 0.7), one(f32::NAN, 0.5)] {
            assert!(!agree(&[wrong], &want));
        }
        assert!(!agree(&[], &want));
        assert!(!agree(&[Evaluation::default()], &want));
    }
}
