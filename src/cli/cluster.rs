//! `ringrift cluster`: shows who leads and who is a member, admits and removes members, and tells a member to
//! hand over its work.

use super::{
    admission::{self, OperatorsArgs, RemoveArgs, SecretArgs, TicketArgs},
    peer_args::{self, PeerArgs},
    status::{NODE_HEADER, ago, node_line},
};
use crate::{
    api::{
        admission::ShutOutView,
        cluster::{Drain, LeaderReport, NodeView, PardonOrder, Pardoned},
    },
    clock::now_ms,
};
use clap::Subcommand;
use cluster_state::NodeId;
use std::process::ExitCode;

/// Ask about the cluster as a whole, and admit, drain and remove members.
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
    /// List the members and who was removed, and what members that drain still have to hand on.
    ///
    /// Each member has the way and the time of its admission: it founded the cluster (founder), a ticket or
    /// the secret admitted it, or the cluster had no secret then (open).
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
    /// List the members that were removed, the latest first.
    ///
    /// Example: ringrift cluster removed --data-dir n1 --json
    Removed {
        #[command(flatten)]
        peer: PeerArgs,
    },
    Ticket(TicketArgs),
    Remove(RemoveArgs),
    /// Remove a member for good: its identity is never admitted again.
    ///
    /// See `ringrift cluster remove`, which a new ticket undoes. Who was removed before can be banned as
    /// well. The same host with a new identity (an empty data folder) needs a ticket, as every new host.
    ///
    /// Exit status: 0 once it is removed; 1 when the cluster refuses; 2 when it was not confirmed; 3 when the
    /// peer does not answer.
    ///
    /// Example: ringrift cluster ban node-4 --data-dir n1
    Ban(RemoveArgs),
    /// Trust a member again that forged a game, and hear one again that signed two events under one number.
    ///
    /// Its games count from now on; those that it played before stay out. It is let in again, and its events
    /// are taken again: start it again if it has ended. What made it lie should be mended before, such as a
    /// card that computes wrongly: whoever is found out again is distrusted again.
    ///
    /// Exit status: 0 once it is pardoned; 1 when the cluster refuses, for example because the member is
    /// neither distrusted nor shunned; 3 when the peer does not answer.
    ///
    /// Example: ringrift cluster pardon node-4 --data-dir n1
    Pardon {
        /// The member: its id, its name in events (node-3), or its host's name.
        node: String,
        /// Reason, as people read it.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        peer: PeerArgs,
    },
    Secret(SecretArgs),
    Operators(OperatorsArgs),
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let outcome = match &args.command {
        ClusterCommand::Leader { peer } => return leader(peer),
        ClusterCommand::Members { peer } => members(peer),
        ClusterCommand::Drain { node, undo, reason, peer } => drain(node, !undo, reason, peer),
        ClusterCommand::Removed { peer } => removed(peer),
        ClusterCommand::Ticket(args) => admission::ticket(args),
        ClusterCommand::Remove(args) => admission::remove(args, false),
        ClusterCommand::Ban(args) => admission::remove(args, true),
        ClusterCommand::Pardon { node, reason, peer } => pardon(node, reason, peer),
        ClusterCommand::Secret(args) => admission::secret(args),
        ClusterCommand::Operators(args) => admission::operators(args),
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
    let client = peer.client()?;
    let members = client.members()?;
    // A list of members is of use alone as well.
    let removed = if peer.json { Vec::new() } else { client.removed()? };
    peer.print(&members, |members| {
        let now_ms = now_ms();
        let line = |it: &NodeView| {
            let when = ago(it.admitted_ms, now_ms);
            format!("{:<74} {} {when} ago", node_line(it, now_ms), it.admitted)
        };
        let header = format!("{NODE_HEADER:<74} ADMITTED");
        let gone = removed.iter().map(|it| removed_line(it, now_ms));
        std::iter::once(header).chain(members.iter().map(line)).chain(gone).map(|line| line + "\n").collect()
    })
}

fn removed(peer: &PeerArgs) -> anyhow::Result<()> {
    peer.print(&peer.client()?.removed()?, |removed| match removed.as_slice() {
        [] => "nobody was removed\n".to_owned(),
        removed => removed.iter().map(|it| removed_line(it, now_ms()) + "\n").collect(),
    })
}

fn removed_line(it: &ShutOutView, now_ms: u64) -> String {
    let (what, when) = (if it.banned { "BANNED" } else { "REMOVED" }, ago(it.at_ms, now_ms));
    format!("{what:<8} {:<16} node-{} {when} ago, {}: {}", it.host, it.node, it.reason, it.peer_id)
}

fn drain(name: &str, draining: bool, reason: &str, peer: &PeerArgs) -> anyhow::Result<()> {
    let client = peer.client()?;
    let node = find(&client.members()?, name)?;
    peer.print(&client.drain(&Drain { node, draining, reason: reason.to_owned() })?, |done| {
        let what = if done.draining { "drains" } else { "works again" };
        format!("node-{} {what}\n", done.node)
    })
}

fn pardon(name: &str, reason: &str, peer: &PeerArgs) -> anyhow::Result<()> {
    let client = peer.client()?;
    let node = find(&client.members()?, name)?;
    peer.print(&client.pardon(&PardonOrder { node, reason: reason.to_owned() })?, pardoned_line)
}

fn pardoned_line(it: &Pardoned) -> String {
    let games = it.distrusted.then_some("its games count from now on");
    let events = it.shunned.then_some("its events are taken again");
    let what: Vec<&str> = games.into_iter().chain(events).collect();
    format!("node-{} is pardoned: {}\n", it.node, what.join(", "))
}

/// The one member that a person means.
pub(super) fn find(members: &[NodeView], name: &str) -> anyhow::Result<NodeId> {
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
            distrusted: None,
            reports_unconfirmed: 0,
            reports_open: 0,
            handover: None,
            idle_ms: None,
            admitted: "founder".to_owned(),
            admitted_ms: 0,
        }
    }

    #[test]
    fn who_was_removed_is_a_line() {
        let gone = ShutOutView {
            node: NodeId(4),
            peer_id: "12D3".to_owned(),
            host: "n4".to_owned(),
            banned: false,
            at_ms: 0,
            reason: "ordered: sold".to_owned(),
        };
        let words =
            |it: &ShutOutView| removed_line(it, 60_000).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&gone), "REMOVED n4 node-4 60.0 s ago, ordered: sold: 12D3");
        assert!(words(&ShutOutView { banned: true, ..gone }).starts_with("BANNED n4 node-4"));
    }

    #[test]
    fn a_pardon_says_what_it_is_for() {
        let line = |distrusted, shunned| pardoned_line(&Pardoned { node: NodeId(4), distrusted, shunned });
        assert_eq!(line(true, false), "node-4 is pardoned: its games count from now on\n");
        assert_eq!(
            line(true, true),
            "node-4 is pardoned: its games count from now on, its events are taken again\n"
        );
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
