//! What people and their programs send: HTTP, names on the command line, the line protocol of the engine.

use super::events::SIGNER;
use crate::{bounds::bounded, seeds};
use ringrift::{
    api::{
        admission::{Operators, Removal, Revocation, SecretOrder, TicketOrder},
        cluster::Drain,
        dead_letters::LetterFilter,
        devices::DeviceChoice,
        events::{Drill, Injection},
        models::ChampionOrder,
        status::Status,
        work::Cancellation,
    },
    fuzzing as node,
};
use serde::{Serialize, de::DeserializeOwned};
use std::str::{FromStr, from_utf8};

/// The largest answer of a node.
const ANSWER_BYTES_MAX: usize = 256 << 20;
const HEADER_BYTES_MAX: usize = 8 << 10;
const NAME_BYTES_MAX: usize = 4 << 10;
/// The longest lists of legal moves as text, for as many lines.
const ENGINE_BYTES_MAX: usize = LINES_MAX << 17;
const LINES_MAX: usize = 8;

/// The header, after the size of the content.
pub(super) fn range(bytes: &[u8]) {
    let Some((size, header)) = bytes.split_first_chunk() else { return };
    let (size, Ok(header)) = (u64::from_le_bytes(*size), from_utf8(header)) else { return };
    if let Some(asked) = bounded(HEADER_BYTES_MAX, || node::range(header, size)) {
        assert!(asked.start < asked.end && asked.end <= size, "{asked:?} of {size}");
    }
}

pub(super) fn range_seeds() -> Vec<Vec<u8>> {
    let headers =
        ["bytes=0-0", "bytes=10-", "bytes=-7", "bytes=5-4", "bytes=1-2,5-6", "bytes=99999999999999999999-"];
    headers.map(|header| [&100u64.to_le_bytes()[..], header.as_bytes()].concat()).to_vec()
}

/// The header with a member's pass: as it is, and a right one for what the bytes say.
pub(super) fn pass(bytes: &[u8]) {
    const NOW_MS: u64 = 1_000_000;
    let Ok(header) = from_utf8(bytes) else { return };
    bounded(HEADER_BYTES_MAX, || node::pass(header, "me", "/v1/blobs/ab", NOW_MS));
    let right = node::signed_pass(&SIGNER, header, header, NOW_MS);
    assert!(
        bounded(HEADER_BYTES_MAX, || node::pass(&right, header, header, NOW_MS)),
        "a right pass is refused"
    );
}

pub(super) fn pass_seeds() -> Vec<Vec<u8>> {
    let right = node::signed_pass(&SIGNER, "me", "/v1/blobs/ab", 1_000_000);
    seeds::texts([right, "Member a 1 00".to_owned(), "Bearer x".to_owned()])
}

/// Checks that what was accepted and is written again is read as the same.
fn json<T: DeserializeOwned + Serialize>(value: &T) {
    // Not by way of a text: the last digit of a number may be another one then.
    let written = serde_json::to_value(value).expect("what JSON held has a JSON form");
    let again: T = serde_json::from_value(written.clone()).expect("what is written can be read");
    assert_eq!(serde_json::to_value(&again).ok(), Some(written));
}

fn order<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    let order = bounded(node::BODY_BYTES_MAX, || node::order(bytes))?;
    json(&order);
    Some(order)
}

/// The body of a request that changes something, as each of them.
pub(super) fn bodies(bytes: &[u8]) {
    order::<Injection>(bytes);
    if let Some(drill) = order::<Drill>(bytes)
        && drill.check(1_000_000).is_ok()
    {
        assert!(drill.first.checked_add(drill.step * u64::from(drill.count)).is_some());
    }
    order::<ChampionOrder>(bytes);
    order::<Cancellation>(bytes);
    order::<LetterFilter>(bytes);
    order::<Drain>(bytes);
    order::<TicketOrder>(bytes);
    order::<Revocation>(bytes);
    order::<Removal>(bytes);
    order::<SecretOrder>(bytes);
    order::<Operators>(bytes);
}

pub(super) fn bodies_seeds() -> Vec<Vec<u8>> {
    seeds::texts([
        r#"{"event":"HOST_OFFLINE","payload":{"node_id":"node-3","reason":"r"}}"#,
        r#"{"first":1,"step":2,"count":3,"batch":4,"begin_us":5,"interval_us":6}"#,
        r#"{"config_key":"hex8_2p","model":"abcd","reason":"r"}"#,
        r#"{"kind":"training","config_key":"hex8_2p","reason":"r"}"#,
        r#"{"max_age_hours":24,"all":true}"#,
        r#"{"node_id":"node-1","draining":true,"reason":"r"}"#,
        r#"{"ttl_ms":3600000,"uses":2,"address":"/ip4/192.0.2.7/tcp/4001","note":"n"}"#,
        r#"{"id":"1f9c02aa"}"#,
        r#"{"node":2,"ban":true,"reason":"r"}"#,
        r#"{"secret":"abababab"}"#,
        r#"{"nodes":[1,2]}"#,
    ])
}

/// What a node answers to this host's commands.
pub(super) fn answers(bytes: &[u8]) {
    let read = || serde_json::from_slice::<Status>(bytes);
    if let Ok(status) = bounded(ANSWER_BYTES_MAX, read) {
        json(&status);
    }
}

pub(super) fn answers_seeds() -> Vec<Vec<u8>> {
    seeds::texts([seeds::STATUS_JSON])
}

/// Reads a text as a `T`. What is accepted and printed is read as the same.
fn name<T: FromStr + ToString>(text: &str) {
    if let Ok(value) = bounded(NAME_BYTES_MAX, || text.parse::<T>()) {
        let printed = value.to_string();
        assert_eq!(printed.parse::<T>().ok().map(|again| again.to_string()), Some(printed));
    }
}

pub(super) fn names(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    name::<wire::Hash>(text);
    name::<cluster_state::NodeId>(text);
    name::<cluster_state::ModelId>(text);
    name::<rules::Board>(text);
    name::<rules::Config>(text);
    name::<DeviceChoice>(text);
    name::<cluster_state::admission::Invitation>(text);
    let addrs = vec![text.to_owned(), "/ip4/192.0.2.7/tcp/4001".to_owned()];
    bounded(NAME_BYTES_MAX, || node::http_address(text, &addrs));
    bounded(NAME_BYTES_MAX, || node::http_address("http://0.0.0.0:80", &addrs));
}

pub(super) fn names_seeds() -> Vec<Vec<u8>> {
    let hash = "ab".repeat(32);
    let ticket = format!("/ip4/192.0.2.7/tcp/4001/p2p/x/ticket/{hash}");
    let http = "http://[2001:db8::1]:8080/";
    let texts = ["7", "hex8", "square19_4p", "cuda:3", "auto", "evaluation", http, &hash, &ticket];
    seeds::texts(texts)
}

/// A conversation. No `go` names a model, because a model is a path of this machine.
pub(super) fn engine(bytes: &[u8]) {
    let plain = |line: &&[u8]| {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_whitespace();
        let known = |word: &str| {
            word == "random" || word == "heuristic" || word.bytes().all(|byte| byte.is_ascii_digit())
        };
        words.next() != Some("go") || words.all(known)
    };
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(plain).take(LINES_MAX).collect();
    let mut output = Vec::new();
    bounded(ENGINE_BYTES_MAX, || node::engine(&lines.join(&b'\n'), &mut output)).expect("memory never fails");
    let answers = output.iter().filter(|byte| **byte == b'\n').count();
    assert!(answers <= lines.len(), "an answer is one line");
}

pub(super) fn engine_seeds() -> Vec<Vec<u8>> {
    seeds::texts([
        "new hex8_2p\nplay P:0,0*1\nlegal\ngo 1 random 7\nstate\nquit",
        "new square8_3p\nlegal\ngo 5\nplay P:1,1*2\nset over w=1 r=territory_control\nnothing",
        "set move p=1 must=0,0 acted=1|h17e0t0|h18e0t0|S 0,0:1|M |C |L f=0 m= x=0 n=0\ngo 1 heuristic",
    ])
}
