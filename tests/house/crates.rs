//! The order of the crates, and what each must not name.
//!
//! Invariant: a crate depends only on crates before it in [`CRATES`], and a package that only one crate may
//! name is named by no other. So the rules can be read without the network, and the network without the game.

use crate::tree;
use std::collections::{BTreeMap, BTreeSet};

/// The crates of the workspace by the folder of their manifest, from the ground
/// up. ARCHITECTURE.md shows the same order.
pub(crate) const CRATES: [&str; 9] =
    ["rules", "p2p/wire", "kernels/emu", "kernels", "kernels/gauge", "p2p", "raft/state", "raft", ""];

/// A package, and the only crates that may name it, by their folders.
const ALONE: [(&str, &[&str]); 7] = [
    ("bincode", &["p2p/wire"]),
    ("libp2p", &["p2p"]),
    ("openraft", &["raft"]),
    ("cudarc", &["kernels"]),
    ("rusqlite", &["raft", ""]),
    ("tokio", &["p2p", "raft", ""]),
    ("axum", &[""]),
];

/// A section of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Product,
    Tests,
}

/// The dependencies of a manifest: names of packages, and whether only tests need them.
fn dependencies(manifest: &str) -> Vec<(String, Use)> {
    let mut section = None;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = match name.trim_end_matches(']') {
                "dependencies" | "build-dependencies" => Some(Use::Product),
                "dev-dependencies" => Some(Use::Tests),
                _ => None,
            };
        } else if let (Some(used), Some((name, _))) = (section, line.split_once(['=', '.']))
            && !line.starts_with('#')
        {
            found.push((name.trim().to_owned(), used));
        }
    }
    found
}

/// The folders of the workspace's own crates, by the name that dependants use.
fn folders(root_manifest: &str) -> BTreeMap<String, String> {
    let lines = root_manifest.lines().filter_map(|line| line.split_once('='));
    lines
        .filter_map(|(name, value)| {
            let (_, path) = value.split_once("path = \"")?;
            value
                .contains('{')
                .then(|| (name.trim().to_owned(), path.split('"').next().unwrap_or_default().to_owned()))
        })
        .collect()
}

/// What is wrong with the manifests of `crates`, by folder.
fn faults(
    crates: &BTreeMap<&str, String>,
    own: &BTreeMap<String, String>,
    order: &[&str],
) -> BTreeSet<String> {
    let place = |folder: &str| order.iter().position(|known| *known == folder);
    let mut faults = BTreeSet::new();
    for (folder, manifest) in crates {
        let name = if folder.is_empty() { "ringrift" } else { folder };
        let Some(floor) = place(folder) else {
            faults.insert(format!("the crate `{name}` has no place in the order"));
            continue;
        };
        for (package, used) in dependencies(manifest) {
            if let Some(target) = own.get(&package)
                && place(target).is_none_or(|target| target >= floor)
            {
                faults.insert(format!("`{name}` depends on `{target}`, which stands above it"));
            }
            let alone = ALONE.iter().find(|(known, _)| *known == package);
            if let Some((_, allowed)) = alone
                && used == Use::Product
                && !allowed.contains(folder)
            {
                faults.insert(format!("`{name}` names the package `{package}`, which is not its to name"));
            }
        }
    }
    faults
}

/// These checks and the targets of fuzzing are packages as well, but nothing depends on them.
fn is_product(manifest: &(&str, String)) -> bool {
    !["tests/house", "tests/fuzz"].contains(&manifest.0)
}

#[test]
fn no_arrow_points_upward_between_crates() {
    let own = folders(&tree::read("Cargo.toml"));
    let manifests = tree::files("", &["Cargo.toml"]);
    let crates: BTreeMap<&str, String> =
        manifests.iter().map(|path| (tree::folder(path), tree::read(path))).filter(is_product).collect();
    assert_eq!(crates.len(), own.len() + 1, "every crate is in the workspace");
    crate::faults::none(faults(&crates, &own, &CRATES));
}

#[test]
fn the_page_shows_the_same_order() {
    let page = tree::read("ARCHITECTURE.md");
    let shown = crate::pages::first_column(&page, "## The crates, from the ground up");
    let expected = CRATES.map(|folder| if folder.is_empty() { "src" } else { folder });
    assert_eq!(shown, expected);
}

#[test]
fn planted_faults_are_found() {
    let own = folders(
        "[workspace.dependencies]\nlow = { path = \"low\" }\nhigh = { path = \"high\", package = \"x\" }\n",
    );
    assert_eq!(own.len(), 2);
    let check = |folder, manifest: &str, expected: &[&str]| {
        let crates = BTreeMap::from([(folder, manifest.to_owned())]);
        let found: Vec<String> = faults(&crates, &own, &["low", "high"]).into_iter().collect();
        assert_eq!(found, expected);
    };
    check("high", "[dependencies]\nlow.workspace = true\n# libp2p\n[lib]\nname = \"high\"", &[]);
    check(
        "low",
        "[dependencies]\nhigh.workspace = true",
        &["`low` depends on `high`, which stands above it"],
    );
    check(
        "low",
        "[dev-dependencies]\nhigh = { workspace = true }",
        &["`low` depends on `high`, which stands above it"],
    );
    check("attic", "", &["the crate `attic` has no place in the order"]);
    let named = "`low` names the package `openraft`, which is not its to name";
    check("low", "[dependencies]\nopenraft.workspace = true", &[named]);
}
