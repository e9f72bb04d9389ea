//! The HTTP interface: requests about this node and its cluster, answered as JSON, on the loopback interface
//! by default.
//!
//! Each file is one subject, as in [`crate::api`], which has the types of requests and answers. `server` owns
//! the connections, `gate` says which requests pass and as whose, [`Front`] is what the handlers can use,
//! `refused` says how an error is answered.
//!
//! Invariant: the interface only reads, except for what needs the token of the data folder; away from the
//! loopback interface, reading needs it, too. Before the node is a member of a cluster, every question is
//! answered with the reason why it is not.

mod admission;
mod audit;
mod cluster;
mod content;
mod dead_letters;
mod drill;
mod events;
mod front;
mod gate;
mod models;
pub(crate) mod operator;
pub(crate) mod range;
mod refused;
mod server;
mod status;
mod transfers;
mod work;

pub use front::{Front, HttpHandles, ReportQuery};
pub use gate::Rules;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::Response,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Serves requests until the shutdown.
pub async fn serve(listener: TcpListener, front: Arc<Front>, shutdown: CancellationToken) {
    let lobby = Arc::clone(&front.lobby);
    let router = Router::new()
        .merge(status::router())
        .merge(audit::router())
        .merge(content::router())
        .merge(events::router())
        .merge(dead_letters::router())
        .merge(cluster::router())
        .merge(admission::router())
        .merge(work::router())
        .merge(models::router())
        .layer(DefaultBodyLimit::max(operator::BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&front), gate::pass))
        .layer(middleware::from_fn(in_a_span))
        .with_state(front);
    server::run(listener, router, lobby, shutdown).await;
}

/// Handles a request in its own span, so that every log line of the request names it.
async fn in_a_span(request: Request, next: Next) -> Response {
    /// Requests are numbered from 1 in the order in which they arrive.
    static ARRIVED: AtomicU64 = AtomicU64::new(1);
    let id = ARRIVED.fetch_add(1, Ordering::Relaxed);
    // The span has the highest level, so that a line names its request under every filter.
    let span = tracing::error_span!("request", id, method = %request.method(), path = request.uri().path());
    next.run(request).instrument(span).await
}
