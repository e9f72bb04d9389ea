//! The weights of a network. They never change: training makes another network.

use crate::network::architecture::{Architecture, Init, Layout};
use rules::playout::Choices;

/// The weights of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    architecture: Architecture,
    weights: Vec<f32>,
}

impl Network {
    /// The untrained network of a seed: the same bits on every machine, because it needs nothing but integer
    /// arithmetic, square roots and products, which IEEE 754 defines exactly.
    ///
    /// # Panics
    /// Unless the architecture is valid.
    #[must_use]
    pub fn seeded(architecture: Architecture, seed: u64) -> Self {
        assert!(architecture.is_valid(), "{architecture:?}");
        let layout = Layout::new(architecture);
        let mut weights = vec![0.0; layout.total];
        let mut choices = Choices::new(seed);
        for tensor in &layout.tensors {
            let values = tensor.span.of_mut(&mut weights);
            match tensor.init {
                Init::Zero => {}
                Init::One => values.fill(1.0),
                Init::Uniform(deviation) => {
                    let most = deviation * 3f64.sqrt();
                    for value in values {
                        let unit = (choices.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                        *value = ((2.0 * unit - 1.0) * most) as f32;
                    }
                }
            }
        }
        Self { architecture, weights }
    }

    /// Weights in the order of the layout; none unless there are as many as the architecture has, all finite.
    pub(crate) fn from_weights(architecture: Architecture, weights: Vec<f32>) -> Option<Self> {
        let fits = architecture.is_valid()
            && weights.len() == architecture.parameters()
            && weights.iter().all(|weight| weight.is_finite());
        fits.then_some(Self { architecture, weights })
    }

    /// The network's sizes.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// All weights.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::Board;

    #[test]
    fn seeded_networks_are_the_same_everywhere() {
        let network = Network::seeded(Architecture::small(Board::Hex8), 7);
        assert_eq!(network, Network::seeded(Architecture::small(Board::Hex8), 7));
        assert_ne!(network, Network::seeded(Architecture::small(Board::Hex8), 8));
        let bytes: Vec<u8> = network.weights().iter().flat_map(|weight| weight.to_le_bytes()).collect();
        assert_eq!(
            blake3::hash(&bytes).to_hex().as_str(),
            "0724ea757df0b27a2dbeb7ca08e329675e150f0e6edb3eb03e7a5cc2a76534d2"
        );
    }
}
