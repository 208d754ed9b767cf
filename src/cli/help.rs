//! `--help`: the commonest flags of a command; `--help all` has every flag, `--help TOPIC` those
//! of a topic or one flag.

use std::collections::HashSet;

use clap::builder::StyledStr;
use clap::{Arg, Command};

use super::{color, run, say};
use crate::Error;
use crate::report::Color;

/// The long names of the flags that most jobs need.
const COMMON: [&str; 25] = [
    "api",
    "concurrency",
    "data",
    "each",
    "extract",
    "header",
    "input",
    "json",
    "next",
    "output",
    "overwrite",
    "progress",
    "query",
    "quiet",
    "rate",
    "report",
    "resume",
    "retries",
    "retry-failed",
    "summarize",
    "summary-json",
    "take",
    "timeout",
    "url",
    "workers",
];

/// Number of flags that fit on a page.
const FEW: usize = 30;

/// The topic that has every flag.
const ALL: &str = "all";

/// The page of help that these words of a command line ask for.
///
/// # Errors
/// There is no such topic; the error names all.
pub fn page(mut root: Command, words: &[String]) -> Result<StyledStr, Error> {
    root.build();
    let of_run = root.find_subcommand("run").map(longs).unwrap_or_default();
    let topic = topic(words);
    let name = words.iter().find(|word| root.find_subcommand(word.as_str()).is_some());
    let name = match (name, topic) {
        (Some(name), _) => name.clone(),
        (None, Some(_)) => "run".to_owned(),
        (None, None) => return Ok(root.render_help()),
    };
    let Some(command) = root.find_subcommand(&name).cloned() else {
        return Ok(root.render_help());
    };
    match topic {
        None => Ok(overview(command, &of_run).render_help()),
        Some(ALL) => Ok(command.clone().render_help()),
        Some(topic) => Ok(about(command, topic)?.render_long_help()),
    }
}

/// Writes a page of help to standard output.
pub fn show(page: &StyledStr) {
    let text = match color::of_stdout() {
        Color::Always => page.ansi().to_string(),
        Color::Never => page.to_string(),
    };
    say::page(text.trim());
}

/// The word after `--help`.
fn topic(words: &[String]) -> Option<&str> {
    let asked = words.iter().position(|word| word == "--help" || word == "-h")?;
    let word = words.get(asked + 1)?;
    (!word.starts_with('-') || word.len() > 2).then_some(word)
}

fn longs(command: &Command) -> HashSet<String> {
    command.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect()
}

/// The command with its own flags, and of those of a job the commonest.
fn overview(command: Command, of_run: &HashSet<String>) -> Command {
    let is_shown = |arg: &Arg| {
        arg.get_long().is_none_or(|long| COMMON.contains(&long) || !of_run.contains(long))
    };
    if command.get_arguments().filter(|arg| !arg.is_hide_set()).count() <= FEW {
        return command;
    }
    let (name, examples) = (command.get_name(), command.get_after_help());
    let more = format!(
        "{}\n\nMore: `throng {name} --help all` lists every flag; `--help TOPIC` explains one of them, or those of: {}",
        examples.map(ToString::to_string).unwrap_or_default(),
        topics(&command).join(", ")
    );
    let command = only(command.clone(), is_shown).after_help(more.trim_start().to_owned());
    command.mut_args(|arg| {
        let is_common = arg.get_long().is_some_and(|long| COMMON.contains(&long));
        if is_common { arg.help_heading(None) } else { arg }
    })
}

/// The command with the flags of a topic, or with the one flag of this name.
fn about(command: Command, topic: &str) -> Result<Command, Error> {
    let is_meant =
        |arg: &Arg| arg.get_help_heading().is_some_and(|heading| is_named(heading, topic));
    let is_it = |arg: &Arg| arg.get_long() == Some(topic.trim_start_matches('-'));
    let examples = if is_named("Limit", topic) { run::LIMITS } else { "" };
    let command = command.about(None::<&str>).after_help(examples);
    if command.get_arguments().any(is_meant) {
        return Ok(only(command, is_meant));
    }
    if command.get_arguments().any(is_it) {
        return Ok(only(command, is_it));
    }
    Err(Error::plan(format!(
        "there is no help on \"{topic}\": the topics of throng {} are all, {}, and the names of its flags",
        command.get_name(),
        topics(&command).join(", ")
    )))
}

/// The topics of a command's flags.
fn topics(command: &Command) -> Vec<String> {
    let mut topics = Vec::new();
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    for heading in shown.filter_map(Arg::get_help_heading) {
        let topic = words(heading).next().unwrap_or_default();
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    topics
}

/// Whether a heading has this word in the singular or plural, or one that begins so.
fn is_named(heading: &str, topic: &str) -> bool {
    let topic = topic.to_lowercase();
    words(heading)
        .any(|word| stem(&word) == stem(&topic) || (topic.len() >= 4 && word.starts_with(&topic)))
}

/// A word without the letters by which singular and plural differ.
fn stem(word: &str) -> &str {
    word.trim_end_matches(['s', 'e', 'i', 'y'])
}

/// The words of a heading before its first bracket.
fn words(heading: &str) -> impl Iterator<Item = String> {
    let heading = heading.split('(').next().unwrap_or_default().to_lowercase();
    let words: Vec<String> =
        heading.split(|letter: char| !letter.is_alphanumeric()).map(str::to_owned).collect();
    words.into_iter().filter(|word| !word.is_empty())
}

/// The command with the other flags hidden.
fn only(command: Command, is_shown: impl Fn(&Arg) -> bool) -> Command {
    command.mut_args(|arg| {
        let is_hidden = arg.is_hide_set() || !is_shown(&arg);
        arg.hide(is_hidden)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_a_word_of_its_heading() {
        for (heading, topic) in [
            ("Limit", "limits"),
            ("Authentication", "auth"),
            ("Items, batches, pages", "page"),
            ("Retries and timeouts", "retry"),
            ("Request (T is a template)", "requests"),
        ] {
            assert!(is_named(heading, topic), "{heading}: {topic}");
        }
        assert!(!is_named("Limit", "a") && !is_named("Request (T is a template)", "template"));
    }
}
