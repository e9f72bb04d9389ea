//! What only this package reads, as functions of bytes, for `tests/fuzz`. What is public anyway is not here.
//!
//! Invariant: each function reads as the node does. Where a value can be written again, it returns what
//! writes it; none stands for bytes that are refused.

use crate::{
    api::dead_letters::NodeLetters,
    cli::engine,
    config::Settings,
    daemons::health::claims::Claim,
    events::{
        Logged,
        envelope::Envelope,
        equivocation::Equivocation,
        repair::{self, RepairQuestion},
    },
    http::{
        operator,
        range::{self, ByteRange},
    },
    node::addresses,
    peer::{
        announcements,
        control::{self, Control},
        letters::{self, LettersRequest},
        pass,
        transfer::http::reachable,
    },
    store::{GameRecord, admission, folder, games, token},
};
use p2p::Signer;
use serde::de::DeserializeOwned;
use std::{io, ops::Range};
use wire::Hash;

/// The frames that this package reads: their kinds, and the largest body of each in bytes.
pub mod frames {
    use crate::{
        events::{envelope, equivocation, repair},
        peer::{announcements, control, letters},
        store::{record, segment},
    };

    pub const MANIFEST: (u8, usize) = (announcements::KIND, announcements::BYTES_MAX);
    pub const CONTROL: (u8, usize) = (control::REQUEST, control::BYTES_MAX);
    pub const CONTROL_ANSWER: (u8, usize) = (control::ANSWER, control::BYTES_MAX);
    pub const ASK: (u8, usize) = (letters::ASK, letters::ASK_BYTES_MAX);
    pub const TOLD: (u8, usize) = (letters::TOLD, letters::TOLD_BYTES_MAX);
    pub const ENVELOPE: (u8, usize) = (envelope::ENVELOPE, envelope::EVENT_BYTES_MAX);
    pub const SIGNED: (u8, usize) = (envelope::SIGNED, envelope::SIGNED_BYTES_MAX);
    pub const PROOF: (u8, usize) = (equivocation::PROOF, equivocation::PROOF_BYTES_MAX);
    pub const QUESTION: (u8, usize) = (repair::QUESTION, repair::FRAME_BYTES_MAX);
    pub const ANSWER: (u8, usize) = (repair::ANSWER, repair::FRAME_BYTES_MAX);
    pub const GAME: (u8, usize) = (record::KIND_GAME, record::RECORD_BYTES_MAX);
    pub const GAME_BARE: (u8, usize) = (record::KIND_GAME_BARE, record::RECORD_BYTES_MAX);
    pub const SEGMENT_HEADER: (u8, usize) = (segment::KIND_HEADER, segment::HEADER_BYTES_MAX);
}

/// The largest of the small files of a data folder, in bytes.
pub const FILE_BYTES_MAX: usize = folder::FILE_BYTES_MAX as usize;

/// The announcement of a model.
pub fn manifest(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let manifest = announcements::read(bytes).ok()?;
    Some(move || {
        wire::encode(announcements::KIND, &manifest, announcements::BYTES_MAX)
            .expect("it was as large before")
    })
}

/// A request to keep a segment.
pub fn control(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let request = Control::read(bytes).ok()?;
    Some(move || request.encode().expect("it was as large before"))
}

/// The answer to such a request.
pub fn control_answer(bytes: &[u8]) -> Result<(), String> {
    Control::read_kept(bytes).map(drop)
}

/// A request of each kind that nodes send each other, apart from Raft and content, with its name and the
/// frame kind of its answer.
#[must_use]
pub fn node_requests(content: Hash) -> Vec<(String, u8, Vec<u8>)> {
    let keep = Control::Keep { hash: content };
    let asks = std::iter::successors(Some(LettersRequest::List { after: 0 }), |ask| match ask {
        LettersRequest::List { .. } => Some(LettersRequest::Replay { max_age_hours: 1 }),
        LettersRequest::Replay { .. } => Some(LettersRequest::Purge { max_age_hours: None }),
        LettersRequest::Purge { .. } => None,
    });
    let asks = asks.map(|ask| {
        let bytes = wire::encode(letters::ASK, &ask, letters::ASK_BYTES_MAX).expect("it is small");
        (format!("{ask:?}"), letters::TOLD, bytes)
    });
    let question = RepairQuestion::default().encode().expect("it is small");
    let Control::Keep { .. } = keep;
    let control = (format!("{keep:?}"), control::ANSWER, keep.encode().expect("it is small"));
    let question = ("Question".to_owned(), repair::ANSWER, question);
    [control, question].into_iter().chain(asks).collect()
}

/// A proof that an origin said two things under one number.
pub fn proof(bytes: &[u8]) -> Option<Equivocation> {
    Equivocation::decode(bytes).ok()
}

/// A request about dead letters.
pub fn ask(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let ask = LettersRequest::read(bytes).ok()?;
    Some(move || wire::encode(letters::ASK, &ask, letters::ASK_BYTES_MAX).expect("it was as large before"))
}

/// The answer to such a request.
pub fn told(bytes: &[u8]) -> Option<NodeLetters<Logged>> {
    letters::read(bytes).ok()
}

/// An envelope, whoever signed it.
pub fn envelope(bytes: &[u8]) -> Option<Envelope> {
    Envelope::decode(bytes).ok()
}

/// A stored game.
pub fn stored_game(id: Hash, body: &[u8]) -> Option<GameRecord> {
    games::unpack(id, body).ok()
}

/// The largest body of a request over HTTP, in bytes.
pub const BODY_BYTES_MAX: usize = operator::BODY_BYTES_MAX;

/// The body of a request over HTTP.
pub fn order<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    operator::read(body).ok()
}

/// The header `Range`; none: it asks for everything, or for nothing that is there.
#[must_use]
pub fn range(header: &str, size: u64) -> Option<Range<u64>> {
    match range::parse(Some(header), size) {
        ByteRange::Bytes(bytes) => Some(bytes),
        ByteRange::All | ByteRange::Outside => None,
    }
}

/// The settings.
#[must_use]
pub fn settings(text: &str) -> Option<Settings> {
    Settings::parse(text).ok()
}

/// The file `format` of a data folder.
#[must_use]
pub fn format(content: &[u8]) -> bool {
    folder::is_format(content)
}

/// The file with the addresses of last time.
#[must_use]
pub fn addresses(content: &[u8]) -> usize {
    addresses::kept(content).len()
}

/// The file with the secret of the cluster.
#[must_use]
pub fn secret(content: &[u8]) -> bool {
    admission::parse_secret(content).is_ok()
}

/// The file with the operator's token, and a header that shows one.
#[must_use]
pub fn token(content: &str) -> bool {
    token::is_token(content) && token::allows(content, Some(content))
}

/// The header with the pass of a member; everybody is one here.
#[must_use]
pub fn pass(header: &str, me: &str, path: &str, now_ms: u64) -> bool {
    pass::is_members(header, me, path, now_ms, |_| true)
}

/// The pass of `signer` to the node `to`.
#[must_use]
pub fn signed_pass(signer: &Signer, to: &str, path: &str, at_ms: u64) -> String {
    pass::write(signer, to, path, at_ms)
}

/// A claim of an operator, as it is stored.
pub fn claim(text: &str) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let claim = Claim::parse(text).ok()?;
    Some(move || serde_json::to_vec(&claim).expect("plain data has a JSON form"))
}

/// The address that a node announces for its HTTP interface.
#[must_use]
pub fn http_address(url: &str, addrs: &[String]) -> bool {
    reachable(url, addrs, false).is_some() || reachable(url, addrs, true).is_some()
}

/// A conversation with the engine.
///
/// # Errors
/// None, because memory neither fails nor ends early.
pub fn engine(mut input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    engine::serve(&mut input, output)
}
