//! CoordinationBootstrap: has closed segments acknowledged, also those that an earlier process left behind.

use crate::node::{Context, WorkError, blocking};
use std::{sync::Arc, time::Duration};

/// Between looks when nothing is new, and after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until the shutdown.
///
/// # Errors
/// When the table of segments cannot be read.
pub async fn run(node: Context) -> Result<(), WorkError> {
    loop {
        let table = Arc::clone(&node.pending);
        let waiting = blocking(move || table.pending()).await??;
        let games = waiting.iter().map(|segment| segment.games).sum();
        node.activity.update(|work| work.selfplay.unacknowledged = games);
        for segment in waiting {
            if node.stored(segment.hash).await?.is_none() {
                tracing::error!(segment = %segment.hash, "a segment was lost before it was acknowledged");
                let table = Arc::clone(&node.pending);
                blocking(move || table.acknowledged(&segment.hash)).await??;
                continue;
            }
            match node.shutdown.run_until_cancelled(node.acknowledge(&segment)).await {
                None => return Ok(()),
                Some(Ok(())) => {
                    node.activity.update(|work| {
                        let left = work.selfplay.unacknowledged.saturating_sub(segment.games);
                        work.selfplay.unacknowledged = left;
                    });
                }
                // Trouble with one is trouble with all: look again in a while.
                Some(Err(error)) => {
                    tracing::info!(segment = segment.hash.short(), %error, "not acknowledged yet");
                    break;
                }
            }
        }
        tokio::select! {
            () = node.shutdown.cancelled() => return Ok(()),
            () = node.nudge.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
