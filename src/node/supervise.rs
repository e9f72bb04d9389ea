//! Keeps daemons running.
//!
//! Invariant: a daemon that fails or panics is started again, later each time, and every failure is counted and shown.

use super::{Context, WorkError};
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A daemon that ran this long is no longer in a crash loop.
const SOUND: Duration = Duration::from_secs(120);

/// How a daemon failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonFailures {
    /// Which.
    pub daemon: String,
    /// How often since the process began.
    pub failures: u64,
    /// The last time.
    pub last_error: String,
}

/// All daemons that failed.
#[derive(Default)]
pub struct Failures(Mutex<BTreeMap<&'static str, (u64, String)>>);

impl Failures {
    fn count(&self, daemon: &'static str, error: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = all.entry(daemon).or_default();
        *entry = (entry.0 + 1, error.to_owned());
    }

    /// A copy, by name.
    #[must_use]
    pub fn get(&self) -> Vec<DaemonFailures> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(daemon, (failures, last_error))| DaemonFailures {
                daemon: (*daemon).to_owned(),
                failures: *failures,
                last_error: last_error.clone(),
            })
            .collect()
    }
}

/// Runs a daemon until the shutdown, again and again if need be.
pub(super) async fn supervise<W>(node: Context, name: &'static str, run: impl Fn(Context) -> W)
where
    W: Future<Output = Result<(), WorkError>>,
{
    let mut pause = PAUSE_MIN;
    loop {
        let began = Instant::now();
        let outcome = AssertUnwindSafe(run(node.clone())).catch_unwind().await;
        if node.shutdown.is_cancelled() {
            return;
        }
        let error = match outcome {
            Ok(Ok(())) => "ended by itself".to_owned(),
            Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
            Err(_) => "panicked".to_owned(),
        };
        node.failures.count(name, &error);
        if began.elapsed() >= SOUND {
            pause = PAUSE_MIN;
        }
        tracing::error!(daemon = name, error, again_in = ?pause, "a daemon failed");
        if node.shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
