//! The lies, one function each. Each tells the lie, shows that the honest nodes found it, and shows that it
//! had no effect; what it returns is its row in the table at the end.

pub(super) mod content;
pub(super) mod events;
pub(super) mod learning;

use super::member::Liar;
use crate::support::{Peer, until};
use ringrift::events::Event;
use serde_json::json;
use std::time::Duration;

/// A row of the table: the lie, and how it was found and what it changed.
pub(super) struct Found {
    pub(super) lie: &'static str,
    pub(super) how: String,
}

/// How long an event of an honest node may take to all the others while the liar floods them.
const ARRIVES: Duration = Duration::from_secs(10);

fn name(liar: &Liar) -> String {
    format!("node-{}", liar.id.0)
}

/// Emits an event by hand at an honest node.
fn emit(peer: &Peer, reason: &str) {
    let payload = json!({"config_key": "square8_3p", "elo_drop": 1.0, "reason": reason});
    peer.emit("REGRESSION_CLEARED", payload).unwrap();
}

/// Waits until `peer` has an event in its log after position `after` that says `reason`.
fn arrives(peer: &Peer, reason: &str, after: i64) {
    let mut after = after;
    until(&format!("{} hears {reason}", peer.name), ARRIVES, || {
        loop {
            let page = peer.client()?.events(after, 500).map_err(|error| error.to_string())?;
            let Some(last) = page.last() else { return Err(format!("not up to position {after}")) };
            after = last.position;
            let says = |event: &Event| matches!(event, Event::RegressionCleared(it) if it.reason == reason);
            if page.iter().any(|logged| says(&logged.event)) {
                return Ok(());
            }
        }
    });
}

/// The position of the last event in the log of `peer`.
fn position(peer: &Peer) -> i64 {
    peer.logged().unwrap().last().map_or(0, |logged| logged.position)
}
