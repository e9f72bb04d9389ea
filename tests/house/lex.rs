//! Rust and CUDA source as words, marks and comments.
//!
//! Invariant: what stands in a string, a character or a comment is never taken for code.

/// A piece of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A name, a keyword or a number.
    Word(&'a str),
    /// `::`.
    Colons,
    /// Any other character of code.
    Mark(char),
}

/// A comment, without its slashes, and the number of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comment<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// The code and the comments of a source.
pub(crate) fn split(source: &str) -> (Vec<Token<'_>>, Vec<Comment<'_>>) {
    let (mut tokens, mut comments) = (Vec::new(), Vec::new());
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            comments.push(Comment { line, text: rest[..end].trim_start_matches(['/', '!']) });
            end
        } else if rest.starts_with("/*") {
            let end = block(rest);
            let lines = rest[..end].lines().enumerate();
            comments.extend(lines.map(|(at, text)| Comment { line: line + at, text }));
            end
        } else if let Some(end) = raw_string(rest) {
            end
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Word(&rest[..end]));
            end
        } else if rest.starts_with("::") {
            tokens.push(Token::Colons);
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Mark(first));
            }
            first.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    (tokens, comments)
}

/// Bytes of the block comment that begins here; such comments nest.
fn block(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Bytes of the raw string that begins here, such as `r"…"`, `br#"…"#`.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    let body = hashes[count..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(count));
    let closed = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + closed)
}

/// Bytes of what stands between two equal quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Bytes of a character; of a lifetime only the quote, so that its name follows as a word.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1,
    }
}

#[test]
fn strings_and_comments_are_no_code() {
    let source = "use a::b; // c::d\n/* e /* f */ g */ let s = \"crate::x \\\" y\"; let r = r#\"crate::\"z\"#;\n\
                  fn f<'a>(c: char) -> &'a str { c == '\"' || c == '\\'' }";
    let (tokens, comments) = split(source);
    let words: Vec<&str> =
        tokens.iter().filter_map(|t| if let Token::Word(word) = t { Some(*word) } else { None }).collect();
    let expected =
        ["use", "a", "b", "let", "s", "let", "r", "fn", "f", "a", "c", "char", "a", "str", "c", "c"];
    assert_eq!(words, expected);
    assert_eq!(comments[0], Comment { line: 1, text: " c::d" });
    assert_eq!(comments[1], Comment { line: 2, text: "/* e /* f */ g */" });
}
