//! Texts for people that travel in commands and events, where each field has a largest length in bytes.

/// The longest beginning of `text` that takes at most `bytes_max` bytes and does not cut a character in two.
#[must_use]
pub fn clip(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_two_characters() {
        let check =
            |text, bytes_max, expected| assert_eq!(clip(text, bytes_max), expected, "{text} {bytes_max}");
        check("", 0, "");
        check("", 5, "");
        check("abc", 5, "abc");
        check("abc", 3, "abc");
        check("abc", 2, "ab");
        check("abc", 0, "");
        check("aé", 2, "a");
        check("aé", 3, "aé");
        check("é", 1, "");
        check("日本", 5, "日");
    }
}
