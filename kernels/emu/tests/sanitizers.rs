//! The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, in a program of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn build() -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sanitized");
    let mut compiler = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
    compiler.current_dir(env!("CARGO_MANIFEST_DIR"));
    compiler.args([
        "-std=c++17",
        "-O0",
        "-DEMU_WAYS",
        "-g",
        "-fno-omit-frame-pointer",
        "-fno-strict-aliasing",
    ]);
    compiler.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-pthread"]);
    compiler.args([
        "-w",
        "-Isrc",
        "-I../cuda",
        "src/emu.cpp",
        "src/kernels.cpp",
        "-Itests",
        "tests/sanitized.cpp",
        "-o",
    ]);
    let built = compiler.arg(&program).output().expect("a C++ compiler");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

fn run(program: &Path, arguments: &[&str]) -> (Output, String) {
    // What a block that failed had allocated is not freed: its fibers never return.
    let output = Command::new(program)
        .args(arguments)
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .output()
        .expect("the program that was built");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, errors)
}

#[test]
fn kernels_are_clean_and_planted_mistakes_are_reported() {
    let program = build();
    // Eight schedules, four each.
    std::thread::scope(|scope| {
        for first in ["0", "4"] {
            scope.spawn(|| {
                let (clean, errors) = run(&program, &[first]);
                assert!(clean.status.success() && errors.is_empty(), "{:?}\n{errors}", clean.status);
            });
        }
    });
    for (planted, error, kernel) in [
        ("store", "heap-buffer-overflow", "store_behind_the_end"),
        ("read", "use-after-poison", "read_behind_shared_memory"),
    ] {
        let (output, errors) = run(&program, &[planted]);
        assert!(!output.status.success());
        assert!(errors.contains(error) && errors.contains(kernel), "{errors}");
    }
}
