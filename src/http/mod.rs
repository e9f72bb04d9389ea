//! The HTTP interface: questions about this node and its cluster, as JSON, on the loopback interface by default.
//!
//! Invariant: it only reads, but for what needs the token of the data folder. Before the node is a member of a cluster
//! every question is answered with why not.

mod audit;
mod blobs;
mod cluster;
mod drill;
mod events;
mod models;
mod work;

pub use drill::{event as drill_event, number as drill_number};

use crate::{
    api::{ErrorBody, cluster::LeaderReport, content::Audit, status::Status},
    node::status,
    peer::Context,
};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use raft::ProposeError;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// What the interface knows while the node starts, and after.
pub struct Front {
    cluster: String,
    waiting: Mutex<String>,
    node: OnceLock<Context>,
    /// One at a time: an audit reads everything.
    auditing: Semaphore,
    transfers: Arc<blobs::Transfers>,
}

impl Front {
    /// Of a node that starts.
    #[must_use]
    pub fn new(cluster: String) -> Self {
        let waiting = Mutex::new("starting".to_owned());
        let (auditing, transfers) = (Semaphore::new(1), Arc::default());
        Self { cluster, waiting, node: OnceLock::new(), auditing, transfers }
    }

    /// Says what the node waits for.
    pub fn waiting(&self, reason: String) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// The node is a member.
    pub fn open(&self, node: Context) {
        // Called once.
        let _ = self.node.set(node);
    }

    fn node(&self) -> Result<&Context, Refused> {
        self.node.get().ok_or_else(|| {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            Refused(StatusCode::SERVICE_UNAVAILABLE, waiting.clone())
        })
    }
}

struct Refused(StatusCode, String);

/// What an operator asked for was not decided: the cluster said no, or nobody can decide.
impl From<ProposeError> for Refused {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Refused(reason) => Self(StatusCode::CONFLICT, reason.to_string()),
            error @ (ProposeError::NoLeader | ProposeError::Timeout | ProposeError::Stopped(_)) => {
                Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorBody { error: self.1 })).into_response()
    }
}

/// Answers until the shutdown.
pub async fn serve(listener: TcpListener, front: Arc<Front>, shutdown: CancellationToken) {
    let router = Router::new()
        .route("/v1/status", get(get_status))
        .route("/v1/leader", get(get_leader))
        .route("/v1/audit", get(get_audit))
        .merge(blobs::router())
        .merge(events::router())
        .merge(cluster::router())
        .merge(work::router())
        .merge(models::router())
        .with_state(front);
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP interface has ended");
    }
}

type Shared = State<Arc<Front>>;

async fn get_status(State(front): Shared) -> Result<Json<Status>, Refused> {
    let node = front.node()?;
    Ok(Json(status::status(node, &front.cluster).await))
}

async fn get_leader(State(front): Shared) -> Result<Json<LeaderReport>, Refused> {
    Ok(Json(status::leader(front.node()?).await))
}

async fn get_audit(State(front): Shared) -> Result<Json<Audit>, Refused> {
    let node = front.node()?;
    let busy = |_| Refused(StatusCode::SERVICE_UNAVAILABLE, "an audit is going on".to_owned());
    let _turn = front.auditing.try_acquire().map_err(busy)?;
    audit::audit(node).await.map(Json).map_err(|e| Refused(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}
