//! The binary: everything is in [`ringrift::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ringrift::cli::main()
}
