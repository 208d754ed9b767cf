//! `throng completions SHELL`: completes commands, flags, values and names of files.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Args, ValueHint};
use clap_complete::Shell;

use super::exit::Exit;
use crate::Error;
use crate::extract::AnswerKind;
use crate::plan::Profile;

#[derive(Args)]
#[group(skip)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  throng completions bash > ~/.local/share/bash-completion/completions/throng
  throng completions zsh > \"${fpath[1]}/_throng\"
  throng completions fish > ~/.config/fish/completions/throng.fish
  throng completions powershell >> $PROFILE";

pub fn main(arguments: &CompletionsArgs) -> Result<Exit, Error> {
    let profiles = profiles()?;
    let root = super::command();
    let mut root =
        root.mut_subcommands(|command| command.mut_args(|arg| completed(arg, &profiles)));
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut root, "throng", &mut script);
    super::say::result(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Ok)
}

/// The names of profiles, and of their tiers.
fn profiles() -> Result<Vec<String>, Error> {
    let names = |profile: Profile| {
        let tiers: Vec<String> =
            profile.tier.keys().map(|tier| format!("{}:{tier}", profile.name)).collect();
        [profile.name].into_iter().chain(tiers)
    };
    Ok(Profile::all()?.into_iter().flat_map(names).collect())
}

/// A flag with the values that a shell offers for it.
fn completed(arg: Arg, profiles: &[String]) -> Arg {
    let values = match arg.get_long() {
        Some("api") => profiles.to_vec(),
        Some("answer-format") => AnswerKind::ALL.map(|kind| kind.name().to_owned()).to_vec(),
        Some("cookies") => ["run", "row"].map(str::to_owned).to_vec(),
        _ => return with_files(arg),
    };
    arg.value_parser(PossibleValuesParser::new(values))
}

/// The names of values that are files.
const FILES: [&str; 9] = ["FILE", "PATH", "JOB", "FROM", "TO", "RESULTS", "FILE.html", "A", "B"];

fn with_files(arg: Arg) -> Arg {
    let name = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    match name.as_deref() {
        Some("DIR") => arg.value_hint(ValueHint::DirPath),
        Some("URL") => arg.value_hint(ValueHint::Url),
        Some(name) if FILES.contains(&name) => arg.value_hint(ValueHint::FilePath),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_and_profile_is_offered() {
        let profiles = profiles().unwrap();
        let root = super::super::command();
        let run = root.find_subcommand("run").unwrap();
        let arg = |long: &str| {
            let arg = run.get_arguments().find(|arg| arg.get_long() == Some(long)).unwrap();
            completed(arg.clone(), &profiles)
        };
        assert_eq!(arg("output").get_value_hint(), ValueHint::FilePath);
        let offered = arg("api").get_possible_values();
        assert!(offered.iter().any(|value| value.get_name() == "github:anonymous"));
    }
}
