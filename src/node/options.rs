//! The options with which a node is started, and what it reports once it listens.

use crate::config::Settings;
use std::{net::SocketAddr, path::PathBuf};

#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The node's data folder.
    pub data_dir: PathBuf,
    /// Addresses at which the node joins. If there are none, it founds a cluster, unless its folder belongs
    /// to one.
    pub bootstrap: Vec<String>,
    /// Multiaddresses at which the node listens for peers. If there are none, it takes those of last time, or
    /// a free port of the loopback interface.
    pub listen: Vec<String>,
    /// Address of the HTTP interface.
    pub http: SocketAddr,
    /// Name and secret of the cluster; peers with another name or secret are refused in the handshake.
    pub cluster: String,
    pub name: String,
    pub config: Settings,
}

/// What a node reports once it listens.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The node's libp2p id.
    pub peer_id: String,
    /// Addresses at which others can join.
    pub addrs: Vec<String>,
    /// Address of the HTTP interface.
    pub http: SocketAddr,
}

impl NodeOptions {
    /// The cluster's name, without its secret.
    pub(super) fn cluster_name(&self) -> String {
        self.cluster.split('/').next().unwrap_or_default().to_owned()
    }
}
