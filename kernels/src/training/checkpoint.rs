//! A network on disk and on the wire: safetensors with a header.
//!
//! Invariant: bytes are read whole or not at all. There is exactly one encoding of a checkpoint, and only
//! that one is read: any other length, name, shape, order, version or byte is refused before a weight is
//! used, by size first, so that a stranger's bytes cost no more than their own length.

use crate::encoding::planes::ENCODER_VERSION;
use crate::error::DeviceError;
use crate::network::architecture::{Architecture, Layout};
use crate::network::weights::Network;
use crate::training::optimizer::Moments;
use crate::training::train::{Progress, Train};
use rules::{Config, RULES_VERSION};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use wire::Hash;

/// Version of the header and of the tensors' names.
pub const CHECKPOINT_FORMAT: u32 = 1;
/// The largest checkpoint that is read, in bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 1 << 30;

/// The largest description of the tensors, in bytes.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;
/// Where our header lies among the metadata. Metadata have no order, so there is one entry.
const KEY: &str = "ringrift";
/// The sections of tensors: what is played; what training goes on from; the optimiser's moments.
const SECTIONS: [&str; 4] = ["average", "raw", "moment1", "moment2"];

/// What a checkpoint says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointHeader {
    /// The sizes of the network.
    pub architecture: Architecture,
    /// [`ENCODER_VERSION`] of the trainer.
    pub encoder_version: u32,
    /// [`RULES_VERSION`] of the trainer.
    pub rules_version: u32,
    /// Configuration key such as `hex8_2p`.
    pub config: String,
    /// The checkpoint whose weights training started from; none for a seeded network.
    pub parent: Option<Hash>,
    /// Optimiser steps since the seeded network.
    pub step: u64,
    /// Training runs since the seeded network.
    pub generation: u64,
    /// How much of the data was there to train on, in the caller's count; 0 for a seeded network.
    pub data_index: u64,
}

/// Our entry among the metadata of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetadataEntry {
    format: u32,
    header: CheckpointHeader,
    /// Steps in the optimiser's moments; none for a seeded network, which has nothing but its weights.
    moment_steps: Option<u64>,
    /// BLAKE3 of the rest; see [`checksum_of`].
    checksum: Hash,
}

/// What a checksum covers besides the tensors' bytes in their order: everything else that the entry says.
fn checksum_of(header: &CheckpointHeader, moment_steps: Option<u64>) -> blake3::Hasher {
    let said = serde_json::to_vec(&(CHECKPOINT_FORMAT, header, moment_steps));
    let mut hasher = blake3::Hasher::new();
    hasher.update(&said.expect("plain data has a JSON form"));
    hasher
}

/// A network with all that training needs to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What the checkpoint says about itself.
    pub header: CheckpointHeader,
    /// The averaged weights: what is evaluated and played.
    pub network: Network,
    /// The weights that training goes on from.
    pub(crate) raw: Vec<f32>,
    /// The optimiser's moments; none for a seeded network.
    pub(crate) moments: Option<Moments>,
}

/// Why bytes are no checkpoint that this build can use.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The bytes are more than any checkpoint has.
    #[error("a checkpoint of {0} bytes exceeds the limit")]
    TooLarge(usize),
    /// The bytes are no safetensors, or cut off.
    #[error("not a safetensors file")]
    Container(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The safetensors are those of another program.
    #[error("no ringrift header")]
    Header,
    /// Another version has written the checkpoint.
    #[error("{what} version {found}, this build reads {expected}")]
    Version {
        /// What has the version: format, encoder or rules.
        what: &'static str,
        /// What the checkpoint says.
        found: u32,
        /// What this build reads.
        expected: u32,
    },
    /// The checkpoint is for another game than the caller's.
    #[error("a checkpoint for {found}, expected {expected}")]
    Config {
        /// What the checkpoint says.
        found: String,
        /// What the caller plays.
        expected: Config,
    },
    /// The sizes are out of bounds, or for another tiling than that of the board.
    #[error("unusable architecture {0}")]
    Architecture(Architecture),
    /// A tensor is missing, has another shape or type, or there are others.
    #[error("tensors do not match {0}")]
    Tensors(Architecture),
    /// A weight is infinite or not a number.
    #[error("tensor {0} has a value that is not finite")]
    NotFinite(String),
    /// Header or tensors are not those that were written: the checksum differs.
    #[error("the checksum does not match")]
    Checksum,
    /// The content is a checkpoint's, in another encoding than ours.
    #[error("not in canonical form")]
    NotCanonical,
}

impl Checkpoint {
    /// The seeded, untrained network of a configuration: the same bytes on every machine.
    ///
    /// # Panics
    /// Unless the architecture is valid and plays on the configuration's board.
    #[must_use]
    pub fn seeded(config: Config, architecture: Architecture, seed: u64) -> Self {
        assert!(architecture.fits(config.board), "{architecture} does not play {config}");
        let network = Network::seeded(architecture, seed);
        let header = CheckpointHeader {
            architecture,
            encoder_version: ENCODER_VERSION,
            rules_version: RULES_VERSION,
            config: config.key(),
            parent: None,
            step: 0,
            generation: 0,
            data_index: 0,
        };
        Self { header, raw: network.weights().to_vec(), network, moments: None }
    }

    /// What a trainer has reached on any backend, as a child of the checkpoint `parent` with the hash `hash`,
    /// on data up to `data_index`; none if training has diverged.
    ///
    /// # Errors
    /// [`DeviceError`] if a device does not give the weights back.
    pub fn trained(
        trainer: &dyn Train,
        parent: &Self,
        hash: Hash,
        data_index: u64,
    ) -> Result<Option<Self>, DeviceError> {
        let Progress { raw, moments } = trainer.progress()?;
        let values = [&raw, &moments.first, &moments.second];
        let finite = values.into_iter().flatten().all(|value| value.is_finite());
        let Some(network) = trainer.network()?.filter(|_| finite) else { return Ok(None) };
        let header = CheckpointHeader {
            parent: Some(hash),
            step: trainer.step_count(),
            generation: parent.header.generation.saturating_add(1),
            data_index,
            ..parent.header.clone()
        };
        Ok(Some(Self { header, network, raw, moments: Some(moments) }))
    }

    fn sections(&self) -> Vec<&[f32]> {
        match &self.moments {
            Some(moments) => vec![self.network.weights(), &self.raw, &moments.first, &moments.second],
            None => vec![self.network.weights()],
        }
    }

    /// The one encoding of the checkpoint.
    ///
    /// # Panics
    /// Never: every checkpoint has finite sizes and unique names.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let layout = Layout::new(self.header.architecture);
        let mut bytes = Vec::new();
        let mut ranges = Vec::new();
        for (section, values) in SECTIONS.iter().zip(self.sections()) {
            for tensor in &layout.tensors {
                let start = bytes.len();
                bytes.extend(tensor.span.of(values).iter().flat_map(|value| value.to_le_bytes()));
                ranges.push((format!("{section}.{}", tensor.name), tensor.shape, start..bytes.len()));
            }
        }
        let moment_steps = self.moments.as_ref().map(|moments| moments.steps);
        let mut checksum = checksum_of(&self.header, moment_steps);
        checksum.update(&bytes);
        let entry = MetadataEntry {
            format: CHECKPOINT_FORMAT,
            header: self.header.clone(),
            moment_steps,
            checksum: Hash(*checksum.finalize().as_bytes()),
        };
        let entry = serde_json::to_string(&entry).expect("plain data has a JSON form");
        let views = ranges.into_iter().map(|(name, shape, range)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes[range]);
            (name, view.expect("as many bytes as the shape asks for"))
        });
        safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), entry)])))
            .expect("tensors with unique names fit the format")
    }

    /// Reads [`Self::to_bytes`] back.
    ///
    /// # Errors
    /// [`CheckpointError`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        if bytes.len() > CHECKPOINT_BYTES_MAX {
            return Err(CheckpointError::TooLarge(bytes.len()));
        }
        let described = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if described > DESCRIPTION_BYTES_MAX {
            return Err(CheckpointError::Container("the description is too long".into()));
        }
        let container = |error| CheckpointError::Container(Box::new(error));
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(container)?;
        let entry: MetadataEntry = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(KEY))
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or(CheckpointError::Header)?;
        check_header(&entry)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(container)?;
        let checkpoint = read_tensors(&tensors, entry.header, entry.moment_steps, entry.checksum)?;
        if checkpoint.to_bytes() == bytes { Ok(checkpoint) } else { Err(CheckpointError::NotCanonical) }
    }

    /// Reads a checkpoint for a configuration.
    ///
    /// # Errors
    /// [`CheckpointError`], also for a checkpoint of another configuration.
    pub fn for_config(bytes: &[u8], config: Config) -> Result<Self, CheckpointError> {
        let checkpoint = Self::from_bytes(bytes)?;
        if checkpoint.header.config == config.key() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Config { found: checkpoint.header.config, expected: config })
        }
    }
}

fn check_header(entry: &MetadataEntry) -> Result<(), CheckpointError> {
    let header = &entry.header;
    let versions = [
        ("format", entry.format, CHECKPOINT_FORMAT),
        ("encoder", header.encoder_version, ENCODER_VERSION),
        ("rules", header.rules_version, RULES_VERSION),
    ];
    for (what, found, expected) in versions {
        if found != expected {
            return Err(CheckpointError::Version { what, found, expected });
        }
    }
    let config: Config = header.config.parse().map_err(|_| CheckpointError::Header)?;
    if header.architecture.is_valid() && header.architecture.fits(config.board) {
        Ok(())
    } else {
        Err(CheckpointError::Architecture(header.architecture))
    }
}

fn read_tensors(
    tensors: &SafeTensors<'_>,
    header: CheckpointHeader,
    moment_steps: Option<u64>,
    checksum: Hash,
) -> Result<Checkpoint, CheckpointError> {
    let architecture = header.architecture;
    let layout = Layout::new(architecture);
    let sections = if moment_steps.is_some() { 4 } else { 1 };
    if tensors.len() != sections * layout.tensors.len() {
        return Err(CheckpointError::Tensors(architecture));
    }
    let mut read = Vec::new();
    let mut hasher = checksum_of(&header, moment_steps);
    for section in &SECTIONS[..sections] {
        let mut values = Vec::new();
        for tensor in &layout.tensors {
            let name = format!("{section}.{}", tensor.name);
            let view = tensors.tensor(&name).map_err(|_| CheckpointError::Tensors(architecture))?;
            if view.dtype() != Dtype::F32 || view.shape() != tensor.shape {
                return Err(CheckpointError::Tensors(architecture));
            }
            hasher.update(view.data());
            values.extend(view.data().as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)));
            if !tensor.span.of(&values).iter().all(|value| value.is_finite()) {
                return Err(CheckpointError::NotFinite(name));
            }
        }
        read.push(values);
    }
    if Hash(*hasher.finalize().as_bytes()) != checksum {
        return Err(CheckpointError::Checksum);
    }
    let mut read = read.into_iter();
    let mut next = || read.next().ok_or(CheckpointError::Tensors(architecture));
    let average = next()?;
    let (raw, moments) = match moment_steps {
        Some(steps) => (next()?, Some(Moments { first: next()?, second: next()?, steps })),
        None => (average.clone(), None),
    };
    let network =
        Network::from_weights(architecture, average).ok_or(CheckpointError::Tensors(architecture))?;
    Ok(Checkpoint { header, network, raw, moments })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::batch::Batch;
    use crate::encoding::target::Target;
    use crate::training::optimizer::Optimizer;
    use crate::training::trainer::Trainer;
    use proptest::prelude::*;
    use rules::{Board, Hex8, Options, State};
    use std::sync::LazyLock;

    fn config() -> Config {
        Config { board: Board::Hex8, seats: 2 }
    }

    fn tiny() -> Architecture {
        Architecture { channels: 4, blocks: 1, ..Architecture::small(Board::Hex8) }
    }

    /// A seeded checkpoint and its child after one step.
    fn family() -> (Checkpoint, Checkpoint) {
        let parent = Checkpoint::seeded(config(), tiny(), 1);
        let mut trainer = Trainer::new(&parent, Board::Hex8, Optimizer::default());
        let state = State::<Hex8>::new(2, Options::default());
        let (mut legal, mut batch) = (Vec::new(), Batch::new(Board::Hex8));
        state.legal(&mut legal);
        batch.push_sample(&state, &legal, Target { policy: &[(0, 1.0)], winner: 0 });
        trainer.step(&batch, 0, 1).unwrap();
        let child = Checkpoint::trained(&trainer, &parent, Hash::of(&parent.to_bytes()), 9).unwrap().unwrap();
        (parent, child)
    }

    static BYTES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        let (parent, child) = family();
        [parent.to_bytes(), child.to_bytes()]
    });

    #[test]
    fn checkpoints_are_read_back() {
        let (parent, child) = family();
        for checkpoint in [&parent, &child] {
            let bytes = checkpoint.to_bytes();
            assert_eq!(bytes, checkpoint.to_bytes());
            assert_eq!(&Checkpoint::from_bytes(&bytes).unwrap(), checkpoint);
            assert_eq!(&Checkpoint::for_config(&bytes, config()).unwrap(), checkpoint);
        }
        assert_eq!((child.header.step, child.header.generation, child.header.data_index), (1, 1, 9));
        assert_eq!(child.header.parent, Some(Hash::of(&parent.to_bytes())));
        assert_ne!(child.raw, parent.raw);
        let other = Config { board: Board::Hex8, seats: 3 };
        let error = Checkpoint::for_config(&BYTES[0], other).unwrap_err();
        assert!(matches!(error, CheckpointError::Config { .. }), "{error}");
    }

    #[test]
    fn the_seeded_bytes_never_change() {
        let bytes = Checkpoint::seeded(config(), Architecture::small(Board::Hex8), 0).to_bytes();
        assert_eq!(Hash::of(&bytes).short(), "8ea26f76");
    }

    #[test]
    fn other_versions_are_named() {
        let (parent, _) = family();
        let check = |change: fn(&mut CheckpointHeader), expected: &str| {
            let mut other = parent.clone();
            change(&mut other.header);
            let error = Checkpoint::from_bytes(&other.to_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(|header| header.encoder_version = 99, "encoder version 99");
        check(|header| header.rules_version = 7, "rules version 7");
        check(|header| header.config = "hex9_2p".to_owned(), "no ringrift header");
        check(|header| header.config = "square8_2p".to_owned(), "unusable architecture b1c4-hex");
    }

    #[test]
    fn a_checkpoint_of_numbers_that_are_none_is_refused() {
        let (_, mut child) = family();
        child.raw[5] = f32::NAN;
        let error = Checkpoint::from_bytes(&child.to_bytes()).unwrap_err();
        assert!(matches!(error, CheckpointError::NotFinite(_)), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_flipped_bit_is_refused(which in 0usize..2, at: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = BYTES[which].clone();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Checkpoint::from_bytes(&bytes).is_err());
        }

        #[test]
        fn a_flipped_bit_of_the_description_is_refused(at in 0usize..4096, bit in 0u8..8) {
            let mut bytes = BYTES[1].clone();
            bytes[at] ^= 1 << bit;
            prop_assert!(Checkpoint::from_bytes(&bytes).is_err());
        }

        #[test]
        fn another_length_is_refused(which in 0usize..2, at: prop::sample::Index, more in 0usize..64) {
            let bytes = &BYTES[which];
            prop_assert!(Checkpoint::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
            let mut longer = bytes.clone();
            longer.resize(bytes.len() + more + 1, 0);
            prop_assert!(Checkpoint::from_bytes(&longer).is_err());
        }

        #[test]
        fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(Checkpoint::from_bytes(&bytes).is_err());
        }
    }
}
