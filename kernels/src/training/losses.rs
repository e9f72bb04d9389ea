//! What the network's answers cost: cross-entropies of policies and
//! values, and the derivatives by the answers.

use crate::encoding::action::KINDS;
use crate::encoding::batch::Batch;
use crate::network::architecture::HEAD;
use crate::network::forward::Workspace;
use crate::network::heads::{PolicyGradient, cross_entropy, kinds_of};
use crate::network::real::Real;
use crate::training::gradient::Gradient;
use rules::SEATS_MAX;
use std::ops::Range;

/// Losses added up over samples, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LossSums {
    pub(crate) policy: f64,
    /// Samples that have a policy target.
    pub(crate) policies: usize,
    pub(crate) value: f64,
    /// All samples: each has a winner.
    pub(crate) values: usize,
}

impl std::ops::Add for LossSums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            policy: self.policy + other.policy,
            policies: self.policies + other.policies,
            value: self.value + other.value,
            values: self.values + other.values,
        }
    }
}

/// Where derivatives go, and how much a policy and a value count.
pub(crate) type Derivatives<'a, F> = (&'a mut Gradient<F>, F, F);

impl<F: Real> Workspace<F> {
    /// After [`Self::forward`]: the losses of the chunk, summed. Leaves in the gradient, if given, the
    /// derivative of the loss by the network's answers.
    pub(crate) fn losses(
        &mut self,
        weights: &[F],
        batch: &Batch,
        chunk: &Range<usize>,
        mut gradient: Option<Derivatives<'_, F>>,
    ) -> LossSums {
        let cells = self.taps.cells * HEAD;
        let mut sums = LossSums::default();
        let mut logits = std::mem::take(&mut self.logits);
        if let Some((gradient, ..)) = &mut gradient {
            gradient.head[..chunk.len() * cells].fill(F::default());
            gradient.kinds[..chunk.len() * KINDS].fill(F::default());
            gradient.value[..chunk.len() * SEATS_MAX].fill(F::default());
        }
        for (i, position) in chunk.clone().enumerate() {
            sums.value += self.value_loss(batch, i, position, &mut gradient);
            sums.values += 1;
            if batch.policy_of(position).is_empty() {
                continue;
            }
            logits.clear();
            logits.extend(self.logits(weights, batch, chunk, i));
            sums.policy += self.policy_loss(weights, batch, (i, position), &mut logits, &mut gradient);
            sums.policies += 1;
        }
        self.logits = logits;
        sums
    }

    /// The loss of the value of the chunk's i-th position, which is number `position` of the batch.
    fn value_loss(
        &self,
        batch: &Batch,
        i: usize,
        position: usize,
        gradient: &mut Option<Derivatives<'_, F>>,
    ) -> f64 {
        let seats = usize::from(batch.seats[position]);
        let mut value = [F::default(); SEATS_MAX];
        value.copy_from_slice(&self.value[i * SEATS_MAX..][..SEATS_MAX]);
        let won = [(usize::from(batch.winners[position]), F::ONE)].into_iter();
        let per_value = gradient.as_ref().map_or(F::ONE, |&(_, _, per_value)| per_value);
        let loss = cross_entropy(&mut value[..seats], won, per_value).to_f64();
        if let Some((gradient, ..)) = gradient {
            gradient.value[i * SEATS_MAX..][..seats].copy_from_slice(&value[..seats]);
        }
        loss
    }

    /// The loss of the policy of that position; the logits of its legal moves become the derivatives by them.
    fn policy_loss(
        &self,
        weights: &[F],
        batch: &Batch,
        (i, position): (usize, usize),
        logits: &mut [F],
        gradient: &mut Option<Derivatives<'_, F>>,
    ) -> f64 {
        let cells = self.taps.cells * HEAD;
        let target = batch.policy_of(position).iter();
        let target = target.map(|&(index, weight)| (usize::from(index), F::of(weight)));
        let per_policy = gradient.as_ref().map_or(F::ONE, |&(_, per_policy, _)| per_policy);
        let loss = cross_entropy(logits, target, per_policy).to_f64();
        if let Some((gradient, ..)) = gradient {
            let policy = self.policy(weights, i);
            let mut out = PolicyGradient {
                weights: &mut gradient.weights,
                cells: &mut gradient.head[i * cells..][..cells],
                kinds: &mut gradient.kinds[kinds_of(i)],
            };
            let actions = &batch.actions.actions[batch.actions.range(position)];
            for (action, &d) in actions.iter().zip(logits.iter()) {
                policy.backward(&batch.actions, action, d, &mut out);
            }
        }
        loss
    }
}
