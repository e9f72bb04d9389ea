//! How a node asks to be let in.
//!
//! Invariant: the node asks before consensus runs here, and only a member that leads lets it in.

use super::RaftHandle;
use crate::{
    error::JoinError,
    rpc::{self, NodeInfo, Reply, Request, Voters},
    transport::Transport,
};
use cluster_state::{Admission, NodeId};
use std::time::{Duration, Instant};

/// Time between two attempts to join.
const JOIN_PAUSE: Duration = Duration::from_millis(200);

impl RaftHandle {
    /// Asks for membership through any of `peers` or the leader that one of them names, whose answer is
    /// believed, showing `admission`, and returns this node's id, and the voters that it should listen to
    /// until its log names them; it is called before consensus is started here. A member gets the same id
    /// again.
    ///
    /// # Errors
    /// Returns [`JoinError`] when no peer lets the node in.
    pub async fn join<T: Transport>(
        transport: &T,
        peers: &[String],
        info: &NodeInfo,
        admission: &Admission,
        wait: Duration,
    ) -> Result<(NodeId, Voters), JoinError> {
        let request = Request::Join { info: info.clone(), admission: admission.clone() };
        let request = rpc::encode_request(&request).map_err(|e| JoinError::Refused(e.to_string()))?;
        let deadline = Instant::now() + wait;
        let mut hint: Option<String> = None;
        let mut trouble = String::from("nobody to ask");
        let mut turn = 0usize;
        loop {
            let peer = match hint.take() {
                Some(peer) => peer,
                None if peers.is_empty() => return Err(JoinError::NoLeader(trouble)),
                None => peers[turn % peers.len()].clone(),
            };
            turn += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(JoinError::NoLeader(trouble));
            }
            let patience = left.min(Duration::from_secs(6));
            let answer = transport.call(&peer, request.clone(), patience).await;
            match answer.map(|bytes| rpc::decode_reply(&bytes)) {
                Ok(Ok(Reply::Joined(id, voters))) => return Ok((id, voters)),
                Ok(Ok(Reply::Refused(reason))) => return Err(JoinError::Refused(reason)),
                Ok(Ok(Reply::NotLeader(leader))) => {
                    trouble = format!("{peer} does not lead");
                    hint = leader.filter(|leader| *leader != peer);
                }
                Ok(Ok(other)) => trouble = format!("{peer} answers {other:?}"),
                Ok(Err(e)) => trouble = format!("{peer} answers nonsense: {e}"),
                Err(e) => trouble = format!("{peer}: {e}"),
            }
            if hint.is_none() {
                tokio::time::sleep(JOIN_PAUSE.min(left)).await;
            }
        }
    }
}
