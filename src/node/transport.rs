//! Carries Raft's messages over peer connections.

use p2p::{Class, P2pHandle, RequestError};
use raft::{Transport, TransportError};
use std::time::Duration;

/// Carries Raft's requests in a class of their own, so that they never wait behind anything slow.
#[derive(Clone)]
pub(super) struct PeerTransport(pub(super) P2pHandle);

impl Transport for PeerTransport {
    async fn call(&self, peer: &str, request: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, TransportError> {
        self.0.request(Class::Raft, peer, request, timeout).await.map_err(|error| match error {
            RequestError::NotConnected => TransportError::Unreachable(peer.to_owned()),
            RequestError::Timeout => TransportError::Timeout,
            RequestError::Failed(why) => TransportError::Failed(why),
            RequestError::Busy => TransportError::Failed("the peer is busy".to_owned()),
            RequestError::TooLarge => TransportError::Failed("the message is too large".to_owned()),
        })
    }
}
