//! Compute threads, and how long the others wait because of them.
//!
//! Invariant: everything that computes for long runs on a thread made here, at the lowest scheduling priority, so
//! that p2p and Raft, which run on their own runtime at normal priority, are never late because of it. The gauge
//! measures whether that holds.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Runs `work` on a named thread of the lowest scheduling priority and hands over its result.
///
/// # Errors
/// When the system refuses another thread.
pub fn spawn<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> io::Result<tokio::sync::oneshot::Receiver<R>> {
    let (result, receiver) = tokio::sync::oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        lower_priority();
        // Nobody may be waiting any more, as on shutdown.
        let _ = result.send(work());
    })?;
    Ok(receiver)
}

/// Gives the calling thread the lowest scheduling priority. On Linux a niceness belongs to the thread.
pub fn lower_priority() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), 19) {
        tracing::warn!(%error, "cannot lower the priority of a compute thread");
    }
}

/// The longest recent delay between the time a task was due and the time it ran.
#[derive(Clone, Default)]
pub struct DelayGauge(Arc<AtomicU64>);

impl DelayGauge {
    const INTERVAL: Duration = Duration::from_millis(50);
    /// Of the maximum, what is left after each interval: it halves in about 7 s.
    const DECAY_PER_MILLE: u64 = 995;

    /// Measures on the runtime it is spawned on until `shutdown`.
    pub async fn measure(self, shutdown: CancellationToken) {
        loop {
            let due = Instant::now() + Self::INTERVAL;
            if shutdown.run_until_cancelled(tokio::time::sleep_until(due.into())).await.is_none() {
                return;
            }
            let late = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            let kept = self.0.load(Ordering::Relaxed) / 1000 * Self::DECAY_PER_MILLE;
            self.0.store(kept.max(late), Ordering::Relaxed);
        }
    }

    /// The gauge now.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}
