//! Flags of what people see.

use clap::{Args, ValueEnum};

/// What people see while it runs, and afterwards.
#[derive(Args, Default)]
#[command(next_help_heading = "Show")]
pub struct DisplayFlags {
    /// The summary as JSON; - is standard output, where no records go there
    #[arg(long, value_name = "FILE")]
    pub summary_json: Option<String>,
    /// auto: a bar on a terminal, a line every few seconds otherwise
    #[arg(long, value_enum, default_value_t)]
    pub progress: Progress,
    /// Also what each worker did
    #[arg(short, long)]
    pub verbose: bool,
    /// Nothing but errors
    #[arg(long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// How progress is shown.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, else log lines.
    #[default]
    Auto,
    /// One live line.
    Bar,
    /// A line every few seconds.
    Log,
    /// Nothing.
    None,
}
