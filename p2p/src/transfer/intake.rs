//! Content that comes by another way than from peers: piece by piece over another protocol, or as a whole
//! file.
//!
//! Invariant: the same as for a fetch from peers. One fetch or intake of a content is under way at a time; it
//! goes on where the last one stopped, whichever way that one went; and nothing is kept that was not checked.

use crate::{
    blobs::{
        local::blocking,
        outline::Outline,
        partial::Partial,
        store::{BlobError, BlobStore, at},
    },
    handle::P2pHandle,
};
use std::{
    fs::{self, File},
    io,
    ops::Range,
    path::{Path, PathBuf},
};
use tokio::sync::OwnedMutexGuard;
use wire::Hash;

/// A content that is being taken in. Its calls block. If it is dropped, what arrived stays for the next
/// attempt.
#[derive(Debug)]
pub struct Intake {
    store: BlobStore,
    hash: Hash,
    partial: Option<Partial>,
    had: Vec<bool>,
    _turn: OwnedMutexGuard<()>,
}

impl P2pHandle {
    /// Waits until no other transfer of this content is under way, and begins one. `None`: the content is
    /// here already.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn intake(&self, hash: Hash) -> Result<Option<Intake>, BlobError> {
        let turn = self.0.content.turn(hash).lock_owned().await;
        let store = self.blobs().clone();
        blocking(move || {
            if store.has(hash) {
                return Ok(None);
            }
            let (partial, had) = match Partial::resume(&store, hash)? {
                Some((partial, had)) => (Some(partial), had),
                None => (None, Vec::new()),
            };
            Ok(Some(Intake { store, hash, partial, had, _turn: turn }))
        })
        .await
    }
}

impl Intake {
    /// The name of the content.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The hashes of its pieces, once they are known from [`Self::begin`] or from an earlier attempt.
    #[must_use]
    pub fn outline(&self) -> Option<&Outline> {
        self.partial.as_ref().map(Partial::outline)
    }

    /// Takes an outline and the last piece, which proves the size. `false`: they are not of this content.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn begin(&mut self, outline: Outline, last: &[u8]) -> Result<bool, BlobError> {
        let index = outline.count() - 1;
        if !outline.is_of(self.hash) || !outline.is_piece(index, last) {
            return Ok(false);
        }
        let mut had = vec![false; outline.count()];
        had[index] = true;
        let partial = Partial::begin(&self.store, self.hash, outline)?;
        partial.write(index, last)?;
        (self.partial, self.had) = (Some(partial), had);
        Ok(true)
    }

    /// The first run of pieces that are missing; `None` if none is missing, or before [`Self::begin`].
    #[must_use]
    pub fn missing(&self) -> Option<Range<usize>> {
        let begin = self.had.iter().position(|had| !had)?;
        let length = self.had[begin..].iter().take_while(|had| !**had).count();
        Some(begin..begin + length)
    }

    /// Takes a piece. `false`: its hash is wrong, and it was not kept.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn put(&mut self, index: usize, piece: &[u8]) -> Result<bool, BlobError> {
        let Some(partial) = &self.partial else { return Ok(false) };
        if !partial.outline().is_piece(index, piece) {
            return Ok(false);
        }
        partial.write(index, piece)?;
        self.had[index] = true;
        Ok(true)
    }

    /// Gives the content its name and syncs it to disk. `false`: pieces are missing.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn finish(self) -> Result<bool, BlobError> {
        match &self.partial {
            Some(partial) if self.had.iter().all(|had| *had) => partial.finish().map(|()| true),
            Some(_) | None => Ok(false),
        }
    }

    /// The path at which another program may write the whole content, for [`Self::take_whole`]. There is no
    /// file yet.
    ///
    /// # Errors
    /// [`BlobError::Io`] if what an earlier attempt left cannot be removed.
    pub fn whole_path(&self) -> Result<PathBuf, BlobError> {
        let path = self.store.partial_path(self.hash, "whole.new");
        remove_any(&path)?;
        Ok(path)
    }

    /// Takes the file at [`Self::whole_path`]: reads and checks all of it, gives it its name and syncs it to
    /// disk. `false`: it is another content, larger than `bytes_max`, or no plain file. In either case the
    /// path is empty afterwards.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn take_whole(self, bytes_max: u64) -> Result<bool, BlobError> {
        let path = self.store.partial_path(self.hash, "whole.new");
        let plain = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.is_file() && metadata.len() <= bytes_max,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(at(&path)(error)),
        };
        if !plain {
            remove_any(&path)?;
            return Ok(false);
        }
        let outline = File::open(&path).and_then(|file| Outline::read(file, 0));
        if !outline.map_err(at(&path))?.is_of(self.hash) {
            remove_any(&path)?;
            return Ok(false);
        }
        self.store.adopt(&path, self.hash)?;
        // The pieces of an earlier attempt are no longer of use.
        for kind in ["part", "outline"] {
            remove_any(&self.store.partial_path(self.hash, kind))?;
        }
        Ok(true)
    }
}

/// Removes a file, a link, or a folder with all that is in it. It is no error if there is nothing.
fn remove_any(path: &Path) -> Result<(), BlobError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::outline::PIECE_BYTES;
    use std::sync::Arc;
    use tokio::sync::Mutex;

    fn intake(store: &BlobStore, hash: Hash) -> Intake {
        let _turn = Arc::new(Mutex::new(())).try_lock_owned().unwrap();
        let (partial, had) =
            Partial::resume(store, hash).unwrap().map_or((None, vec![]), |(p, h)| (Some(p), h));
        Intake { store: store.clone(), hash, partial, had, _turn }
    }

    #[test]
    fn pieces_in_any_order_and_wrong_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let content: Vec<u8> = (0..3 * PIECE_BYTES + 5).map(|i| (i / 777) as u8).collect();
        let (hash, outline) = (Hash::of(&content), Outline::read(&content[..], 0).unwrap());
        let piece = |index: usize| {
            let (begin, length) = outline.range(index).unwrap();
            &content[begin as usize..begin as usize + length]
        };
        let mut first = intake(&store, hash);
        assert_eq!((first.missing(), first.put(0, piece(0)).unwrap()), (None, false), "not begun");
        assert!(!first.begin(outline.clone(), piece(0)).unwrap(), "the size is not proved");
        let other = Outline::read(&content[1..], 0).unwrap();
        assert!(!first.begin(other, piece(3)).unwrap());
        assert!(first.begin(outline.clone(), piece(3)).unwrap());
        assert_eq!(first.missing(), Some(0..3));
        assert!(!first.put(1, piece(0)).unwrap());
        assert!(first.put(1, piece(1)).unwrap());
        assert_eq!(first.missing(), Some(0..1));
        assert!(!first.finish().unwrap());
        let mut second = intake(&store, hash);
        assert!(second.put(0, piece(0)).unwrap());
        assert_eq!(second.missing(), Some(2..3), "what arrived before is there");
        assert!(second.put(2, piece(2)).unwrap());
        assert_eq!(second.missing(), None);
        assert!(second.finish().unwrap());
        assert_eq!(store.get(hash).unwrap(), Some(content));
    }

    #[test]
    fn a_whole_file_is_taken_only_if_it_is_the_content() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let hash = Hash::of(b"content");
        let check = |make: fn(&Path), taken: bool| {
            let intake = intake(&store, hash);
            let path = intake.whole_path().unwrap();
            make(&path);
            assert_eq!(intake.take_whole(7).unwrap(), taken);
            assert!(fs::symlink_metadata(&path).is_err(), "nothing is left there");
            assert_eq!(store.get(hash).unwrap().is_some(), taken);
        };
        check(|_| {}, false);
        check(|path| fs::write(path, "nonsense").unwrap(), false);
        check(|path| fs::write(path, "consent").unwrap(), false);
        check(|path| fs::create_dir(path).unwrap(), false);
        check(|path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(), false);
        check(|path| fs::write(path, "content").unwrap(), true);
    }
}
