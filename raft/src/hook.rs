//! The hook that the node runs for an applied command, inside the transaction that records it.

use cluster_state::{ClusterState, Command, Place, Proposal, Refusal, Response, door};
use std::error::Error;

/// An error that stops the state machine: the transaction is rolled back and consensus ends.
pub type HookError = Box<dyn Error + Send + Sync>;

/// Who may propose what: refuses a proposal that its proposer may not make, on every replica in the same way.
pub type Door = fn(&Proposal, Place, &ClusterState) -> Result<(), Refusal>;

/// A hook that is called on a blocking thread, in log order, once for every applied command. What it writes
/// through the transaction commits together with the command's effect, or not at all. It must be quick,
/// because everything waits for it. It must not fail because of a command's content: it would fail on every
/// node and again at every start.
pub trait ApplyHook: Send + 'static {
    /// The door through which proposals come: at the leader before it writes an entry, and at every replica
    /// that applies one. Only a test that is about something else replaces this.
    fn door(&self) -> Door {
        door::authorise
    }

    /// Called when entry `index` of the log was applied and gave `state`.
    ///
    /// # Errors
    /// An error rolls the whole batch back and stops consensus.
    fn on_apply(
        &mut self,
        tx: &rusqlite::Transaction<'_>,
        index: u64,
        command: &Command,
        response: &Response,
        state: &ClusterState,
    ) -> Result<(), HookError>;

    /// Called when the process starts with this state, as the last process left it. The hook writes nothing
    /// here.
    fn on_open(&mut self, state: &ClusterState) {
        let _ = state;
    }

    /// Called when a snapshot replaced the state: the hook never saw the commands in between.
    ///
    /// # Errors
    /// An error rolls the installation back and stops consensus.
    fn on_snapshot(&mut self, tx: &rusqlite::Transaction<'_>, state: &ClusterState) -> Result<(), HookError> {
        let _ = (tx, state);
        Ok(())
    }
}

/// A hook that does nothing.
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
