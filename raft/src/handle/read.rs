//! Reads of a state that is at least as new as the start of the call.

use super::{RaftHandle, propose};
use crate::{
    error::ReadError,
    rpc::{self, Reply, Request},
};
use cluster_state::ClusterState;
use openraft::{
    ReadPolicy,
    errors::{LinearizableReadError, RaftError},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(40);
/// Additional time for a forwarded request to travel.
const WAY: Duration = Duration::from_millis(100);

impl RaftHandle {
    /// The state with every command that any node acknowledged before this call.
    ///
    /// # Errors
    /// Returns [`ReadError::NoLeader`] without a leader that a quorum confirms.
    pub async fn linearizable(&self) -> Result<Arc<ClusterState>, ReadError> {
        self.linearizable_within(self.shared.timing.read).await
    }

    /// Does the same as [`Self::linearizable`], with another deadline.
    ///
    /// # Errors
    /// Returns [`ReadError`] when no leader confirms the read, or this node does not catch up, in time.
    pub async fn linearizable_within(&self, wait: Duration) -> Result<Arc<ClusterState>, ReadError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let metrics = self.shared.metrics.borrow().clone();
            if metrics.failed.is_some() {
                return Err(ReadError::Stopped);
            }
            let index = match propose::leader_elsewhere(&metrics) {
                Some(peer) => self.ask_index(&peer, left).await,
                None if metrics.is_leader() => self.confirm_index(left).await,
                None => Err(ReadError::NoLeader),
            };
            match index {
                Ok(index) => return self.await_applied(index, deadline).await,
                Err(ReadError::Stopped) => return Err(ReadError::Stopped),
                Err(e) if Instant::now() + PAUSE >= deadline => return Err(e),
                Err(ReadError::NoLeader | ReadError::Timeout) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// On the leader: the log index that a quorum confirms.
    pub(super) async fn confirm_index(&self, wait: Duration) -> Result<u64, ReadError> {
        let confirm = self.shared.raft.get_read_log_id(ReadPolicy::ReadIndex);
        match tokio::time::timeout(wait, confirm).await {
            Err(_) => Err(ReadError::NoLeader),
            Ok(Ok((read, _))) => Ok(read.log_id().index),
            Ok(Err(RaftError::Fatal(_))) => Err(ReadError::Stopped),
            Ok(Err(RaftError::APIError(
                LinearizableReadError::ForwardToLeader(_) | LinearizableReadError::QuorumNotEnough(_),
            ))) => Err(ReadError::NoLeader),
        }
    }

    async fn ask_index(&self, peer: &str, wait: Duration) -> Result<u64, ReadError> {
        // One attempt does not use all of the time, because the leader may be dead and another may be
        // elected.
        let wait = wait.min(Duration::from_secs(1));
        let request = Request::ReadIndex { wait_ms: propose::millis(wait) };
        let request = rpc::encode_request(&request).map_err(|_| ReadError::NoLeader)?;
        let answer = self.shared.transport.call(peer, request, wait + WAY).await;
        match answer.map(|bytes| rpc::decode_reply(&bytes)) {
            Ok(Ok(Reply::ReadIndex(index))) => Ok(index),
            Ok(_) | Err(_) => Err(ReadError::NoLeader),
        }
    }

    async fn await_applied(&self, index: u64, deadline: Instant) -> Result<Arc<ClusterState>, ReadError> {
        let mut state = self.shared.state.clone();
        let reached = state.wait_for(|state| state.applied >= index);
        match tokio::time::timeout_at(deadline, reached).await {
            Err(_) => Err(ReadError::Timeout),
            Ok(Err(_)) => Err(ReadError::Stopped),
            Ok(Ok(state)) => Ok(Arc::clone(&state)),
        }
    }
}
