//! The connections of the HTTP interface, from accept to end.
//!
//! Invariant: every connection is a guest of the lobby and ends: when its request's head does not come in
//! time, when it takes none of its answer for a while, when a newer one needs its place, and at shutdown. A
//! stranger can hold neither the descriptors of the process nor its shutdown.

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::Request,
};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use p2p::{Guest, Lobby};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Sleep,
};
use tokio_util::sync::CancellationToken;

/// Maximum time for the head of a request, and for an idle connection to send the next one.
const HEAD: Duration = Duration::from_secs(5);
/// Maximum time in which a client takes nothing of its answer.
const STALL: Duration = Duration::from_secs(15);
/// Maximum time for requests in hand to end at the shutdown.
const LAST: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted, because the process has no descriptor left.
const BREATH: Duration = Duration::from_millis(100);
/// Largest head of a request in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(pub(super) IpAddr);

/// Serves connections until the shutdown, and those that are open then for a moment longer.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    lobby: Arc<Lobby>,
    shutdown: CancellationToken,
) {
    let mut served = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        while served.try_join_next().is_some() {}
        match accepted {
            Ok((stream, from)) => {
                if let Some(guest) = lobby.enter(from.ip()) {
                    let end = shutdown.clone();
                    served.spawn(serve(stream, from, router.clone(), guest, end));
                }
                // Whoever has asked already is served before the next one may take its place.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                lobby.refuse(&"nobody", &error);
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    let all = async { while served.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST, all).await.is_err() {
        served.shutdown().await;
    }
}

/// Serves one connection.
async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    guest: Guest,
    shutdown: CancellationToken,
) {
    // Without it an answer may wait for the acknowledgement of the one before; a failure only costs time.
    let _ = stream.set_nodelay(true);
    let guest = Arc::new(guest);
    let caller = Caller(from.ip().to_canonical());
    let (router, seat) = (TowerToHyperService::new(router), Arc::clone(&guest));
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let asking = Asking::begin(Arc::clone(&seat));
        request.extensions_mut().insert(caller);
        let answer = router.call(request);
        async move { answer.await.map(|answer| answer.map(|body| Held { body, _asking: asking })) }
    });
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES_MAX);
    let connection = protocol.serve_connection(TokioIo::new(Impatient { stream, stalled: None }), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = guest.leave().cancelled() => return,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%from, %error, "a connection has ended");
    }
}

/// A request with its answer. Until the answer is taken, the connection does not make room for another.
struct Asking(Arc<Guest>);

impl Asking {
    fn begin(guest: Arc<Guest>) -> Self {
        guest.is_served();
        Self(guest)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.is_silent();
    }
}

/// The body of an answer, which keeps its [`Asking`] for as long as it is there.
struct Held {
    body: Body,
    _asking: Asking,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that fails when the other end takes nothing for [`STALL`].
struct Impatient {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    /// The outcome of a write; one that cannot go on starts the clock, and fails when it has run down.
    fn wait<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, bytes)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wait(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wait(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.wait(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.wait(cx, outcome)
    }
}
