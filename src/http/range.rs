//! The `Range` header of HTTP, limited to one range of bytes (RFC 9110, section 14).

use std::ops::Range;

/// What a `Range` header requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// Everything: there is no header, or one that may be ignored (RFC 9110, section 14.2).
    All,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes beyond the end of the content.
    Outside,
}

/// Parses the header, for content of `size` bytes.
pub(crate) fn parse(range: Option<&str>, size: u64) -> ByteRange {
    let Some(bounds) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return ByteRange::All;
    };
    let Some((from, to)) = bounds.trim().split_once('-') else { return ByteRange::All };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(from) || !digits(to) {
        return ByteRange::All; // the header has several ranges, or none
    }
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (begin, end) = match (from, to) {
        ("", "") => return ByteRange::All,
        ("", last) => (size.saturating_sub(number(last)), size),
        (first, "") => (number(first), size),
        (first, last) if number(first) > number(last) => return ByteRange::All,
        (first, last) => (number(first), number(last).saturating_add(1).min(size)),
    };
    if begin < end { ByteRange::Bytes(begin..end) } else { ByteRange::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_standard_has_them() {
        let check =
            |range: Option<&str>, expected: ByteRange| assert_eq!(parse(range, 100), expected, "{range:?}");
        check(None, ByteRange::All);
        check(Some("bytes=0-0"), ByteRange::Bytes(0..1));
        check(Some("bytes=10-19"), ByteRange::Bytes(10..20));
        check(Some("bytes=10-"), ByteRange::Bytes(10..100));
        check(Some("bytes=90-1000"), ByteRange::Bytes(90..100));
        check(Some("bytes=-7"), ByteRange::Bytes(93..100));
        check(Some("bytes=-1000"), ByteRange::Bytes(0..100));
        check(Some("bytes=100-"), ByteRange::Outside);
        check(Some("bytes=99999999999999999999-"), ByteRange::Outside);
        check(Some("bytes=-0"), ByteRange::Outside);
        for ignored in ["bytes=5-4", "bytes=-", "bytes=a-b", "bytes=1-2,5-6", "lines=1-2", "bytes=+1-2", ""] {
            check(Some(ignored), ByteRange::All);
        }
        assert_eq!(parse(Some("bytes=0-"), 0), ByteRange::Outside);
    }
}
