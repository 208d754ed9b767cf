//! What is written to the terminal: results on stdout, everything else on stderr.
//! [door: terminal]

use std::io::{self, IsTerminal, Write};

use crate::report::{escape, visible};

/// An error, in the form that all of them have.
pub fn error(error: &dyn std::fmt::Display) {
    note(&format!("throng: {}", escape(&error.to_string())));
}

/// A line or more for people. Names of files and the like may be in it.
pub fn note(text: &str) {
    let lines: Vec<String> = text.split('\n').map(escape).collect();
    painted(&lines.join("\n"));
}

/// Writes a text with colours, which is escaped already, to standard error.
pub fn painted(text: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A result for whoever reads stdout.
pub fn result(text: &str) {
    let mut stdout = io::stdout().lock();
    // Who closes the pipe has seen enough.
    let _ = if stdout.is_terminal() {
        writeln!(stdout, "{}", visible(text))
    } else {
        writeln!(stdout, "{text}")
    };
}
