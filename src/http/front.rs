//! What every handler can use: the handles of a node that is a member, or what the node still waits for.

use super::{gate::Rules, refused::Refused, transfers::Transfers};
use crate::{
    api::{cluster::LeaderReport, health::ClusterView, status::Status},
    peer::{Context, DeadLetters},
    segments::Segments,
};
use axum::{extract::State, http::StatusCode};
use futures::future::BoxFuture;
use p2p::Lobby;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Semaphore, watch};

/// A query that is computed again for each request.
pub type ReportQuery<T> = Box<dyn Fn() -> BoxFuture<'static, T> + Send + Sync>;

/// The handles of a node that is a member.
pub struct HttpHandles {
    pub node: Context,
    pub segments: Segments,
    pub letters: DeadLetters,
    /// The cluster as this node sees it.
    pub view: watch::Receiver<Arc<ClusterView>>,
    /// The token that a request must show to change something, or to read from another host.
    pub token: String,
    /// The status, confirmed by a quorum if there is one.
    pub status: ReportQuery<Status>,
    /// The leader, confirmed by a quorum if there is one.
    pub leader: ReportQuery<LeaderReport>,
}

/// What the interface knows while the node starts, and afterwards.
pub struct Front {
    /// What the node waits for, as a sentence.
    waiting: watch::Receiver<String>,
    handles: OnceLock<HttpHandles>,
    /// Permits one audit at a time, because an audit reads everything.
    pub(super) auditing: Semaphore,
    pub(super) transfers: Arc<Transfers>,
    /// Which requests pass.
    pub(super) rules: Rules,
    /// The open connections.
    pub(super) lobby: Arc<Lobby>,
}

/// The front, as an axum handler receives it.
pub(super) type Shared = State<Arc<Front>>;

impl Front {
    /// A front of a node that starts; `waiting` says what it waits for.
    #[must_use]
    pub fn new(waiting: watch::Receiver<String>, rules: Rules, lobby: Arc<Lobby>) -> Self {
        let (handles, auditing) = (OnceLock::new(), Semaphore::new(1));
        Self { waiting, handles, auditing, transfers: Arc::default(), rules, lobby }
    }

    /// Called when the node is a member: from then on the interface answers requests.
    pub fn open(&self, handles: HttpHandles) {
        // It is called only once, so the result does not matter.
        let _ = self.handles.set(handles);
    }

    pub(super) fn handles(&self) -> Result<&HttpHandles, Refused> {
        let waiting = || Refused(StatusCode::SERVICE_UNAVAILABLE, self.waiting.borrow().clone());
        self.handles.get().ok_or_else(waiting)
    }

    pub(super) fn node(&self) -> Result<&Context, Refused> {
        self.handles().map(|handles| &handles.node)
    }
}
