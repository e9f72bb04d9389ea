//! A node's data folder: its layout, its owner, and the lock that keeps it to one process.
//!
//! Invariant: nothing is written before it is certain that the folder is empty or a data folder of a known
//! format, and that no other process uses it. The kernel releases the lock when the process ends, in whatever
//! way it ends.
//!
//! ```text
//! format          what this folder is: format version, owner    lock            held while a node runs
//! runtime.json    how to reach the running node                 ringrift.toml   settings, if any
//! raft.db         the Raft log and vote                         node.db         state, event log, inboxes
//! segments.db     segments that are not acknowledged yet        blobs/          content by hash
//! data/games/     canonical game databases                      models/         checkpoints by role
//! peer.key        the node's identity                           token           what an operator shows
//! addresses.json  where the node listened last                  secret          the cluster's
//! kept.db         what is kept for whom                         logs/
//! removed         why the node is no member any more, if so
//! ```

use super::files;
use crate::clock::now_ms;
use cluster_state::NodeId;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// The version of the layout and of the encodings in it. A build reads the folders of its own version only.
pub const FORMAT_VERSION: u32 = 5;

const FORMAT: &str = "format";
const LOCK: &str = "lock";
const RUNTIME: &str = "runtime.json";
const SETTINGS: &str = "ringrift.toml";
const FOLDERS: [&str; 4] = ["data/games", "models", "blobs", "logs"];
/// The largest file that is read here, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 10;
/// How often a start tries to take the lock, because [`Running::find`] holds it for a moment.
const LOCK_ATTEMPTS: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why a data folder cannot be used. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// This process may not write to the folder.
    #[error("cannot write to {path}: choose another --data-dir or change its permissions")]
    Unwritable {
        /// The folder, or a file in it.
        path: PathBuf,
        source: io::Error,
    },
    /// The folder holds something else.
    #[error(
        "{path} is not empty and no ringrift data folder (it holds {found}): choose a new or empty --data-dir"
    )]
    Foreign {
        path: PathBuf,
        /// The name of something in it.
        found: String,
    },
    /// A newer build made the folder.
    #[error(
        "{path} has format {found}, this build knows {supported}: use the newer ringrift, or another --data-dir"
    )]
    Newer {
        path: PathBuf,
        /// The format of the folder.
        found: u32,
        /// The format of this build.
        supported: u32,
    },
    /// An older build made the folder.
    #[error(
        "{path} has format {found}, this build knows {supported}: choose a new --data-dir, or use the older ringrift"
    )]
    Older {
        path: PathBuf,
        /// The format of the folder.
        found: u32,
        /// The format of this build.
        supported: u32,
    },
    /// The file that describes the folder is damaged.
    #[error("{path} is unreadable ({detail}): restore it, or choose another --data-dir")]
    Malformed {
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Another process uses the folder.
    #[error("{path} is in use by {}: stop that one, or choose another --data-dir", process(*pid))]
    InUse {
        path: PathBuf,
        /// The number of the other process, if it wrote it down.
        pid: Option<u32>,
    },
    /// The folder belongs to another peer.
    #[error(
        "{path} belongs to peer {owner}, this is {peer}: put its identity back, or choose another --data-dir"
    )]
    OtherOwner {
        path: PathBuf,
        /// The peer that claimed the folder.
        owner: String,
        /// The peer that wants to use it.
        peer: String,
    },
    /// A file in the folder cannot be read.
    #[error("cannot read {path}: check the disk and the permissions")]
    Read { path: PathBuf, source: io::Error },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// The content of the file `format`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
struct Format {
    /// The version of the layout.
    format: u32,
    /// The libp2p id of the owner, once a node has claimed the folder.
    peer_id: Option<String>,
    /// When the folder was made, in milliseconds since the epoch.
    created_ms: u64,
}

/// How a running node can be reached: the content of `runtime.json`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// The number of the process.
    pub pid: u32,
    /// The base URL of its HTTP interface.
    pub http: String,
    /// The addresses through which other nodes may join.
    pub p2p: Vec<String>,
    /// The Raft id of the node, once it has one.
    pub node: Option<NodeId>,
    /// The libp2p id of the node.
    pub peer_id: String,
}

/// Whether a node runs on a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Running {
    /// A node runs on it.
    Yes(Runtime),
    /// A process holds the folder but cannot be reached yet.
    Starting,
    /// No node runs on it; the runtime is that of a node that was killed.
    Stale(Runtime),
    /// No node runs on it.
    No,
}

/// A data folder that this process holds until the value is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    format: Format,
    // The lock of this file is the lock of the folder.
    _lock: File,
}

impl DataFolder {
    /// Takes a folder, and makes it first if there is none. `version` is [`FORMAT_VERSION`]. After an error,
    /// a folder that was there is unchanged.
    pub fn open(path: &Path, version: u32) -> Result<Self, FolderError> {
        fs::create_dir_all(path).map_err(|e| unwritable(path, e))?;
        // The format is read before anything is written, and again once the lock is held.
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
        // The process that wrote it has ended, because the lock was free.
        folder.remove_runtime()?;
        files::sync_parent(&path.join(FORMAT)).map_err(|e| unwritable(path, e))?;
        Ok(folder)
    }

    fn write_format(&self) -> Result<(), FolderError> {
        let path = self.path.join(FORMAT);
        write_json(&path, &self.format)
    }

    /// Writes down to which peer the folder belongs. If a peer is written down already, it must be the same
    /// one.
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

    /// The peer that has claimed the folder.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.format.peer_id.as_deref()
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A relative path, such as those of [`super::paths`], under this folder.
    #[must_use]
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.path.join(relative)
    }

    /// Writes down how `ringrift status` can reach this node, until the folder is dropped.
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
    /// Whether a node runs on the folder. It changes nothing.
    pub fn find(path: &Path) -> Result<Self, FolderError> {
        let held = held(path)?;
        let path = path.join(RUNTIME);
        let runtime = read_file(&path)?.map(|content| parse_json(&path, &content)).transpose()?;
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

/// Refuses a folder without `format` that holds more than the user's settings and what a start that was
/// killed left.
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
    let content = read_file(&folder.join(FORMAT))?;
    content.map(|content| parse_format(folder, &content, supported)).transpose()
}

fn parse_format(folder: &Path, content: &[u8], supported: u32) -> Result<Format, FolderError> {
    /// The part that every format has, this one and all later ones.
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let path = folder.join(FORMAT);
    let Version { format: found } = parse_json(&path, content)?;
    if found > supported {
        return Err(FolderError::Newer { path: folder.to_owned(), found, supported });
    }
    if found == 0 {
        return Err(FolderError::Malformed { path, detail: "there is no format 0".to_owned() });
    }
    if found < supported {
        return Err(FolderError::Older { path: folder.to_owned(), found, supported });
    }
    parse_json(&path, content)
}

/// Whether the bytes would be taken for the file `format` of a folder that this build can use.
pub(crate) fn is_format(content: &[u8]) -> bool {
    parse_format(Path::new(""), content, FORMAT_VERSION).is_ok()
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    files::read_small(path, FILE_BYTES_MAX)
        .map_err(|source| FolderError::Read { path: path.to_owned(), source })
}

fn parse_json<T: serde::de::DeserializeOwned>(path: &Path, content: &[u8]) -> Result<T, FolderError> {
    let malformed =
        |e: serde_json::Error| FolderError::Malformed { path: path.to_owned(), detail: e.to_string() };
    serde_json::from_slice(content).map_err(malformed)
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
