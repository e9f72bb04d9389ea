//! The cluster's secret, as an operator gives it.
//!
//! Invariant: a secret that is used has at least [`BITS_MIN`] bits as far as its characters tell, because
//! whoever records one handshake can try secrets at leisure. A node that joins with neither a secret nor a
//! ticket is reached from its own host only.

use anyhow::{Context as _, bail};
use std::{
    collections::BTreeSet, fs::File, io::Read as _, net::SocketAddr, os::unix::fs::MetadataExt as _,
    path::Path,
};

/// The least number of bits of a secret.
const BITS_MIN: f64 = 128.0;
/// The least number of different characters in a secret.
const DIFFERENT_MIN: usize = 8;
/// The most bytes that are read of a file with a secret.
const BYTES_MAX: u64 = 4096;
/// How to make a good one.
const HOW: &str = "make one with: head -c 32 /dev/urandom | base64 > FILE";

/// Reads the secret of a file, without the white space around it.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    if file.metadata().with_context(cannot)?.mode() & 0o077 != 0 {
        tracing::warn!("others on this host can read {}: chmod 600 keeps them out", path.display());
    }
    let mut text = String::new();
    file.take(BYTES_MAX + 1).read_to_string(&mut text).with_context(cannot)?;
    if text.len() as u64 > BYTES_MAX {
        bail!("{} has more than {BYTES_MAX} bytes, which is no secret; {HOW}", path.display());
    }
    let secret = text.trim();
    if secret.is_empty() {
        bail!("{} holds no secret; {HOW}", path.display());
    }
    if !is_strong(secret) {
        bail!("the secret in {} can be guessed: it needs {BITS_MIN} random bits; {HOW}", path.display());
    }
    Ok(secret.to_owned())
}

/// Refuses to be reached from other hosts by a node that has neither a secret nor a ticket.
pub(super) fn needed_for(listen: &[SocketAddr]) -> anyhow::Result<()> {
    match listen.iter().find(|address| !address.ip().is_loopback()) {
        None => Ok(()),
        Some(address) => bail!(
            "--listen {address} can be reached from other hosts, and who joins with a plain address keeps nobody there \
             out: give --bootstrap a ticket (`ringrift cluster ticket` on a member prints one), or --secret-file \
             FILE, the same on every host; {HOW}"
        ),
    }
}

/// Whether a secret has enough bits, if its characters are drawn at random from the kinds that it uses.
fn is_strong(secret: &str) -> bool {
    let different: BTreeSet<char> = secret.chars().collect();
    let any = |kind: fn(&char) -> bool| different.iter().any(kind);
    let alphabet = if secret.chars().all(|c| c.is_ascii_digit()) {
        10.0
    } else if secret.chars().all(|c| c.is_ascii_hexdigit()) {
        16.0
    } else {
        let kinds = [
            (any(char::is_ascii_lowercase), 26.0),
            (any(char::is_ascii_uppercase), 26.0),
            (any(char::is_ascii_digit), 10.0),
            (any(|c| !c.is_ascii_alphanumeric()), 2.0),
        ];
        kinds.iter().filter(|(used, _)| *used).map(|(_, size)| size).sum::<f64>()
    };
    let bits = secret.chars().count() as f64 * f64::log2(alphabet);
    bits >= BITS_MIN && different.len() >= DIFFERENT_MIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_secret_has_its_bits() {
        for strong in [
            "0123456789abcdef0123456789abcdef",
            "5a1d5ea6d09c45c3a4b9f6b4f2b1a7e0",
            "Zk3Jf0s8Qm1Vx7Tn2Lr9Wb",
            "q0JbYw3aVJ3oFz2s0pP8mXc1m1hB8m0y8f3w0Zr0q1E=",
        ] {
            assert!(is_strong(strong), "{strong}");
        }
        for weak in [
            "winter2026",
            "hush",
            "0123456789abcdef0123456789abcde",
            "123456789012345678901234567890",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "Zk3Jf0s8Qm1Vx7Tn2Lr9W",
        ] {
            assert!(!is_strong(weak), "{weak}");
        }
    }

    #[test]
    fn a_file_without_a_good_secret_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (text, part) in [
            (String::new(), "holds no secret"),
            (" \n\t\n".to_owned(), "holds no secret"),
            ("winter2026\n".to_owned(), "can be guessed"),
            ("x".repeat(5000), "no secret"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("/dev/urandom"), "{error}");
        }
        fs::write(&path, "5a1d5ea6d09c45c3a4b9f6b4f2b1a7e0\n").unwrap();
        assert_eq!(read(&path).unwrap(), "5a1d5ea6d09c45c3a4b9f6b4f2b1a7e0");
    }

    #[test]
    fn without_a_secret_a_node_listens_on_its_own_host_only() {
        let listen =
            |text: &[&str]| needed_for(&text.iter().map(|it| it.parse().unwrap()).collect::<Vec<_>>());
        assert!(listen(&[]).is_ok());
        assert!(listen(&["127.0.0.1:7400", "[::1]:7400"]).is_ok());
        for open in ["0.0.0.0:7400", "192.0.2.1:7400", "[::]:7400"] {
            let error = listen(&["127.0.0.1:0", open]).unwrap_err().to_string();
            assert!(error.contains(open) && error.contains("--secret-file"), "{error}");
        }
    }
}
