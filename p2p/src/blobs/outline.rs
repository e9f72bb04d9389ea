//! The pieces of a content and their hashes. Pure.
//!
//! Invariant: an outline that [`Outline::is_of`] accepts lists the true hashes of all pieces of that content.

use blake3::hazmat::{self, HasherExt, Mode};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use wire::{Hash, WireError};

/// The length of every piece but the last, in bytes. It is a power of two of BLAKE3's chunks, so that a piece
/// is a subtree.
pub const PIECE_BYTES: usize = 1024 * 1024;
/// The largest content, in bytes.
pub const BLOB_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

pub(crate) const OUTLINE: u8 = 0x43;
/// The largest encoded outline in bytes: 32 bytes for each piece, and the lengths.
pub const OUTLINE_BYTES_MAX: usize = (BLOB_BYTES_MAX / PIECE_BYTES as u64) as usize * 32 + 64;

/// The size of a content and the hashes of its pieces, in order. [`Outline::is_of`] says of which content
/// they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    size: u64,
    pieces: Vec<[u8; 32]>,
}

fn piece_count(size: u64) -> u64 {
    size.div_ceil(PIECE_BYTES as u64).max(1)
}

impl Outline {
    /// Makes the outline of a content by reading it to its end.
    ///
    /// # Errors
    /// The reader's error, or an error for a content larger than [`BLOB_BYTES_MAX`].
    pub fn read(mut content: impl Read, size_hint: u64) -> io::Result<Self> {
        let mut pieces = Vec::with_capacity(piece_count(size_hint.min(BLOB_BYTES_MAX)) as usize);
        let (mut size, mut piece) = (0, Vec::new());
        loop {
            let mut next = Vec::with_capacity(PIECE_BYTES);
            (&mut content).take(PIECE_BYTES as u64).read_to_end(&mut next)?;
            if next.is_empty() && size > 0 {
                break;
            }
            if size > 0 {
                pieces.push(subtree(pieces.len(), &piece));
            }
            let last = next.len() < PIECE_BYTES;
            size += next.len() as u64;
            if size > BLOB_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "content is too large"));
            }
            piece = next;
            if last {
                break;
            }
        }
        pieces.push(if pieces.is_empty() { Hash::of(&piece).0 } else { subtree(pieces.len(), &piece) });
        Ok(Self { size, pieces })
    }

    /// The name of the content.
    #[must_use]
    pub fn hash(&self) -> Hash {
        match self.pieces.as_slice() {
            [whole] => Hash(*whole),
            pieces => {
                let (left, right) = pieces.split_at(left_count(pieces.len()));
                Hash(*hazmat::merge_subtrees_root(&merge(left), &merge(right), Mode::Hash).as_bytes())
            }
        }
    }

    /// Whether this lists the pieces of the content `hash`. It proves only the number of pieces, not the
    /// exact size, which the last piece proves.
    #[must_use]
    pub fn is_of(&self, hash: Hash) -> bool {
        self.size <= BLOB_BYTES_MAX
            && self.pieces.len() as u64 == piece_count(self.size)
            && self.hash() == hash
    }

    /// The size of the content in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number of pieces, at least one: an empty content is one empty piece.
    #[must_use]
    pub fn count(&self) -> usize {
        self.pieces.len()
    }

    /// The offset of piece `index` in the content, and its length, both in bytes.
    #[must_use]
    pub fn range(&self, index: usize) -> Option<(u64, usize)> {
        let begin = index as u64 * PIECE_BYTES as u64;
        let length = self.size.saturating_sub(begin).min(PIECE_BYTES as u64) as usize;
        (index < self.pieces.len()).then_some((begin, length))
    }

    /// Whether `bytes` are piece `index`, by length and hash.
    #[must_use]
    pub fn is_piece(&self, index: usize, bytes: &[u8]) -> bool {
        let Some((_, length)) = self.range(index) else { return false };
        let hash = || if self.pieces.len() == 1 { Hash::of(bytes).0 } else { subtree(index, bytes) };
        bytes.len() == length && hash() == self.pieces[index]
    }

    /// Encodes the outline as a frame for [`Self::decode`].
    ///
    /// # Errors
    /// [`WireError`], which never occurs for a content of at most [`BLOB_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(OUTLINE, self, OUTLINE_BYTES_MAX)
    }

    /// The outline of content `hash` from bytes that anybody may have sent. `None`: they are something else.
    #[must_use]
    pub fn decode(bytes: &[u8], hash: Hash) -> Option<Self> {
        let outline: Self = wire::decode::<_, OUTLINE_BYTES_MAX>(OUTLINE, bytes).ok()?;
        outline.is_of(hash).then_some(outline)
    }

    /// The outline in these bytes, of whichever content it is.
    pub(crate) fn of_some(bytes: &[u8]) -> Option<Self> {
        let outline: Self = wire::decode::<_, OUTLINE_BYTES_MAX>(OUTLINE, bytes).ok()?;
        let pieces = outline.pieces.len() as u64 == piece_count(outline.size);
        pieces.then(|| outline.hash()).and_then(|hash| Self::decode(bytes, hash))
    }
}

fn subtree(index: usize, piece: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index as u64 * PIECE_BYTES as u64).update(piece);
    hasher.finalize_non_root()
}

/// How many pieces BLAKE3's left subtree has: it is the largest full one that leaves something to its right.
fn left_count(pieces: usize) -> usize {
    pieces.next_power_of_two() / 2
}

fn merge(pieces: &[[u8; 32]]) -> [u8; 32] {
    match pieces {
        [one] => *one,
        _ => {
            let (left, right) = pieces.split_at(left_count(pieces.len()));
            hazmat::merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
    }

    #[test]
    fn the_outline_hashes_to_the_contents_name() {
        let p = PIECE_BYTES;
        for size in [0, 1, 1024, p - 1, p, p + 1, 2 * p, 2 * p + 5, 3 * p, 5 * p - 1, 7 * p + 1, 8 * p] {
            let bytes = content(size);
            let outline = Outline::read(&bytes[..], size as u64).unwrap();
            assert_eq!(outline.size(), size as u64);
            assert!(outline.is_of(Hash::of(&bytes)), "{size}");
            assert_eq!(outline.count(), size.div_ceil(p).max(1));
            for index in 0..outline.count() {
                let (begin, length) = outline.range(index).unwrap();
                let piece = &bytes[begin as usize..begin as usize + length];
                assert!(outline.is_piece(index, piece));
                assert!(!outline.is_piece(index + 1, piece) || index + 1 < outline.count());
            }
            assert_eq!(Outline::decode(&outline.encode().unwrap(), Hash::of(&bytes)), Some(outline));
        }
    }

    #[test]
    fn what_does_not_fit_the_name_is_refused() {
        let bytes = content(3 * PIECE_BYTES + 10);
        let hash = Hash::of(&bytes);
        let good = Outline::read(&bytes[..], 0).unwrap();
        let check = |change: fn(&mut Outline), fits: bool| {
            let mut outline = good.clone();
            change(&mut outline);
            assert_eq!(outline.is_of(hash), fits);
            assert_eq!(Outline::decode(&outline.encode().unwrap(), hash).is_some(), fits);
        };
        check(|_| {}, true);
        check(|o| o.pieces[1][0] ^= 1, false);
        check(|o| o.pieces.swap(0, 1), false);
        check(|o| o.pieces.truncate(3), false);
        check(|o| o.pieces.clear(), false);
        check(|o| o.size = u64::MAX, false);
        check(|o| o.size = 0, false);
        // A wrong size with the right number of pieces shows at the last piece, from whichever peer it comes.
        check(|o| o.size += 1, true);
        let mut outline = good.clone();
        outline.size += 1;
        assert!(!outline.is_piece(3, &bytes[3 * PIECE_BYTES..]));
        assert!(good.is_piece(3, &bytes[3 * PIECE_BYTES..]));
        assert!(!good.is_piece(4, &[]));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in any::<u64>(), pieces in prop::collection::vec(any::<[u8; 32]>(), 0..9)) {
            prop_assert_eq!(Outline::decode(&bytes, Hash([0; 32])), None);
            let outline = Outline { size, pieces };
            if let Ok(frame) = outline.encode() {
                prop_assert_eq!(Outline::decode(&frame, Hash([0; 32])), None);
            }
            for index in [0, 1, 8, 9, usize::MAX >> 21] {
                prop_assert!(!outline.is_piece(index, &bytes));
            }
        }
    }
}
