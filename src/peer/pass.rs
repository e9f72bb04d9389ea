//! The pass that a member shows when it fetches content over HTTP: a signature by its peer key.
//!
//! Invariant: a pass names the node that it is shown to, the path and the time, so that it opens nothing else
//! and nothing later.

use p2p::Signer;
use std::time::Duration;

/// The word before a pass in the header `authorization`.
const SCHEME: &str = "Member ";
/// How far the clocks of two members may be apart.
const CLOCK_MAX: Duration = Duration::from_secs(600);
/// Keeps signatures of passes apart from all others by the same key.
const DOMAIN: &[u8] = b"ringrift/http/1";

fn text(to: &str, path: &str, at_ms: u64) -> Vec<u8> {
    [DOMAIN, format!("\0{to}\0{at_ms}\0{path}").as_bytes()].concat()
}

/// The value of the header: a pass of `signer` to the node with the libp2p id `to`.
pub(crate) fn write(signer: &Signer, to: &str, path: &str, at_ms: u64) -> String {
    let signature = hex::encode(signer.sign(&text(to, path, at_ms)));
    format!("{SCHEME}{} {at_ms} {signature}", signer.peer_id())
}

/// Whether a header is a member's pass to this node, `me`, for this path and time.
pub(crate) fn is_members(
    header: &str,
    me: &str,
    path: &str,
    now_ms: u64,
    is_member: impl FnOnce(&str) -> bool,
) -> bool {
    let mut words = header.strip_prefix(SCHEME).unwrap_or_default().split(' ');
    let (Some(peer), Some(at_ms), Some(signature), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let (Ok(at_ms), Ok(signature)) = (at_ms.parse::<u64>(), hex::decode(signature)) else { return false };
    // The cheap checks come first.
    u128::from(now_ms.abs_diff(at_ms)) <= CLOCK_MAX.as_millis()
        && is_member(peer)
        && p2p::verify(peer, &text(me, path, at_ms), &signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_opens_one_door_once_and_for_a_member() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| Signer::load(&folder.path().join(name)).unwrap());
        let member = one.peer_id();
        let (path, at) = ("/v1/blobs/ab", 1_000_000);
        let check = |header: &str, me: &str, path: &str, now_ms, expected: bool| {
            let found = is_members(header, me, path, now_ms, |peer| peer == member);
            assert_eq!(found, expected, "{header} {me} {path} {now_ms}");
        };
        let good = write(&one, "me", path, at);
        check(&good, "me", path, at, true);
        check(&good, "me", path, at + 600_000, true);
        check(&good, "me", path, at + 600_001, false);
        check(&good, "me", path, at - 600_001, false);
        check(&good, "somebody", path, at, false);
        check(&good, "me", "/v1/blobs/ac", at, false);
        check(&write(&other, "me", path, at), "me", path, at, false);
        let forged = write(&other, "me", path, at).replace(&other.peer_id(), &member);
        check(&forged, "me", path, at, false);
        check(&format!("{good} more"), "me", path, at, false);
        for nonsense in ["", "Member", "Member  ", "Bearer x", "Member a 1 zz", "Member a b c"] {
            check(nonsense, "me", path, at, false);
        }
    }
}
