//! How content is fetched: from the swarm, else over HTTP from a holder, else by a command of the
//! operator.
//!
//! Invariant: by every way, content gets its name only after its hash was checked and it was synced. Pieces
//! that arrived one way are not requested again by the next.

pub(crate) mod http;
mod operator;

use self::http::Pass;
use super::{content::FETCH, settings::DistributionConfig};
use crate::api::activity::TransferActivity;
use cluster_state::{ClusterState, NodeId};
use p2p::{
    P2pHandle, Signer,
    blobs::BlobError,
    transfer::{FetchError, FetchLimits},
};
use std::{collections::BTreeSet, fmt, net::SocketAddr, time::Instant};
use wire::Hash;

/// Maximum number of holders that are tried one after another, by HTTP and by the operator's command.
const HOLDERS_MAX: usize = 4;

/// A way of transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferMethod {
    /// Pieces come from several peers at once.
    Swarm,
    /// Range requests go to one holder.
    Http,
    /// The operator's command brings the content.
    Operator,
}

impl TransferMethod {
    pub(super) fn count(self, came: &mut TransferActivity) {
        match self {
            Self::Swarm => came.swarm += 1,
            Self::Http => came.http += 1,
            Self::Operator => came.rsync += 1,
        }
    }
}

impl fmt::Display for TransferMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Swarm => "swarm",
            Self::Http => "http",
            Self::Operator => "rsync",
        })
    }
}

/// A node that is recorded as a holder of the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its libp2p peer id.
    pub(crate) peer: String,
    pub(crate) host: String,
    /// Address of its HTTP interface; none if other nodes cannot use it.
    pub(crate) http: Option<SocketAddr>,
}

/// The content to fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantedContent {
    pub(crate) hash: Hash,
    /// Size in bytes, if known.
    pub(crate) size: Option<u64>,
    /// Maximum number of bytes that are accepted.
    pub(crate) bytes_max: u64,
}

/// Why no way delivered the content.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Every way failed.
    #[error("{hash} cannot be had: {}", reasons.join("; "))]
    NoWay {
        hash: Hash,
        /// Each way that was tried, with its error.
        reasons: Vec<String>,
    },
    /// This node's own disk failed.
    #[error(transparent)]
    Store(#[from] BlobError),
}

/// The holders as the replicated state knows them, without node `me`; those that are online come first.
/// `is_local` says which peers are on this host.
pub(crate) fn holders(
    state: &ClusterState,
    me: NodeId,
    ids: &BTreeSet<NodeId>,
    is_local: impl Fn(&str) -> bool,
) -> Vec<Holder> {
    let known = ids.iter().filter(|id| **id != me).filter_map(|id| state.nodes.get(id));
    let mut known: Vec<_> = known.collect();
    known.sort_by_key(|node| !node.online);
    let holder = |node: &cluster_state::Node| Holder {
        peer: node.peer_id.clone(),
        host: node.name.clone(),
        http: http::reachable(&node.http, &node.addrs, is_local(&node.peer_id)),
    };
    known.into_iter().map(|node| holder(node)).collect()
}

/// Fetches content into the store by the first way that delivers it. `None` means that the content is here.
pub(crate) async fn fetch(
    p2p: &P2pHandle,
    signer: &Signer,
    settings: &DistributionConfig,
    wanted: WantedContent,
    holders: &[Holder],
) -> Result<Option<TransferMethod>, TransferError> {
    let hash = wanted.hash;
    if p2p.blobs().has(hash) {
        return Ok(None);
    }
    let mut reasons = Vec::new();
    if settings.swarm {
        let connected = holders.iter().map(|holder| holder.peer.clone());
        let connected = connected.filter(|peer| p2p.is_connected(peer)).collect();
        let limits = FetchLimits { bytes_max: wanted.bytes_max, timeout: FETCH, ..FetchLimits::default() };
        match Box::pin(p2p.fetch(hash, wanted.size, connected, limits)).await {
            Ok(_) => return Ok(Some(TransferMethod::Swarm)),
            Err(FetchError::Store(error)) => return Err(error.into()),
            Err(error) => reasons.push(format!("{}: {error}", TransferMethod::Swarm)),
        }
    }
    let holders = &holders[..holders.len().min(HOLDERS_MAX)];
    if settings.http {
        let deadline = Instant::now() + FETCH;
        for holder in holders {
            let Some(address) = holder.http else { continue };
            let pass = Pass { signer: signer.clone(), to: holder.peer.clone() };
            match http::fetch(p2p, pass, wanted, address, deadline).await? {
                Ok(()) => return Ok(Some(TransferMethod::Http)),
                Err(error) => {
                    if error.is_lie() {
                        tracing::warn!(%hash, %address, %error, "a holder sent wrong content over http");
                    }
                    reasons.push(format!("{} {address}: {error}", TransferMethod::Http));
                }
            }
        }
    }
    if !settings.rsync.is_empty() {
        for holder in holders {
            match operator::fetch(p2p, &settings.rsync, wanted, &holder.host, FETCH).await? {
                Ok(()) => return Ok(Some(TransferMethod::Operator)),
                Err(error) => {
                    if error.is_lie() {
                        tracing::warn!(%hash, host = holder.host, "the operator's command brought wrong content");
                    }
                    reasons.push(format!("{} {}: {error}", TransferMethod::Operator, holder.host));
                }
            }
        }
    }
    if reasons.is_empty() {
        reasons.push("no holder is known".to_owned());
    }
    Err(TransferError::NoWay { hash, reasons })
}

#[cfg(test)]
mod tests;
