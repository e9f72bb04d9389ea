//! Compute threads, and a gauge of how late other tasks run because of them.
//!
//! Invariant: everything that computes for long runs on a thread that is made here, at the lowest scheduling
//! priority. So p2p and Raft, which have their own runtime at normal priority, are never late because of it.
//! The gauge measures whether that holds.

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

/// Runs `work` on a named thread of the lowest scheduling priority, and sends its result. The error is that
/// of a system that refuses another thread.
pub fn spawn<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> io::Result<tokio::sync::oneshot::Receiver<R>> {
    let (result, receiver) = tokio::sync::oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        lower_priority();
        // An error means that nobody waits for the result any more, as during shutdown.
        let _ = result.send(work());
    })?;
    Ok(receiver)
}

/// Gives the calling thread the lowest scheduling priority. On Linux the nice value belongs to the thread.
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
    /// What is left of the maximum after each interval, in thousandths: it halves in about 7 s.
    const DECAY_PER_MILLE: u64 = 995;

    /// Measures until `shutdown` on the runtime on which it is spawned.
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

    /// The longest recent delay.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}
