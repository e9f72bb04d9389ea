//! What `wire` and `p2p` read: frames, streams, hellos, content, keys and addresses.

use crate::{
    bounds::bounded,
    frames::{self, framed, stable},
    seeds,
};
use ::p2p::{Class, fuzzing as p2p};
use std::str::from_utf8;

const TEXT_BYTES_MAX: usize = 4096;
const ID: &str = "12D3KooWQRMuTRh9AzdTzcMkAsHkSRXxRczDwF2Q5PzNWSsWQ2Rd";

/// One of each kind of thing that a body is made of.
type Everything =
    (u64, Option<i32>, String, Vec<u8>, Vec<(String, Option<bool>)>, std::collections::BTreeMap<u16, char>);

pub(super) fn frame(bytes: &[u8]) {
    const LIMIT: usize = 1024;
    let decode = |bytes: &[u8]| {
        let value = wire::decode::<Everything, LIMIT>(7, bytes).ok()?;
        Some(move || wire::encode(7, &value, LIMIT).expect("it was as large before"))
    };
    framed((7, LIMIT), bytes, decode);
    assert_eq!(wire::kind(&frames::frame(7, bytes)), Some(7));
    let _ = wire::kind(bytes);
}

pub(super) fn frame_seeds() -> Vec<Vec<u8>> {
    let pairs = vec![("b".to_owned(), Some(true)), ("c".to_owned(), None)];
    let map = [(3, 'x'), (4, 'é')].into();
    let one: Everything = (1, Some(2), "a".to_owned(), vec![3, 4], pairs, map);
    seeds::bodies([one])
}

pub(super) fn stream(bytes: &[u8]) {
    for bytes_max in [100, Class::Control.bytes_max()] {
        let request = bounded(bytes_max, || p2p::request(bytes_max, bytes));
        let response = bounded(bytes_max, || p2p::response(bytes_max, bytes));
        assert!(request.into_iter().chain(response).all(|read| read.len() <= bytes_max));
    }
}

pub(super) fn stream_seeds() -> Vec<Vec<u8>> {
    vec![b"\x03\0\0\0abc".to_vec(), b"\0\x03\0\0\0abc".to_vec(), vec![1], vec![2], vec![0xff; 5]]
}

pub(super) fn handshake(bytes: &[u8]) {
    const LIMIT: usize = 1024;
    stable(LIMIT, bytes, p2p::offer);
    stable(LIMIT, bytes, p2p::verdict);
}

pub(super) fn handshake_seeds() -> Vec<Vec<u8>> {
    let offer = |count: u8| std::iter::once(count).chain(0..16 * count).collect();
    let verdict = |code: u8, why: &str| [&[code, why.len() as u8], why.as_bytes()].concat();
    vec![
        offer(1),
        offer(12),
        verdict(0, ""),
        verdict(1, "removed"),
        verdict(2, ""),
        verdict(3, "used up"),
        vec![9, 0],
    ]
}

pub(super) fn hello(bytes: &[u8]) {
    framed(p2p::HELLO, bytes, p2p::hello);
}

pub(super) fn hello_seeds() -> Vec<Vec<u8>> {
    let addrs = vec!["/ip4/10.0.0.1/tcp/4001".to_owned(), "/ip6/::1/tcp/9".to_owned()];
    seeds::bodies([(7u64, addrs.clone(), vec![(ID.to_owned(), addrs), ("nobody".to_owned(), vec![])])])
}

pub(super) fn announce(bytes: &[u8]) {
    framed(p2p::ANNOUNCE, bytes, p2p::announce);
}

pub(super) fn announce_seeds() -> Vec<Vec<u8>> {
    seeds::bodies([vec!["/ip4/10.0.0.1/tcp/4001".to_owned(), format!("/ip6/::1/tcp/9/p2p/{ID}")]])
}

pub(super) fn identity(bytes: &[u8]) {
    const FILE_BYTES: usize = 104;
    stable(FILE_BYTES, bytes, p2p::identity);
    stable(FILE_BYTES, &p2p::identity_file(bytes), p2p::identity);
}

pub(super) fn identity_seeds() -> Vec<Vec<u8>> {
    // The secret key of test 1 in RFC 8032, section 7.1, and its public key.
    let key = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\
               d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    vec![hex::decode(key).expect("a key"), vec![0; 64]]
}

/// A message whose first line is the peer that is said to have signed it.
pub(super) fn signature(bytes: &[u8]) {
    let Some((signature, rest)) = bytes.split_first_chunk::<64>() else { return };
    let Some((peer, message)) = from_utf8(rest).ok().and_then(|text| text.split_once('\n')) else { return };
    bounded(TEXT_BYTES_MAX, || ::p2p::verify(peer, message.as_bytes(), signature));
}

pub(super) fn signature_seeds() -> Vec<Vec<u8>> {
    vec![[&[0; 64][..], ID.as_bytes(), b"\nmessage"].concat()]
}

pub(super) fn address(bytes: &[u8]) {
    stable(TEXT_BYTES_MAX, bytes, |bytes| p2p::address(from_utf8(bytes).ok()?));
}

pub(super) fn address_seeds() -> Vec<Vec<u8>> {
    seeds::texts([
        format!("/ip4/1.2.3.4/tcp/5/p2p/{ID}"),
        "/ip6/2001:db8::1/udp/4001/quic-v1".to_owned(),
        "/dns4/node-1.example/tcp/4001".to_owned(),
        "/memory/5".to_owned(),
        "/unix/a/b/http-path/c%2Fd".to_owned(),
        "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:1234".to_owned(),
    ])
}

pub(super) fn blob_question(bytes: &[u8]) {
    framed(p2p::ASK, bytes, p2p::blob_question);
}

pub(super) fn blob_question_seeds() -> Vec<Vec<u8>> {
    let hash = [1u8; 32];
    let plain = |variant: u32| (variant, hash);
    [seeds::bodies([plain(0), plain(1), plain(3)]), seeds::bodies([(2u32, hash, 258u32)])].concat()
}

pub(super) fn blob_answer(bytes: &[u8]) {
    let limit = Class::Blob.bytes_max();
    let fits = bytes.len().saturating_sub(1) * 8;
    for count in [fits, fits.saturating_sub(7), fits + 1] {
        stable(limit, bytes, |bytes| p2p::blob_answer(bytes.to_vec(), count));
    }
}

pub(super) fn blob_answer_seeds() -> Vec<Vec<u8>> {
    vec![vec![0], vec![1], vec![7, 2], vec![7, 8, 3], vec![7, 8, 4]]
}

pub(super) fn outline(bytes: &[u8]) {
    framed(p2p::OUTLINE, bytes, p2p::outline);
}

pub(super) fn outline_seeds() -> Vec<Vec<u8>> {
    let mebibytes = |size: u64, pieces: usize| (size, vec![[9u8; 32]; pieces]);
    seeds::bodies([mebibytes(0, 1), mebibytes(5, 1), mebibytes(1 << 20, 1), mebibytes((5 << 20) + 1, 6)])
}
