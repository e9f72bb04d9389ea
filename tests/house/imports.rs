//! What a source file imports from the other rooms of `src/`.
//!
//! Invariant: every path that begins at the crate is found, wherever it stands: in nested `use`
//! trees, in the middle of an expression, behind `super::super::`, in the body of a macro. A path
//! that code of tests alone names is told apart.

use crate::lex::{Token, split};
use std::collections::BTreeSet;

/// A path that begins at the crate's root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    /// Its names, the room first.
    pub(crate) path: Vec<String>,
    /// Whether it stands in a module of tests.
    pub(crate) test: bool,
}

/// What one file says about modules.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) imports: BTreeSet<Import>,
    /// First names of all paths, such as crates; those in modules of tests are left out.
    pub(crate) heads: BTreeSet<String>,
    /// Modules in files of their own that only tests compile.
    pub(crate) test_modules: Vec<String>,
}

/// The module path of a file under `src/`: `["events", "log"]` for
/// `src/events/log.rs`; empty for the crate's root.
pub(crate) fn module(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Reads the source of the module `here`.
pub(crate) fn read(here: &[String], source: &str) -> Source {
    let (tokens, _) = split(source);
    let mut reader = Reader { tokens: &tokens, here, inner: Vec::new(), depth: 0, found: Source::default() };
    reader.run();
    reader.found
}

/// A module within the file: its name, the braces around it, and whether only tests compile it.
struct Inner {
    name: String,
    depth: usize,
    test: bool,
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    here: &'a [String],
    inner: Vec<Inner>,
    depth: usize,
    found: Source,
}

impl<'a> Reader<'a> {
    fn run(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            match self.tokens[at] {
                Token::Word("mod") => self.begin(at),
                Token::Word("crate") if self.is_path(at) => self.tree(at + 2, &mut Vec::new()),
                Token::Word("super") if self.is_path(at) && !self.follows_colons(at) => self.upward(at),
                Token::Word(name) if self.is_path(at) && !self.follows_colons(at) && !self.in_test() => {
                    self.found.heads.insert(name.to_owned());
                }
                Token::Mark('{') => self.depth += 1,
                Token::Mark('}') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.inner.retain(|inner| inner.depth <= self.depth);
                }
                Token::Word(_) | Token::Colons | Token::Mark(_) => {}
            }
            at += 1;
        }
    }

    fn get(&self, at: usize) -> Option<Token<'a>> {
        self.tokens.get(at).copied()
    }

    fn follows_colons(&self, at: usize) -> bool {
        at > 0 && self.get(at - 1) == Some(Token::Colons)
    }

    /// Whether a path of names begins here, and not the visibility `pub(in crate::events)`.
    fn is_path(&self, at: usize) -> bool {
        let visibility =
            at >= 3 && self.tokens[at - 3..at] == [Token::Word("pub"), Token::Mark('('), Token::Word("in")];
        !visibility && self.get(at + 1) == Some(Token::Colons)
    }

    /// `mod name {` or `mod name;`.
    fn begin(&mut self, at: usize) {
        let Some(Token::Word(name)) = self.get(at + 1) else { return };
        let test = self.is_for_tests(at);
        match self.get(at + 2) {
            Some(Token::Mark('{')) => {
                let test = test || self.in_test();
                self.inner.push(Inner { name: name.to_owned(), depth: self.depth + 1, test });
            }
            Some(Token::Mark(';')) if test || self.in_test() => {
                self.found.test_modules.push(name.to_owned());
            }
            _ => {}
        }
    }

    /// Whether `#[cfg(test)]` stands before the module that begins
    /// here, with or without a visibility between.
    fn is_for_tests(&self, at: usize) -> bool {
        let mut end = at;
        if end > 0 && self.tokens[end - 1] == Token::Mark(')') {
            end = self.tokens[..end].iter().rposition(|token| *token == Token::Mark('(')).unwrap_or(0);
        }
        if end > 0 && self.tokens[end - 1] == Token::Word("pub") {
            end -= 1;
        }
        let cfg = [
            Token::Mark('#'),
            Token::Mark('['),
            Token::Word("cfg"),
            Token::Mark('('),
            Token::Word("test"),
            Token::Mark(')'),
            Token::Mark(']'),
        ];
        self.tokens[..end].ends_with(&cfg)
    }

    fn in_test(&self) -> bool {
        self.inner.iter().any(|inner| inner.test)
    }

    /// `super::super::…`: a path from the crate's root if it climbs so far, else from within the room.
    fn upward(&mut self, mut at: usize) {
        let mut module: Vec<String> = self.here.to_vec();
        module.extend(self.inner.iter().map(|inner| inner.name.clone()));
        while self.get(at) == Some(Token::Word("super")) && self.get(at + 1) == Some(Token::Colons) {
            module.pop();
            at += 2;
        }
        if module.is_empty() {
            self.tree(at, &mut Vec::new());
        }
    }

    /// Notes the paths of the tree that begins at a token, each behind `before`.
    fn tree(&mut self, mut at: usize, before: &mut Vec<String>) {
        let length = before.len();
        loop {
            match self.get(at) {
                Some(Token::Word(name)) => {
                    before.push(name.to_owned());
                    if self.get(at + 1) == Some(Token::Colons) {
                        at += 2;
                        continue;
                    }
                    self.note(before);
                }
                Some(Token::Mark('{')) => self.branches(at + 1, before),
                // `*`, or the `<` of a type with parameters: what stands before it is the path.
                Some(Token::Mark(_) | Token::Colons) | None => self.note(before),
            }
            break;
        }
        before.truncate(length);
    }

    fn branches(&mut self, mut at: usize, before: &mut Vec<String>) {
        let mut depth = 1;
        let mut begins = true;
        while depth > 0 {
            let Some(token) = self.get(at) else { return };
            if begins && token != Token::Mark('}') {
                self.tree(at, before);
            }
            begins = false;
            match token {
                Token::Mark('{') => depth += 1,
                Token::Mark('}') => depth -= 1,
                Token::Mark(',') if depth == 1 => begins = true,
                Token::Word(_) | Token::Colons | Token::Mark(_) => {}
            }
            at += 1;
        }
    }

    fn note(&mut self, path: &[String]) {
        let test = self.in_test();
        self.found.imports.insert(Import { path: path.to_vec(), test });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, source: &str, expected: &[(&str, bool)]) {
        let found = read(&module(file), source);
        let found: Vec<(String, bool)> =
            found.imports.into_iter().map(|import| (import.path.join("::"), import.test)).collect();
        let expected: Vec<(String, bool)> =
            expected.iter().map(|(path, test)| ((*path).to_owned(), *test)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn every_way_to_write_an_import_is_read() {
        check("src/a.rs", "use crate::b;", &[("b", false)]);
        check(
            "src/a.rs",
            "use crate::{b, c::{d, self}, e as f};",
            &[("b", false), ("c::d", false), ("c::self", false), ("e", false)],
        );
        check(
            "src/a.rs",
            "use crate::{b::{c::{d}, e}, f::*};",
            &[("b::c::d", false), ("b::e", false), ("f", false)],
        );
        check(
            "src/a.rs",
            "fn f() { crate::b::run::<u8>(crate::c::D) }",
            &[("b::run", false), ("c::D", false)],
        );
        check("src/a.rs", "macro_rules! m { () => { $crate::b::f() } }", &[("b::f", false)]);
        check("src/a.rs", "pub(crate) use super::{b, c::D};", &[("b", false), ("c::D", false)]);
        check("src/a/b.rs", "use super::c; use super::super::d::E;", &[("d::E", false)]);
        check("src/a/mod.rs", "use super::b::C;", &[("b::C", false)]);
        check("src/a/mod.rs", "mod inner { use super::c; use super::super::d; }", &[("d", false)]);
        check("src/a.rs", "mod inner { mod deep { } use super::c; } use super::d;", &[("d", false)]);
        check("src/a/b.rs", "pub(in crate::c) fn f() {} // crate::d\nconst S: &str = \"crate::e\";", &[]);
        check("src/a.rs", "for x in crate::b::all() {}", &[("b::all", false)]);
    }

    #[test]
    fn crates_are_the_first_names_of_paths() {
        let source = "use {tokio::sync, raft::x}; fn f() -> p2p::Hash {} #[cfg(test)] mod t { use axum::y; }";
        let heads: Vec<String> = read(&module("src/a.rs"), source).heads.into_iter().collect();
        assert_eq!(heads, ["p2p", "raft", "tokio"]);
    }

    #[test]
    fn what_only_tests_compile_is_told_apart() {
        check(
            "src/a.rs",
            "use crate::b; #[cfg(test)] mod tests { use crate::c; }",
            &[("b", false), ("c", true)],
        );
        check(
            "src/a.rs",
            "#[cfg(test)] mod tests { fn f() { {} } use crate::c; } use crate::d;",
            &[("c", true), ("d", false)],
        );
        let found =
            read(&module("src/a/mod.rs"), "#[cfg(test)] pub(crate) mod kit; #[cfg(test)] mod t; mod u;");
        assert_eq!(found.test_modules, ["kit", "t"]);
    }
}
