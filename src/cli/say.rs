//! Output to the terminal: results on stdout, everything else on stderr.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::report::{escape, visible};

use super::live;

/// Whether what is said on standard error is JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// The level of a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What goes on.
    Info,
    /// What a person should look at.
    Warn,
    /// Why the command has failed.
    Error,
}

/// From now on, what is said on standard error is one JSON object a line.
pub fn begin_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

/// Whether what is said on standard error is JSON.
pub fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Writes a line of the log in JSON. The fields are an object, or nothing.
pub fn log(level: Level, message: &str, fields: Value) {
    let level = match level {
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let mut line = json!({
        "time": format!("{:.3}", Timestamp::now()),
        "level": level,
        "message": message,
    });
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
        let others = fields.into_iter().filter(|(name, _)| name != "time");
        line.extend(others);
    }
    painted(&visible(&line.to_string()));
}

/// Writes an error in its common form.
pub fn error(error: &dyn std::fmt::Display) {
    if is_json() {
        return log(Level::Error, &error.to_string(), Value::Null);
    }
    note(&format!("throng: {}", escape(&error.to_string())));
}

/// Writes lines for people, escaped, since they can contain names of files.
pub fn note(text: &str) {
    if is_json() {
        let text = text.trim().trim_start_matches("throng: ");
        let (level, text) = match text.strip_prefix("WARNING: ") {
            Some(text) => (Level::Warn, text),
            None => (Level::Info, text),
        };
        return log(level, text, Value::Null);
    }
    let lines: Vec<String> = text.split('\n').map(escape).collect();
    painted(&lines.join("\n"));
}

/// Writes a text with colours, which is escaped already, to standard error.
pub fn painted(text: &str) {
    live::write_above(text);
}

/// Writes a result to stdout.
pub fn result(text: &str) {
    let mut stdout = io::stdout().lock();
    // A reader that closes the pipe has read enough.
    let _ = if stdout.is_terminal() {
        writeln!(stdout, "{}", visible(text))
    } else {
        writeln!(stdout, "{text}")
    };
}

/// Writes a text with colours, which has nothing of a server's, to stdout.
pub fn page(text: &str) {
    // A reader that closes the pipe has read enough.
    let _ = writeln!(io::stdout().lock(), "{text}");
}
