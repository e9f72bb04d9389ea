//! Players as people name them: `random`, `heuristic` or the path of a model.

use crate::learner::arena::{Contestant, ModelPlayer};
use ::rules::Board;
use anyhow::{Context as _, bail};
use cluster_state::ModelId;
use kernels::{Checkpoint, CpuEvaluator};
use std::{path::Path, sync::Arc};
use wire::Hash;

/// Reads a model's checkpoint for play on `board`.
///
/// # Errors
/// If the file is not a usable checkpoint, or is one for another kind of board.
pub(super) fn load_model(path: &Path, board: Board) -> anyhow::Result<ModelPlayer> {
    if !path.is_file() {
        bail!("{}: no such file (a player is random, heuristic or the path of a model)", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let checkpoint =
        Checkpoint::from_bytes(&bytes).with_context(|| format!("{} is no usable model", path.display()))?;
    let header = &checkpoint.header;
    if !header.architecture.fits(board) {
        bail!("{} is for {} and cannot play on {board}", path.display(), header.config);
    }
    let evaluator = CpuEvaluator::new(Arc::new(checkpoint.network));
    Ok(ModelPlayer { hash: ModelId(Hash::of(&bytes)), evaluator: Box::new(evaluator) })
}

/// Returns the player of that name, on `board`.
///
/// # Errors
/// If the name is a path without a usable checkpoint.
pub(super) fn player(name: &str, board: Board) -> anyhow::Result<Contestant> {
    Ok(match name {
        "random" => Contestant::Random,
        "heuristic" => Contestant::Heuristic,
        path => Contestant::Model(load_model(Path::new(path), board)?),
    })
}
