//! A segment: a closed set of games that never changes. Nodes exchange and acknowledge games by segment.
//!
//! Invariant: the games of a [`Segment`] were replayed by the rules, are all of one configuration and source,
//! and occur once. Equal sets of games have equal bytes, and the hash of the bytes is the segment's name.
//!
//! ```text
//! u32 length of the header frame, LE | header frame | zlib stream of the games by ascending id:
//!                                                      (u32 length of a game frame, LE | game frame)*
//! ```

mod error;

pub use error::SegmentError;

use super::{
    record::{GameKind, GameRecord, Player, RECORD_BYTES_MAX},
    validate::GameFacts,
};
use cluster_state::{ConfigKey, ModelId, NodeId, SegmentFacts, SegmentId, Source};
use flate2::{Compression, bufread::ZlibDecoder, write::ZlibEncoder};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use wire::{Hash, WireError};

/// The most games of a segment.
pub const GAMES_MAX: usize = 256;
/// The largest segment, in bytes: the cluster registers no larger one.
pub const SEGMENT_BYTES_MAX: usize = cluster_state::SEGMENT_BYTES_MAX as usize;
/// The most bytes of a segment's games before compression.
pub const BODY_BYTES_MAX: usize = 128 << 20;

/// The kind of the header's frame.
pub(crate) const KIND_HEADER: u8 = 0x21;
pub(crate) const HEADER_BYTES_MAX: usize = 1024;
/// The number of bytes of a length.
const LENGTH: usize = 4;

/// The source of a game of this kind.
const fn source_of(kind: GameKind) -> Source {
    match kind {
        GameKind::Selfplay => Source::Selfplay,
        GameKind::Match | GameKind::Baseline => Source::Evaluation,
    }
}

/// The source in a header, which is one of two numbers: a segment holds no games of an unknown source.
mod source_number {
    use super::Source;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};

    /// Append-only: the order is the encoding.
    #[derive(Serialize, Deserialize)]
    enum Number {
        Selfplay,
        Evaluation,
    }

    pub(super) fn serialize<S: Serializer>(source: &Source, serializer: S) -> Result<S::Ok, S::Error> {
        match source {
            Source::Selfplay => Number::Selfplay.serialize(serializer),
            Source::Evaluation => Number::Evaluation.serialize(serializer),
            Source::Other(_) => Err(S::Error::custom("a segment holds no games of an unknown source")),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Source, D::Error> {
        Ok(match Number::deserialize(deserializer)? {
            Number::Selfplay => Source::Selfplay,
            Number::Evaluation => Source::Evaluation,
        })
    }
}

/// What a segment says about its games. [`Segment::open`] checks all of it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The configuration of every game.
    pub config_key: ConfigKey,
    /// The source of every game.
    #[serde(with = "source_number")]
    pub source: Source,
    /// A model that played in at least one of the games: the newest one, or the candidate.
    pub model: ModelId,
    /// The node that played every game.
    pub node: NodeId,
    /// The number of games.
    pub games: u32,
    /// The number of positions to learn from.
    pub samples: u64,
    /// The size of the games before compression, in bytes.
    pub body_bytes: u64,
}

/// A validated game.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentGame {
    pub record: GameRecord,
    /// What the rules say about it.
    pub facts: GameFacts,
}

/// A validated segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    hash: SegmentId,
    header: SegmentHeader,
    games: Vec<SegmentGame>,
    bytes: Vec<u8>,
}

impl Segment {
    /// Makes a segment of games that this node played, in any order. `model` is one that played in at least
    /// one of them.
    pub fn build(
        config_key: &ConfigKey,
        source: Source,
        model: ModelId,
        node: NodeId,
        records: Vec<GameRecord>,
    ) -> Result<Self, SegmentError> {
        check_games(records.len())?;
        let mut games = Vec::with_capacity(records.len());
        for (index, record) in records.into_iter().enumerate() {
            let facts = record.validate().map_err(|source| SegmentError::Game { index, source })?;
            games.push(SegmentGame { record, facts });
        }
        games.sort_by_key(|game| game.facts.id);
        let mut body = Vec::new();
        for (index, SegmentGame { record, .. }) in games.iter().enumerate() {
            let frame = record.to_bytes().map_err(|source| SegmentError::Game { index, source })?;
            body.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            body.extend_from_slice(&frame);
            check_size(body.len() as u64, BODY_BYTES_MAX)?;
        }
        let header = SegmentHeader {
            config_key: config_key.clone(),
            source,
            model,
            node,
            games: games.len() as u32,
            samples: samples(&games),
            body_bytes: body.len() as u64,
        };
        check_set(&header, &games)?;
        let bytes = write(&header, &body)?;
        Ok(Self { hash: SegmentId(Hash::of(&bytes)), header, games, bytes })
    }

    /// Reads a segment that anybody may have made, and replays every game of it. The error is the first thing
    /// that is wrong with it.
    pub fn open(bytes: Vec<u8>) -> Result<Self, SegmentError> {
        let (header, records) = Self::read(&bytes)?;
        let mut games = Vec::with_capacity(records.len());
        for (index, record) in records.into_iter().enumerate() {
            let facts = record.validate().map_err(|source| SegmentError::Game { index, source })?;
            games.push(SegmentGame { record, facts });
        }
        check_set(&header, &games)?;
        Ok(Self { hash: SegmentId(Hash::of(&bytes)), header, games, bytes })
    }

    /// Reads the header and the games of a segment that anybody may have made, and replays none of them.
    pub fn read(bytes: &[u8]) -> Result<(SegmentHeader, Vec<GameRecord>), SegmentError> {
        let header = Self::peek(bytes)?;
        let body = &bytes[LENGTH + header_length(bytes)?..];
        let mut body = Body { stream: ZlibDecoder::new(body), read: 0, limit: header.body_bytes };
        let mut records = Vec::with_capacity(header.games as usize);
        for index in 0..header.games as usize {
            let record = GameRecord::from_bytes(&body.frame()?);
            records.push(record.map_err(|source| SegmentError::Game { index, source })?);
        }
        body.end()?;
        Ok((header, records))
    }

    /// Reads only the header of a segment. The games may be others than it says.
    pub fn peek(bytes: &[u8]) -> Result<SegmentHeader, SegmentError> {
        check_size(bytes.len() as u64, SEGMENT_BYTES_MAX)?;
        let end = LENGTH + header_length(bytes)?;
        let frame = bytes.get(LENGTH..end).ok_or(SegmentError::Truncated)?;
        let header: SegmentHeader =
            wire::decode::<_, HEADER_BYTES_MAX>(KIND_HEADER, frame).map_err(SegmentError::Header)?;
        check_games(header.games as usize)?;
        check_size(header.body_bytes, BODY_BYTES_MAX)?;
        Ok(header)
    }

    /// The name of the segment: the hash of its bytes.
    #[must_use]
    pub const fn hash(&self) -> SegmentId {
        self.hash
    }

    #[must_use]
    pub const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// What the cluster is told about the segment.
    #[must_use]
    pub fn facts(&self) -> SegmentFacts<'_> {
        SegmentFacts {
            hash: self.hash,
            config_key: &self.header.config_key,
            games: self.header.games.into(),
            samples: self.header.samples,
            bytes: self.bytes.len() as u64,
            source: &self.header.source,
            model: self.header.model,
        }
    }

    /// The games by ascending id.
    #[must_use]
    pub fn games(&self) -> &[SegmentGame] {
        &self.games
    }

    /// [`Self::games`] without a copy.
    #[must_use]
    pub fn into_games(self) -> Vec<SegmentGame> {
        self.games
    }

    /// The encoded segment, as it is sent and kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// [`Self::bytes`] without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn check_size(bytes: u64, limit: usize) -> Result<(), SegmentError> {
    if bytes > limit as u64 { Err(SegmentError::TooLarge { bytes, limit }) } else { Ok(()) }
}

fn check_games(games: usize) -> Result<(), SegmentError> {
    if (1..=GAMES_MAX).contains(&games) { Ok(()) } else { Err(SegmentError::Games(games)) }
}

fn header_length(bytes: &[u8]) -> Result<usize, SegmentError> {
    let length = bytes.first_chunk::<LENGTH>().ok_or(SegmentError::Truncated)?;
    let length = u32::from_le_bytes(*length) as usize;
    let limit = HEADER_BYTES_MAX + wire::OVERHEAD;
    if length > limit {
        return Err(SegmentError::Header(WireError::TooLarge { size: length, limit }));
    }
    Ok(length)
}

fn samples(games: &[SegmentGame]) -> u64 {
    games.iter().map(|game| u64::from(game.facts.samples)).sum()
}

/// Checks the header against its games, each of which is valid by itself.
fn check_set(header: &SegmentHeader, games: &[SegmentGame]) -> Result<(), SegmentError> {
    for (index, SegmentGame { record, facts }) in games.iter().enumerate() {
        let stranger = |what| Err(SegmentError::Stranger { index, what });
        if record.config != header.config_key {
            return stranger("configuration");
        }
        if source_of(record.kind) != header.source {
            return stranger("source");
        }
        if record.node != header.node {
            return stranger("node");
        }
        match index.checked_sub(1).map(|before| games[before].facts.id) {
            Some(before) if before == facts.id => {
                return Err(SegmentError::Duplicate { index, id: facts.id });
            }
            Some(before) if before > facts.id => return Err(SegmentError::Order { index }),
            Some(_) | None => {}
        }
    }
    let count = |what, claimed, actual| {
        if claimed == actual { Ok(()) } else { Err(SegmentError::Count { what, claimed, actual }) }
    };
    count("games", u64::from(header.games), games.len() as u64)?;
    count("samples", header.samples, samples(games))?;
    let played = games.iter().any(|game| game.record.players.contains(&Player::Model(header.model)));
    if played { Ok(()) } else { Err(SegmentError::Model(header.model)) }
}

fn write(header: &SegmentHeader, body: &[u8]) -> Result<Vec<u8>, SegmentError> {
    let frame = wire::encode(KIND_HEADER, header, HEADER_BYTES_MAX).map_err(SegmentError::Header)?;
    let mut bytes = (frame.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&frame);
    let bytes = compress(bytes, body);
    check_size(bytes.len() as u64, SEGMENT_BYTES_MAX)?;
    Ok(bytes)
}

/// Appends `content` to `bytes` as a zlib stream.
pub(super) fn compress(bytes: Vec<u8>, content: &[u8]) -> Vec<u8> {
    let mut stream = ZlibEncoder::new(bytes, Compression::default());
    stream.write_all(content).and_then(|()| stream.finish()).expect("memory takes everything")
}

/// Reads the games of a segment that anybody may have made, one at a time, and never more bytes than the
/// header announced.
struct Body<'a> {
    stream: ZlibDecoder<&'a [u8]>,
    read: u64,
    limit: u64,
}

impl Body<'_> {
    fn frame(&mut self) -> Result<Vec<u8>, SegmentError> {
        let mut length = [0; LENGTH];
        self.stream.read_exact(&mut length).map_err(unreadable)?;
        let length = u32::from_le_bytes(length);
        let limit = RECORD_BYTES_MAX + wire::OVERHEAD;
        check_size(u64::from(length), limit)?;
        self.read += LENGTH as u64 + u64::from(length);
        if self.read > self.limit {
            return Err(SegmentError::Count { what: "bytes", claimed: self.limit, actual: self.read });
        }
        // The buffer grows with the bytes that are there, not with the length that is announced.
        let mut frame = Vec::new();
        let read = (&mut self.stream).take(u64::from(length)).read_to_end(&mut frame).map_err(unreadable)?;
        if read < length as usize { Err(SegmentError::Truncated) } else { Ok(frame) }
    }

    /// Checks that nothing follows the games, and nothing follows the stream.
    fn end(mut self) -> Result<(), SegmentError> {
        if self.read != self.limit {
            return Err(SegmentError::Count { what: "bytes", claimed: self.limit, actual: self.read });
        }
        let more = self.stream.read(&mut [0]).map_err(unreadable)?;
        if more > 0 || !self.stream.into_inner().is_empty() {
            return Err(SegmentError::Body("bytes after the last game".into()));
        }
        Ok(())
    }
}

fn unreadable(error: io::Error) -> SegmentError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SegmentError::Truncated,
        _ => SegmentError::Body(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
