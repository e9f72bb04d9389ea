//! Players as people name them: `random`, `heuristic` or the path of a model.

use crate::learner::arena::{Contestant, Model};
use anyhow::bail;
use std::path::Path;

/// Reads a model's checkpoint.
///
/// # Errors
/// If the file is no usable checkpoint.
pub(super) fn load_model(path: &Path) -> anyhow::Result<Model> {
    if !path.is_file() {
        bail!("{}: no such file (a player is random, heuristic or the path of a model)", path.display());
    }
    bail!("{}: this build cannot read checkpoints", path.display())
}

/// The player of that name.
///
/// # Errors
/// If it is a path without a usable checkpoint.
pub(super) fn player(name: &str) -> anyhow::Result<Contestant> {
    Ok(match name {
        "random" => Contestant::Random,
        "heuristic" => Contestant::Heuristic,
        path => Contestant::Model(load_model(Path::new(path))?),
    })
}
