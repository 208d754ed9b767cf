//! Translates a curl command, such as from an API's documentation, to parts of a job.
//! Files that it names (`@FILE`) are read.
//!
//! - `words`: splits the command as a shell does; `cmd` as Windows does
//! - `flags`: the table of flags
//! - `request`: the parts of the job

use crate::error::Error;

mod cmd;
mod flags;
mod request;
mod words;

use flags::{Flag, FlagValue, Treatment};
use request::CommandPart;
pub use request::Translated;

/// Translates a command; `{{ }}` in it stays.
///
/// # Errors
/// If a part of it is not understood: nothing is left out silently.
pub fn translate(command: &str) -> Result<Translated, Error> {
    let wrong = |why: String| Error::plan(format!("the curl command (--curl): {why}"));
    let command = command.trim();
    let words = if cmd::is_for_cmd(command) { cmd::words(command) } else { words::words(command) };
    let words = words.map_err(wrong)?;
    let mut words = words.into_iter();
    let first = words.next().unwrap_or_default();
    let program = first.rsplit(['/', '\\']).next().unwrap_or_default();
    if !matches!(program, "curl" | "curl.exe") {
        return Err(wrong(format!("it begins with {first:?}, not with curl")));
    }
    let mut parts = Vec::new();
    let mut ignored = Vec::new();
    let mut urls_only = false;
    while let Some(word) = words.next() {
        let flags = match word.strip_prefix("--") {
            Some("") if !urls_only => {
                urls_only = true;
                continue;
            }
            Some(name) if !urls_only => long(name, &mut words),
            None if word.len() > 1 && word.starts_with('-') && !urls_only => {
                letters(&word[1..], &mut words)
            }
            _ => Ok(flags::by_name("url").map(|flag| (flag, word)).into_iter().collect()),
        };
        for (flag, value) in flags.map_err(wrong)? {
            match flag.treatment {
                Treatment::Translated => parts.push(CommandPart { name: flag.name, value }),
                Treatment::Ignored => ignored.push(format!("--{}", flag.name)),
            }
        }
    }
    let mut translated = request::job(&parts).map_err(wrong)?;
    if !ignored.is_empty() {
        translated.notes.push(format!(
            "left out, since these flags only control curl's output: {}",
            ignored.join(", ")
        ));
    }
    Ok(translated)
}

type ParseResult = Result<Vec<(&'static Flag, String)>, String>;

/// `--name`, `--name value`, `--name=value`.
fn long(text: &str, words: &mut impl Iterator<Item = String>) -> ParseResult {
    let (name, inline) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let flag = flags::by_name(name).ok_or_else(|| unknown(&format!("--{name}"), name))?;
    let value = match (flag.value, inline) {
        (FlagValue::None, _) => String::new(),
        (FlagValue::Word, Some(value)) => value,
        (FlagValue::Word, None) => words.next().ok_or_else(|| format!("--{name} needs a value"))?,
    };
    Ok(vec![(flag, value)])
}

/// `-sSX POST`, `-XPOST`.
fn letters(text: &str, words: &mut impl Iterator<Item = String>) -> ParseResult {
    let mut found = Vec::new();
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        let flag = flags::by_letter(letter).ok_or_else(|| unknown(&format!("-{letter}"), ""))?;
        if flag.value == FlagValue::None {
            found.push((flag, String::new()));
            continue;
        }
        let value = match rest.as_str() {
            "" => words.next().ok_or_else(|| format!("-{letter} needs a value"))?,
            rest => rest.to_owned(),
        };
        found.push((flag, value));
        break;
    }
    Ok(found)
}

fn unknown(shown: &str, name: &str) -> String {
    let like = flags::names()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, _)| *distance <= 2 && name.len() > 3)
        .min();
    let hint = like.map_or(String::new(), |(_, known)| format!(" (did you mean --{known}?)"));
    format!("throng does not know curl's {shown}{hint}: remove it, or use throng's own flags")
}
