//! The components of the given event-flow map: each is found in one look.
//!
//! Invariant: a component of the map has a file under `src/` whose
//! first line begins with the component's name.

use crate::tree;
use std::collections::BTreeSet;

/// The given map.
const MAP: &str = "docs/EVENT_FLOW_INTEGRATION.md";

/// Components by the way the map writes them: `Component._on_something()`,
/// and those that emit, at the top of a chain.
fn components(map: &str) -> BTreeSet<String> {
    let is_name = |word: &str| {
        word.len() > 6 && word.starts_with(char::is_uppercase) && word.chars().any(char::is_lowercase)
    };
    let handlers = map.split("►").filter_map(|rest| rest.split_once("()")).filter_map(|(call, _)| {
        let (component, _) = call.split_once('.')?;
        Some(component.trim())
    });
    let chains = map.split("### Event Chain\n\n```\n").skip(1).filter_map(|chain| chain.lines().next());
    let emitters = chains.flat_map(|line| line.split(" / "));
    handlers.chain(emitters).filter(|name| is_name(name) && !name.contains(' ')).map(str::to_owned).collect()
}

#[test]
fn every_component_of_the_map_has_its_file() {
    let components = components(&tree::read(MAP));
    assert!(components.len() > 20, "{components:?}");
    let sources = tree::files("src", &[".rs"]);
    let first_lines: Vec<String> =
        sources.iter().filter_map(|path| tree::read(path).lines().next().map(str::to_owned)).collect();
    let has_file = |component: &String| {
        first_lines.iter().any(|line| {
            line.strip_prefix("//! ")
                .and_then(|line| line.strip_prefix(component.as_str()))
                .is_some_and(|rest| rest.starts_with([',', ':']))
        })
    };
    let missing: Vec<&String> = components.iter().filter(|component| !has_file(component)).collect();
    assert!(missing.is_empty(), "no file begins with {missing:?}");
}

#[test]
fn the_map_is_read() {
    let map = "### Event Chain\n\n```\nRunner / OtherRunner\n  ├──► DataThing._on_x()\n  └──► Feedback.on_y() (implicit)\n```\n";
    let found: Vec<String> = components(map).into_iter().collect();
    assert_eq!(found, ["DataThing", "Feedback", "OtherRunner"]);
}
