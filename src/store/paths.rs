//! The paths under a node's data folder that events name.
//!
//! Invariant: they are relative, because every reader resolves them against its own folder.

use cluster_state::ConfigKey;

/// The canonical game database of a configuration.
#[must_use]
pub fn games_db(config_key: &ConfigKey) -> String {
    format!("data/games/canonical_{config_key}.db")
}

/// The newest candidate that waits for its evaluation.
#[must_use]
pub fn candidate(config_key: &ConfigKey) -> String {
    format!("models/candidate_{config_key}.safetensors")
}

/// The champion of a configuration.
#[must_use]
pub fn canonical(config_key: &ConfigKey) -> String {
    format!("models/canonical_{config_key}.safetensors")
}
