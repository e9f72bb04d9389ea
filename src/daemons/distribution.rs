//! UnifiedDistributionDaemon: has every champion and candidate here, verified, and says so.
//!
//! A candidate is fetched before its verdict, so that a promotion only moves a name.

use super::handlers::Handled;
use crate::events::log::Logged;
use crate::{
    clock::now_ms,
    learner,
    node::{Context, WorkError, blocking},
    store::{self, paths},
};
use kernels::Checkpoint;
use raft::{ClusterState, Command, NodeId};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use wire::Hash;

/// Between looks when nothing is new, and after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// Models that node `me` should hold and does not, or is not known to: with the configuration of each, champions first.
fn wanted(state: &ClusterState, me: NodeId, here: impl Fn(Hash) -> bool) -> Vec<(String, Hash)> {
    let champions = state.configs.values().map(|config| (config, config.champion));
    let others = state.configs.values().flat_map(|config| {
        let candidates = config.candidates.iter().rev().copied();
        candidates.chain([config.newest]).map(move |model| (config, model))
    });
    let mut found = Vec::new();
    for (config, model) in champions.chain(others) {
        let known = state.models.get(&model);
        let missing = known.is_some_and(|known| !known.holders.contains(&me) || !here(model));
        let want = (config.config_key.clone(), model);
        if missing && !found.contains(&want) {
            found.push(want);
        }
    }
    found
}

/// Runs until the shutdown.
///
/// # Errors
/// When the disk fails.
pub async fn run(node: Context) -> Result<(), WorkError> {
    let mut state = node.raft.applied();
    // Which model is in the files that events name.
    let mut named: BTreeMap<String, Hash> = BTreeMap::new();
    loop {
        let current = state.borrow_and_update().clone();
        for (key, model) in wanted(&current, node.id, |model| node.blobs.has(model)) {
            let held = node.shutdown.run_until_cancelled(hold(&node, &current, &key, model)).await;
            match held {
                None => return Ok(()),
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::info!(model = model.short(), %error, "a model is not here yet");
                }
            }
        }
        for config in current.configs.values() {
            let key = &config.config_key;
            let champion = (paths::canonical(key), config.champion);
            // Before the first training there is no candidate.
            let newest = (config.newest != config.initial).then(|| (paths::candidate(key), config.newest));
            for (name, model) in [champion].into_iter().chain(newest) {
                if named.get(&name) == Some(&model) {
                    continue;
                }
                if let Some(bytes) = node.stored(model).await? {
                    let path = node.path(&name);
                    blocking(move || {
                        store::write_atomic(&path, &bytes).map_err(|source| WorkError::File { path, source })
                    })
                    .await??;
                    named.insert(name, model);
                }
            }
        }
        tokio::select! {
            () = node.shutdown.cancelled() => return Ok(()),
            changed = state.changed() => if changed.is_err() { return Ok(()) },
            () = node.wakes.distribution.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Gets a model from its holders, or makes it if it is the seeded network; loads it; tells the cluster.
async fn hold(node: &Context, state: &ClusterState, key: &str, model: Hash) -> Result<(), WorkError> {
    let known = state.models.get(&model).ok_or(WorkError::Missing(model))?;
    let game: rules::Config = key.parse().map_err(|_| WorkError::UnknownConfig(key.to_owned()))?;
    if known.trained_by.is_none() && node.stored(model).await?.is_none() {
        let seeded = blocking(move || learner::seeded(game)).await?;
        if Hash::of(&seeded) == model {
            node.keep(seeded).await?;
        }
    }
    let bytes = node.obtain(model, &known.holders).await?;
    // What does not load is not held.
    blocking(move || Checkpoint::from_bytes(&bytes).map(|_| ())).await??;
    node.propose(Command::ModelHeld { model, node: node.id, at_ms: now_ms() }).await?;
    Ok(())
}

/// Looks at the state now.
///
/// # Errors
/// None.
pub async fn handle(node: Context, _: Arc<Logged>) -> Handled {
    node.wakes.distribution.notify_one();
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};

    #[test]
    fn champions_and_candidates_are_wanted_everywhere() {
        let mut world = World::with_nodes(3);
        let want = |world: &World, node| -> Vec<Hash> {
            let found = wanted(&world.state, node, |model| model != hash("corrupt"));
            assert!(found.iter().all(|(key, _)| key == KEY));
            found.into_iter().map(|(_, model)| model).collect()
        };
        assert_eq!(want(&world, 1), []);
        world.train("a", 2);
        assert_eq!(want(&world, 2), [], "the trainer has it");
        assert_eq!(want(&world, 1), [hash("a")]);
        world.train("b", 2);
        assert_eq!(want(&world, 1), [hash("b"), hash("a")], "the newest first");
        world.held("b", 1);
        assert_eq!(want(&world, 1), [hash("a")]);
        world.train("corrupt", 2);
        assert_eq!(want(&world, 2), [hash("corrupt")], "set aside since");
    }
}
