//! Compiles the kernels and the scheduler as host C++.

fn main() {
    println!("cargo::rerun-if-changed=../cuda");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-env-changed=EMU_SANITIZE");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").include("src").include("../cuda").opt_level(2).warnings(true);
    build
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-function")
        .flag("-fno-strict-aliasing")
        .flag("-ffp-contract=off");
    if std::env::var_os("EMU_SANITIZE").is_some() {
        build.flag("-fsanitize=address,undefined").flag("-fno-sanitize-recover=undefined");
        build.flag("-fno-omit-frame-pointer").debug(true);
    }
    build.file("src/emu.cpp").file("src/kernels.cpp").compile("emu");
}
