//! The `throng` command: arguments, plan, run, report, exit code.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::main().into()
}
