//! Flags of a job on several machines.

use clap::Args;

use super::send::duration;

/// Where the rows of a job are done.
#[derive(Args, Default)]
#[command(next_help_heading = "Machines")]
pub struct MachineFlags {
    /// Have workers on any machine do the rows (throng worker URL), by way of Redis or Valkey: redis://HOST, rediss://USER@HOST for TLS; the password is in THRONG_REDIS_PASSWORD
    #[arg(long, value_name = "URL")]
    pub on: Option<String>,
    /// With --on: the name of the job there [default: that of the output, and a part of its own]
    #[arg(long, value_name = "NAME", requires = "on")]
    pub name: Option<String>,
    /// With --on: time without a word from a worker after which others do its rows [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "on")]
    pub lease: Option<String>,
    /// With --on: number of rows that a worker takes at a time [default: by the number of rows]
    #[arg(long, value_name = "N", requires = "on")]
    pub chunk: Option<usize>,
    /// With --on: workers reach the input under its path or URL, and read their rows there; the store has the places of rows alone
    #[arg(long, requires = "on")]
    pub shared_input: bool,
    /// With --on: the store may forget the job when it ends, as it writes nothing to its disk
    #[arg(long, requires = "on")]
    pub volatile: bool,
}
