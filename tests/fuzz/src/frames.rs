//! Bodies in frames, and the check of what is decoded from them.

use crate::bounds::bounded;
use serde::{Serialize, Serializer, ser::SerializeTuple as _};

/// The kind of a frame, and its largest body in bytes.
pub(crate) type Kind = (u8, usize);

/// A frame with this body, which need not mean anything: its length and checksum are right.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    struct Raw<'a>(&'a [u8]);
    impl Serialize for Raw<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut tuple = serializer.serialize_tuple(self.0.len())?;
            self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
            tuple.end()
        }
    }
    wire::encode(kind, &Raw(body), usize::MAX).expect("bytes can be encoded")
}

/// The body of a frame.
pub(crate) fn body(frame: &[u8]) -> &[u8] {
    frame.get(8..frame.len().saturating_sub(4)).unwrap_or_default()
}

/// Decodes the bytes as they are, and as the body of a frame.
pub(crate) fn framed<W: FnOnce() -> Vec<u8>>(
    (kind, limit): Kind,
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Option<W>,
) {
    stable(limit, bytes, &decode);
    stable(limit, &frame(kind, bytes), &decode);
}

/// Decodes the bytes. What is accepted and written again is read as the same.
pub(crate) fn stable<W: FnOnce() -> Vec<u8>>(
    limit: usize,
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Option<W>,
) {
    if let Some(write) = bounded(limit, || decode(bytes)) {
        let written = write();
        let read = decode(&written).expect("what is written can be read");
        assert_eq!(read(), written, "what is written is read as something else");
    }
}
