//! The `throng` command: arguments, plan, run, report, exit code.

use std::process::ExitCode;

/// Each row is some tens of small allocations: this one takes them faster than most
/// platforms' own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    throng::cli::main()
}
