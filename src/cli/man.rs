//! `throng man`: the manual as pages of man.

use std::path::Path;

use clap::Args;
use clap_mangen::Man;

use super::exit::Exit;
use crate::Error;

#[derive(Args)]
#[group(skip)]
#[command(after_help = EXAMPLES)]
pub struct ManArgs {
    /// The command whose page is written [default: throng itself]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Write the pages of all commands to this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  throng man run | man -l -                         read the page of a command
  throng man --dir ~/.local/share/man/man1          then: man throng-run";

pub fn main(arguments: &ManArgs) -> Result<Exit, Error> {
    let mut root = super::command();
    root.build();
    if let Some(dir) = &arguments.dir {
        let wrong =
            |error| Error::plan(format!("the pages can't be written to {dir} (--dir): {error}"));
        std::fs::create_dir_all(dir).map_err(wrong)?;
        write(root.clone(), dir).map_err(wrong)?;
        for command in root.get_subcommands().cloned() {
            write(command, dir).map_err(wrong)?;
        }
        return Ok(Exit::Ok);
    }
    let command = match &arguments.command {
        None => root,
        Some(name) => root.find_subcommand(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = root.get_subcommands().map(clap::Command::get_name).collect();
            Error::plan(format!(
                "there is no command {name}; the commands are {}",
                names.join(", ")
            ))
        })?,
    };
    let page = page(command).map_err(|error| Error::stopped(error.to_string()))?;
    super::say::result(page.trim_end());
    Ok(Exit::Ok)
}

fn write(command: clap::Command, dir: &str) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or("throng").to_owned();
    std::fs::write(Path::new(dir).join(format!("{name}.1")), page(command)?)
}

fn page(mut command: clap::Command) -> std::io::Result<String> {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace('-', "\\-");
    let version = format!("throng {}", env!("CARGO_PKG_VERSION"));
    let (has_commands, has_examples) =
        (command.has_subcommands(), command.get_after_help().is_some());
    let page = Man::new(command).source(version).manual("throng");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    // Each flag by its name would fill a page.
    text.extend(format!(".SH SYNOPSIS\n\\fB{usage}\\fR\n").into_bytes());
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if has_commands {
        page.render_subcommands_section(&mut text)?;
    }
    if has_examples {
        page.render_extra_section(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}
