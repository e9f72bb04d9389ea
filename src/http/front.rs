//! What every handler has at hand: the node once it is a member, or what it still waits for.

use super::{refused::Refused, transfers::Transfers};
use crate::{
    api::{cluster::LeaderReport, health::ClusterView, status::Status},
    peer::{Context, DeadLetters},
    segments::Segments,
};
use axum::{extract::State, http::StatusCode};
use futures::future::BoxFuture;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Semaphore, watch};

/// A question that is answered anew each time.
pub type Ask<T> = Box<dyn Fn() -> BoxFuture<'static, T> + Send + Sync>;

/// What the handlers get of a node that is a member.
pub struct Handles {
    pub node: Context,
    pub segments: Segments,
    pub letters: DeadLetters,
    /// The cluster as this node sees it.
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// What an operator has to know to change something.
    pub token: String,
    /// How things stand, as confirmed by a quorum if there is one.
    pub status: Ask<Status>,
    /// Who leads, as confirmed by a quorum if there is one.
    pub leader: Ask<LeaderReport>,
}

/// What the interface knows while the node starts, and after.
pub struct Front {
    /// What the node waits for, as a sentence.
    waiting: watch::Receiver<String>,
    handles: OnceLock<Handles>,
    /// One audit at a time, because it reads everything.
    pub(super) auditing: Semaphore,
    pub(super) transfers: Arc<Transfers>,
}

/// The front, as a handler asks for it.
pub(super) type Shared = State<Arc<Front>>;

impl Front {
    /// For a node that starts; `waiting` says what it waits for.
    #[must_use]
    pub fn new(waiting: watch::Receiver<String>) -> Self {
        Self { waiting, handles: OnceLock::new(), auditing: Semaphore::new(1), transfers: Arc::default() }
    }

    /// The node is a member: from now on questions are answered.
    pub fn open(&self, handles: Handles) {
        // Called once.
        let _ = self.handles.set(handles);
    }

    pub(super) fn handles(&self) -> Result<&Handles, Refused> {
        let waiting = || Refused(StatusCode::SERVICE_UNAVAILABLE, self.waiting.borrow().clone());
        self.handles.get().ok_or_else(waiting)
    }

    pub(super) fn node(&self) -> Result<&Context, Refused> {
        self.handles().map(|handles| &handles.node)
    }
}
