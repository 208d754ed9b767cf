//! Stands for the commands with a server of their own in a build without the feature
//! `simulate`.

use clap::Args;

use crate::Error;
use crate::cli::exit::Exit;

/// The arguments of a command that this build lacks.
#[derive(Args)]
#[group(skip)]
pub struct MissingArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    any: Vec<String>,
}

pub type SimulateArgs = MissingArgs;
pub type MockArgs = MissingArgs;
pub type DemoArgs = MissingArgs;

pub fn main(_: &MissingArgs) -> Result<Exit, Error> {
    Err(Error::plan(
        "this build has no mock server, and so no simulate, mock and demo: build with --features simulate",
    ))
}
