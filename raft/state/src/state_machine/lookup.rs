//! What every handler needs: finding an entity, and the refusal if there is none.

use crate::{
    config::ConfigState,
    key::ConfigKey,
    response::{Refusal, Response},
    state::ClusterState,
};
use std::sync::Arc;

/// The answer of a handler.
pub(super) type Outcome = Result<Response, Refusal>;

pub(super) fn config<'a>(
    state: &'a ClusterState,
    config_key: &ConfigKey,
) -> Result<&'a ConfigState, Refusal> {
    state.config(config_key).ok_or_else(|| Refusal::UnknownConfig(config_key.clone()))
}

/// The configuration, copied if a reader still holds it: only for a command that will not be refused.
pub(super) fn config_mut<'a>(
    state: &'a mut ClusterState,
    config_key: &ConfigKey,
) -> Result<&'a mut ConfigState, Refusal> {
    let unknown = || Refusal::UnknownConfig(config_key.clone());
    if !state.configs.contains_key(config_key) {
        return Err(unknown());
    }
    Arc::make_mut(&mut state.configs).get_mut(config_key).map(Arc::make_mut).ok_or_else(unknown)
}
