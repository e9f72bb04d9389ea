//! What every handler has at hand: the node once it is a member, or what it still waits for.

use super::{refused::Refused, transfers::Transfers};
use crate::{
    api::{cluster::LeaderReport, status::Status},
    peer::Context,
    segments::Segments,
};
use axum::{extract::State, http::StatusCode};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// A question that is answered anew each time.
pub type Ask<T> = Box<dyn Fn() -> BoxFuture<'static, T> + Send + Sync>;

/// What the handlers get of a node that is a member.
pub struct Handles {
    pub node: Context,
    pub segments: Segments,
    /// How things stand, as confirmed by a quorum if there is one.
    pub status: Ask<Status>,
    /// Who leads, as confirmed by a quorum if there is one.
    pub leader: Ask<LeaderReport>,
}

/// What the interface knows while the node starts, and after.
pub struct Front {
    waiting: Mutex<String>,
    handles: OnceLock<Handles>,
    /// One audit at a time, because it reads everything.
    pub(super) auditing: Semaphore,
    pub(super) transfers: Arc<Transfers>,
}

/// The front, as a handler asks for it.
pub(super) type Shared = State<Arc<Front>>;

impl Default for Front {
    fn default() -> Self {
        Self {
            waiting: Mutex::new("starting".to_owned()),
            handles: OnceLock::new(),
            auditing: Semaphore::new(1),
            transfers: Arc::default(),
        }
    }
}

impl Front {
    /// Says what the node waits for.
    pub fn waiting(&self, reason: String) {
        *self.waiting.lock() = reason;
    }

    /// The node is a member: from now on questions are answered.
    pub fn open(&self, handles: Handles) {
        // Called once.
        let _ = self.handles.set(handles);
    }

    pub(super) fn handles(&self) -> Result<&Handles, Refused> {
        let waiting = || Refused(StatusCode::SERVICE_UNAVAILABLE, self.waiting.lock().clone());
        self.handles.get().ok_or_else(waiting)
    }

    pub(super) fn node(&self) -> Result<&Context, Refused> {
        self.handles().map(|handles| &handles.node)
    }
}
