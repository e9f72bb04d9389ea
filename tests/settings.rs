//! docs/settings.md lists every setting with its default.

use ringrift::config::Settings;
use std::{collections::BTreeSet, fs};

/// A setting with its section and its default, as TOML writes them.
type Setting = (String, String, String);

fn of_program() -> BTreeSet<Setting> {
    let text = toml::to_string(&Settings::default()).expect("defaults can be written");
    let table: toml::Table = text.parse().expect("what was written can be read");
    let mut found = BTreeSet::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => {
                found.extend(section.into_iter().map(|(key, value)| (name.clone(), key, value.to_string())));
            }
            value => drop(found.insert((String::new(), name, value.to_string()))),
        }
    }
    found
}

fn of_page() -> BTreeSet<Setting> {
    let page = fs::read_to_string("docs/settings.md").expect("the page");
    let mut section = String::new();
    let mut found = BTreeSet::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.strip_prefix("`[").map_or("", |name| name.trim_end_matches("]`")).to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            found.insert((section.clone(), cells[0].to_owned(), cells[1].to_owned()));
        }
    }
    found
}

#[test]
fn the_page_lists_every_setting_with_its_default() {
    let (program, page) = (of_program(), of_page());
    let lacks: Vec<&Setting> = program.difference(&page).collect();
    let knows_better: Vec<&Setting> = page.difference(&program).collect();
    assert!(lacks.is_empty() && knows_better.is_empty(), "add {lacks:#?}\nremove {knows_better:#?}");
}
