//! Compiles the kernels, their copies with planted mistakes and the scheduler as host C++.

mod mutants;

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=../cuda");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where"));
    std::fs::write(out.join("mutants.cpp"), mutants::source("../cuda")).expect("a folder to write to");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").include("src").include("../cuda").opt_level(2).warnings(true);
    build.include(out).define("EMU_MUTANTS", None);
    build
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-function")
        .flag("-fno-strict-aliasing")
        .flag("-ffp-contract=off");
    build.file("src/emu.cpp").file("src/kernels.cpp").compile("emu");
}
