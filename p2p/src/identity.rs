//! The identity of this node: one ed25519 key, made once and kept for ever.
//!
//! Invariant: a key file that exists is used or refused, never replaced. A node that took a new key without
//! notice would be a stranger to the cluster that admitted it.

use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey, ed25519},
};
use parking_lot::RwLock;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

pub(crate) const MAGIC: &[u8; 8] = b"RRKEY\0\0\x01";
const FILE_BYTES: usize = 8 + 64 + 32;

/// Why the identity could not be loaded or made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file exists but holds no valid key.
    #[error(
        "{path} is not a valid identity file ({reason}); restore it from a backup, or move it away to become a new peer"
    )]
    Corrupt {
        /// The path of the key file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read identity {path}")]
    Read {
        /// The path of the key file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write identity {path}")]
    Write {
        /// The path of the key file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Loads the key at `path`, or makes one if there is no file.
///
/// # Errors
/// A file that exists but is no key is [`IdentityError::Corrupt`] and stays as it is.
pub fn load_or_create(path: &Path) -> Result<Keypair, IdentityError> {
    let mut bytes = Vec::with_capacity(FILE_BYTES + 1);
    match File::open(path).and_then(|file| file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes)) {
        Ok(_) => parse(&bytes).map_err(|reason| IdentityError::Corrupt { path: path.to_owned(), reason }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = ed25519::Keypair::generate();
            write(path, &render(&key))
                .map_err(|source| IdentityError::Write { path: path.to_owned(), source })?;
            Ok(key.into())
        }
        Err(source) => Err(IdentityError::Read { path: path.to_owned(), source }),
    }
}

/// Signs messages with this node's key. Clones are cheap.
#[derive(Clone)]
pub struct Signer(Keypair);

impl Signer {
    /// Loads the key at `path`, or makes one if there is no file.
    ///
    /// # Errors
    /// As [`load_or_create`].
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        load_or_create(path).map(Self)
    }

    /// The id under which [`verify`] accepts the signatures.
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.0.public().to_peer_id().to_string()
    }

    /// Signs `message`. The caller makes sure that messages of two purposes are never equal.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        // Only RSA keys can fail to sign.
        self.0.sign(message).unwrap_or_default()
    }
}

/// Whether the peer called `peer_id` signed `message`: an ed25519 peer id holds its own public key.
#[must_use]
pub fn verify(peer_id: &str, message: &[u8], signature: &[u8]) -> bool {
    if let Some(key) = KEYS.read().get(peer_id) {
        return key.verify(message, signature);
    }
    let Some(key) = key_of(peer_id) else { return false };
    let verified = key.verify(message, signature);
    if verified {
        let mut keys = KEYS.write();
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(peer_id.to_owned(), key);
    }
    verified
}

/// The keys of those whose signatures were good, so that each is unpacked once.
static KEYS: RwLock<BTreeMap<String, PublicKey>> = RwLock::new(BTreeMap::new());
/// The most keys that are kept unpacked. When there are more, all are unpacked anew.
const KEYS_MAX: usize = 4096;

fn key_of(peer_id: &str) -> Option<PublicKey> {
    let peer = peer_id.parse::<PeerId>().ok()?;
    let hash = peer.as_ref();
    // Code 0 is the identity hash: the digest is the key itself.
    (hash.code() == 0).then(|| PublicKey::try_decode_protobuf(hash.digest()).ok())?
}

pub(crate) fn render(key: &ed25519::Keypair) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&key.to_bytes());
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Keypair, &'static str> {
    if bytes.len() != FILE_BYTES {
        return Err("wrong length");
    }
    let (covered, checksum) = bytes.split_at(FILE_BYTES - 32);
    if covered[..8] != MAGIC[..] {
        return Err("unknown format");
    }
    if blake3::hash(covered).as_bytes()[..] != *checksum {
        return Err("checksum mismatch");
    }
    let mut key = covered[8..].to_vec();
    let key = ed25519::Keypair::try_from_bytes(&mut key).map_err(|_| "no ed25519 key")?;
    Ok(key.into())
}

/// Writes the file so that a crash leaves either no file or the whole file. It uses `hard_link` and not
/// `rename`, so that two nodes that start at the same moment on one folder cannot replace each other's key.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    fs::remove_file(&temporary)?;
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn kept_over_restarts_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/node.key");
        let first = load_or_create(&path).unwrap().public().to_peer_id();
        assert_eq!(load_or_create(&path).unwrap().public().to_peer_id(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        load_or_create(&path).unwrap();
        let good = fs::read(&path).unwrap();
        for damage in [vec![], good[..50].to_vec(), [&good[..], b"x"].concat(), {
            let mut flipped = good.clone();
            flipped[20] ^= 1;
            flipped
        }] {
            fs::write(&path, &damage).unwrap();
            assert!(matches!(load_or_create(&path), Err(IdentityError::Corrupt { .. })));
            assert_eq!(fs::read(&path).unwrap(), damage);
        }
    }

    #[test]
    fn only_the_signer_signs() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| Signer::load(&folder.path().join(name)).unwrap());
        let signature = a.sign(b"message");
        assert!(verify(&a.peer_id(), b"message", &signature));
        assert!(!verify(&b.peer_id(), b"message", &signature));
        assert!(!verify(&a.peer_id(), b"massage", &signature));
        assert!(!verify(&a.peer_id(), b"message", &signature[1..]));
        assert!(!verify("nobody", b"message", &signature));
        // With its key at hand, and after that of many others.
        assert!(verify(&a.peer_id(), b"message", &signature));
        assert!(!verify(&a.peer_id(), b"massage", &signature));
        for _ in 0..KEYS_MAX {
            KEYS.write().insert(PeerId::random().to_string(), a.0.public());
        }
        assert!(verify(&b.peer_id(), b"message", &b.sign(b"message")));
        assert!(verify(&a.peer_id(), b"message", &signature));
        assert!(KEYS.read().len() <= KEYS_MAX);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..130), fix in any::<bool>()) {
            if fix && bytes.len() >= FILE_BYTES {
                bytes.truncate(FILE_BYTES);
                bytes[..8].copy_from_slice(MAGIC);
                let checksum = *blake3::hash(&bytes[..FILE_BYTES - 32]).as_bytes();
                bytes[FILE_BYTES - 32..].copy_from_slice(&checksum);
            }
            prop_assert!(parse(&bytes).is_err());
        }
    }
}
