//! The hook that the node runs for an applied command, inside the transaction that records it.

use cluster_state::{ClusterState, Command, Place, Proposal, Refusal, Response, door};
use std::error::Error;

/// An error that stops the state machine: the transaction is rolled back and consensus ends.
pub type HookError = Box<dyn Error + Send + Sync>;

/// A hook that is called on a blocking thread, in log order, once for every applied command. What it writes
/// through the transaction commits together with the command's effect, or not at all. It must be quick,
/// because everything waits for it. It must not fail because of a command's content: it would fail on every
/// node and again at every start.
pub trait ApplyHook: Send + 'static {
    /// Refuses a proposal that its proposer may not make, on every replica in the same way. Only a test that
    /// is about something else replaces this.
    ///
    /// # Errors
    /// Returns the refusal, which is then the answer to the proposal.
    fn authorise(&self, proposal: &Proposal, place: Place, state: &ClusterState) -> Result<(), Refusal> {
        door::authorise(proposal, place, state)
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
