//! Runs drills: the node emits numbered events at given times in the same way as its daemons do, so that
//! their delivery can be measured.
//!
//! Invariant: a drill is bounded in events and in time. Its events are marked as injected, and no daemon
//! handles them.

use crate::{
    api::events::{Drill, Drilled},
    clock::now_us,
    events::{Emission, drill},
    peer::{Context, WorkError},
};
use std::time::Duration;

/// Emits the events, one transaction after another.
///
/// # Errors
/// Returns [`WorkError`] when a transaction was not kept.
pub(super) async fn run(drill: &Drill, node: &Context) -> Result<Vec<Drilled>, WorkError> {
    let mut done = Vec::new();
    let (mut number, mut left, mut due_us) = (drill.first, drill.count, drill.begin_us);
    while left > 0 && !node.shutdown.is_cancelled() {
        let early = due_us.saturating_sub(now_us());
        let at_us = if early > 0 {
            tokio::time::sleep(Duration::from_micros(early.unsigned_abs())).await;
            now_us()
        } else if drill.interval_us == 0 {
            now_us()
        } else {
            due_us
        };
        let (first, count) = (number, left.min(drill.batch));
        let emissions = (0..u64::from(count)).map(|i| Emission {
            event: drill::event(first + i * drill.step, node.name(), at_us),
            causes: Vec::new(),
            injected: true,
        });
        node.emit_all(emissions.collect()).await?;
        done.push(Drilled { first, count, at_us, synced_us: now_us() });
        number += u64::from(count) * drill.step;
        left -= count;
        due_us = due_us.saturating_add(drill.interval_us.cast_signed());
    }
    Ok(done)
}
