//! The transport: TCP, the handshake with Noise inside, and yamux.
//!
//! Invariant: an inbound connection passes the [`Door`] first. A peer without a key of the cluster fails
//! inside the handshake, before any multiplexer or gossip code sees a byte from it.

use crate::{
    door::{Door, FirstBytes},
    handshake::{Handshake, Question},
    keys::KeyRing,
    lobby::Lobby,
};
use futures::{FutureExt, ready};
use libp2p::{
    PeerId, Transport,
    core::{
        muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent},
        transport::Boxed,
        upgrade::Version,
    },
    identity::Keypair,
    noise, tcp, yamux,
};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::mpsc;

/// How long an orderly close of a connection may take. The other end may be dead while the send buffer is
/// full; without a bound the swarm would call such a peer connected until TCP gives up, a quarter of an hour
/// later.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn build(
    key: &Keypair,
    keys: Arc<KeyRing>,
    (boot, questions): (u64, mpsc::Sender<Question>),
    lobby: Arc<Lobby>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let handshake = Handshake { noise: noise::Config::new(key)?, keys, boot, questions };
    let first_bytes = FirstBytes::default();
    let listen = first_bytes.clone();
    let inner = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(move |stream, point| listen.listen_to(stream, &point))
        .upgrade(Version::V1Lazy)
        .authenticate(handshake)
        .multiplex(yamux::Config::default())
        .timeout(HANDSHAKE_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(BoundedClose { muxer, deadline: None })))
        .boxed();
    Ok(Door { inner, lobby, first_bytes }.boxed())
}

/// A multiplexer whose close takes at most [`CLOSE_TIMEOUT`].
struct BoundedClose<M> {
    muxer: M,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<M> StreamMuxer for BoundedClose<M>
where
    M: StreamMuxer<Error: Send + Sync + 'static> + Unpin,
{
    type Substream = M::Substream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<M::Substream, io::Error>> {
        Pin::new(&mut self.muxer).poll_inbound(cx).map_err(io::Error::other)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Substream, io::Error>> {
        Pin::new(&mut self.muxer).poll_outbound(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        if let Poll::Ready(result) = Pin::new(&mut self.muxer).poll_close(cx) {
            return Poll::Ready(result.map_err(io::Error::other));
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)));
        ready!(deadline.poll_unpin(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, io::Error>> {
        Pin::new(&mut self.muxer).poll(cx).map_err(io::Error::other)
    }
}
