//! Compiles the kernels and the scheduler as host C++.

fn main() {
    println!("cargo::rerun-if-changed=../cuda");
    println!("cargo::rerun-if-changed=src");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").include("src").include("../cuda").opt_level(2).warnings(true);
    build
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-function")
        .flag("-fno-strict-aliasing")
        .flag("-ffp-contract=off");
    build.file("src/emu.cpp").file("src/kernels.cpp").compile("emu");
}
