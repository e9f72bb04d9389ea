//! The door of the transport: which inbound connections may begin a handshake, and for how long.
//!
//! Invariant: from accept to the end of the handshake every inbound connection is a guest of the lobby, which
//! bounds them. One that says nothing within [`FIRST_BYTE`] is closed, and so is one that has to make room.

use crate::lobby::Lobby;
use futures::{AsyncRead, AsyncWrite, FutureExt, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        ConnectedPoint,
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
    },
    multiaddr::Protocol,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;

/// The longest time to the first byte of an inbound connection. The dialler speaks first.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(1);

/// The two ends of an inbound connection, which name it.
type Ends = (Multiaddr, Multiaddr);

/// Who waits for the first byte of which connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstBytes(Arc<Mutex<HashMap<Ends, oneshot::Sender<()>>>>);

impl FirstBytes {
    fn expect(&self, ends: Ends) -> Expected {
        let (told, came) = oneshot::channel();
        self.0.lock().insert(ends.clone(), told);
        Expected { all: self.clone(), ends, came }
    }

    /// The stream, which tells of its first byte if it is inbound.
    pub(crate) fn listen_to<S>(&self, stream: S, point: &ConnectedPoint) -> WatchedStream<S> {
        let first = match point {
            ConnectedPoint::Listener { local_addr, send_back_addr } => {
                self.0.lock().remove(&(local_addr.clone(), send_back_addr.clone()))
            }
            ConnectedPoint::Dialer { .. } => None,
        };
        WatchedStream { stream, first }
    }
}

/// The first byte of one connection, which nobody waits for once this is dropped.
struct Expected {
    all: FirstBytes,
    ends: Ends,
    came: oneshot::Receiver<()>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.ends);
    }
}

/// A stream that tells of its first byte.
pub(crate) struct WatchedStream<S> {
    stream: S,
    first: Option<oneshot::Sender<()>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, bytes);
        if let Poll::Ready(Ok(1..)) = read
            && let Some(first) = self.first.take()
        {
            let _ = first.send(()); // nobody waits if the connection has just been refused
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

type Connection = (PeerId, StreamMuxerBox);

/// A transport behind its door.
pub(crate) struct Door {
    pub(crate) inner: Boxed<Connection>,
    pub(crate) lobby: Arc<Lobby>,
    pub(crate) first_bytes: FirstBytes,
}

impl Door {
    /// Receives an inbound connection: `upgrade` is its handshake.
    fn receive(
        &self,
        upgrade: impl Future<Output = io::Result<Connection>> + Send + 'static,
        ends: Ends,
    ) -> BoxFuture<'static, io::Result<Connection>> {
        let guest = self.lobby.enter(ip(&ends.1));
        let mut expected = self.first_bytes.expect(ends.clone());
        let lobby = Arc::clone(&self.lobby);
        async move {
            let Some(guest) = guest else { return Err(io::ErrorKind::ConnectionRefused.into()) };
            let silent = async {
                match tokio::time::timeout(FIRST_BYTE, &mut expected.came).await {
                    Ok(_) => guest.speaks(),
                    Err(_) => return,
                }
                std::future::pending().await
            };
            let outcome = tokio::select! {
                biased;
                outcome = upgrade => outcome,
                // The lobby has counted it.
                () = guest.leave().cancelled() => return Err(io::ErrorKind::ConnectionAborted.into()),
                () = silent => Err(io::Error::new(io::ErrorKind::TimedOut, "it said nothing")),
            };
            outcome.inspect_err(|error| lobby.refuse(&ends.1, error))
        }
        .boxed()
    }
}

impl Transport for Door {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Connection>>;
    type Dial = <Boxed<Connection> as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        self.inner.dial(addr, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = futures::ready!(Pin::new(&mut self.inner).poll(cx));
        let ends = match &event {
            TransportEvent::Incoming { local_addr, send_back_addr, .. } => {
                Some((local_addr.clone(), send_back_addr.clone()))
            }
            TransportEvent::NewAddress { .. }
            | TransportEvent::AddressExpired { .. }
            | TransportEvent::ListenerClosed { .. }
            | TransportEvent::ListenerError { .. } => None,
        };
        Poll::Ready(event.map_upgrade(|upgrade| match ends {
            Some(ends) => self.receive(upgrade, ends),
            None => upgrade.boxed(), // only an incoming connection has an upgrade
        }))
    }
}

/// The address of the other end. Those that have none share one.
pub(crate) fn ip(addr: &Multiaddr) -> IpAddr {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(), // libp2p's enum is open
    }
}
