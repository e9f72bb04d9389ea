//! `ringrift cluster`: shows who leads and who is a member, and tells a member to hand over its work.

use super::{
    peer_args::{self, PeerArgs},
    status::{NODE_HEADER, node_line},
};
use crate::{
    api::cluster::{Drain, LeaderReport, NodeView},
    clock::now_ms,
};
use clap::Subcommand;
use cluster_state::NodeId;
use std::process::ExitCode;

/// Ask about the cluster as a whole, and drain members.
///
/// Example: ringrift cluster leader --data-dir n3
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Show who leads.
    ///
    /// Exit status: 0 for a confirmed leader, 2 for none or a stale answer, 3 for no answer.
    ///
    /// Example: ringrift cluster leader --data-dir n3 --json
    Leader {
        #[command(flatten)]
        peer: PeerArgs,
    },
    /// List the members, and what members that drain still have to hand on.
    ///
    /// Example: ringrift cluster members --data-dir n3
    Members {
        #[command(flatten)]
        peer: PeerArgs,
    },
    /// Drain a member, so that it can be stopped without loss.
    ///
    /// A member that drains plays no games and gets no leases, and its copies do not count any more, so that
    /// others make their own. `ringrift cluster members` says when nothing is left. A member that is started
    /// again works again.
    ///
    /// Example: ringrift cluster drain node-3 --data-dir n1
    Drain {
        /// The member: its id, its name in events (node-3), or its host's name.
        node: String,
        /// Let the member work again.
        #[arg(long)]
        undo: bool,
        /// Reason, as people read it.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        peer: PeerArgs,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let outcome = match &args.command {
        ClusterCommand::Leader { peer } => return leader(peer),
        ClusterCommand::Members { peer } => members(peer),
        ClusterCommand::Drain { node, undo, reason, peer } => drain(node, !undo, reason, peer),
    };
    outcome.map(|()| ExitCode::SUCCESS).or_else(peer_args::unanswered)
}

fn leader(peer: &PeerArgs) -> anyhow::Result<ExitCode> {
    let report = match peer.client().and_then(|client| client.leader()) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {:#}", anyhow::Error::from(error));
            return Ok(ExitCode::from(peer_args::UNREACHABLE));
        }
    };
    peer.print(&report, leader_line)?;
    let confirmed = report.leader.is_some() && !report.stale;
    Ok(if confirmed { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn leader_line(report: &LeaderReport) -> String {
    let stale = if report.stale { format!("  (stale, {} ms old)", report.age_ms) } else { String::new() };
    match &report.leader {
        Some(leader) => format!("{} {} term {}{stale}\n", leader.node_id, leader.host, leader.term),
        None => format!("no leader known{stale}\n"),
    }
}

fn members(peer: &PeerArgs) -> anyhow::Result<()> {
    peer.print(&peer.client()?.members()?, |members| {
        let lines = members.iter().map(|member| node_line(member, now_ms()));
        std::iter::once(NODE_HEADER.to_owned()).chain(lines).map(|line| line + "\n").collect()
    })
}

fn drain(name: &str, draining: bool, reason: &str, peer: &PeerArgs) -> anyhow::Result<()> {
    let client = peer.client()?;
    let node = find(&client.members()?, name)?;
    peer.print(&client.drain(&Drain { node, draining, reason: reason.to_owned() })?, |done| {
        let what = if done.draining { "drains" } else { "works again" };
        format!("node-{} {what}\n", done.node)
    })
}

/// The one member that a person means.
fn find(members: &[NodeView], name: &str) -> anyhow::Result<NodeId> {
    let by_id = members.iter().find(|it| it.node_id == name || it.id.to_string() == name);
    let named: Vec<NodeId> = members.iter().filter(|it| it.host == name).map(|it| it.id).collect();
    match (by_id.map(|it| it.id), named.as_slice()) {
        (Some(id), _) => Ok(id),
        (None, [id]) => Ok(*id),
        (None, []) => anyhow::bail!("there is no member {name:?}: see `ringrift cluster members`"),
        (None, _) => anyhow::bail!("{} members are called {name:?}: say node-N", named.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_state::NodeId;

    fn member(id: u64, host: &str) -> NodeView {
        NodeView {
            id: NodeId(id),
            node_id: format!("node-{id}"),
            host: host.to_owned(),
            peer_id: String::new(),
            role: "voter".to_owned(),
            online: true,
            reason: String::new(),
            since_ms: 0,
            connected: true,
            addrs: Vec::new(),
            http: String::new(),
            version: String::new(),
            draining: None,
            handover: None,
            idle_ms: None,
        }
    }

    #[test]
    fn a_member_is_found_by_id_name_or_host() {
        let members = [member(1, "a"), member(2, "b"), member(3, "b")];
        let check = |name, expected| assert_eq!(find(&members, name).ok(), expected, "{name}");
        check("1", Some(NodeId(1)));
        check("node-2", Some(NodeId(2)));
        check("a", Some(NodeId(1)));
        check("b", None); // two of them
        check("node-9", None);
    }
}
