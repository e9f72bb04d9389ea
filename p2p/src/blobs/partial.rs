//! An unfinished content on disk: the pieces in a file of the final size, and the outline beside it.
//!
//! Invariant: nothing on disk is believed. A transfer that goes on checks the outline against the name and
//! every piece against the outline, so it needs no list of the pieces that arrived.

use crate::blobs::{
    outline::Outline,
    store::{BlobError, BlobStore, at},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
};
use wire::Hash;

#[derive(Debug)]
pub(crate) struct Partial {
    store: BlobStore,
    hash: Hash,
    outline: Outline,
    path: PathBuf,
    file: File,
}

impl Partial {
    /// Goes on with an earlier transfer, if it left a valid outline. Also says which pieces are here.
    pub(crate) fn resume(store: &BlobStore, hash: Hash) -> Result<Option<(Self, Vec<bool>)>, BlobError> {
        let outline_path = store.partial_path(hash, "outline");
        let outline = match fs::read(&outline_path) {
            Ok(bytes) => Outline::decode(&bytes, hash),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(at(&outline_path)(error)),
        };
        let Some(outline) = outline else { return Ok(None) };
        let partial = Self::open(store, hash, outline)?;
        let mut had = Vec::with_capacity(partial.outline.count());
        for index in 0..partial.outline.count() {
            let (begin, length) = partial.outline.range(index).expect("index is below the count");
            let mut piece = vec![0; length];
            let read = partial.file.read_exact_at(&mut piece, begin);
            had.push(read.is_ok() && partial.outline.is_piece(index, &piece));
        }
        Ok(Some((partial, had)))
    }

    /// Begins with an outline whose size the last piece has proved.
    pub(crate) fn begin(store: &BlobStore, hash: Hash, outline: Outline) -> Result<Self, BlobError> {
        let path = store.partial_path(hash, "outline");
        let frame = outline.encode().expect("an outline is bounded");
        let temporary = path.with_extension("outline.new");
        File::create(&temporary)
            .and_then(|mut file| file.write_all(&frame).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(at(&path))?;
        Self::open(store, hash, outline)
    }

    fn open(store: &BlobStore, hash: Hash, outline: Outline) -> Result<Self, BlobError> {
        let path = store.partial_path(hash, "part");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(at(&path))?;
        file.set_len(outline.size()).map_err(at(&path))?;
        Ok(Self { store: store.clone(), hash, outline, path, file })
    }

    pub(crate) fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Writes a piece whose hash the caller has checked.
    pub(crate) fn write(&self, index: usize, piece: &[u8]) -> Result<(), BlobError> {
        let (begin, _) = self.outline.range(index).expect("only checked pieces are written");
        self.file.write_all_at(piece, begin).map_err(at(&self.path))
    }

    /// Reads a piece that was written, and checks it again. `None`: the disk no longer has it.
    pub(crate) fn read(&self, index: usize) -> Result<Option<Vec<u8>>, BlobError> {
        let Some((begin, length)) = self.outline.range(index) else { return Ok(None) };
        let mut piece = vec![0; length];
        self.file.read_exact_at(&mut piece, begin).map_err(at(&self.path))?;
        Ok(self.outline.is_piece(index, &piece).then_some(piece))
    }

    /// Gives the file its name. The caller has seen that all pieces are here.
    pub(crate) fn finish(&self) -> Result<(), BlobError> {
        self.store.adopt(&self.path, self.hash)?;
        let outline = self.store.partial_path(self.hash, "outline");
        fs::remove_file(&outline).map_err(at(&outline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::outline::PIECE_BYTES;

    #[test]
    fn resumes_with_the_pieces_that_are_right() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let content: Vec<u8> = (0..3 * PIECE_BYTES + 100).map(|i| (i / 1000) as u8).collect();
        let hash = Hash::of(&content);
        assert!(Partial::resume(&store, hash).unwrap().is_none());
        let outline = Outline::read(&content[..], 0).unwrap();
        let piece = |index: usize| {
            let (begin, length) = outline.range(index).unwrap();
            &content[begin as usize..begin as usize + length]
        };
        let partial = Partial::begin(&store, hash, outline.clone()).unwrap();
        partial.write(1, piece(1)).unwrap();
        partial.write(3, piece(3)).unwrap();
        partial.file.write_all_at(b"damage", PIECE_BYTES as u64 + 5).unwrap();
        assert!(store.bytes_on_disk(hash).unwrap() > outline.size(), "an unfinished content and its outline");
        drop((partial, store));

        let store = BlobStore::open(dir.path()).unwrap();
        let (partial, had) = Partial::resume(&store, hash).unwrap().unwrap();
        assert_eq!(had, [false, false, false, true]);
        for index in 0..3 {
            partial.write(index, piece(index)).unwrap();
        }
        assert!(!store.has(hash));
        partial.finish().unwrap();
        assert_eq!(store.get(hash).unwrap(), Some(content.clone()));
        assert_eq!(store.bytes_on_disk(hash).unwrap(), outline.size());
        assert_eq!(store.bytes_on_disk(Hash::of(b"other")).unwrap(), 0);
        assert!(Partial::resume(&store, hash).unwrap().is_none());

        // An outline of other content is not believed.
        fs::write(store.partial_path(Hash::of(b"other"), "outline"), outline.encode().unwrap()).unwrap();
        assert!(Partial::resume(&store, Hash::of(b"other")).unwrap().is_none());
    }
}
