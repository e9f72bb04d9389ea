//! How bytes reach another member. The node implements it with peer connections, tests with in-memory links.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

/// A request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There is no connection: asking again at once is no use.
    #[error("not connected: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection failed on the way.
    #[error("connection failed: {0}")]
    Failed(String),
}

/// Request and response between members.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Sends `request` to the member with libp2p id `peer` and awaits its answer for at most `timeout`.
    fn call(
        &self,
        peer: &str,
        request: Vec<u8>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, TransportError>> + Send;
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, TransportError>> + Send + 'a>>;

/// A [`Transport`] of any type.
pub(crate) trait AnyTransport: Send + Sync + 'static {
    fn call<'a>(&'a self, peer: &'a str, request: Vec<u8>, timeout: Duration) -> Call<'a>;
}

impl<T: Transport> AnyTransport for T {
    fn call<'a>(&'a self, peer: &'a str, request: Vec<u8>, timeout: Duration) -> Call<'a> {
        Box::pin(async move {
            // The transport's own timeout is trusted, but not blindly.
            let grace = timeout + Duration::from_millis(100);
            tokio::time::timeout(grace, Transport::call(self, peer, request, timeout))
                .await
                .unwrap_or(Err(TransportError::Timeout))
        })
    }
}

pub(crate) type SharedTransport = Arc<dyn AnyTransport>;
