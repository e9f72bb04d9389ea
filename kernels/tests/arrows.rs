//! The folders of this crate import downward only.
//!
//! Invariant: the test reads sources and nothing else. A path that begins at `crate::` counts wherever it
//! stands, in code or in a comment; files of tests alone do not count.

use std::path::{Path, PathBuf};

/// The folders and files under `src/`, from the ground up. Both of the last may use everything before them.
const ORDER: [&str; 7] = ["encoding", "network", "error", "training", "device", "dry_run", "proof"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().expect("a folder of sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            if !path.ends_with("tests") && !path.ends_with("bin") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names behind every `crate::` of a source, up to its tests.
fn imports(source: &str) -> Vec<String> {
    let product = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    product.split("crate::").skip(1).map(name).collect()
}

/// The arrows of a source in a folder that lead upward, or aside at the top.
fn upward(folder: &str, source: &str) -> Vec<String> {
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    let here = place(folder);
    let mut found = imports(source);
    found.retain(|name| {
        name != folder && place(name).is_some_and(|there| here.is_some_and(|here| there > here))
    });
    found
}

#[test]
fn no_folder_imports_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 50, "{} sources", files.len());
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let folder = inside.iter().next().and_then(|name| name.to_str()).unwrap().trim_end_matches(".rs");
        if folder == "lib" {
            continue;
        }
        assert!(ORDER.contains(&folder), "{folder} has no place in the order");
        let found = upward(folder, &std::fs::read_to_string(&file).unwrap());
        assert_eq!(found, Vec::<String>::new(), "{}", inside.display());
    }
}

#[test]
fn an_arrow_upward_is_found() {
    let source = "use crate::device::Device;\n#[cfg(test)]\nmod tests {\n    use crate::proof::Card;\n}\n";
    assert_eq!(upward("network", source), ["device"]);
    assert_eq!(upward("proof", source), Vec::<String>::new());
}
