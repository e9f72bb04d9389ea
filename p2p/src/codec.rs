//! The framing of requests and answers: raw bytes behind a length.
//!
//! Invariant: a length is checked against the limit of the class before anything is read, and memory grows
//! only with the bytes that have arrived.

use crate::{class::Class, permits::PeerPermit};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use std::io;
use tokio::sync::oneshot;

/// What the peer that was asked sends back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Responded {
    Answer(Vec<u8>),
    /// Its queue is full, or it does not serve this class.
    Busy,
    /// It took the request and gave no answer.
    Dropped,
}

/// An answer, and a permit that is given back once the connection has taken the answer.
#[derive(Debug)]
pub(crate) struct AnswerBytes {
    pub(crate) bytes: Vec<u8>,
    pub(crate) permit: Option<PeerPermit>,
}

/// An answer that may not be there yet. The stream awaits it itself, which saves a turn of the swarm's loop.
#[derive(Debug)]
pub(crate) enum PendingReply {
    Ready(Responded),
    Later(oneshot::Receiver<AnswerBytes>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RawCodec {
    bytes_max: usize,
}

impl RawCodec {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self { bytes_max }
    }

    pub(crate) const fn of(class: Class) -> Self {
        Self::new(class.bytes_max())
    }

    async fn read<T: AsyncRead + Unpin + Send>(self, io: &mut T) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        io.read_exact(&mut length).await?;
        let length = u32::from_le_bytes(length) as usize;
        if length > self.bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("message of {length} bytes exceeds the limit of {}", self.bytes_max),
            ));
        }
        let mut bytes = Vec::with_capacity(length.min(64 * 1024));
        io.take(length as u64).read_to_end(&mut bytes).await?;
        if bytes.len() != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    async fn write<T: AsyncWrite + Unpin + Send>(self, io: &mut T, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= self.bytes_max);
        let length = length.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        io.write_all(&length.to_le_bytes()).await?;
        io.write_all(bytes).await
    }
}

const ANSWER: u8 = 0;
const BUSY: u8 = 1;
const DROPPED: u8 = 2;

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = PendingReply;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<PendingReply>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [0];
        io.read_exact(&mut status).await?;
        Ok(PendingReply::Ready(match status[0] {
            ANSWER => Responded::Answer(self.read(io).await?),
            BUSY => Responded::Busy,
            DROPPED => Responded::Dropped,
            other => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("unknown status {other}")));
            }
        }))
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, &bytes).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        reply: PendingReply,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let (outcome, permit) = match reply {
            PendingReply::Ready(outcome) => (outcome, None),
            PendingReply::Later(answer) => match answer.await {
                Ok(answer) => (Responded::Answer(answer.bytes), answer.permit),
                Err(_) => (Responded::Dropped, None),
            },
        };
        match outcome {
            Responded::Answer(bytes) => {
                io.write_all(&[ANSWER]).await?;
                self.write(io, &bytes).await?;
                drop(permit);
                Ok(())
            }
            Responded::Busy => io.write_all(&[BUSY]).await,
            Responded::Dropped => io.write_all(&[DROPPED]).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{executor::block_on, io::Cursor};
    use libp2p::request_response::Codec;
    use proptest::prelude::*;

    const P: StreamProtocol = StreamProtocol::new("/test/1");

    fn respond(outcome: Responded) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        block_on(RawCodec::new(100).write_response(&P, &mut out, PendingReply::Ready(outcome))).unwrap();
        out.into_inner()
    }

    fn response(bytes: &[u8]) -> io::Result<Responded> {
        match block_on(RawCodec::new(100).read_response(&P, &mut Cursor::new(bytes)))? {
            PendingReply::Ready(outcome) => Ok(outcome),
            PendingReply::Later(_) => panic!("a read response is complete"),
        }
    }

    #[test]
    fn limits_are_checked_before_reading() {
        let mut out = Cursor::new(Vec::new());
        assert!(block_on(RawCodec::new(9).write_request(&P, &mut out, vec![0; 10])).is_err());
        let lying = u32::MAX.to_le_bytes();
        let error = block_on(RawCodec::new(9).read_request(&P, &mut Cursor::new(&lying[..]))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let short = [5, 0, 0, 0, 1, 2];
        let error = block_on(RawCodec::new(9).read_request(&P, &mut Cursor::new(&short[..]))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_dropped_reply_is_told() {
        let (answer, later) = oneshot::channel::<AnswerBytes>();
        drop(answer);
        let mut out = Cursor::new(Vec::new());
        block_on(RawCodec::new(9).write_response(&P, &mut out, PendingReply::Later(later))).unwrap();
        assert_eq!(response(&out.into_inner()).unwrap(), Responded::Dropped);
    }

    proptest! {
        #[test]
        fn round_trip(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for outcome in [Responded::Answer(bytes.clone()), Responded::Busy, Responded::Dropped] {
                prop_assert_eq!(response(&respond(outcome.clone())).unwrap(), outcome);
            }
            let mut out = Cursor::new(Vec::new());
            block_on(RawCodec::new(100).write_request(&P, &mut out, bytes.clone())).unwrap();
            out.set_position(0);
            prop_assert_eq!(block_on(RawCodec::new(100).read_request(&P, &mut out)).unwrap(), bytes);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..150)) {
            if let Ok(Responded::Answer(answer)) = response(&bytes) {
                prop_assert!(answer.len() <= 100);
            }
            if let Ok(request) = block_on(RawCodec::new(100).read_request(&P, &mut Cursor::new(&bytes[..]))) {
                prop_assert!(request.len() <= 100);
            }
        }
    }
}
