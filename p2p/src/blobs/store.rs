//! Content on disk: one file for each content, named by its hash. Every call blocks, so async code uses
//! `spawn_blocking`.
//!
//! Invariant: a file under a final name was complete and synced when it got that name. A reader checks what
//! it reads, and a file that was damaged later is set aside and never served.

use crate::blobs::outline::{BLOB_BYTES_MAX, Outline};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};
use wire::Hash;

/// Why content could not be kept, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk is full, cannot be written, or has failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder that was read or written.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file did not have the hash that is its name. It was moved aside and is not served.
    #[error("content {hash} was corrupt on disk; the file is set aside at {aside}")]
    Corrupt {
        /// The name that the file had.
        hash: Hash,
        /// Where the file is now.
        aside: PathBuf,
    },
    /// The content is larger than [`BLOB_BYTES_MAX`].
    #[error("content of {0} bytes is too large")]
    TooLarge(u64),
}

/// How many outlines are kept in memory.
const OUTLINES_MAX: usize = 64;

/// A folder of content. Clones are cheap and share the folder.
#[derive(Clone, Debug)]
pub struct BlobStore(Arc<Folders>);

#[derive(Debug)]
struct Folders {
    root: PathBuf,
    /// Unfinished files.
    partial: PathBuf,
    /// Files whose content did not have the hash that was their name.
    corrupt: PathBuf,
    temporaries: AtomicU64,
    /// The outlines that were made last, the newest first. To make one, the whole content is read.
    outlines: Mutex<VecDeque<(Hash, Arc<Outline>)>>,
    /// Held while an outline is made, so that many questions for one content read it once.
    outlining: Mutex<()>,
    /// Held while a file is touched, replaced or removed, so that nothing changes between the look at it and
    /// its removal.
    removing: Mutex<()>,
}

impl BlobStore {
    /// Opens or makes the folder, and removes what an interrupted [`BlobStore::put`] left. Unfinished
    /// transfers stay and can go on.
    ///
    /// # Errors
    /// [`BlobError::Io`] if the folder cannot be made or written.
    pub fn open(dir: &Path) -> Result<Self, BlobError> {
        let (partial, corrupt) = (dir.join("partial"), dir.join("corrupt"));
        for folder in [dir, &partial, &corrupt] {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        for entry in fs::read_dir(&partial).map_err(at(&partial))? {
            let path = entry.map_err(at(&partial))?.path();
            if path.extension().is_some_and(|e| e == "new") {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        let folders = Folders {
            root: dir.to_owned(),
            partial,
            corrupt,
            temporaries: AtomicU64::new(0),
            outlines: Mutex::default(),
            outlining: Mutex::default(),
            removing: Mutex::default(),
        };
        Ok(Self(Arc::new(folders)))
    }

    /// Keeps `content`, syncs it to disk and returns its name. Content that is here already is not written
    /// again, but a damaged copy is replaced.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] or [`BlobError::Io`]; the store then has nothing under this name.
    pub fn put(&self, content: &[u8]) -> Result<Hash, BlobError> {
        let size = content.len() as u64;
        if size > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge(size));
        }
        let hash = Hash::of(content);
        match self.outline(hash) {
            Ok(Some(_)) if self.touch(hash)? => return Ok(hash),
            Ok(_) | Err(BlobError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        let number = self.0.temporaries.fetch_add(1, Ordering::Relaxed);
        let temporary = self.0.partial.join(format!("{hash}.{}.{number}.new", std::process::id()));
        let written = File::create(&temporary).and_then(|mut file| file.write_all(content));
        if let Err(error) = written.map_err(at(&temporary)).and_then(|()| self.adopt(&temporary, hash)) {
            let _ = fs::remove_file(&temporary); // the first error is the one that matters
            return Err(error);
        }
        Ok(hash)
    }

    /// Syncs a file whose content was checked, and gives it its final name.
    pub(crate) fn adopt(&self, file: &Path, hash: Hash) -> Result<(), BlobError> {
        let path = self.path(hash);
        OpenOptions::new().write(true).open(file).and_then(|f| f.sync_all()).map_err(at(file))?;
        {
            let _removing = self.0.removing.lock();
            fs::rename(file, &path).map_err(at(&path))?;
        }
        File::open(&self.0.root).and_then(|folder| folder.sync_all()).map_err(at(&self.0.root))
    }

    /// Reads a content and checks its hash. `None` if it is not here.
    ///
    /// # Errors
    /// [`BlobError::Corrupt`] for a damaged file, which is set aside; [`BlobError::Io`].
    pub fn get(&self, hash: Hash) -> Result<Option<Vec<u8>>, BlobError> {
        let path = self.path(hash);
        let Some(file) = open(&path)? else { return Ok(None) };
        let mut content = Vec::new();
        (&file).take(BLOB_BYTES_MAX + 1).read_to_end(&mut content).map_err(at(&path))?;
        if Hash::of(&content) == hash { Ok(Some(content)) } else { Err(self.set_aside(hash, &file)) }
    }

    /// Makes the outline of a content by reading and checking all of it. `None` if it is not here.
    ///
    /// # Errors
    /// As [`BlobStore::get`].
    pub fn outline(&self, hash: Hash) -> Result<Option<Outline>, BlobError> {
        let path = self.path(hash);
        let Some(file) = open(&path)? else { return Ok(None) };
        let size = file.metadata().map_err(at(&path))?.len();
        if size > BLOB_BYTES_MAX {
            return Err(self.set_aside(hash, &file));
        }
        let outline = Outline::read(&file, size).map_err(at(&path))?;
        if outline.is_of(hash) { Ok(Some(outline)) } else { Err(self.set_aside(hash, &file)) }
    }

    /// As [`Self::outline`], but kept in memory for the next time. The file may have been damaged since;
    /// [`Self::piece`] notices that.
    ///
    /// # Errors
    /// As [`BlobStore::get`].
    pub fn known_outline(&self, hash: Hash) -> Result<Option<Arc<Outline>>, BlobError> {
        let known = || {
            let outlines = self.0.outlines.lock();
            outlines.iter().find(|(known, _)| *known == hash).map(|(_, outline)| outline.clone())
        };
        if !self.has(hash) {
            return Ok(None);
        }
        if let Some(known) = known() {
            return Ok(Some(known));
        }
        let _one_at_a_time = self.0.outlining.lock();
        if let Some(known) = known() {
            return Ok(Some(known));
        }
        let Some(outline) = self.outline(hash)?.map(Arc::new) else { return Ok(None) };
        let mut outlines = self.0.outlines.lock();
        outlines.truncate(OUTLINES_MAX - 1);
        outlines.push_front((hash, outline.clone()));
        Ok(Some(outline))
    }

    /// Reads one piece of a content and checks its hash. `None` if the content is not here or has no such
    /// piece.
    ///
    /// # Errors
    /// As [`BlobStore::get`].
    pub fn piece(&self, hash: Hash, outline: &Outline, index: usize) -> Result<Option<Vec<u8>>, BlobError> {
        use std::os::unix::fs::FileExt;
        let path = self.path(hash);
        let (Some(file), Some((begin, length))) = (open(&path)?, outline.range(index)) else {
            return Ok(None);
        };
        let mut piece = vec![0; length];
        match file.read_exact_at(&mut piece, begin) {
            Ok(()) if outline.is_piece(index, &piece) => Ok(Some(piece)),
            Ok(()) => Err(self.set_aside(hash, &file)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.set_aside(hash, &file)),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Whether there is a file of this name. It is not read.
    #[must_use]
    pub fn has(&self, hash: Hash) -> bool {
        self.path(hash).is_file()
    }

    /// The path of the content, if it is here. A caller that reads the file must check it.
    #[must_use]
    pub fn path(&self, hash: Hash) -> PathBuf {
        self.0.root.join(hash.to_string())
    }

    /// Removes a content and any unfinished transfer of it. It is no error if the content is not here.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn remove(&self, hash: Hash) -> Result<(), BlobError> {
        remove_all(&self.files(hash))
    }

    /// Removes what an unfinished transfer of a content left. It is no error if there is nothing.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn remove_unfinished(&self, hash: Hash) -> Result<(), BlobError> {
        remove_all(&self.files(hash)[1..])
    }

    /// What a content takes on the disk in bytes, whole or of an unfinished transfer, whose file has the
    /// final size from the start. 0: nothing of it is here.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn bytes_on_disk(&self, hash: Hash) -> Result<u64, BlobError> {
        let mut bytes = 0u64;
        for path in self.files(hash) {
            match fs::symlink_metadata(&path) {
                Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path)(error)),
            }
        }
        Ok(bytes)
    }

    /// The files that a content may have: the whole, and those of an unfinished transfer.
    fn files(&self, hash: Hash) -> [PathBuf; 3] {
        [self.path(hash), self.partial_path(hash, "part"), self.partial_path(hash, "outline")]
    }

    /// The contents that are here with their sizes in bytes, in no order.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn list(&self) -> Result<Vec<(Hash, u64)>, BlobError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0.root).map_err(at(&self.0.root))? {
            let entry = entry.map_err(at(&self.0.root))?;
            if let Some(hash) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                match entry.metadata() {
                    Ok(metadata) => found.push((hash, metadata.len())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {} // removed meanwhile
                    Err(error) => return Err(at(&entry.path())(error)),
                }
            }
        }
        Ok(found)
    }

    /// The contents that were not touched since `before` with their sizes in bytes, in no order.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn untouched(&self, before: SystemTime) -> Result<Vec<(Hash, u64)>, BlobError> {
        let mut found = self.list()?;
        found.retain(|(hash, _)| {
            let touched = fs::metadata(self.path(*hash)).and_then(|metadata| metadata.modified());
            touched.is_ok_and(|touched| touched < before)
        });
        Ok(found)
    }

    /// Removes a content unless it was touched since `before`. Says whether it was removed.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn remove_untouched(&self, hash: Hash, before: SystemTime) -> Result<bool, BlobError> {
        let _removing = self.0.removing.lock();
        let path = self.path(hash);
        let touched = fs::metadata(&path).and_then(|metadata| metadata.modified());
        if touched.is_ok_and(|touched| touched < before) {
            fs::remove_file(&path).map_err(at(&path))?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Marks a content as used now. Says whether it is here.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn touch(&self, hash: Hash) -> Result<bool, BlobError> {
        let _removing = self.0.removing.lock();
        let path = self.path(hash);
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file.set_modified(SystemTime::now()).map(|()| true).map_err(at(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Removes unfinished transfers and files set aside that were not touched since `before`. Returns the
    /// number of files that it removed.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn clear_leftovers(&self, before: SystemTime) -> Result<usize, BlobError> {
        let mut removed = 0;
        for folder in [&self.0.partial, &self.0.corrupt] {
            for entry in fs::read_dir(folder).map_err(at(folder))? {
                let path = entry.map_err(at(folder))?.path();
                let touched = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
                if touched.is_ok_and(|touched| touched < before) && fs::remove_file(&path).is_ok() {
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    pub(crate) fn partial_path(&self, hash: Hash, kind: &str) -> PathBuf {
        self.0.partial.join(format!("{hash}.{kind}"))
    }

    /// Moves a damaged file out of the way, unless another reader has done so already: then there is nothing
    /// under its name, or what replaced it.
    fn set_aside(&self, hash: Hash, damaged: &File) -> BlobError {
        use std::os::unix::fs::MetadataExt;
        let (path, aside) = (self.path(hash), self.0.corrupt.join(hash.to_string()));
        let _removing = self.0.removing.lock();
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let same = || Ok(inode(fs::metadata(&path)?) == inode(damaged.metadata()?));
        match same().and_then(|same| if same { fs::rename(&path, &aside) } else { Ok(()) }) {
            Ok(()) => BlobError::Corrupt { hash, aside },
            Err(error) if error.kind() == io::ErrorKind::NotFound => BlobError::Corrupt { hash, aside },
            Err(source) => BlobError::Io { path, source },
        }
    }
}

fn remove_all(paths: &[PathBuf]) -> Result<(), BlobError> {
    for path in paths {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path)(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Option<File>, BlobError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    |source| BlobError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_content_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let hash = store.put(b"content").unwrap();
        assert_eq!(hash, Hash::of(b"content"));
        assert_eq!(store.put(b"content").unwrap(), hash);
        let empty = store.put(b"").unwrap();
        let mut list = store.list().unwrap();
        list.sort();
        let mut expected = vec![(hash, 7), (empty, 0)];
        expected.sort();
        assert_eq!(list, expected);
        drop(store);
        let store = BlobStore::open(dir.path()).unwrap();
        assert!(store.has(hash));
        assert_eq!(store.get(hash).unwrap().as_deref(), Some(&b"content"[..]));
        assert_eq!(store.get(empty).unwrap().as_deref(), Some(&b""[..]));
        store.remove(hash).unwrap();
        store.remove(hash).unwrap();
        assert!(!store.has(hash));
        assert!(store.get(hash).unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_can_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let content = vec![7; 100];
        let hash = store.put(&content).unwrap();
        let outline = store.outline(hash).unwrap().unwrap();
        type Read = fn(&BlobStore, Hash, &Outline) -> Option<BlobError>;
        let reads: [Read; 3] = [
            |store, hash, _| store.get(hash).err(),
            |store, hash, _| store.outline(hash).err(),
            |store, hash, outline| store.piece(hash, outline, 0).err(),
        ];
        for read in reads {
            for damage in [&content[..99], &[8; 100][..]] {
                fs::write(store.path(hash), damage).unwrap();
                let error = read(&store, hash, &outline);
                assert!(
                    matches!(error, Some(BlobError::Corrupt { aside, .. }) if fs::read(&aside).unwrap() == damage)
                );
                assert!(!store.has(hash));
                assert!(read(&store, hash, &outline).is_none());
                assert_eq!(store.put(&content).unwrap(), hash);
            }
        }
        fs::write(store.path(hash), b"damaged").unwrap();
        assert_eq!(store.put(&content).unwrap(), hash, "put mends");
        assert_eq!(store.get(hash).unwrap(), Some(content));
    }

    #[test]
    fn many_readers_of_a_damaged_file_set_it_aside_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let content = vec![7; 100_000];
        let hash = store.put(&content).unwrap();
        for _ in 0..50 {
            fs::write(store.path(hash), [8; 100_000]).unwrap();
            let together = std::sync::Barrier::new(8);
            let read = |mends: bool| {
                together.wait();
                let read = store.get(hash);
                assert!(matches!(read, Ok(_) | Err(BlobError::Corrupt { .. })), "{read:?}");
                if mends {
                    store.put(&content).unwrap();
                }
            };
            let read = &read;
            std::thread::scope(|scope| (0..8).for_each(|i| drop(scope.spawn(move || read(i == 0)))));
            assert_eq!(store.get(hash).unwrap().as_ref(), Some(&content), "a sound copy is not set aside");
        }
    }

    #[test]
    fn what_nobody_touched_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let (old, new) = (store.put(b"old").unwrap(), store.put(b"new").unwrap());
        let partial = store.partial_path(old, "part");
        fs::write(&partial, "x").unwrap();
        let hour = std::time::Duration::from_secs(3600);
        let (now, then) = (SystemTime::now(), SystemTime::now() - 2 * hour);
        for path in [store.path(old), partial.clone()] {
            File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
        }
        let untouched = |before| store.untouched(before).unwrap().into_iter().map(|(hash, _)| hash);
        assert_eq!(untouched(now - hour).collect::<Vec<_>>(), [old]);
        assert_eq!(untouched(now - 3 * hour).count(), 0);
        assert_eq!(store.clear_leftovers(now - 3 * hour).unwrap(), 0);
        assert_eq!(store.clear_leftovers(now - hour).unwrap(), 1);
        assert!(!partial.exists());
        assert!(!store.remove_untouched(new, now - hour).unwrap());
        assert!(store.touch(old).unwrap());
        assert!(!store.remove_untouched(old, now - hour).unwrap() && store.has(old));
        assert_eq!(untouched(now - hour).count(), 0);
        assert!(!store.touch(Hash::of(b"none")).unwrap());
        assert!(store.has(new));
        assert!(store.remove_untouched(new, now + hour).unwrap() && !store.has(new));
        assert!(!store.remove_untouched(new, now + hour).unwrap());
    }

    #[test]
    fn an_unwritable_folder_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        assert!(matches!(BlobStore::open(&dir.path().join("file")), Err(BlobError::Io { .. })));
        let store = BlobStore::open(&dir.path().join("blobs")).unwrap();
        fs::remove_dir_all(dir.path().join("blobs/partial")).unwrap();
        assert!(matches!(store.put(b"x"), Err(BlobError::Io { .. })));
        assert!(store.list().unwrap().is_empty());
    }
}
