//! Inputs that decoders accept, from the golden bytes and examples in the tree.
//!
//! Invariant: seeds are read where the tests of the decoders keep them, so they follow every change of them.

use crate::frames::body;

/// Golden frames of consensus, one a line: what, number, frame.
const RPC: &str = include_str!("../../../raft/src/rpc/golden.txt");
/// Golden frames of commands and responses.
const STATE: &str = include_str!("../../../raft/state/src/golden.txt");
/// Golden bodies of events, one a line: name, body.
const EVENTS: &str = include_str!("../../../src/events/golden.hex");
/// The same events as JSON.
pub(crate) const EVENTS_JSON: &str = include_str!("../../../src/events/golden.json");
/// The status of a node as JSON.
pub(crate) const STATUS_JSON: &str = include_str!("../../../src/api/status.json");
/// The page with every setting.
pub(crate) const SETTINGS: &str = include_str!("../../../docs/settings.md");

fn lines<'a>(text: &'a str, what: &'a str) -> impl Iterator<Item = Vec<u8>> {
    text.lines().filter(move |line| line.split(' ').next() == Some(what)).map(|line| {
        let hex = line.rsplit(' ').next().unwrap_or_default();
        hex::decode(hex).expect("golden bytes are hexadecimal")
    })
}

/// The bodies of the golden frames of consensus with this name.
pub(crate) fn rpc(what: &str) -> Vec<Vec<u8>> {
    lines(RPC, what).map(|frame| body(&frame).to_vec()).collect()
}

/// The bodies of the golden frames of commands or responses.
pub(crate) fn state(what: &str) -> Vec<Vec<u8>> {
    lines(STATE, what).map(|frame| body(&frame).to_vec()).collect()
}

/// The golden bodies of events.
pub(crate) fn events() -> Vec<Vec<u8>> {
    let bodies = EVENTS.lines().filter_map(|line| line.split_once(' '));
    bodies.map(|(_, hex)| hex::decode(hex).expect("golden bytes are hexadecimal")).collect()
}

/// Values as the bodies of frames.
pub(crate) fn bodies<T: serde::Serialize>(values: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    let frame = |value: T| wire::encode(0, &value, usize::MAX).expect("an example can be encoded");
    values.into_iter().map(|value| body(&frame(value)).to_vec()).collect()
}

/// Texts as bytes.
pub(crate) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| text.into().into_bytes()).collect()
}

/// Inputs in which a length of the seed announces far more than there can be, and as many zeros follow as an
/// array of small elements of that length would have: what a short element becomes in memory is the most that
/// a decoder can be made to hold.
pub fn inflated(seed: &[u8]) -> Vec<Vec<u8>> {
    const SIZES: [usize; 3] = [500, 15 << 10, 250 << 10];
    const LENGTHS_MAX: usize = 40;
    let is_length = |at: &usize| {
        let number = seed[*at..].first_chunk().map(|eight| u64::from_le_bytes(*eight));
        number.is_some_and(|number| number <= 16)
    };
    let lengths: Vec<usize> = (0..seed.len()).filter(is_length).take(LENGTHS_MAX).collect();
    let inflate = |at: usize| {
        SIZES.map(|size| {
            let mut input = [&seed[..at], &(1u64 << 40).to_le_bytes()].concat();
            input.resize(input.len() + size, 0);
            input
        })
    };
    lengths.into_iter().flat_map(inflate).collect()
}
