//! A segment: a closed, immutable set of games, the unit that nodes exchange and acknowledge.
//!
//! Invariant: whoever holds a [`Segment`] holds games that the rules replayed, all of one configuration and source,
//! none twice. Equal sets of games have equal bytes, and the bytes' hash is the segment's name.
//!
//! ```text
//! u32 length of the header frame, LE | header frame | zlib stream of the games by ascending id:
//!                                                      (u32 length of a game frame, LE | game frame)*
//! ```

use super::{
    record::{GameKind, GameRecord, Player, RECORD_BYTES_MAX, RecordError},
    validate::GameFacts,
};
use flate2::{Compression, bufread::ZlibDecoder, write::ZlibEncoder};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use wire::{Hash, WireError};

/// Most games of a segment.
pub const GAMES_MAX: usize = 256;
/// Largest segment.
pub const SEGMENT_BYTES_MAX: usize = 64 << 20;
/// Most bytes of a segment's games before compression.
pub const BODY_BYTES_MAX: usize = 128 << 20;

/// Frame kind of the header.
const KIND_HEADER: u8 = 0x21;
const HEADER_BYTES_MAX: usize = 1024;
/// Bytes of a length.
const LENGTH: usize = 4;

/// Which games a segment may hold. Append-only: the order is the encoding.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Games to learn from.
    Selfplay,
    /// Games of an evaluation: matches and baselines.
    Evaluation,
}

impl Source {
    /// All sources.
    pub const ALL: [Self; 2] = [Self::Selfplay, Self::Evaluation];

    /// The name in Raft commands and databases.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Selfplay => cluster_state::state_machine::SELFPLAY_SOURCE,
            Self::Evaluation => "evaluation",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }

    /// The source of a game of this kind.
    #[must_use]
    pub const fn of(kind: GameKind) -> Self {
        match kind {
            GameKind::Selfplay => Self::Selfplay,
            GameKind::Match | GameKind::Baseline => Self::Evaluation,
        }
    }
}

/// What a segment says about itself. [`Segment::open`] checks all of it against the games.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Configuration of every game.
    pub config_key: String,
    /// Source of every game.
    pub source: Source,
    /// A model that played in at least one of the games: the newest, or the candidate.
    pub model: Hash,
    /// The node that played every game.
    pub node: u64,
    /// Games.
    pub games: u32,
    /// Positions to learn from.
    pub samples: u64,
    /// Bytes of the games before compression.
    pub body_bytes: u64,
}

/// Why bytes are no segment, or games make none. A game is named by its place in the segment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SegmentError {
    /// More bytes than [`SEGMENT_BYTES_MAX`], or games of more than [`BODY_BYTES_MAX`].
    #[error("{bytes} bytes exceed the limit of {limit}")]
    TooLarge {
        /// Found.
        bytes: u64,
        /// Allowed.
        limit: usize,
    },
    /// Not 1 to [`GAMES_MAX`] games.
    #[error("{0} games, expected 1 to {GAMES_MAX}")]
    Games(usize),
    /// The header is unreadable.
    #[error("unreadable header")]
    Header(#[source] WireError),
    /// The bytes end early.
    #[error("truncated")]
    Truncated,
    /// The compressed games cannot be read.
    #[error("unreadable games: {0}")]
    Body(String),
    /// A game that the rules refuse.
    #[error("game {index}")]
    Game {
        /// Which.
        index: usize,
        /// Why.
        source: RecordError,
    },
    /// A game of another configuration, source or node than the segment.
    #[error("game {index}: its {what} differs from the segment's")]
    Stranger {
        /// Which.
        index: usize,
        /// What differs.
        what: &'static str,
    },
    /// A game that is in the segment already.
    #[error("game {index} ({id}) is there twice")]
    Duplicate {
        /// The second one.
        index: usize,
        /// The game.
        id: Hash,
    },
    /// The games are not sorted by id.
    #[error("game {index} is out of order")]
    Order {
        /// Which.
        index: usize,
    },
    /// The header's model played in no game.
    #[error("model {0} played in no game")]
    Model(Hash),
    /// The header's count is not that of the games.
    #[error("header says {claimed} {what}, there are {actual}")]
    Count {
        /// Of what.
        what: &'static str,
        /// In the header.
        claimed: u64,
        /// In the games.
        actual: u64,
    },
}

/// A validated game.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentGame {
    /// As it was played.
    pub record: GameRecord,
    /// What the rules say.
    pub facts: GameFacts,
}

/// A validated segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    hash: Hash,
    header: SegmentHeader,
    games: Vec<SegmentGame>,
    bytes: Vec<u8>,
}

impl Segment {
    /// Closes a segment over games that this node played. `model` is one that played in at least one of them.
    ///
    /// # Errors
    /// [`SegmentError`]; the order of the games does not matter.
    pub fn build(
        config_key: &str,
        source: Source,
        model: Hash,
        node: u64,
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
            config_key: config_key.to_owned(),
            source,
            model,
            node,
            games: games.len() as u32,
            samples: samples(&games),
            body_bytes: body.len() as u64,
        };
        check_set(&header, &games)?;
        let bytes = write(&header, &body)?;
        Ok(Self { hash: Hash::of(&bytes), header, games, bytes })
    }

    /// Reads a segment that anybody may have made, and replays every game of it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn open(bytes: Vec<u8>) -> Result<Self, SegmentError> {
        let header = Self::peek(&bytes)?;
        let body = &bytes[LENGTH + header_length(&bytes)?..];
        let mut body = Body { stream: ZlibDecoder::new(body), read: 0, limit: header.body_bytes };
        let mut games = Vec::with_capacity(header.games as usize);
        for index in 0..header.games as usize {
            let game = |source| SegmentError::Game { index, source };
            let record = GameRecord::from_bytes(&body.frame()?).map_err(game)?;
            let facts = record.validate().map_err(game)?;
            games.push(SegmentGame { record, facts });
        }
        body.end()?;
        check_set(&header, &games)?;
        Ok(Self { hash: Hash::of(&bytes), header, games, bytes })
    }

    /// The header of a segment whose games are not looked at, and so may be other than it says.
    ///
    /// # Errors
    /// [`SegmentError`] for what no segment starts with.
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

    /// The segment's name.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// What is in it.
    #[must_use]
    pub const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The games by ascending id.
    #[must_use]
    pub fn games(&self) -> &[SegmentGame] {
        &self.games
    }

    /// What is sent and kept.
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

/// What holds between a header and its games, which are valid each for itself.
fn check_set(header: &SegmentHeader, games: &[SegmentGame]) -> Result<(), SegmentError> {
    for (index, SegmentGame { record, facts }) in games.iter().enumerate() {
        let stranger = |what| Err(SegmentError::Stranger { index, what });
        if record.config != header.config_key {
            return stranger("configuration");
        }
        if Source::of(record.kind) != header.source {
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

/// The games of a stranger's segment, read one at a time and never beyond what the header announced.
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
        // Grows with what is really there, not with what is announced.
        let mut frame = Vec::new();
        let read = (&mut self.stream).take(u64::from(length)).read_to_end(&mut frame).map_err(unreadable)?;
        if read < length as usize { Err(SegmentError::Truncated) } else { Ok(frame) }
    }

    /// Nothing may follow the games, nor the stream.
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
