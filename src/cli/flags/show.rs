//! Flags of the display.

use clap::{Args, ValueEnum};

/// The heading of the flags that show a run.
pub const SHOW: &str = "Show";

/// Progress and report.
#[derive(Args, Default)]
#[command(next_help_heading = SHOW)]
pub struct DisplayFlags {
    /// The summary as JSON; - is standard output, if no records go there
    #[arg(long, value_name = "FILE")]
    pub summary_json: Option<String>,
    /// auto: two live lines on a terminal, a line every few seconds otherwise; full: all of the
    /// terminal, with charts and keys
    #[arg(long, value_enum, default_value_t)]
    pub progress: Progress,
    /// Also show the work of each worker
    #[arg(short, long)]
    pub verbose: bool,
    /// Show nothing but errors
    #[arg(long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The form of the progress display.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Live lines on a terminal, else log lines.
    #[default]
    Auto,
    /// Two live lines, where there is a terminal.
    Bar,
    /// All of the terminal: charts, limits, workers, the last failures, and keys that steer the run.
    Full,
    /// A line every few seconds.
    Log,
    /// Nothing.
    None,
}
