//! A node's data folder: its layout, its owner, and the lock that keeps it to one process.
//!
//! Invariant: nothing is written before it is sure that the folder is empty or ours, of a format this build knows, and
//! in no other process's hands. The kernel releases the lock when the process ends, however it ends.
//!
//! ```text
//! format          what this folder is: format version, owner      lock          held while a node runs
//! runtime.json    how to reach the running node                   ringrift.toml settings, if any
//! data/games/     canonical game databases                        models/       checkpoints by role
//! blobs/          content by hash                                 logs/
//! ```

use super::files;
use crate::clock::now_ms;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// The layout that this build writes.
pub const FORMAT_VERSION: u32 = 2;

const FORMAT: &str = "format";
const LOCK: &str = "lock";
const RUNTIME: &str = "runtime.json";
const SETTINGS: &str = "ringrift.toml";
const FOLDERS: [&str; 4] = ["data/games", "models", "blobs", "logs"];
/// Largest file that is read here.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// [`Running::find`] holds the lock for a moment; a start waits that out.
const LOCK_ATTEMPTS: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why a data folder cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Not a folder that this process may write to.
    #[error("cannot write to {path}: choose another --data-dir or change its permissions")]
    Unwritable {
        /// The folder, or the file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder that holds something else.
    #[error(
        "{path} is not empty and no ringrift data folder (it holds {found}): choose a new or empty --data-dir"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Something in it.
        found: String,
    },
    /// A folder of a newer build.
    #[error(
        "{path} has format {found}, this build knows {supported}: use the newer ringrift, or another --data-dir"
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this build knows.
        supported: u32,
    },
    /// The folder's description is damaged.
    #[error("{path} is unreadable ({detail}): restore it, or choose another --data-dir")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Another process runs on it.
    #[error("{path} is in use by {}: stop that one, or choose another --data-dir", process(*pid))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other process, if it wrote its number.
        pid: Option<u32>,
    },
    /// The folder belongs to another peer.
    #[error(
        "{path} belongs to peer {owner}, this is {peer}: put its identity back, or choose another --data-dir"
    )]
    OtherOwner {
        /// The folder.
        path: PathBuf,
        /// Who started it.
        owner: String,
        /// Who wants it.
        peer: String,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: check the disk and the permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// What the folder says about itself.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
struct Format {
    /// Version of the layout.
    format: u32,
    /// libp2p id of the owner, once known.
    peer_id: Option<String>,
    /// When the folder was made, milliseconds since the epoch.
    created_ms: u64,
}

/// How to reach a running node.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// The process.
    pub pid: u32,
    /// Base URL of its HTTP interface.
    pub http: String,
    /// Addresses that other nodes may bootstrap from.
    pub p2p: Vec<String>,
    /// Its Raft node id, once it has one.
    pub node: Option<u64>,
    /// Its libp2p id.
    pub peer_id: String,
}

/// Whether a node runs on a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Running {
    /// It does.
    Yes(Runtime),
    /// A process holds the folder but cannot be asked yet.
    Starting,
    /// It does not; this is left of one that was killed.
    Stale(Runtime),
    /// It does not.
    No,
}

/// A data folder in this process's hands until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    format: Format,
    // Its lock is the folder's.
    _lock: File,
}

impl DataFolder {
    /// Takes a folder, and makes it first if there is none. `version` is [`FORMAT_VERSION`].
    ///
    /// # Errors
    /// [`FolderError`]; then a folder that was there is as it was.
    pub fn open(path: &Path, version: u32) -> Result<Self, FolderError> {
        fs::create_dir_all(path).map_err(|e| unwritable(path, e))?;
        // Looked at before anything is written, and again when the folder is ours.
        if read_format(path, version)?.is_none() {
            refuse_foreign(path)?;
        }
        let lock = lock(path)?;
        let format = match read_format(path, version)? {
            Some(format) => format,
            None => Format { format: version, peer_id: None, created_ms: now_ms() },
        };
        let folder = Self { path: path.to_owned(), format, _lock: lock };
        folder.write_format()?;
        for name in FOLDERS {
            let inner = path.join(name);
            fs::create_dir_all(&inner).map_err(|e| unwritable(&inner, e))?;
        }
        // Whoever wrote it is gone: the lock was free.
        folder.remove_runtime()?;
        files::sync_parent(&path.join(FORMAT)).map_err(|e| unwritable(path, e))?;
        Ok(folder)
    }

    fn write_format(&self) -> Result<(), FolderError> {
        let path = self.path.join(FORMAT);
        write_json(&path, &self.format)
    }

    /// Writes down whose folder this is, the first time; later checks it.
    ///
    /// # Errors
    /// [`FolderError::OtherOwner`], or it cannot be written.
    pub fn claim(&mut self, peer_id: &str) -> Result<(), FolderError> {
        match &self.format.peer_id {
            Some(owner) if owner == peer_id => Ok(()),
            Some(owner) => Err(FolderError::OtherOwner {
                path: self.path.clone(),
                owner: owner.clone(),
                peer: peer_id.to_owned(),
            }),
            None => {
                self.format.peer_id = Some(peer_id.to_owned());
                self.write_format()
            }
        }
    }

    /// The peer that claimed it.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.format.peer_id.as_deref()
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path of [`super::paths`] under this folder, or any other relative one.
    #[must_use]
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.path.join(relative)
    }

    /// Tells `ringrift status` how to reach this node. Removed when the folder is dropped.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_runtime(&self, runtime: &Runtime) -> Result<(), FolderError> {
        write_json(&self.path.join(RUNTIME), runtime)
    }

    fn remove_runtime(&self) -> Result<(), FolderError> {
        let path = self.path.join(RUNTIME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(&path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if let Err(error) = self.remove_runtime() {
            tracing::warn!(%error, "the folder still says how to reach this node");
        }
    }
}

impl Running {
    /// Whether a node runs on the folder. Changes nothing.
    ///
    /// # Errors
    /// [`FolderError::Read`] or [`FolderError::Malformed`] for files that are damaged.
    pub fn find(path: &Path) -> Result<Self, FolderError> {
        let held = held(path)?;
        let runtime: Option<Runtime> = read_json(&path.join(RUNTIME))?;
        Ok(match (held, runtime) {
            (true, Some(runtime)) => Self::Yes(runtime),
            (true, None) => Self::Starting,
            (false, Some(runtime)) => Self::Stale(runtime),
            (false, None) => Self::No,
        })
    }
}

/// Whether a process holds the folder's lock.
fn held(folder: &Path) -> Result<bool, FolderError> {
    let path = folder.join(LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(FolderError::Read { path, source }),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(FolderError::Read { path, source }),
    }
}

fn lock(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join(LOCK);
    let error = |source| unwritable(&path, source);
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(error)?;
    let mut attempts = 1;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = (&mut file).take(16).read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(FolderError::InUse { path: folder.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| file.write_all(pid.as_bytes()))
        .map_err(error)?;
    Ok(file)
}

/// A folder without `format` may hold nothing but what a start that was killed, or its user's settings, left there.
fn refuse_foreign(folder: &Path) -> Result<(), FolderError> {
    let read = |source| FolderError::Read { path: folder.to_owned(), source };
    let half = files::temporary(Path::new(FORMAT));
    for entry in fs::read_dir(folder).map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        let ours = name == LOCK || name == SETTINGS || name == half.as_os_str();
        if !ours {
            let found = name.to_string_lossy().chars().take(80).collect();
            return Err(FolderError::Foreign { path: folder.to_owned(), found });
        }
    }
    Ok(())
}

fn read_format(folder: &Path, supported: u32) -> Result<Option<Format>, FolderError> {
    /// All that every format, this or a later one, is sure to have.
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let path = folder.join(FORMAT);
    let Some(Version { format: found }) = read_json(&path)? else {
        return Ok(None);
    };
    if found > supported {
        return Err(FolderError::Newer { path: folder.to_owned(), found, supported });
    }
    if found == 0 {
        return Err(FolderError::Malformed { path, detail: "there is no format 0".to_owned() });
    }
    read_json(&path)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, FolderError> {
    let content = files::read_small(path, FILE_BYTES_MAX)
        .map_err(|source| FolderError::Read { path: path.to_owned(), source })?;
    let malformed =
        |e: serde_json::Error| FolderError::Malformed { path: path.to_owned(), detail: e.to_string() };
    content.map(|content| serde_json::from_slice(&content).map_err(malformed)).transpose()
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FolderError> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data has a JSON form");
    text.push(b'\n');
    files::write_atomic(path, &text).map_err(|e| unwritable(path, e))
}

fn unwritable(path: &Path, source: io::Error) -> FolderError {
    FolderError::Unwritable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
