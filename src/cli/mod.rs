//! The command line: flags, progress, messages and exit codes.

use std::panic::catch_unwind;
use std::process::ExitCode;

use crate::Error;
use clap::{Parser, Subcommand};

mod convert;
#[cfg(feature = "simulate")]
mod demo;
mod exit;
mod extract;
mod flags;
mod init;
mod job;
#[cfg(feature = "simulate")]
mod mock;
mod plan;
mod probe;
mod profiles;
mod progress;
mod report;
mod run;
mod say;
#[cfg(feature = "simulate")]
mod server;
mod signals;
#[cfg_attr(not(feature = "simulate"), path = "simulate/disabled.rs")]
pub(crate) mod simulate;
mod try_row;
mod verify;

use exit::Exit;
#[cfg(not(feature = "simulate"))]
use simulate::{self as demo, self as mock};

/// Makes very many requests to a remote API, and never breaks its rate limit.
#[derive(Parser)]
#[command(name = "throng", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  throng demo                                  see it work, in 25 seconds
  throng plan quotes.toml                      check a job, send nothing
  throng try quotes.toml                       send its first row, show everything
  throng run quotes.toml                       do it
  throng run --url 'https://api.example/v1/items/{{ id }}' -i ids.csv -r 300/1m -o items.jsonl

Exit codes:
  0  every row ok          1  finished, some rows failed
  2  the plan is wrong     3  the run stopped (--resume goes on)     130, 143  interrupted (likewise)";

#[derive(Subcommand)]
enum Command {
    /// Run the job: one request and one record for each row
    Run(run::RunArgs),
    /// Check the job, show its first requests and its shortest time; send nothing
    Plan(plan::PlanArgs),
    /// Try one row, and show its request, answer, values, cost and limits
    Try(try_row::TryArgs),
    /// Run the job in virtual time against a model of the server, to see its time and refusals
    Simulate(simulate::SimulateArgs),
    /// Find an unknown limit with real requests, a few of which are refused
    Probe(probe::ProbeArgs),
    /// Verify from results files alone that limits were kept
    Verify(verify::VerifyArgs),
    /// Write a first job file, for example from a curl command
    Init(init::InitArgs),
    /// Show the report of a results file again; send nothing
    Report(report::ReportArgs),
    /// Take values anew from the answers that a results file keeps; send nothing
    Extract(extract::ExtractArgs),
    /// Write a table in another format, compressed or not
    Convert(convert::ConvertArgs),
    /// List the APIs whose limits are known (--api NAME), or show one
    Profiles(profiles::ProfilesArgs),
    /// Serve a quote API with a limit, latencies and faults, to test jobs
    Mock(mock::MockArgs),
    /// Request 500 quotes from a mock API, and compare its count with ours
    Demo(demo::DemoArgs),
}

/// The `throng` command: reads the arguments of the process and carries them out.
pub fn main() -> ExitCode {
    // The panic's message is already on stderr; only the exit code is left.
    catch_unwind(carry_out).unwrap_or(Exit::Stopped).into()
}

fn carry_out() -> Exit {
    crate::plan::workers::raise_file_limit();
    if let Err(error) = signals::survive_file_limits() {
        say::error(&error);
        return Exit::of(&error);
    }
    let arguments = flags::joined(std::env::args_os());
    let done = match Arguments::parse_from(arguments).command {
        Command::Run(arguments) => run::main(arguments),
        Command::Plan(arguments) => plan::main(&arguments),
        Command::Try(arguments) => try_row::main(&arguments),
        Command::Simulate(arguments) => simulate::main(&arguments),
        Command::Probe(arguments) => probe::main(&arguments),
        Command::Verify(arguments) => verify::main(&arguments),
        Command::Init(arguments) => init::main(&arguments),
        Command::Report(arguments) => report::main(&arguments),
        Command::Extract(arguments) => extract::main(&arguments),
        Command::Convert(arguments) => convert::main(&arguments),
        Command::Profiles(arguments) => profiles::main(&arguments),
        Command::Mock(arguments) => mock::main(&arguments),
        Command::Demo(arguments) => demo::main(&arguments),
    };
    done.unwrap_or_else(|error: Error| {
        say::error(&error);
        Exit::of(&error)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_flags_are_alike() {
        Arguments::command().debug_assert();
    }
}
