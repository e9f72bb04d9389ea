//! Small files that are replaced as a whole.
//!
//! Invariant: a reader sees the old content or the new one, whenever the process is killed.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The end of the name of a file that is being written.
const TEMPORARY: &str = ".tmp";

/// The path at which [`write_atomic`] writes before it renames.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(TEMPORARY);
    PathBuf::from(name)
}

/// Replaces the content of a file and syncs it to disk. After an error the old content stands.
pub fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = File::create(temporary(path))?;
    put_in_place(file, path, content)
}

/// Does the same as [`write_atomic`], for a file that only its owner can read.
pub(super) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    // A new file, so that its mode does not depend on a file that was left behind.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    put_in_place(file, path, content)
}

fn put_in_place(mut file: File, path: &Path, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(temporary(path), path)?;
    sync_parent(path)
}

/// Syncs the folder of `path`, so that names in it survive a power cut.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

/// Reads a whole file of at most `limit` bytes; none if it does not exist.
pub(crate) fn read_small(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {limit} bytes")));
    }
    Ok(Some(content))
}
