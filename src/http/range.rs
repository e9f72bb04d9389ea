//! The `Range` header of HTTP, limited to one range of bytes (RFC 9110, section 14).

use std::ops::Range;

/// What a `Range` header requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: there is no header, or one that may be ignored (RFC 9110, section 14.2).
    All,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes beyond the end of the content.
    Outside,
}

/// Parses the header, for content of `size` bytes.
pub(super) fn asked(range: Option<&str>, size: u64) -> Asked {
    let Some(bounds) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else { return Asked::All };
    let Some((from, to)) = bounds.trim().split_once('-') else { return Asked::All };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(from) || !digits(to) {
        return Asked::All; // the header has several ranges, or none
    }
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (begin, end) = match (from, to) {
        ("", "") => return Asked::All,
        ("", last) => (size.saturating_sub(number(last)), size),
        (first, "") => (number(first), size),
        (first, last) if number(first) > number(last) => return Asked::All,
        (first, last) => (number(first), number(last).saturating_add(1).min(size)),
    };
    if begin < end { Asked::Bytes(begin..end) } else { Asked::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_standard_has_them() {
        let check =
            |range: Option<&str>, expected: Asked| assert_eq!(asked(range, 100), expected, "{range:?}");
        check(None, Asked::All);
        check(Some("bytes=0-0"), Asked::Bytes(0..1));
        check(Some("bytes=10-19"), Asked::Bytes(10..20));
        check(Some("bytes=10-"), Asked::Bytes(10..100));
        check(Some("bytes=90-1000"), Asked::Bytes(90..100));
        check(Some("bytes=-7"), Asked::Bytes(93..100));
        check(Some("bytes=-1000"), Asked::Bytes(0..100));
        check(Some("bytes=100-"), Asked::Outside);
        check(Some("bytes=99999999999999999999-"), Asked::Outside);
        check(Some("bytes=-0"), Asked::Outside);
        for ignored in ["bytes=5-4", "bytes=-", "bytes=a-b", "bytes=1-2,5-6", "lines=1-2", "bytes=+1-2", ""] {
            check(Some(ignored), Asked::All);
        }
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Outside);
    }
}
