//! The secret that lets an operator change things over HTTP.
//!
//! Invariant: the token is made at every start and lies in a file of the data folder that only the owner can
//! read. Whoever can read the folder may command the node.

use super::DataFolder;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Name of the file in the data folder.
pub const TOKEN_FILE: &str = "token";
/// Hex digits of a token.
const DIGITS: usize = 64;

/// Writes a new token.
///
/// # Errors
/// From the file system.
pub fn create(folder: &DataFolder) -> io::Result<String> {
    let token = hex::encode(rand::random::<[u8; DIGITS / 2]>());
    let (path, temporary) = (folder.join(TOKEN_FILE), folder.join("token.new"));
    // A new file, so that its mode does not depend on the file that was there.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(token.as_bytes())?;
    fs::rename(&temporary, path)?;
    Ok(token)
}

/// Reads the token of the node that runs on a data folder.
///
/// # Errors
/// From the file system.
pub fn read(folder: &Path) -> io::Result<String> {
    let text = fs::read_to_string(folder.join(TOKEN_FILE))?;
    if is_token(&text) { Ok(text) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "no token")) }
}

/// Whether a text has the form of a token.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a header proves knowledge of the token, in a time that tells nothing of it.
#[must_use]
pub fn allows(token: &str, authorization: Option<&str>) -> bool {
    let given = authorization.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
    let differences = given.bytes().zip(token.bytes()).fold(0, |found, (a, b)| found | (a ^ b));
    given.len() == token.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::folder;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_can_read_it_and_only_it_allows() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("node");
        let data = DataFolder::open(&path, folder::FORMAT_VERSION).unwrap();
        let first = create(&data).unwrap();
        let token = create(&data).unwrap();
        assert_ne!(first, token);
        assert_eq!(read(&path).unwrap(), token);
        let mode = fs::metadata(path.join(TOKEN_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let check =
            |header: Option<&str>, expected| assert_eq!(allows(&token, header), expected, "{header:?}");
        check(Some(&format!("Bearer {token}")), true);
        check(Some(&format!("Bearer {first}")), false);
        check(Some(&token), false);
        check(Some("Bearer "), false);
        check(None, false);
    }
}
