//! `ringrift cluster`: who leads, who is a member, and which member shall hand on its work.

use crate::{
    api::cluster::Drain,
    api::cluster::NodeView,
    client::{Client, ClientError},
    clock::now_ms,
};
use clap::Subcommand;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Ask about the cluster as a whole, and drain members.
///
/// Example: ringrift cluster leader --data-dir n3
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

/// The peer to ask, and how to print.
#[derive(Debug, clap::Args)]
struct Asked {
    /// Data folder of the peer to ask.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who leads. Exit status: 0 for a confirmed leader, 2 for none or a stale answer, 3 for no answer.
    ///
    /// Example: ringrift cluster leader --data-dir n3 --json
    Leader {
        #[command(flatten)]
        asked: Asked,
    },
    /// List the members, and what those that drain still have to hand on.
    ///
    /// Example: ringrift cluster members --data-dir n3
    Members {
        #[command(flatten)]
        asked: Asked,
    },
    /// Have a member get no more work and hand on what it holds; then it can be stopped without loss.
    ///
    /// It plays no games, gets no leases, and its copies do not count any more, so that others make their own. `ringrift
    /// cluster members` says when nothing is left. A member that is started again works again.
    ///
    /// Example: ringrift cluster drain node-3 --data-dir n1
    Drain {
        /// Which: its id, its name in events (node-3), or its host's name.
        node: String,
        /// Have it work again.
        #[arg(long)]
        undo: bool,
        /// Why, for people.
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Runs the command.
///
/// # Errors
/// If the answer cannot be written, or the arguments name no member.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let outcome = match &args.command {
        Command::Leader { asked } => return leader(asked),
        Command::Members { asked } => members(asked),
        Command::Drain { node, undo, reason, asked } => drain(node, !undo, reason, asked),
    };
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => super::unanswered(error),
    }
}

fn ask(data_dir: &Path) -> Result<Client, ClientError> {
    Client::of_folder(data_dir)
}

fn leader(asked: &Asked) -> anyhow::Result<ExitCode> {
    let report = match ask(&asked.data_dir).and_then(|client| client.leader()) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {:#}", anyhow::Error::from(error));
            return Ok(ExitCode::from(super::status::UNREACHABLE));
        }
    };
    if asked.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let stale = if report.stale { format!("  (stale, {} ms old)", report.age_ms) } else { String::new() };
        match &report.leader {
            Some(leader) => println!("{} {} term {}{stale}", leader.node_id, leader.host, leader.term),
            None => println!("no leader known{stale}"),
        }
    }
    let confirmed = report.leader.is_some() && !report.stale;
    Ok(if confirmed { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn members(asked: &Asked) -> anyhow::Result<()> {
    let members = ask(&asked.data_dir)?.members()?;
    if asked.json {
        println!("{}", serde_json::to_string_pretty(&members)?);
        return Ok(());
    }
    println!("{}", super::status::NODE_HEADER);
    for member in &members {
        println!("{}", super::status::node_line(member, now_ms()));
    }
    Ok(())
}

fn drain(name: &str, draining: bool, reason: &str, asked: &Asked) -> anyhow::Result<()> {
    let client = ask(&asked.data_dir)?;
    let node = find(&client.members()?, name)?;
    let done = client.drain(&Drain { node, draining, reason: reason.to_owned() })?;
    if asked.json {
        println!("{}", serde_json::to_string_pretty(&done)?);
    } else {
        let what = if done.draining { "drains" } else { "works again" };
        println!("node-{} {what}", done.node);
    }
    Ok(())
}

/// The one member that a person means.
fn find(members: &[NodeView], name: &str) -> anyhow::Result<cluster_state::NodeId> {
    let by_id = members.iter().find(|it| it.node_id == name || it.id.to_string() == name);
    let named: Vec<cluster_state::NodeId> =
        members.iter().filter(|it| it.host == name).map(|it| it.id).collect();
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
