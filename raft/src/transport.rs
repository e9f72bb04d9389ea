//! How bytes reach another member. The node implements it with its peer connections, the tests with links in
//! memory.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There is no connection: to ask again at once is useless.
    #[error("not connected: {0}")]
    Unreachable(String),
    /// No answer arrived in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection failed during the request.
    #[error("connection failed: {0}")]
    Failed(String),
}

/// Sends requests to members and receives their responses.
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

/// A [`Transport`] as a trait object.
pub(crate) trait AnyTransport: Send + Sync + 'static {
    fn call<'a>(&'a self, peer: &'a str, request: Vec<u8>, timeout: Duration) -> Call<'a>;
}

impl<T: Transport> AnyTransport for T {
    fn call<'a>(&'a self, peer: &'a str, request: Vec<u8>, timeout: Duration) -> Call<'a> {
        Box::pin(async move {
            // The transport has its own timeout, but this crate does not rely on it alone.
            let grace = timeout + Duration::from_millis(100);
            tokio::time::timeout(grace, Transport::call(self, peer, request, timeout))
                .await
                .unwrap_or(Err(TransportError::Timeout))
        })
    }
}

pub(crate) type SharedTransport = Arc<dyn AnyTransport>;
