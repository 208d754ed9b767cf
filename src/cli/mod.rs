//! The command line: flags, progress, messages and exit codes.

use std::ffi::OsString;
use std::panic::{UnwindSafe, catch_unwind};
use std::process::ExitCode;

use crate::wording::{self, Words};
use crate::{Error, Run};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

mod color;
mod completions;
mod convert;
#[cfg(feature = "simulate")]
mod demo;
mod detached;
mod exit;
mod extract;
mod flags;
#[cfg_attr(not(feature = "tui"), path = "full/disabled.rs")]
mod full;
mod help;
mod init;
mod job;
mod limit;
mod live;
mod machines;
mod man;
mod merge;
#[cfg(feature = "simulate")]
mod mock;
mod observe;
mod own_file;
mod page;
mod plan;
mod probe;
mod profiles;
mod progress;
mod report;
mod run;
mod say;
mod schema;
#[cfg(feature = "simulate")]
mod server;
mod signals;
#[cfg_attr(not(feature = "simulate"), path = "simulate/disabled.rs")]
pub(crate) mod simulate;
mod top;
mod try_row;
mod unknown;
mod verify;
mod watch;

use exit::Exit;
#[cfg(not(feature = "simulate"))]
use simulate::{self as demo, self as mock};

/// Makes very many requests to a remote API, and never breaks its rate limit.
#[derive(Parser)]
#[command(name = "throng", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    /// Colours: auto on a terminal, unless NO_COLOR is set, or where CLICOLOR_FORCE is
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        global = true,
        hide_default_value = true,
        help_heading = "Show"
    )]
    color: color::ColorWhen,
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
  throng run --help limits                     the flags of one topic; --help all: every flag

Exit codes:
  0  every row ok          1  finished, some rows failed
  2  the plan is wrong     3  the run stopped (--resume goes on)     130, 143  interrupted (likewise)";

#[derive(Subcommand)]
enum Command {
    /// Run the job: one request and one record for each row
    #[command(after_help = run::EXAMPLES)]
    Run(run::RunArgs),
    /// Check the job, show its first requests and its shortest time; send nothing
    Plan(plan::PlanArgs),
    /// Try one row, and show its request, answer, values, cost and limits
    Try(try_row::TryArgs),
    /// Run the job in virtual time against a model of the server, to see its time and refusals
    Simulate(simulate::SimulateArgs),
    /// Find an unknown limit with real requests, a few of which are refused
    Probe(probe::ProbeArgs),
    /// Take rows of jobs from Redis or Valkey, on as many machines as you like (run --on)
    #[command(after_help = machines::EXAMPLES)]
    Worker(machines::WorkerArgs),
    /// Put the rows of a job into Redis or Valkey, and leave (throng collect)
    #[command(after_help = detached::EXAMPLES)]
    Submit(detached::SubmitArgs),
    /// Write the records of a job that was submitted
    #[command(after_help = detached::EXAMPLES)]
    Collect(detached::CollectArgs),
    /// List the jobs in Redis or Valkey
    #[command(after_help = machines::JOBS_EXAMPLES)]
    Jobs(machines::StoreArgs),
    /// Show a job in Redis or Valkey, and its workers
    Status(machines::StoredJobArgs),
    /// Have the workers of a job in Redis or Valkey send nothing more, until `throng resume`
    Pause(machines::StoredJobArgs),
    /// Go on with a job that was paused
    Resume(machines::StoredJobArgs),
    /// End a job in Redis or Valkey for good; the records that are written stay
    Cancel(machines::StoredJobArgs),
    /// Verify from results files alone that limits were kept
    Verify(verify::VerifyArgs),
    /// Merge the results files of shards, and prove that no row is missing or double
    Merge(merge::MergeArgs),
    /// Write a first job file, for example from a curl command
    Init(init::InitArgs),
    /// Watch and steer a run that goes on in another terminal, in the background or in a container
    Top(top::TopArgs),
    /// Show the report of a results file again; send nothing
    Report(report::ReportArgs),
    /// Take values anew from the answers that a results file keeps; send nothing
    Extract(extract::ExtractArgs),
    /// Write a table in another format, compressed or not
    Convert(convert::ConvertArgs),
    /// Serve limits to runs on many machines, or show what is left of them
    Limit(limit::LimitArgs),
    /// List the APIs whose limits are known (--api NAME), or show one
    Profiles(profiles::ProfilesArgs),
    /// Serve a quote API with a limit, latencies and faults, to test jobs
    Mock(mock::MockArgs),
    /// Request 500 quotes from a mock API, and compare its count with ours
    Demo(demo::DemoArgs),
    /// Write the completions of a shell to standard output
    Completions(completions::CompletionsArgs),
    /// Write the manual as a page of man
    Man(man::ManArgs),
    /// Write the JSON Schema of a job file, or of the summary, by which editors complete and check it
    Schema(schema::SchemaArgs),
}

/// The `throng` command: reads the arguments of the process and carries them out.
pub fn main() -> ExitCode {
    ExitCode::from(main_with(std::env::args_os()))
}

/// Carries out these arguments, of which the first is the command's name; gives the exit code.
pub fn main_with(arguments: impl Iterator<Item = OsString> + UnwindSafe) -> u8 {
    wording::use_words(Words::Flags);
    // The panic's message is already on stderr; only the exit code is left.
    catch_unwind(|| carry_out(arguments)).unwrap_or(Exit::Stopped) as u8
}

/// Does the work of a run while a bar on standard error shows its progress.
pub fn with_bar<T>(run: &Run, work: impl FnOnce() -> T) -> T {
    let show = flags::DisplayFlags { progress: flags::Progress::Bar, ..Default::default() };
    // A bar can be shown everywhere.
    let watch = progress::ProgressDisplay::start(run, &show).ok();
    let done = work();
    if let Some(watch) = watch {
        watch.end();
    }
    done
}

fn carry_out(arguments: impl Iterator<Item = OsString>) -> Exit {
    crate::plan::workers::raise_file_limit();
    if let Err(error) = signals::survive_file_limits() {
        say::error(&error);
        return Exit::of(&error);
    }
    let command = match parsed(flags::joined(help_last(arguments))) {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    let done = match command {
        Command::Run(arguments) => run::main(arguments),
        Command::Plan(arguments) => plan::main(&arguments),
        Command::Try(arguments) => try_row::main(&arguments),
        Command::Simulate(arguments) => simulate::main(&arguments),
        Command::Probe(arguments) => probe::main(&arguments),
        Command::Worker(arguments) => machines::worker(&arguments),
        Command::Submit(arguments) => detached::submit(&arguments),
        Command::Collect(arguments) => detached::collect(arguments),
        Command::Jobs(arguments) => machines::jobs(&arguments),
        Command::Status(arguments) => machines::status(&arguments),
        Command::Pause(arguments) => machines::pause(&arguments),
        Command::Resume(arguments) => machines::resume(&arguments),
        Command::Cancel(arguments) => machines::cancel(&arguments),
        Command::Verify(arguments) => verify::main(&arguments),
        Command::Merge(arguments) => merge::main(&arguments),
        Command::Init(arguments) => init::main(&arguments),
        Command::Top(arguments) => top::main(&arguments),
        Command::Report(arguments) => report::main(&arguments),
        Command::Extract(arguments) => extract::main(&arguments),
        Command::Convert(arguments) => convert::main(&arguments),
        Command::Limit(arguments) => limit::main(&arguments),
        Command::Profiles(arguments) => profiles::main(&arguments),
        Command::Mock(arguments) => mock::main(&arguments),
        Command::Demo(arguments) => demo::main(&arguments),
        Command::Completions(arguments) => completions::main(&arguments),
        Command::Man(arguments) => man::main(&arguments),
        Command::Schema(arguments) => schema::main(&arguments),
    };
    done.unwrap_or_else(|error: Error| {
        say::error(&error);
        Exit::of(&error)
    })
}

/// The command line, as it is read and as help, completions and the manual show it.
fn command() -> clap::Command {
    let root = Arguments::command().disable_help_subcommand(true);
    root.mut_subcommands(|command| {
        let makes_none = WITHOUT_A_RUN.contains(&command.get_name());
        if makes_none { command.mut_args(without_effect) } else { command }
    })
}

/// The commands that take the flags of `run` and make no run.
const WITHOUT_A_RUN: [&str; 3] = ["plan", "simulate", "try"];

/// A flag that shows a run is accepted by a command that makes none, and is not in its help.
fn without_effect(arg: clap::Arg) -> clap::Arg {
    let shows = arg.get_help_heading() == Some(flags::SHOW);
    let has_effect = ["color", "quiet", "verbose"].map(Some).contains(&arg.get_long());
    if shows && !has_effect { arg.hide(true) } else { arg }
}

/// `throng help run limits` as `throng run --help limits`.
fn help_last(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    if arguments.get(1).is_some_and(|word| word == "help") {
        arguments.remove(1);
        let is_command = |word: &OsString| {
            word.to_str().is_some_and(|word| command().find_subcommand(word).is_some())
        };
        let place = if arguments.get(1).is_some_and(is_command) { 2 } else { 1 };
        arguments.insert(place, "--help".into());
    }
    arguments.into_iter()
}

/// The command of these arguments. Help and errors are shown here, and end the process.
fn parsed(arguments: Vec<OsString>) -> Result<Command, Exit> {
    let mut root = command();
    let words = arguments.iter().skip(1).map(|it| it.to_string_lossy().into_owned());
    let words: Vec<String> = words.collect();
    let parsed = root.try_get_matches_from_mut(arguments);
    let error = match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => {
            arguments.color.apply();
            return Ok(arguments.command);
        }
        Err(error) => error,
    };
    if error.kind() == ErrorKind::DisplayHelp {
        return Err(match help::page(command(), &words) {
            Ok(page) => {
                help::show(&page);
                Exit::Ok
            }
            Err(error) => {
                say::error(&error);
                Exit::of(&error)
            }
        });
    }
    match unknown::answer(&error, &root, &words) {
        Some(answer) => say::error(&answer),
        // A closed stderr leaves no way to report it.
        None => drop(error.print()),
    }
    Err(if error.use_stderr() { Exit::Plan } else { Exit::Ok })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_flags_are_alike() {
        command().debug_assert();
    }

    #[test]
    fn each_flag_of_a_run_is_one_of_the_commands_without_a_run() {
        let root = command();
        let run = root.find_subcommand("run").unwrap();
        for name in WITHOUT_A_RUN {
            let other = root.find_subcommand(name).unwrap();
            for arg in run.get_arguments() {
                assert!(
                    other.get_arguments().any(|it| it.get_id() == arg.get_id()),
                    "{name}: {arg}"
                );
            }
        }
    }
}
