//! A daemon, which works in a peer for as long as the peer runs, and the handle by which others wake it.
//!
//! Invariant: a daemon is a struct with one owner, the supervisor, which calls `run` again after an error or
//! a panic. So the struct keeps only what is still valid after a panic at any point: settings, handles, and
//! receivers of channels. Each call of `run` creates its own working state.

use super::WorkError;
use std::sync::Arc;
use tokio::sync::Notify;

/// Work that continues until the shutdown.
pub trait Daemon: Send + 'static {
    /// The daemon's name in the log, in the status and in the event registry: the name of its
    /// component, for which `src/events/component.rs` has the file.
    const NAME: &'static str;

    /// Works until the shutdown. Any other return is a failure, even one without an error.
    ///
    /// # Errors
    /// Returns why the daemon cannot continue.
    fn run(&mut self) -> impl Future<Output = Result<(), WorkError>> + Send;
}

/// Ends the pause of a daemon. It is cheap to clone: the daemon waits with one clone, and others wake it with
/// theirs.
///
/// A wake while the daemon works is kept and ends its next pause at once.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Ends the current pause, or the next one.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits until another clone calls [`Self::wake`].
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}
