//! Runs every target on its seeds and on its corpus.
//!
//! Invariant: an input that once was too much for a decoder stays in the corpus, so the fault cannot return.

use fuzz::{TARGETS, seeds};
use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs in the folder of a target, with their paths.
fn inputs(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(corpus().join(name)) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths.map(|path| (path.clone(), fs::read(path).expect("an input can be read"))).collect()
}

#[test]
fn no_input_of_the_corpora_is_too_much() {
    let mut wrong = Vec::new();
    let mut check = |target: &fuzz::Target, what: String, input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
            wrong.push(format!("{} on {what}", target.name));
        }
    };
    for target in TARGETS {
        for (index, seed) in (target.seeds)().iter().enumerate() {
            check(target, format!("seed {index}"), seed);
            // Seeds that end too early, and ones with a wrong byte.
            for at in (0..seed.len()).step_by(1 + seed.len() / 64) {
                check(target, format!("seed {index} up to {at}"), &seed[..at]);
                let mut changed = seed.clone();
                changed[at] ^= 0xff;
                check(target, format!("seed {index} changed at {at}"), &changed);
            }
            if index < 4 {
                let inflated = seeds::inflated(seed);
                inflated.iter().for_each(|input| check(target, format!("seed {index} inflated"), input));
            }
        }
        for (path, input) in inputs(target.name) {
            check(target, path.display().to_string(), &input);
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_folder_is_that_of_a_target_and_every_target_has_seeds() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len(), "two targets have one name");
    for entry in fs::read_dir(corpus()).expect("there are corpora") {
        let name = entry.expect("the folder can be read").file_name();
        assert!(names.contains(name.to_str().unwrap_or_default()), "{name:?} is no target");
    }
    for target in TARGETS {
        assert!(!(target.seeds)().is_empty(), "{} has no seeds", target.name);
    }
}
