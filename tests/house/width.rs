//! How wide comments are: as wide as code may be, so that two files fit side by side.

use crate::{lex, tree};

/// Most columns of a line that holds nothing but a comment. The same as `max_width` of the formatter.
const COLUMNS_MAX: usize = 110;

/// Lines of comments that are too wide, by their numbers.
fn wide(source: &str) -> Vec<usize> {
    let lines: Vec<&str> = source.lines().collect();
    let (_, comments) = lex::split(source);
    let is_wide = |line: &usize| {
        let text = lines[line - 1];
        text.trim_start().starts_with("//") && text.chars().count() > COLUMNS_MAX
    };
    comments.iter().map(|comment| comment.line).filter(is_wide).collect()
}

#[test]
fn comments_are_no_wider_than_code() {
    let found = tree::files("", &[".rs"]).into_iter().flat_map(|file| {
        let wide = wide(&tree::read(&file));
        wide.into_iter()
            .map(move |line| format!("{file}:{line}: a comment is wider than {COLUMNS_MAX} columns"))
    });
    crate::faults::none(found);
}

#[test]
fn a_wide_comment_is_found() {
    let words = "word ".repeat(30);
    let source =
        format!("// {words}\nfn f() {{}} // {words}\nconst S: &str = \"\n// {words}\";\n    /// short\n");
    assert_eq!(wide(&source), [1]);
}
