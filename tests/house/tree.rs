//! Files of the tree.
//!
//! Invariant: paths are relative to the root of the repository and written with `/`, so
//! that a message can be pasted into an editor.

use std::{fs, path::Path};

/// Folders that hold no source of ours.
const NOT_OURS: [&str; 4] = ["target", "shared", "data", "models"];

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Every file under `folder` whose name ends in one of `endings`, sorted.
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    collect(folder, endings, &mut found);
    found.sort();
    found
}

fn collect(folder: &str, endings: &[&str], found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return };
    for entry in entries.map(|entry| entry.expect("the folder can be read")) {
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        if name.starts_with('.') || (folder.is_empty() && NOT_OURS.contains(&name.as_str())) {
            continue;
        }
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.path().is_dir() {
            collect(&path, endings, found);
        } else if endings.iter().any(|ending| path.ends_with(ending)) {
            found.push(path);
        }
    }
}

/// The text of a file of the tree.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// Whether there is such a file or folder.
pub(crate) fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// `path` as seen from `folder`, with `.` and `..` resolved. None: it leaves the tree.
pub(crate) fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The folder of a file.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[test]
fn paths_are_resolved() {
    assert_eq!(join("docs/decisions", "../events.md").as_deref(), Some("docs/events.md"));
    assert_eq!(join("", "./README.md").as_deref(), Some("README.md"));
    assert_eq!(join("docs", "../../etc/passwd"), None);
    assert_eq!((folder("docs/events.md"), folder("README.md")), ("docs", ""));
}
