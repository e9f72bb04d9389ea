//! Links and names of files, in pages and in comments.
//!
//! Invariant: whatever a page or a comment sends its reader to is in the tree.

use crate::{lex, pages, tree};
use std::collections::BTreeSet;

/// A document about another system: it was given and is kept as it is, below its first line.
const GIVEN: &str = "docs/EVENT_FLOW_INTEGRATION.md";

/// Sources that a reader of this tree cannot open.
const NOT_HERE: [&str; 8] = [
    "RULES.md",
    "COMPUTE.md",
    "CLUSTER.md",
    "STYLE.md",
    "structure.md",
    "the existing system",
    "existing system",
    "the reference implementation",
];

/// Files that are named and are no files of the tree: they belong to a
/// node's data folder or to another project.
const ELSEWHERE: [&str; 2] = ["ringrift.toml", "rust-toolchain.toml"];

/// Endings of names that look like files of the tree.
const ENDINGS: [&str; 5] = [".md", ".rs", ".cu", ".cuh", ".toml"];

/// A piece of prose: of a page, or of the comments of a source.
struct Prose {
    file: String,
    line: usize,
    text: String,
}

fn page_paths() -> Vec<String> {
    tree::files("", &[".md"])
}

/// A page as far as it is ours.
fn page(path: &str) -> String {
    let text = tree::read(path);
    if path == GIVEN { text.lines().next().unwrap_or_default().to_owned() } else { text }
}

/// The comments of every source, and of scripts.
fn comments() -> Vec<Prose> {
    let mut found = Vec::new();
    for file in
        tree::files("", &[".rs", ".cu", ".cuh"]).into_iter().filter(|file| !file.starts_with("tests/house/"))
    {
        let source = tree::read(&file);
        let (_, comments) = lex::split(&source);
        found.extend(comments.iter().map(|comment| Prose {
            file: file.clone(),
            line: comment.line,
            text: comment.text.to_owned(),
        }));
    }
    let scripts = tree::files("scripts", &[""]).into_iter().chain([".ci/run".to_owned()]);
    let manifests = tree::files("", &[".toml"]);
    for file in scripts.chain(manifests) {
        let text = tree::read(&file);
        let comments = (1..).zip(text.lines()).filter(|(_, line)| line.trim_start().starts_with("# "));
        found.extend(comments.map(|(line, text)| Prose { file: file.clone(), line, text: text.to_owned() }));
    }
    found
}

/// The names in a text that look like files of the tree.
fn names(text: &str) -> Vec<&str> {
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let words = text.split(|c| !is_of_path(c)).map(|word| word.trim_end_matches(['.', '-', '/']));
    words
        .filter(|word| {
            let stem = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending));
            let script = word.strip_prefix("scripts/");
            stem.or(script).is_some_and(|stem| !stem.is_empty() && !stem.ends_with('/'))
        })
        // `NAME` stands for whatever name the reader chooses.
        .filter(|word| !word.contains("NAME") && !ELSEWHERE.contains(word))
        .collect()
}

/// Whether a name is a file, seen from the root or from a folder around the file that names it.
fn is_found(name: &str, file: &str) -> bool {
    let mut folder = tree::folder(file);
    loop {
        let here = tree::join(folder, name);
        let in_src = tree::join(folder, &format!("src/{name}"));
        if here.into_iter().chain(in_src).any(|path| tree::exists(&path)) {
            return true;
        }
        if folder.is_empty() {
            return false;
        }
        folder = tree::folder(folder);
    }
}

fn broken_links(file: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for (line, target) in pages::links(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let there =
            if path.is_empty() { Some(file.to_owned()) } else { tree::join(tree::folder(file), path) };
        let Some(there) = there.filter(|there| tree::exists(there)) else {
            broken.push(format!("{file}:{line}: the link to {target} leads nowhere"));
            continue;
        };
        let is_there = |there: &str| pages::anchors(&tree::read(there)).iter().any(|known| known == anchor);
        if !anchor.is_empty() && !is_there(&there) {
            broken.push(format!("{file}:{line}: {there} has no heading for #{anchor}"));
        }
    }
    broken
}

#[test]
fn every_link_leads_somewhere() {
    let broken = page_paths().into_iter().flat_map(|path| broken_links(&path, &page(&path)));
    crate::faults::none(broken);
}

#[test]
fn every_named_file_exists() {
    let mut prose = comments();
    for file in page_paths() {
        let spans = pages::code_spans(&page(&file));
        prose.extend(spans.into_iter().map(|(line, text)| Prose { file: file.clone(), line, text }));
    }
    let missing: BTreeSet<String> = prose
        .iter()
        .flat_map(|Prose { file, line, text }| {
            let missing = names(text).into_iter().filter(|name| !is_found(name, file));
            missing.map(move |name| format!("{file}:{line}: there is no {name}"))
        })
        .collect();
    crate::faults::none(missing);
}

#[test]
fn nothing_refers_to_what_is_not_here() {
    let mut prose = comments();
    for file in page_paths() {
        let text = page(&file);
        prose.extend((1..).zip(text.lines()).map(|(line, text)| Prose {
            file: file.clone(),
            line,
            text: text.to_owned(),
        }));
    }
    let cited = prose.iter().flat_map(|Prose { file, line, text }| {
        let cited = NOT_HERE.iter().filter(|name| text.contains(**name));
        cited.map(move |name| format!("{file}:{line}: it cites {name:?}"))
    });
    crate::faults::none(cited);
}

#[test]
fn planted_faults_are_found() {
    let found = broken_links(
        "docs/decisions/README.md",
        "[a](../nowhere.md) [b](README.md#nothing) [c](README.md#decisions)",
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        names("see `scripts/chaos`, a.rs, b/c.cuh. and d.md, e.rs.gz, .rs, src/NAME.rs"),
        ["scripts/chaos", "a.rs", "b/c.cuh", "d.md"]
    );
    assert!(is_found("tree.rs", "tests/house/cited.rs") && is_found("Cargo.toml", "tests/house/cited.rs"));
    assert!(!is_found("attic.rs", "tests/house/cited.rs"));
}
