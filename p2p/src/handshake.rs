//! The handshake of a connection: both ends find a key that they share, prove it and their ids with Noise,
//! and the end that was dialled says whether the other may come in.
//!
//! Invariant: before Noise, a peer sends at most a few hundred bytes and no key. A connection is established
//! only after the end that was dialled has let the other in; if it does not, the other end learns why.
//!
//! ```text
//!   dialler ──► count, ids of its keys, the newest first     in clear; an id tells nothing of its key
//!   dialler ◄── place of the first that is known, or none
//!           Noise XX, with a prologue that is made of that key
//!   dialler ──► boot
//!   dialler ◄── verdict, and its reason as text
//! ```

use crate::{
    error::EntryRefusal,
    keys::{KEY_ID_BYTES, KeyId, KeyRing, OFFERED_MAX, RingKey},
};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, future::BoxFuture};
use libp2p::{
    PeerId,
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    noise,
};
use std::{io, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// The place that stands for no key.
const NONE: u8 = 0xff;
/// The longest reason of a verdict, in bytes.
const WHY_BYTES_MAX: usize = 255;

/// Whether a process may come in under the id of a peer: another one may have it. Asked of the service.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) peer: PeerId,
    pub(crate) boot: u64,
    /// Whether it may.
    pub(crate) answer: oneshot::Sender<bool>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Noise(#[from] noise::Error),
    #[error("the peer does not keep to the handshake: {0}")]
    Malformed(&'static str),
    /// The other end refuses; it has proved its id, unless it knows no key.
    #[error("{refusal}")]
    Refused { peer: Option<PeerId>, refusal: EntryRefusal },
    /// This end refuses.
    #[error("{peer} was refused: {refusal}")]
    TurnedAway { peer: PeerId, refusal: EntryRefusal },
    #[error("a peer without a key that is known here")]
    NoCommonKey,
}

/// The handshake of every connection of this node.
#[derive(Clone)]
pub(crate) struct Handshake {
    pub(crate) noise: noise::Config,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) boot: u64,
    pub(crate) questions: mpsc::Sender<Question>,
}

impl UpgradeInfo for Handshake {
    type Info = &'static str;
    type InfoIter = std::iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/ringrift/noise/1")
    }
}

type Secured<S> = (PeerId, noise::Output<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<S> for Handshake {
    type Output = Secured<S>;
    type Error = HandshakeError;
    type Future = BoxFuture<'static, Result<Secured<S>, HandshakeError>>;

    fn upgrade_outbound(self, socket: S, _: &'static str) -> Self::Future {
        self.dial(socket).boxed()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<S> for Handshake {
    type Output = Secured<S>;
    type Error = HandshakeError;
    type Future = BoxFuture<'static, Result<Secured<S>, HandshakeError>>;

    fn upgrade_inbound(self, socket: S, _: &'static str) -> Self::Future {
        self.receive(socket).boxed()
    }
}

impl Handshake {
    async fn dial<S>(self, mut socket: S) -> Result<Secured<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let offered = self.keys.offer();
        let ids: Vec<KeyId> = offered.iter().map(|key| key.id).collect();
        socket.write_all(&encode_offer(&ids)).await?;
        socket.flush().await?;
        let key = match read_byte(&mut socket).await? {
            NONE => return Err(HandshakeError::Refused { peer: None, refusal: EntryRefusal::UnknownKey }),
            place => offered.get(usize::from(place)).ok_or(HandshakeError::Malformed("no such key"))?,
        };
        let noise = self.noise.with_prologue(key.prologue.to_vec());
        let (peer, mut stream) = noise.upgrade_outbound(socket, "").await?;
        stream.write_all(&self.boot.to_be_bytes()).await?;
        stream.flush().await?;
        match read_verdict(&mut stream).await? {
            Ok(()) => {}
            Err(refusal) => return Err(HandshakeError::Refused { peer: Some(peer), refusal }),
        }
        match self.keys.admit(&peer, key) {
            Err(refusal @ EntryRefusal::ShutOut(_)) => Err(HandshakeError::TurnedAway { peer, refusal }),
            Ok(()) | Err(EntryRefusal::UnknownKey | EntryRefusal::Duplicate | EntryRefusal::Closed(_)) => {
                Ok((peer, stream))
            }
        }
    }

    async fn receive<S>(self, mut socket: S) -> Result<Secured<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let named = read_offer(&mut socket).await?;
        let Some((place, key)) = self.keys.choose(&named) else {
            socket.write_all(&[NONE]).await?;
            socket.close().await?;
            return Err(HandshakeError::NoCommonKey);
        };
        let place = u8::try_from(place).map_err(|_| HandshakeError::Malformed("too many keys"))?;
        socket.write_all(&[place]).await?;
        socket.flush().await?;
        let noise = self.noise.clone().with_prologue(key.prologue.to_vec());
        let (peer, mut stream) = noise.upgrade_inbound(socket, "").await?;
        let mut boot = [0; 8];
        stream.read_exact(&mut boot).await?;
        let verdict = self.judge(peer, u64::from_be_bytes(boot), &key).await?;
        stream.write_all(&encode_verdict(&verdict)).await?;
        stream.flush().await?;
        match verdict {
            Ok(()) => Ok((peer, stream)),
            Err(refusal) => {
                stream.close().await?;
                Err(HandshakeError::TurnedAway { peer, refusal })
            }
        }
    }

    /// Whether a peer that has proved its id and the key may come in. An error means that this node ends.
    async fn judge(&self, peer: PeerId, boot: u64, key: &RingKey) -> io::Result<Result<(), EntryRefusal>> {
        if let Err(refusal) = self.keys.admit(&peer, key) {
            return Ok(Err(refusal));
        }
        let (answer, answered) = oneshot::channel();
        let stopped = || io::Error::other("the service has stopped");
        self.questions.send(Question { peer, boot, answer }).await.map_err(|_| stopped())?;
        let alone = answered.await.map_err(|_| stopped())?;
        // The answer may take a while, in which a peer may be shut out.
        Ok(if alone { self.keys.admit(&peer, key) } else { Err(EntryRefusal::Duplicate) })
    }
}

async fn read_byte(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<u8> {
    let mut byte = [0];
    socket.read_exact(&mut byte).await?;
    Ok(byte[0])
}

pub(crate) fn encode_offer(ids: &[KeyId]) -> Vec<u8> {
    let ids = &ids[..ids.len().min(OFFERED_MAX)];
    let count = u8::try_from(ids.len()).expect("few keys are named");
    std::iter::once(count).chain(ids.iter().flatten().copied()).collect()
}

pub(crate) async fn read_offer(socket: &mut (impl AsyncRead + Unpin)) -> Result<Vec<KeyId>, HandshakeError> {
    let count = usize::from(read_byte(socket).await?);
    if !(1..=OFFERED_MAX).contains(&count) {
        return Err(HandshakeError::Malformed("it names no keys, or too many"));
    }
    let mut bytes = [0; OFFERED_MAX * KEY_ID_BYTES];
    let bytes = &mut bytes[..count * KEY_ID_BYTES];
    socket.read_exact(bytes).await?;
    Ok(bytes.as_chunks().0.to_vec())
}

pub(crate) fn encode_verdict(verdict: &Result<(), EntryRefusal>) -> Vec<u8> {
    let (code, why) = match verdict {
        Ok(()) => (0, ""),
        Err(EntryRefusal::ShutOut(why)) => (1, why.as_str()),
        Err(EntryRefusal::Duplicate) => (2, ""),
        Err(EntryRefusal::Closed(why)) => (3, why.as_str()),
        Err(EntryRefusal::UnknownKey) => (4, ""), // it is said before, with no place
    };
    let end = (0..=why.len().min(WHY_BYTES_MAX)).rev().find(|end| why.is_char_boundary(*end));
    let why = &why[..end.unwrap_or_default()];
    let length = u8::try_from(why.len()).expect("a reason is bounded");
    [&[code, length], why.as_bytes()].concat()
}

pub(crate) async fn read_verdict(
    socket: &mut (impl AsyncRead + Unpin),
) -> Result<Result<(), EntryRefusal>, HandshakeError> {
    let (code, length) = (read_byte(socket).await?, read_byte(socket).await?);
    let mut why = [0; WHY_BYTES_MAX];
    let why = &mut why[..usize::from(length)];
    socket.read_exact(why).await?;
    let why = || -> String {
        // It is shown to people, so it may not steer their terminal.
        String::from_utf8_lossy(why).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    };
    match code {
        0 => Ok(Ok(())),
        1 => Ok(Err(EntryRefusal::ShutOut(why()))),
        2 => Ok(Err(EntryRefusal::Duplicate)),
        3 => Ok(Err(EntryRefusal::Closed(why()))),
        4 => Ok(Err(EntryRefusal::UnknownKey)),
        _ => Err(HandshakeError::Malformed("no such verdict")),
    }
}

#[cfg(test)]
mod tests;
