//! The one codec of the house, for the network and for disk, and the hash that names content.
//!
//! ```text
//! magic "RR" | u8 format version | u8 kind | u32 body length, LE | body | u32 CRC32C of all before it, LE
//! ```
//!
//! The body is bincode 2 with little-endian integers of fixed width. Enums in a body are append-only, and
//! their golden bytes are tested where they are defined.
//!
//! Invariant: no other crate names bincode, and what is decoded from bytes of a stranger takes no more memory
//! than the limit that the caller gives; while arrays grow, they may take twice as much.
//!
//! Reading order: [`encode`], [`decode`], `bounded`, which keeps account of memory, then `hash`.

mod bounded;
mod hash;

pub use hash::{Hash, HashParseError};
/// Reads and writes a field of bytes at once, where serde would take them one by one. The frame is the same.
pub use serde_bytes as bytes;

use bounded::{Account, Bounded};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, DeserializeSeed as _},
};
use std::marker::PhantomData;

/// The version of the frame format that this build writes and reads.
pub const FORMAT_VERSION: u8 = 1;
/// The number of bytes that a frame adds to its body.
pub const OVERHEAD: usize = HEADER + 4;

const MAGIC: [u8; 2] = *b"RR";
const HEADER: usize = 8;

/// Why a value could not be encoded, or why bytes are no valid frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// There are fewer bytes than the frame announces, or more.
    #[error("frame of {found} bytes, expected {expected}")]
    Length {
        /// The length that follows from the header.
        expected: usize,
        /// The length of the bytes that were given.
        found: usize,
    },
    /// The bytes do not begin with the magic of a frame.
    #[error("not a ringrift frame")]
    Magic,
    /// The frame has another format version than [`FORMAT_VERSION`].
    #[error("frame format version {0} is not supported")]
    Version(u8),
    /// The frame has another kind than the caller expects.
    #[error("frame kind {found}, expected {expected}")]
    Kind {
        /// The kind that the caller expects.
        expected: u8,
        /// The kind in the header.
        found: u8,
    },
    /// The body is larger than the caller allows.
    #[error("body of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// The size that the header announces, or that encoding produced.
        size: usize,
        /// The caller's limit.
        limit: usize,
    },
    /// The checksum does not match: the frame was damaged or cut.
    #[error("checksum mismatch")]
    Checksum,
    /// The body is not a value of the expected type.
    #[error("malformed body: {0}")]
    Body(String),
}

impl WireError {
    /// Whether a newer program may read what this one cannot: the frame has another version or kind, or it is
    /// whole and its body has a value that this program does not know.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        match self {
            Self::Version(_) | Self::Kind { .. } | Self::Body(_) => true,
            Self::Length { .. } | Self::Magic | Self::TooLarge { .. } | Self::Checksum => false,
        }
    }
}

fn config() -> bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Fixint> {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding()
}

/// Encodes `value` as a frame of `kind` whose body is at most `limit` bytes.
///
/// # Errors
/// [`WireError::TooLarge`], or [`WireError::Body`] for a value that serde cannot express.
pub fn encode<T: Serialize>(kind: u8, value: &T, limit: usize) -> Result<Vec<u8>, WireError> {
    let mut frame = vec![MAGIC[0], MAGIC[1], FORMAT_VERSION, kind, 0, 0, 0, 0];
    bincode::serde::encode_into_std_write(value, &mut frame, config())
        .map_err(|e| WireError::Body(e.to_string()))?;
    let size = frame.len() - HEADER;
    let length =
        u32::try_from(size).ok().filter(|_| size <= limit).ok_or(WireError::TooLarge { size, limit })?;
    frame[4..HEADER].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c(&frame);
    frame.extend_from_slice(&checksum.to_le_bytes());
    Ok(frame)
}

/// Decodes exactly one frame of `kind` whose body is at most `LIMIT` bytes, to a value that takes at most
/// `LIMIT` bytes in its sequences, maps and texts. No bytes may follow the frame.
///
/// # Errors
/// [`WireError`] for every malformed input. No input panics, or has more than `2 * LIMIT` bytes allocated.
pub fn decode<T: DeserializeOwned, const LIMIT: usize>(kind: u8, frame: &[u8]) -> Result<T, WireError> {
    let body = body(kind, frame, LIMIT)?;
    let (value, used) = value::<T, LIMIT>(body)?;
    if used != body.len() {
        return Err(WireError::Body(format!("{} bytes after the value", body.len() - used)));
    }
    Ok(value)
}

/// [`decode`] of a value that the body of one whole frame only begins with.
///
/// # Errors
/// As [`decode`].
pub fn decode_head<T: DeserializeOwned, const LIMIT: usize>(kind: u8, frame: &[u8]) -> Result<T, WireError> {
    value::<T, LIMIT>(body(kind, frame, LIMIT)?).map(|(value, _)| value)
}

/// The value at the beginning of a body, and how many bytes it took.
fn value<T: DeserializeOwned, const LIMIT: usize>(body: &[u8]) -> Result<(T, usize), WireError> {
    let account = Account::new(LIMIT);
    let seed = Bounded::new(PhantomData::<T>, &account);
    bincode::serde::seed_decode_from_slice(seed, body, config().with_limit::<LIMIT>())
        .map_err(|e| WireError::Body(e.to_string()))
}

/// Reads a value from any format, JSON for example, if the value takes at most `limit` bytes in its
/// sequences, maps and texts. The caller bounds the text; this bounds what a short text may become.
///
/// # Errors
/// Those of the format, and one of its own for a value that takes more.
pub fn within<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    limit: usize,
    deserializer: D,
) -> Result<T, D::Error> {
    Bounded::new(PhantomData::<T>, &Account::new(limit)).deserialize(deserializer)
}

/// The kind of a frame, read from its header alone; `None` if the bytes are too short or have another magic.
#[must_use]
pub fn kind(frame: &[u8]) -> Option<u8> {
    (frame.len() >= HEADER && frame[..2] == MAGIC).then(|| frame[3])
}

fn body(kind: u8, frame: &[u8], limit: usize) -> Result<&[u8], WireError> {
    if frame.len() < OVERHEAD {
        return Err(WireError::Length { expected: OVERHEAD, found: frame.len() });
    }
    if frame[..2] != MAGIC {
        return Err(WireError::Magic);
    }
    if frame[2] != FORMAT_VERSION {
        return Err(WireError::Version(frame[2]));
    }
    if frame[3] != kind {
        return Err(WireError::Kind { expected: kind, found: frame[3] });
    }
    let size = u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]) as usize;
    if size > limit {
        return Err(WireError::TooLarge { size, limit });
    }
    if frame.len() != size + OVERHEAD {
        return Err(WireError::Length { expected: size + OVERHEAD, found: frame.len() });
    }
    let (covered, checksum) = frame.split_at(HEADER + size);
    if crc32c::crc32c(covered).to_le_bytes() != checksum {
        return Err(WireError::Checksum);
    }
    Ok(&covered[HEADER..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
    enum Message {
        Ping(u64),
        Text { name: String, tags: Vec<Option<u32>> },
    }

    #[test]
    fn bytes_at_once_are_the_same_frame() {
        #[derive(Serialize, Deserialize, Debug, PartialEq)]
        struct OneByOne(Vec<u8>);
        #[derive(Serialize, Deserialize, Debug, PartialEq)]
        struct AtOnce(#[serde(with = "crate::bytes")] Vec<u8>);
        for bytes in [vec![], vec![7], (0..200).collect()] {
            let frame = encode(7, &OneByOne(bytes.clone()), 256).unwrap();
            assert_eq!(encode(7, &AtOnce(bytes.clone()), 256).unwrap(), frame);
            assert_eq!(decode::<AtOnce, 256>(7, &frame), Ok(AtOnce(bytes)));
            let refused = decode::<AtOnce, 256>(7, &frame[..frame.len() - 1]);
            assert!(refused.is_err());
        }
        let more = encode(7, &u64::MAX, 256).unwrap();
        assert!(matches!(decode::<AtOnce, 256>(7, &more), Err(WireError::Body(_))), "announced, not there");
        let value = serde_json::from_str::<serde_json::Value>("[1, 2, 3]").unwrap();
        assert_eq!(within::<AtOnce, _>(3, &value).unwrap(), AtOnce(vec![1, 2, 3]));
        assert!(within::<AtOnce, _>(2, &value).is_err());
    }

    #[test]
    fn golden_bytes() {
        let frame = encode(7, &Message::Ping(258), 64).unwrap();
        assert_eq!(hex(&frame), "525201070c000000000000000201000000000000edf30560");
    }

    #[test]
    fn a_head_is_read_where_more_follows() {
        let frame = encode(7, &(258u64, "more"), 64).unwrap();
        assert_eq!(decode_head::<u64, 64>(7, &frame), Ok(258));
        assert!(decode::<u64, 64>(7, &frame).is_err());
        assert!(decode_head::<(u64, String, u64), 64>(7, &frame).is_err());
        assert!(decode_head::<u64, 64>(8, &frame).is_err());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn refusals() {
        let good = encode(1, &Message::Ping(1), 64).unwrap();
        let check = |change: fn(&mut Vec<u8>), expected: WireError| {
            let mut frame = good.clone();
            change(&mut frame);
            assert_eq!(decode::<Message, 64>(1, &frame).unwrap_err(), expected);
        };
        check(|f| f[0] = 0, WireError::Magic);
        check(|f| f[2] = 9, WireError::Version(9));
        check(|f| f[3] = 2, WireError::Kind { expected: 1, found: 2 });
        check(|f| f[8] ^= 1, WireError::Checksum);
        check(|f| f.push(0), WireError::Length { expected: 24, found: 25 });
        check(|f| f[4] = 65, WireError::TooLarge { size: 65, limit: 64 });
        check(|f| f.truncate(3), WireError::Length { expected: 12, found: 3 });
        assert_eq!(encode(1, &vec![0u8; 100], 64).unwrap_err(), WireError::TooLarge { size: 108, limit: 64 });
    }

    #[test]
    fn a_lying_length_does_not_allocate() {
        let frame = encode(1, &u64::MAX, 64).unwrap();
        assert!(matches!(decode::<Vec<u64>, 64>(1, &frame), Err(WireError::Body(_))));
        assert!(matches!(decode::<Vec<()>, 64>(1, &frame), Err(WireError::Body(_))));
    }

    #[test]
    fn the_limit_is_one_of_memory_too() {
        let check = |texts: usize, fits: bool| {
            let frame = encode(1, &vec![String::new(); texts], 4096).unwrap();
            assert_eq!(decode::<Vec<String>, 4096>(1, &frame).is_ok(), fits, "{texts} empty texts");
        };
        check(4096 / size_of::<String>(), true);
        check(4096 / size_of::<String>() + 1, false);
        let frame = encode(1, &vec![7u8; 4088], 4096).unwrap();
        assert_eq!(decode::<Vec<u8>, 4096>(1, &frame).unwrap(), vec![7; 4088]);
        let map: std::collections::BTreeMap<u8, [u64; 3]> = (0..100).map(|n| (n, [0; 3])).collect();
        let frame = encode(1, &map, 4096).unwrap();
        assert_eq!(decode::<std::collections::BTreeMap<u8, [u64; 3]>, 4096>(1, &frame).unwrap(), map);
    }

    proptest! {
        #[test]
        fn round_trip(name in ".{0,40}", tags in prop::collection::vec(any::<Option<u32>>(), 0..20)) {
            let message = Message::Text { name, tags };
            let frame = encode(3, &message, 4096).unwrap();
            prop_assert_eq!(decode::<Message, 4096>(3, &frame).unwrap(), message);
        }

        #[test]
        fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), fix in any::<bool>()) {
            if fix && bytes.len() >= OVERHEAD {
                let size = (bytes.len() - OVERHEAD) as u32;
                bytes[..4].copy_from_slice(&[b'R', b'R', FORMAT_VERSION, 3]);
                bytes[4..8].copy_from_slice(&size.to_le_bytes());
                let end = bytes.len() - 4;
                let checksum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
                bytes[end..].copy_from_slice(&checksum);
            }
            let _ = decode::<Message, 4096>(3, &bytes);
        }
    }
}
