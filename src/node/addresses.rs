//! The addresses at which this node listened last time, because other nodes know it there.

use super::error::NodeError;
use crate::store::{self, DataFolder, FolderError};
use p2p::Multiaddr;

/// Any free port of the loopback interface.
const FREE: &str = "/ip4/127.0.0.1/tcp/0";
const FILE: &str = "addresses.json";
/// Most addresses that are remembered.
const ADDRESSES_MAX: usize = 16;

/// Writes the addresses at which this node listens to its folder.
pub(super) fn remember(folder: &DataFolder, addresses: &[String]) -> Result<(), NodeError> {
    let path = folder.join(FILE);
    let kept: Vec<&String> = addresses.iter().take(ADDRESSES_MAX).collect();
    let text = serde_json::to_vec(&kept).unwrap_or_default();
    store::write_atomic(&path, &text).map_err(|source| FolderError::Unwritable { path, source }.into())
}

/// What to try in turn when no address is given: those of last time, then any free port of the loopback
/// interface. A damaged file counts as none, because it is only a preference.
pub(super) fn choices(folder: &DataFolder) -> Vec<Vec<Multiaddr>> {
    let free = || FREE.parse().into_iter().collect();
    let last = kept(&std::fs::read(folder.join(FILE)).unwrap_or_default());
    if last.is_empty() { vec![free()] } else { vec![last, free()] }
}

/// The addresses in the content of the file.
pub(crate) fn kept(text: &[u8]) -> Vec<Multiaddr> {
    let kept: Vec<String> = serde_json::from_slice(text).unwrap_or_default();
    // The peer id at the end of the address is this node's.
    let listen = |address: &String| address.split("/p2p/").next()?.parse().ok();
    kept.iter().take(ADDRESSES_MAX).filter_map(listen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::folder::FORMAT_VERSION;

    #[test]
    fn the_last_port_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(folder.path(), FORMAT_VERSION).unwrap();
        let shown = || -> Vec<Vec<String>> {
            let all = choices(&folder);
            all.iter().map(|list| list.iter().map(ToString::to_string).collect()).collect()
        };
        assert_eq!(shown(), [["/ip4/127.0.0.1/tcp/0"]]);
        let id = "12D3KooWQRMuTRh9AzdTzcMkAsHkSRXxRczDwF2Q5PzNWSsWQ2Rd";
        remember(&folder, &[format!("/ip4/127.0.0.1/tcp/4001/p2p/{id}")]).unwrap();
        assert_eq!(shown(), [["/ip4/127.0.0.1/tcp/4001"], ["/ip4/127.0.0.1/tcp/0"]]);
        std::fs::write(folder.join(FILE), "[").unwrap();
        assert_eq!(shown().len(), 1);
    }
}
