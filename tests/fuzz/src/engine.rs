//! libFuzzer with every target in one program: `FUZZ_TARGET` names the one to run.
//!
//! With `FUZZ_LIST` the program prints the names of the targets and ends. With `FUZZ_SEEDS` it writes the
//! seeds of its target to that folder and ends.
#![no_main]
#![allow(unsafe_code, reason = "libFuzzer finds its target by a symbol")]

use fuzz::{TARGETS, Target};
use std::{
    env::{var, var_os},
    fs,
    path::PathBuf,
    process::exit,
    sync::OnceLock,
};

static TARGET: OnceLock<Target> = OnceLock::new();

fn begin() {
    if var_os("FUZZ_LIST").is_some() {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        exit(0);
    }
    let name = var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = Target::named(&name) else {
        eprintln!("FUZZ_TARGET={name:?} is no target");
        exit(2);
    };
    if let Some(folder) = var_os("FUZZ_SEEDS").map(PathBuf::from) {
        fs::create_dir_all(&folder).expect("the folder can be made");
        for (index, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{index}")), seed).expect("a seed can be written");
        }
        exit(0);
    }
    TARGET.get_or_init(|| target);
}

libfuzzer_sys::fuzz_target!(init: begin(), |input: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(input);
    }
});
