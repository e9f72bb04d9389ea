//! What nodes ask of each other and announce, apart from consensus and events.

use crate::{
    bounds::bounded,
    frames::{frame, framed},
    seeds,
};
use ringrift::{
    api::dead_letters::NodeLetters,
    events::Logged,
    fuzzing::{self as node, frames},
};

pub(super) fn manifest(bytes: &[u8]) {
    framed(frames::MANIFEST, bytes, node::manifest);
}

pub(super) fn manifest_seeds() -> Vec<Vec<u8>> {
    seeds::bodies([("hex8_2p", [3u8; 32], 9u64)])
}

pub(super) fn control(bytes: &[u8]) {
    framed(frames::CONTROL, bytes, node::control);
}

pub(super) fn control_seeds() -> Vec<Vec<u8>> {
    seeds::bodies([(0u32, [7u8; 32])])
}

pub(super) fn control_answer(bytes: &[u8]) {
    let (kind, limit) = frames::CONTROL_ANSWER;
    let _ = bounded(limit, || node::control_answer(bytes));
    let framed = frame(kind, bytes);
    let _ = bounded(limit, || node::control_answer(&framed));
}

pub(super) fn control_answer_seeds() -> Vec<Vec<u8>> {
    [seeds::bodies([(0u32, [[7u8; 32]; 2])]), seeds::bodies([(1u32, "full")])].concat()
}

pub(super) fn ask(bytes: &[u8]) {
    framed(frames::ASK, bytes, node::ask);
}

pub(super) fn ask_seeds() -> Vec<Vec<u8>> {
    [seeds::bodies([(0u32, -1i64)]), seeds::bodies([(1u32, 24u64)]), seeds::bodies([(2u32, Some(24u64))])]
        .concat()
}

/// Dead letters: as the frame, as its body, and as the text in it.
pub(super) fn told(bytes: &[u8]) {
    let (kind, limit) = frames::TOLD;
    let check = |bytes: &[u8]| {
        if let Some(told) = bounded(limit, || node::told(bytes)) {
            // Not by way of a text: the last digit of a number may be another one then.
            let again = serde_json::to_value(&told).expect("what JSON held has a JSON form");
            let again: NodeLetters<Logged> = serde_json::from_value(again).expect("and is read back");
            assert_eq!(again, told);
        }
    };
    check(bytes);
    check(&frame(kind, bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(&wire::encode(kind, &text, usize::MAX).expect("a text can be encoded"));
    }
}

pub(super) fn told_seeds() -> Vec<Vec<u8>> {
    let events: Vec<serde_json::Value> = serde_json::from_str(seeds::EVENTS_JSON).expect("golden JSON");
    let letter = |event: &serde_json::Value| {
        serde_json::json!({
            "id": 1, "handler": "h", "event": "E", "error": "e", "retry_count": 2, "timestamp": 3,
            "payload": {
                "position": 1, "origin": "o", "epoch": 1, "sequence": 1, "at_ms": 1, "flow": "cluster",
                "flow_previous": null, "causes": [], "subject": null, "injected": false, "event": event,
            },
        })
    };
    let told = |letters: Vec<serde_json::Value>| {
        let replayed =
            serde_json::json!({"replayed": 1, "recovered": 1, "failed": 0, "waiting": 0, "left": 0});
        serde_json::json!({"node_id": "n", "letters": letters, "replayed": replayed, "purged": 1, "error": "e"})
    };
    seeds::texts(events.chunks(8).map(|some| told(some.iter().map(letter).collect()).to_string()))
}
