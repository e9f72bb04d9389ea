//! What this crate reads from strangers and from its files, as functions of bytes, for `tests/fuzz`.
//!
//! Invariant: each function reads as the service does. Where a value can be written again, it returns what
//! writes it; none stands for bytes that are refused.

use crate::{
    addrs::transport_part,
    blobs::{Outline, outline, sharing},
    bootstrap::Bootstrap,
    codec::{PendingReply, RawCodec, Responded},
    handshake::{encode_offer, encode_verdict, read_offer, read_verdict},
    hello::{self, Hello},
    identity,
    transfer::protocol::{self, BlobAnswer, BlobQuestion},
};
use futures::{executor::block_on, io::Cursor};
use libp2p::{Multiaddr, StreamProtocol, request_response::Codec};
use std::time::Instant;

/// The kind of a frame, and its largest body in bytes.
pub const HELLO: (u8, usize) = (hello::HELLO, hello::HELLO_BYTES_MAX);
/// As [`HELLO`].
pub const ANNOUNCE: (u8, usize) = (hello::ANNOUNCE, hello::ANNOUNCE_BYTES_MAX);
/// As [`HELLO`].
pub const ASK: (u8, usize) = (protocol::ASK, protocol::ASK_BYTES_MAX);
/// As [`HELLO`].
pub const OUTLINE: (u8, usize) = (outline::OUTLINE, outline::OUTLINE_BYTES_MAX);

const PROTOCOL: StreamProtocol = StreamProtocol::new("/fuzz/1");

/// The bytes of a request on a stream whose class allows `bytes_max`.
pub fn request(bytes_max: usize, stream: &[u8]) -> Option<Vec<u8>> {
    block_on(RawCodec::new(bytes_max).read_request(&PROTOCOL, &mut Cursor::new(stream))).ok()
}

/// The bytes of an answer on a stream whose class allows `bytes_max`.
pub fn response(bytes_max: usize, stream: &[u8]) -> Option<Vec<u8>> {
    let read = block_on(RawCodec::new(bytes_max).read_response(&PROTOCOL, &mut Cursor::new(stream)));
    match read.ok()? {
        PendingReply::Ready(Responded::Answer(bytes)) => Some(bytes),
        PendingReply::Ready(Responded::Busy | Responded::Dropped) => Some(Vec::new()),
        PendingReply::Later(_) => None,
    }
}

/// The keys that a peer names when it dials.
pub fn offer(stream: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let ids = block_on(read_offer(&mut Cursor::new(stream))).ok()?;
    Some(move || encode_offer(&ids))
}

/// Whether the peer that was dialled lets the other in.
pub fn verdict(stream: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let verdict = block_on(read_verdict(&mut Cursor::new(stream))).ok()?;
    Some(move || encode_verdict(&verdict))
}

/// A hello.
pub fn hello(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    Hello::decode(bytes).map(|hello| move || hello.encode())
}

/// An announcement of addresses.
pub fn announce(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    hello::decode_announce(bytes).map(|addrs| move || hello::encode_announce(&addrs))
}

/// The file of the identity.
pub fn identity(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let key = identity::parse(bytes).ok()?.try_into_ed25519().ok()?;
    Some(move || identity::render(&key))
}

/// A question about content.
pub fn blob_question(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    BlobQuestion::decode(bytes).map(|question| move || question.encode())
}

/// A question of each kind about this content, with its name.
#[must_use]
pub fn blob_questions(content: wire::Hash) -> Vec<(String, Vec<u8>)> {
    let first = BlobQuestion::Has(content);
    let rest = std::iter::successors(Some(first), |asked| match asked {
        BlobQuestion::Has(hash) => Some(BlobQuestion::Outline(*hash)),
        BlobQuestion::Outline(hash) => Some(BlobQuestion::Piece(*hash, 0)),
        BlobQuestion::Piece(hash, _) => Some(BlobQuestion::Pieces(*hash)),
        BlobQuestion::Pieces(_) => None,
    });
    rest.map(|question| (format!("{question:?}"), question.encode())).collect()
}

/// An answer to such a question; pieces are those of a content of `count` pieces.
pub fn blob_answer(bytes: Vec<u8>, count: usize) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let answer = BlobAnswer::decode(bytes)?;
    if let BlobAnswer::Pieces(bits) = &answer {
        let _ = sharing::unpack(bits, count);
    }
    Some(move || answer.encode())
}

/// A list of pieces, whatever content it is of.
pub fn outline(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let outline = Outline::of_some(bytes)?;
    for index in 0..=outline.count() {
        let within = |(begin, length): (u64, usize)| begin + length as u64 <= outline.size();
        assert_eq!(outline.range(index).is_some_and(within), index < outline.count());
    }
    Some(move || outline.encode().expect("an outline is bounded"))
}

/// An address to join with, or to listen on.
pub fn address(text: &str) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let addr: Multiaddr = text.parse().ok()?;
    let _ = transport_part(&addr);
    let _ = Bootstrap::new(addr.clone(), Instant::now());
    Some(move || addr.to_string().into_bytes())
}

/// The file of an identity with this key, which need not be one.
pub fn identity_file(key: &[u8]) -> Vec<u8> {
    let covered = [&identity::MAGIC[..], key].concat();
    let checksum = blake3::hash(&covered);
    [covered.as_slice(), checksum.as_bytes()].concat()
}
