//! Markdown pages: their headings, links, code spans and tables.
//!
//! Invariant: what stands in a block of code is neither a heading nor a link.

/// A page without what stands in its blocks of code: those lines are
/// empty, so that numbers of lines stay right.
pub(crate) fn prose(page: &str) -> String {
    let mut fenced = false;
    let mut after_blank = true;
    let mut kept = String::new();
    for line in page.lines() {
        let fence = line.trim_start().starts_with("```");
        // Four spaces after an empty line begin a block; within a list they go on with its item.
        let block =
            line.starts_with("    ") && after_blank && !line.trim_start().starts_with(['-', '*', '|']);
        if !fence && !fenced && !block {
            kept.push_str(line);
            after_blank = line.trim().is_empty();
        }
        fenced ^= fence;
        kept.push('\n');
    }
    kept
}

/// The anchors of a page's headings, as the common renderers make them.
pub(crate) fn anchors(page: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for line in prose(page).lines().filter(|line| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let same = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
    }
    anchors
}

/// The targets of a page's links, with the number of their line.
pub(crate) fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(prose(page).lines()) {
        let text = without_code(text);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.map(|target| (line, target.to_owned())));
    }
    found
}

/// What stands between backticks in a page, with the number of its line.
pub(crate) fn code_spans(page: &str) -> Vec<(usize, String)> {
    let text = prose(page);
    let lines = (1..).zip(text.lines());
    lines
        .flat_map(|(line, text)| text.split('`').skip(1).step_by(2).map(move |code| (line, code.to_owned())))
        .collect()
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The code spans in the first column of the table under a heading.
pub(crate) fn first_column(page: &str, heading: &str) -> Vec<String> {
    let section = page.lines().skip_while(|line| *line != heading).skip(1);
    section
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .map(|name| name.trim_end_matches('/').to_owned())
        .collect()
}

#[test]
fn a_page_is_read() {
    let page = "# A page: two `words`\n\n[a](b.md#c) and [d](https://e) `[f](g)`\n```\n# no heading [h](i)\n```\n\n    [j](k)\n\n# A page: two words\n";
    assert_eq!(anchors(page), ["a-page-two-words", "a-page-two-words-1"]);
    assert_eq!(links(page), [(3, "b.md#c".to_owned()), (3, "https://e".to_owned())]);
    assert_eq!(code_spans(page), [(1, "words".to_owned()), (3, "[f](g)".to_owned())]);
    let table =
        "## Rooms\n\n| room | what |\n|---|---|\n| `a` | x `y` |\n| `b/` | z |\n\n## Next\n| `c` | |\n";
    assert_eq!(first_column(table, "## Rooms"), ["a", "b"]);
}
