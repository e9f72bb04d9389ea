//! What a data folder knows of the node's admission: the secret of its cluster, and that it was removed.
//!
//! Invariant: only the owner of the folder can read the secret, also where it lies in the databases, and a
//! reader sees a whole one whenever the process is killed.

use super::{DataFolder, files};
use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// The secret of the cluster, as 64 hex digits.
pub const SECRET_FILE: &str = "secret";
/// Why the node is no member any more. It is there once that is certain.
const REMOVED_FILE: &str = "removed";
/// The databases that hold the replicated state or the log of it, with the secret and the keys of tickets.
const DATABASES: [&str; 2] = ["raft.db", "node.db"];
/// What SQLite keeps beside a database, with the mode that the database had when it was made.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Only the owner reads and writes.
const PRIVATE: u32 = 0o600;
/// The largest of these files, in bytes.
const BYTES_MAX: u64 = 1024;

/// The secret in a data folder, if it has one.
///
/// # Errors
/// From the file system, and when the file holds something else.
pub fn read_secret(folder: &Path) -> io::Result<Option<[u8; 32]>> {
    let content = files::read_small(&folder.join(SECRET_FILE), BYTES_MAX)?;
    content.map(|content| parse_secret(&content)).transpose()
}

/// The secret in the content of the file.
pub(crate) fn parse_secret(content: &[u8]) -> io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    let none = || io::Error::new(io::ErrorKind::InvalidData, "it does not hold 64 hex digits");
    hex::decode_to_slice(content.trim_ascii(), &mut secret).map_err(|_| none())?;
    Ok(secret)
}

/// Replaces the secret.
///
/// # Errors
/// From the file system; then the old one is still there.
pub fn write_secret(folder: &DataFolder, secret: &[u8; 32]) -> io::Result<()> {
    files::write_private(&folder.join(SECRET_FILE), format!("{}\n", hex::encode(secret)).as_bytes())
}

/// Makes the databases that hold the secret readable to the owner alone, before anything is in them.
///
/// # Errors
/// From the file system.
pub fn keep_databases_private(folder: &DataFolder) -> io::Result<()> {
    for name in DATABASES {
        // SQLite takes an empty file for a new database.
        OpenOptions::new().append(true).create(true).mode(PRIVATE).open(folder.join(name))?;
        for end in [""].iter().chain(&BESIDE) {
            match fs::set_permissions(folder.join(format!("{name}{end}")), Permissions::from_mode(PRIVATE)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Why the node of this folder was removed from its cluster, if it was.
///
/// # Errors
/// From the file system.
pub fn removed(folder: &DataFolder) -> io::Result<Option<String>> {
    let content = files::read_small(&folder.join(REMOVED_FILE), BYTES_MAX)?;
    Ok(content.map(|content| String::from_utf8_lossy(content.trim_ascii()).into_owned()))
}

/// Notes that the node was removed from its cluster.
///
/// # Errors
/// From the file system.
pub fn note_removed(folder: &DataFolder, why: &str) -> io::Result<()> {
    files::write_atomic(&folder.join(REMOVED_FILE), format!("{why}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::folder;

    #[test]
    fn the_secret_is_its_owners_and_is_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("node");
        let data = DataFolder::open(&path, folder::FORMAT_VERSION).unwrap();
        assert_eq!(read_secret(&path).unwrap(), None);
        for secret in [[1; 32], [0xab; 32]] {
            write_secret(&data, &secret).unwrap();
            assert_eq!(read_secret(&path).unwrap(), Some(secret));
            let mode = fs::metadata(path.join(SECRET_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        for nonsense in ["", "secret", &"ab".repeat(31), &"ab".repeat(33), &"x".repeat(5000)] {
            fs::write(path.join(SECRET_FILE), nonsense).unwrap();
            assert!(read_secret(&path).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn the_databases_are_their_owners_whatever_they_were() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("node");
        let data = DataFolder::open(&path, folder::FORMAT_VERSION).unwrap();
        fs::write(path.join("node.db"), "kept").unwrap();
        fs::write(path.join("node.db-wal"), "kept").unwrap();
        for _ in 0..2 {
            keep_databases_private(&data).unwrap();
            for (name, content) in [("raft.db", ""), ("node.db", "kept"), ("node.db-wal", "kept")] {
                let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, PRIVATE, "{name}");
                assert_eq!(fs::read_to_string(path.join(name)).unwrap(), content);
            }
        }
        let others = rusqlite::Connection::open(path.join("raft.db")).unwrap();
        others.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x);").unwrap();
        let mode = fs::metadata(path.join("raft.db-wal")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE, "SQLite gives its other files the same mode");
    }

    #[test]
    fn a_removed_node_stays_removed() {
        let root = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&root.path().join("node"), folder::FORMAT_VERSION).unwrap();
        assert_eq!(removed(&data).unwrap(), None);
        note_removed(&data, "it was sold").unwrap();
        assert_eq!(removed(&data).unwrap().as_deref(), Some("it was sold"));
    }
}
