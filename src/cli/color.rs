//! Whether what is written has colours: `--color`, else the environment (`NO_COLOR`,
//! `CLICOLOR`, `CLICOLOR_FORCE`, `TERM`) and the terminal.

use std::io::{self, IsTerminal};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;

use crate::report::Color;

/// When colours are used.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set; elsewhere if CLICOLOR_FORCE is set.
    #[default]
    Auto,
    /// Also in files and pipes.
    Always,
    /// Never.
    Never,
}

impl ColorWhen {
    /// Has everything that is written from now on follow this choice.
    pub fn apply(self) {
        let choice = match self {
            ColorWhen::Auto => ColorChoice::Auto,
            ColorWhen::Always => ColorChoice::AlwaysAnsi,
            ColorWhen::Never => ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// Whether standard error gets colours.
pub fn of_stderr() -> Color {
    of(&io::stderr())
}

/// Whether standard output gets colours.
pub fn of_stdout() -> Color {
    of(&io::stdout())
}

fn of(stream: &(impl anstream::stream::RawStream + IsTerminal)) -> Color {
    match AutoStream::choice(stream) {
        ColorChoice::Never => Color::Never,
        _ => Color::Always,
    }
}
