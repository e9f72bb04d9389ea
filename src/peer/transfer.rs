//! How content gets here: from the swarm, else over HTTP from a holder, else by a command of the operator.
//!
//! Invariant: by whichever way it came, content gets its name only after its hash was checked and it was
//! synced. Pieces that arrived one way are not asked for again the next.

mod http;
mod operator;

use super::{content::FETCH, settings::DistributionConfig};
use crate::api::activity::TransferActivity;
use cluster_state::{ClusterState, NodeId};
use p2p::{
    P2pHandle,
    blobs::BlobError,
    transfer::{FetchError, FetchLimits},
};
use std::{collections::BTreeSet, fmt, net::SocketAddr, time::Instant};
use wire::Hash;

/// Holders tried one after the other, by HTTP and by the operator's command.
const HOLDERS_MAX: usize = 4;

/// A way to get content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Pieces from several peers at once.
    Swarm,
    /// Range requests to one holder.
    Http,
    /// The operator's command.
    Operator,
}

impl Way {
    pub(super) fn count(self, came: &mut TransferActivity) {
        match self {
            Self::Swarm => came.swarm += 1,
            Self::Http => came.http += 1,
            Self::Operator => came.rsync += 1,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Swarm => "swarm",
            Self::Http => "http",
            Self::Operator => "rsync",
        })
    }
}

/// A node that is said to hold the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// libp2p peer id.
    pub(crate) peer: String,
    /// Host name.
    pub(crate) host: String,
    /// HTTP interface; none if it is of no use to others.
    pub(crate) http: Option<SocketAddr>,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) hash: Hash,
    /// Its bytes, if known.
    pub(crate) size: Option<u64>,
    /// More is not taken.
    pub(crate) bytes_max: u64,
}

/// Why no way led to the content: each that was tried, and what was wrong there.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// All failed.
    #[error("{hash} cannot be had: {}", reasons.join("; "))]
    NoWay {
        /// The content.
        hash: Hash,
        /// Way and reason.
        reasons: Vec<String>,
    },
    /// This node's own disk.
    #[error(transparent)]
    Store(#[from] BlobError),
}

/// The holders as the replicated state knows them, those that are online first; without node `me`.
pub(crate) fn holders(state: &ClusterState, me: NodeId, ids: &BTreeSet<NodeId>) -> Vec<Holder> {
    let known = ids.iter().filter(|id| **id != me).filter_map(|id| state.nodes.get(id));
    let mut known: Vec<_> = known.collect();
    known.sort_by_key(|node| !node.online);
    let holder = |node: &cluster_state::Node| Holder {
        peer: node.peer_id.clone(),
        host: node.name.clone(),
        http: http::reachable(&node.http, &node.addrs),
    };
    known.into_iter().map(|node| holder(node)).collect()
}

/// Gets content into the store by the first way that leads to it. `None`: it is here.
pub(crate) async fn bring(
    p2p: &P2pHandle,
    settings: &DistributionConfig,
    wanted: Wanted,
    holders: &[Holder],
) -> Result<Option<Way>, TransferError> {
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
            Ok(_) => return Ok(Some(Way::Swarm)),
            Err(FetchError::Store(error)) => return Err(error.into()),
            Err(error) => reasons.push(format!("{}: {error}", Way::Swarm)),
        }
    }
    let holders = &holders[..holders.len().min(HOLDERS_MAX)];
    if settings.http {
        let deadline = Instant::now() + FETCH;
        for holder in holders {
            let Some(address) = holder.http else { continue };
            match http::fetch(p2p, wanted, address, deadline).await? {
                Ok(()) => return Ok(Some(Way::Http)),
                Err(error) => {
                    if error.is_lie() {
                        tracing::warn!(%hash, %address, %error, "a holder sent wrong content over http");
                    }
                    reasons.push(format!("{} {address}: {error}", Way::Http));
                }
            }
        }
    }
    if !settings.rsync.is_empty() {
        for holder in holders {
            match operator::fetch(p2p, &settings.rsync, wanted, &holder.host, FETCH).await? {
                Ok(()) => return Ok(Some(Way::Operator)),
                Err(error) => {
                    if error.is_lie() {
                        tracing::warn!(%hash, host = holder.host, "the operator's command brought wrong content");
                    }
                    reasons.push(format!("{} {}: {error}", Way::Operator, holder.host));
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
