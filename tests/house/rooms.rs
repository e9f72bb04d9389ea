//! The order of the rooms of `src/`.
//!
//! Invariant: a room imports only what stands before it in [`ROOMS`]. So no two rooms import each other, and
//! a reader who goes through the list from its beginning never meets a name that was not explained before.

use crate::{
    imports::{self, Import},
    tree,
};
use std::collections::{BTreeMap, BTreeSet};

/// The files and folders directly under `src/`, from the ground up. ARCHITECTURE.md shows the same order.
pub(crate) const ROOMS: [&str; 23] = [
    "clock", "text", "backoff", "bounds", "process", "compute", "api", "search", "store", "learner",
    "events", "devices", "leader", "peer", "segments", "config", "daemons", "http", "node", "client",
    "local", "cli", "fuzzing",
];

/// Modules that exist for the tests of other rooms. Tests may import them from a room below.
const KITS: [&str; 1] = ["daemons::fixture"];

/// Crates that a room must not name, because it is plain data or pure computation.
const WITHOUT: [(&str, &[&str]); 4] = [
    ("api", &["axum", "p2p", "raft", "rusqlite", "tokio"]),
    ("search", &["p2p", "raft", "rusqlite", "tokio"]),
    ("learner", &["p2p", "raft", "rusqlite", "tokio"]),
    ("leader", &["axum", "p2p", "raft", "rusqlite", "tokio"]),
];

/// An import between two rooms that must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The file or folder of a room has no place in the order.
    Unknown { room: String, file: String },
    /// The room is imported by one that stands before it.
    Upward { file: String, from: String, to: String },
    /// The two rooms import each other.
    Circle(String, String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown { room, file } => write!(f, "{file}: the room `{room}` has no place in the order"),
            Self::Upward { file, from, to } => {
                write!(f, "{file}: `{from}` imports `{to}`, which stands above it")
            }
            Self::Circle(one, other) => write!(f, "`{one}` and `{other}` import each other"),
        }
    }
}

/// The sources under `src/`, by path.
pub(crate) fn sources() -> BTreeMap<String, String> {
    let paths = tree::files("src", &[".rs"]);
    paths.into_iter().map(|path| (path.clone(), tree::read(&path))).collect()
}

/// What is wrong with the imports of `sources` under an order.
pub(crate) fn faults(sources: &BTreeMap<String, String>, order: &[&str], kits: &[&str]) -> BTreeSet<Fault> {
    let read: Vec<(&String, Vec<String>, imports::Source)> = sources
        .iter()
        .map(|(file, source)| {
            let module = imports::module(file);
            let read = imports::read(&module, source);
            (file, module, read)
        })
        .collect();
    let test_modules: Vec<Vec<String>> = read
        .iter()
        .flat_map(|(_, module, source)| {
            source.test_modules.iter().map(|name| [module.clone(), vec![name.clone()]].concat())
        })
        .collect();
    let place = |room: &str| order.iter().position(|known| *known == room);
    let mut faults = BTreeSet::new();
    let mut arrows: BTreeSet<(String, String)> = BTreeSet::new();
    for (file, module, source) in &read {
        let Some(from) = module.first() else { continue };
        let for_tests = test_modules.iter().any(|test| module.starts_with(test));
        let Some(floor) = place(from) else {
            faults.insert(Fault::Unknown { room: from.clone(), file: (*file).clone() });
            continue;
        };
        for Import { path, test } in &source.imports {
            let Some(to) = path.first().filter(|to| *to != from) else { continue };
            let Some(target) = place(to) else {
                faults.insert(Fault::Unknown { room: to.clone(), file: (*file).clone() });
                continue;
            };
            let test = *test || for_tests;
            if !test {
                arrows.insert((from.clone(), to.clone()));
            }
            if target > floor && !(test && is_kit(path, kits)) {
                faults.insert(Fault::Upward { file: (*file).clone(), from: from.clone(), to: to.clone() });
            }
        }
    }
    let mutual = arrows.iter().filter(|(a, b)| a < b && arrows.contains(&(b.clone(), a.clone())));
    faults.extend(mutual.map(|(a, b)| Fault::Circle(a.clone(), b.clone())));
    faults
}

fn is_kit(path: &[String], kits: &[&str]) -> bool {
    let path = path.join("::");
    kits.iter().any(|kit| path == *kit || path.starts_with(&format!("{kit}::")))
}

#[test]
fn no_arrow_points_upward_and_no_two_rooms_import_each_other() {
    let found = faults(&sources(), &ROOMS, &KITS).into_iter().map(|fault| fault.to_string());
    crate::faults::none(found);
}

#[test]
fn the_page_shows_the_same_order() {
    let page = tree::read("ARCHITECTURE.md");
    assert_eq!(crate::pages::first_column(&page, "## The rooms of `src/`, from the ground up"), ROOMS);
}

#[test]
fn rooms_of_plain_data_and_pure_computation_do_no_io() {
    let sources = sources();
    let named = sources.iter().flat_map(|(file, source)| {
        let module = imports::module(file);
        let room = module.first().cloned().unwrap_or_default();
        let (_, without) = WITHOUT.iter().find(|(known, _)| *known == room).copied().unwrap_or_default();
        let heads = imports::read(&module, source).heads;
        let named: Vec<&str> = without.iter().copied().filter(|name| heads.contains(*name)).collect();
        named.into_iter().map(move |name| format!("{file}: `{room}` names the crate `{name}`"))
    });
    crate::faults::none(named);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: [&str; 3] = ["low", "middle", "high"];

    fn check(files: &[(&str, &str)], expected: &[Fault]) {
        let sources = files.iter().map(|(path, source)| ((*path).to_owned(), (*source).to_owned())).collect();
        let found: Vec<Fault> = faults(&sources, &ORDER, &["high::kit"]).into_iter().collect();
        assert_eq!(found, expected);
    }

    fn upward(file: &str, from: &str, to: &str) -> Fault {
        Fault::Upward { file: file.to_owned(), from: from.to_owned(), to: to.to_owned() }
    }

    #[test]
    fn arrows_downward_are_fine() {
        check(
            &[("src/low.rs", ""), ("src/high/mod.rs", "use crate::{low::A, middle};"), ("src/middle.rs", "")],
            &[],
        );
        check(&[("src/lib.rs", "pub use crate::high::B;"), ("src/high/a.rs", "use crate::high::b;")], &[]);
    }

    #[test]
    fn a_planted_arrow_upward_is_found() {
        let expected = upward("src/low/a.rs", "low", "high");
        check(&[("src/low/a.rs", "fn f() { super::super::high::g() }")], &[expected]);
        let expected = upward("src/low.rs", "low", "middle");
        check(&[("src/low.rs", "use crate::{low, middle::{self, x}};")], &[expected]);
    }

    #[test]
    fn a_planted_circle_is_found() {
        check(
            &[("src/low.rs", "use crate::high;"), ("src/high.rs", "use crate::low;")],
            &[upward("src/low.rs", "low", "high"), Fault::Circle("high".into(), "low".into())],
        );
    }

    #[test]
    fn a_planted_room_without_a_place_is_found() {
        let unknown = |room: &str, file: &str| Fault::Unknown { room: room.into(), file: file.into() };
        check(&[("src/attic/mod.rs", "use crate::low;")], &[unknown("attic", "src/attic/mod.rs")]);
        check(&[("src/low.rs", "use crate::cellar;")], &[unknown("cellar", "src/low.rs")]);
    }

    #[test]
    fn tests_import_upward_from_kits_alone() {
        let kit = "#[cfg(test)] mod tests { use crate::high::kit::World; }";
        check(&[("src/low.rs", kit)], &[]);
        check(&[("src/low.rs", "use crate::high::kit::World;")], &[upward("src/low.rs", "low", "high")]);
        let other = "#[cfg(test)] mod tests { use crate::high::run; }";
        check(&[("src/low.rs", other)], &[upward("src/low.rs", "low", "high")]);
        check(&[("src/low/mod.rs", "#[cfg(test)] mod t;"), ("src/low/t/a.rs", "use crate::high::kit;")], &[]);
    }
}
