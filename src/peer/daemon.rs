//! What works in a peer for as long as it runs: a daemon, and the handle by which others wake it.
//!
//! Invariant: a daemon is a struct with one owner, the supervisor, which calls `run` again after an error or
//! a panic. So the struct keeps only what is sound after a panic at any point: settings, handles, and
//! receivers of channels. What one run works with is made anew in `run`.

use super::WorkError;
use std::sync::Arc;
use tokio::sync::Notify;

/// Work that goes on until the shutdown.
pub trait Daemon: Send + 'static {
    /// Its name in the log, in the status and in the event registry: the name of its file.
    const NAME: &'static str;

    /// Works until the shutdown. Any other end is a failure, also one without an error.
    ///
    /// # Errors
    /// Why the daemon cannot go on.
    fn run(&mut self) -> impl Future<Output = Result<(), WorkError>> + Send;
}

/// Ends the pause of a daemon. Cheap to clone: the daemon waits with one clone, others wake it with theirs.
///
/// A wake while the daemon works is kept and ends its next pause at once.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Ends the pause, or the next one.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits until somebody calls [`Self::wake`].
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}
