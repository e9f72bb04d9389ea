//! `ringrift cluster ticket`, `remove`, `ban`, `secret` and `operators`: who may be a member, and where
//! operators are believed.
//!
//! Invariant: what cannot be undone is done only when it was confirmed.

use super::{cluster::find, peer_args::PeerArgs, secret, status::ago};
use crate::{
    api::{
        admission::{
            IssuedTicket, Operators, Removal, Revocation, SecretOrder, SecretView, ShutOutView, TicketOrder,
            TicketView,
        },
        cluster::NodeView,
    },
    client::Client,
    clock::now_ms,
    events::caused::node_name,
};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use cluster_state::{NodeId, admission::secret_of_text};
use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    time::Duration,
};
use wire::Hash;

/// Make a ticket, which admits a new host: `ringrift node --data-dir DIR --bootstrap TICKET`.
///
/// The ticket is printed once, and nothing else is. Whoever has it can join, so hand it over as you would a
/// password. It names an address of the peer that makes it; give another one with --address if new hosts
/// reach the peer elsewhere.
///
/// Exit status: 0; 1 when the cluster refuses; 2 for wrong arguments; 3 when the peer does not answer.
///
/// Examples:
///   ringrift cluster ticket --data-dir n1
///   ringrift cluster ticket --ttl 24h --uses 5 --note 'rack 2' --data-dir n1
///   ringrift cluster ticket list --data-dir n1
///   ringrift cluster ticket revoke 1f9c02aa --data-dir n1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct TicketArgs {
    #[command(subcommand)]
    what: Option<TicketCommand>,
    /// How long the ticket is valid: a number with s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Number of hosts that it admits.
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// Multiaddress of the peer, as new hosts reach it, such as /ip4/203.0.113.5/tcp/7400.
    #[arg(long)]
    address: Option<String>,
    /// What the ticket is for, as people read it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Data folder of the peer to ask.
    #[arg(long, value_name = "DIR", required = true)]
    data_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum TicketCommand {
    /// List the tickets, the newest first, also those that are used up or expired.
    List {
        #[command(flatten)]
        peer: PeerArgs,
    },
    /// Revoke a ticket, so that it admits nobody any more.
    Revoke {
        /// Name of the ticket, as `list` shows it.
        id: String,
        #[command(flatten)]
        peer: PeerArgs,
    },
}

/// Remove a member from the cluster. A new ticket admits its host again, as another node.
///
/// Its leases end, its copies do not count any more, the others close their connections to it, the secret of
/// the cluster is replaced and every ticket is revoked, because the member may know them. A node that still
/// holds what nobody else has should be drained first (`ringrift cluster drain`), unless it is lost or
/// hostile.
///
/// Exit status: 0 once it is removed; 1 when the cluster refuses; 2 when it was not confirmed; 3 when the
/// peer does not answer.
///
/// Example: ringrift cluster remove node-4 --data-dir n1
#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// The member: its id, its name in events (node-3), its host's name, or its peer id.
    node: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Reason, as people read it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    peer: PeerArgs,
}

/// Show what may be told of the cluster's secret, or replace it.
///
/// Example: ringrift cluster secret rotate --data-dir n1
#[derive(Debug, clap::Args)]
pub(super) struct SecretArgs {
    #[command(subcommand)]
    what: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// Show the number of the secret, since when there is that one, and whether it admits.
    Show {
        #[command(flatten)]
        peer: PeerArgs,
    },
    /// Replace the secret, for example after a copy of a data folder was lost.
    ///
    /// Members learn the new one from each other. One that was away for up to eight replacements still comes
    /// back. The old secrets admit nobody. Who has taken over a member learns the new secret as well: remove
    /// the member instead.
    ///
    /// Examples:
    ///   ringrift cluster secret rotate --data-dir n1
    ///   ringrift cluster secret rotate --secret-file new-secret --data-dir n1
    #[command(verbatim_doc_comment)]
    Rotate {
        /// File with the new secret; whoever starts a node with it is admitted. Without this, only tickets
        /// admit.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        #[command(flatten)]
        peer: PeerArgs,
    },
}

/// Show or choose the members at which operators are believed: every member, unless some are named here.
///
/// What an operator orders counts only when one of them was asked. Name at least two, so that the cluster can
/// be commanded when one is lost; an order to change this counts only at those named before.
///
/// Exit status: 0; 1 when the cluster refuses; 2 for wrong arguments; 3 when the peer does not answer.
///
/// Examples:
///   ringrift cluster operators --data-dir n1
///   ringrift cluster operators node-1 node-2 --data-dir n1
///   ringrift cluster operators --all --data-dir n1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct OperatorsArgs {
    /// The members: id, name in events (node-3), or host's name.
    #[arg(conflicts_with = "all")]
    nodes: Vec<String>,
    /// Believe operators at every member.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

pub(super) fn ticket(args: &TicketArgs) -> anyhow::Result<()> {
    match (&args.what, &args.data_dir) {
        (Some(TicketCommand::List { peer }), _) => {
            let tickets = peer.client()?.tickets()?;
            peer.print(&tickets, |tickets| {
                tickets.iter().map(|it| ticket_line(it, now_ms()) + "\n").collect()
            })
        }
        (Some(TicketCommand::Revoke { id, peer }), _) => {
            let revoked = peer.client()?.revoke_ticket(&Revocation { id: id.clone() })?;
            peer.print(&revoked, |it| format!("ticket {} is revoked\n", it.id))
        }
        (None, Some(data_dir)) => {
            let ttl_ms = u64::try_from(args.ttl.as_millis()).context("--ttl is too long")?;
            let TicketArgs { uses, address, note, .. } = args;
            let order = TicketOrder { ttl_ms, uses: *uses, address: address.clone(), note: note.clone() };
            let peer = PeerArgs { data_dir: data_dir.clone(), json: args.json };
            let issued = peer.client()?.issue_ticket(&order)?;
            peer.print(&issued, |IssuedTicket { ticket, .. }| format!("{ticket}\n"))
        }
        (None, None) => bail!("--data-dir is missing"),
    }
}

fn ticket_line(ticket: &TicketView, now_ms: u64) -> String {
    let TicketView { id, state, uses_left, expires_ms, issued_ms, note } = ticket;
    let until = if *expires_ms > now_ms {
        format!("for {}", ago(now_ms, *expires_ms))
    } else {
        format!("{} ago", ago(*expires_ms, now_ms))
    };
    let made = ago(*issued_ms, now_ms);
    format!("{id:<10} {state:<8} {until:<10} {uses_left:>5} uses left   made {made} ago   {note}")
        .trim_end()
        .to_owned()
}

pub(super) fn remove(args: &RemoveArgs, ban: bool) -> anyhow::Result<()> {
    let RemoveArgs { node: name, yes, reason, peer } = args;
    let client = peer.client()?;
    let (node, question) = subject(&client, name, ban)?;
    if !yes {
        confirm(&question)?;
    }
    let removed = client.remove(&Removal { node, ban, reason: reason.clone() })?;
    peer.print(&removed, |it| {
        let what = if it.ban { "banned" } else { "removed" };
        format!("{} is {what}; the secret is replaced and every ticket is revoked\n", node_name(it.node))
    })
}

/// Whom a person means, and what the person should know before.
fn subject(client: &Client, name: &str, ban: bool) -> anyhow::Result<(NodeId, String)> {
    let members = client.members()?;
    if let Some(member) = members.iter().find(|it| it.peer_id == name) {
        return Ok((member.id, question(member, ban)));
    }
    match find(&members, name) {
        Ok(id) => {
            let member = members.iter().find(|it| it.id == id).context("the member is gone")?;
            Ok((id, question(member, ban)))
        }
        // Who was removed can still be banned.
        Err(error) => match client.removed()?.iter().find(|it| ban && names(it, name)) {
            Some(it) => Ok((it.node, format!("ban {} ({})", node_name(it.node), it.host))),
            None => Err(error),
        },
    }
}

fn names(it: &ShutOutView, name: &str) -> bool {
    it.peer_id == name || it.node.to_string() == name || node_name(it.node) == name
}

fn question(member: &NodeView, ban: bool) -> String {
    let what = if ban { "ban" } else { "remove" };
    let rest = match member.handover {
        Some(left) if left.is_done() => "",
        Some(_) | None => "; it has not handed over what it holds, see `ringrift cluster drain`",
    };
    format!("{what} {} ({}, {}){rest}", member.node_id, member.host, member.role)
}

/// Asks the person at the terminal.
fn confirm(question: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!("nobody is there to confirm: {question}? Say --yes");
    }
    eprint!("{question}? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") || answer.trim().eq_ignore_ascii_case("yes") {
        Ok(())
    } else {
        bail!("nothing was done")
    }
}

pub(super) fn secret(args: &SecretArgs) -> anyhow::Result<()> {
    let (peer, view) = match &args.what {
        SecretCommand::Show { peer } => (peer, peer.client()?.secret()?),
        SecretCommand::Rotate { secret_file, peer } => {
            let text = secret_file.as_deref().map(secret::read).transpose()?;
            let secret = text.map(|text| Hash(secret_of_text(&text)).to_string());
            (peer, peer.client()?.rotate_secret(&SecretOrder { secret })?)
        }
    };
    peer.print(&view, |view| secret_line(view, now_ms()))
}

fn secret_line(view: &SecretView, now_ms: u64) -> String {
    let SecretView { number, since_ms, admits } = view;
    let admits = if *admits { "whoever proves it is admitted" } else { "only tickets admit" };
    match number {
        0 => "the cluster has no secret: everybody is admitted\n".to_owned(),
        number => format!("secret {number}, for {}: {admits}\n", ago(*since_ms, now_ms)),
    }
}

pub(super) fn operators(args: &OperatorsArgs) -> anyhow::Result<()> {
    let OperatorsArgs { nodes, all, peer } = args;
    let client = peer.client()?;
    let believed = if nodes.is_empty() && !all {
        client.operators()?
    } else {
        let members = client.members()?;
        let nodes = nodes.iter().map(|name| find(&members, name)).collect::<anyhow::Result<_>>()?;
        client.set_operators(&Operators { nodes })?
    };
    peer.print(&believed, |it| {
        let names: Vec<String> = it.nodes.iter().map(|id| node_name(*id)).collect();
        let where_ = if names.is_empty() { "every member".to_owned() } else { names.join(", ") };
        format!("operators are believed at {where_}\n")
    })
}

/// Reads a time: a number with its unit, such as 90s, 15m, 1h or 7d.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let how = || format!("{text:?} is no time: give a number with s, m, h or d, such as 1h");
    let unit = text.chars().last().ok_or_else(how)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(how()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| how())?;
    let total = number.checked_mul(seconds).filter(|total| *total > 0).ok_or_else(how)?;
    Ok(Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_secs), "{text}");
        };
        check("90s", Some(90));
        check("15m", Some(900));
        check("1h", Some(3600));
        check("7d", Some(604_800));
        for wrong in ["", "h", "1", "0s", "-1h", "1.5h", "1w", "1h30m", "1µ", "99999999999999999999d"] {
            check(wrong, None);
        }
        check(&format!("{}d", u64::MAX), None);
    }

    #[test]
    fn a_ticket_is_a_line() {
        let ticket = TicketView {
            id: "1f9c02aa".into(),
            state: "valid".into(),
            uses_left: 3,
            expires_ms: 3_600_000,
            issued_ms: 0,
            note: "rack 2".into(),
        };
        let check = |ticket: &TicketView, now_ms, expected: &str| {
            let line = ticket_line(ticket, now_ms);
            assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), expected);
        };
        check(&ticket, 60_000, "1f9c02aa valid for 59 min 3 uses left made 60.0 s ago rack 2");
        let expired = TicketView { state: "expired".into(), note: String::new(), ..ticket };
        check(&expired, 3_660_000, "1f9c02aa expired 60.0 s ago 3 uses left made 61 min ago");
    }

    #[test]
    fn a_secret_is_told_by_its_number() {
        let view = SecretView { number: 2, since_ms: 0, admits: false };
        assert_eq!(secret_line(&view, 60_000), "secret 2, for 60.0 s: only tickets admit\n");
        let view = SecretView { admits: true, ..view };
        assert_eq!(secret_line(&view, 60_000), "secret 2, for 60.0 s: whoever proves it is admitted\n");
        let none = SecretView { number: 0, since_ms: 0, admits: false };
        assert!(secret_line(&none, 1).contains("everybody is admitted"));
    }
}
