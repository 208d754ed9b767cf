//! Output to the terminal: results on stdout, everything else on stderr.

use std::io::{self, IsTerminal, Write};

use crate::report::{escape, visible};

use super::live;

/// Writes an error in its common form.
pub fn error(error: &dyn std::fmt::Display) {
    note(&format!("throng: {}", escape(&error.to_string())));
}

/// Writes lines for people, escaped, since they can contain names of files.
pub fn note(text: &str) {
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
