//! The `tfleet` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tfleet::cli::main(std::env::args_os()).into()
}
