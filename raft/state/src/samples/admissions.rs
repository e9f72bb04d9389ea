//! Samples of the commands about who may be a member.

use super::register;
use crate::{
    admission::{self, Admission},
    command::{Command, IssueTicket, RegisterNode, RemoveNode, RevokeTicket, SetOperators, SetSecret},
    id::NodeId,
};

/// The command by which peer `n` registers and shows `admission` at `at_ms`.
pub fn join(n: u64, admission: Admission, at_ms: u64) -> Command {
    match register(n, n) {
        Command::RegisterNode(it) => RegisterNode { admission, at_ms, ..it }.into(),
        other => other,
    }
}

/// The command that issues a ticket with this token, which expires at 1 000 ms.
pub fn issue(token: u8, uses: u32) -> Command {
    Command::IssueTicket(IssueTicket {
        ticket: admission::ticket_id(&[token; 32]),
        key: admission::ticket_key(&[token; 32]),
        uses,
        expires_ms: 1000,
        note: "n".into(),
        at_ms: 4,
    })
}

/// The command that removes a member; the new secret repeats one byte.
pub fn remove(node: u64, ban: bool, secret: u8) -> Command {
    let secret = [secret; 32];
    Command::RemoveNode(RemoveNode { node: NodeId(node), ban, secret, reason: "r".into(), at_ms: 5 })
}

/// Who may be a member.
pub(super) fn commands() -> Vec<Command> {
    vec![
        Command::SetSecret(SetSecret { secret: [1; 32], by_secret: true, at_ms: 2 }),
        issue(2, 3),
        Command::RevokeTicket(RevokeTicket { ticket: admission::ticket_id(&[2; 32]), at_ms: 3 }),
        remove(2, true, 3),
        Command::SetOperators(SetOperators { nodes: vec![NodeId(1)], at_ms: 2 }),
    ]
}
