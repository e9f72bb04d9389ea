//! What the node does with an applied command, inside the transaction that records it.

use cluster_state::{ClusterState, Command, Response};
use std::error::Error;

/// An error that stops the state machine: the transaction is rolled back and consensus ends.
pub type HookError = Box<dyn Error + Send + Sync>;

/// Called on a blocking thread, in log order, once for every applied command. What it writes through the
/// transaction commits together with the command's effect, or not at all. It must be quick: everything waits
/// for it. It must not fail for what a command says: that would fail on every node and again at every start.
pub trait ApplyHook: Send + 'static {
    /// Entry `index` of the log was applied to give `state`.
    ///
    /// # Errors
    /// Rolls the whole batch back and stops consensus.
    fn on_apply(
        &mut self,
        tx: &rusqlite::Transaction<'_>,
        index: u64,
        command: &Command,
        response: &Response,
        state: &ClusterState,
    ) -> Result<(), HookError>;

    /// The process starts with this state, as it was left. Nothing is written here.
    fn on_open(&mut self, state: &ClusterState) {
        let _ = state;
    }

    /// The state was replaced by a snapshot: the commands in between were never seen here.
    ///
    /// # Errors
    /// Rolls the installation back and stops consensus.
    fn on_snapshot(&mut self, tx: &rusqlite::Transaction<'_>, state: &ClusterState) -> Result<(), HookError> {
        let _ = (tx, state);
        Ok(())
    }
}

/// Does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHook;

impl ApplyHook for NoHook {
    fn on_apply(
        &mut self,
        _: &rusqlite::Transaction<'_>,
        _: u64,
        _: &Command,
        _: &Response,
        _: &ClusterState,
    ) -> Result<(), HookError> {
        Ok(())
    }
}
