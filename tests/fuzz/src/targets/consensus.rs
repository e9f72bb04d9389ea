//! What `raft` reads: requests, answers, the log, snapshots; and what commands make of the state.

use crate::{
    bounds::bounded,
    frames::{frame, framed},
    seeds,
};
use cluster_state::{
    ClusterState, Command,
    rows::{self, ROW_BYTES_MAX, StateRow},
    state_machine,
};
use raft::fuzzing as raft;

/// A frame kind that no other type uses.
const COMMANDS: u8 = 0x2d;
/// More commands than any input has room for.
const COMMANDS_BYTES_MAX: usize = 1 << 20;

pub(super) fn request(bytes: &[u8]) {
    framed(raft::REQUEST, bytes, raft::request);
}

pub(super) fn request_seeds() -> Vec<Vec<u8>> {
    seeds::rpc("request")
}

pub(super) fn reply(bytes: &[u8]) {
    framed(raft::REPLY, bytes, raft::reply);
}

pub(super) fn reply_seeds() -> Vec<Vec<u8>> {
    // Variant 5 is the answer to a proposal.
    let proposed =
        seeds::state("response").into_iter().map(|response| [&[5, 0, 0, 0], &response[..]].concat());
    seeds::rpc("reply").into_iter().chain(proposed).collect()
}

pub(super) fn entry(bytes: &[u8]) {
    framed(raft::ENTRY, bytes, raft::entry);
}

pub(super) fn entry_seeds() -> Vec<Vec<u8>> {
    // A normal entry ends with its command.
    let blank = seeds::rpc("entry").swap_remove(0);
    let id = blank[..blank.len() - 4].to_vec();
    let normal =
        seeds::state("command").into_iter().map(|command| [&id[..], &[1, 0, 0, 0], &command].concat());
    seeds::rpc("entry").into_iter().chain(normal).collect()
}

/// What lies beside the log and the state.
pub(super) fn stored(bytes: &[u8]) {
    framed(raft::VOTE, bytes, raft::vote);
    framed(raft::LOG_ID, bytes, raft::log_id);
    framed(raft::APPLIED, bytes, raft::applied);
}

pub(super) fn stored_seeds() -> Vec<Vec<u8>> {
    let id = (1u64, 2u64, 3u64);
    let members = vec![(1u64, "peer-1"), (2, "peer-2")];
    let members: std::collections::BTreeMap<u64, &str> = members.into_iter().collect();
    let applied = (Some(id), (Some(id), (vec![vec![1u64, 2]], members)));
    [seeds::rpc("vote"), seeds::bodies([id]), seeds::bodies([applied])].concat()
}

/// Rows, once as they are and once with every value in a frame of its own.
pub(super) fn snapshot(bytes: &[u8]) {
    let (kind, limit) = raft::SNAPSHOT;
    bounded(limit, || raft::snapshot(bytes));
    let whole = frame(kind, bytes);
    bounded(limit, || raft::snapshot(&whole));
    let Ok(rows) = wire::decode::<Vec<StateRow>, COMMANDS_BYTES_MAX>(kind, &whole) else { return };
    let inner = |row: StateRow| StateRow { value: frame(row.kind, &row.value), ..row };
    let rows: Vec<StateRow> = rows.into_iter().map(inner).collect();
    let whole = wire::encode(kind, &rows, limit).expect("it is not much larger");
    bounded(limit, || raft::snapshot(&whole));
    if let Ok(state) = bounded(2 * ROW_BYTES_MAX, || rows::restore(rows, 7)) {
        check_rows(&state);
    }
}

pub(super) fn snapshot_seeds() -> Vec<Vec<u8>> {
    let mut state = ClusterState::default();
    let mut all = Vec::new();
    for (index, body) in (1..).zip(seeds::state("command")) {
        state_machine::apply(&mut state, index, &command(&body));
        all.extend(rows::rows(&state).expect("a small state has rows"));
    }
    let opened = |row: StateRow| StateRow { value: crate::frames::body(&row.value).to_vec(), ..row };
    seeds::bodies([all.into_iter().map(opened).collect::<Vec<StateRow>>()])
}

fn command(body: &[u8]) -> Command {
    wire::decode::<Command, COMMANDS_BYTES_MAX>(COMMANDS, &frame(COMMANDS, body)).expect("golden bytes")
}

fn check_rows(state: &ClusterState) {
    let rows = rows::rows(state).expect("a state always has rows, or applying would stop");
    let restored = rows::restore(rows, state.applied).expect("the rows of a state are a state");
    assert!(is_same(&restored, state), "rows do not hold the state");
}

/// Whether two states are the same. NaN is not equal to itself, but its text is.
fn is_same(one: &ClusterState, other: &ClusterState) -> bool {
    one == other || format!("{one:?}") == format!("{other:?}")
}

/// Applies commands one after another.
pub(super) fn commands(bytes: &[u8]) {
    let framed = frame(COMMANDS, bytes);
    let decode = || wire::decode::<Vec<Command>, COMMANDS_BYTES_MAX>(COMMANDS, &framed);
    let Ok(commands) = bounded(COMMANDS_BYTES_MAX, decode) else { return };
    let mut state = ClusterState::default();
    for (index, command) in (1..).zip(&commands) {
        let mut before = state.clone();
        before.applied = index;
        let response = bounded(COMMANDS_BYTES_MAX, || state_machine::apply(&mut state, index, command));
        if let cluster_state::Response::Refused(refusal) = response {
            assert!(is_same(&before, &state), "{refusal} changed something");
        }
    }
    check_rows(&state);
}

pub(super) fn commands_seeds() -> Vec<Vec<u8>> {
    let all = seeds::state("command");
    let joined = |bodies: &[Vec<u8>]| [&(bodies.len() as u64).to_le_bytes()[..], &bodies.concat()].concat();
    std::iter::once(joined(&all)).chain(all.chunks(1).map(joined)).collect()
}
