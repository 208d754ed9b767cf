//! What is written to the terminal: results on stdout, everything else on stderr.
//! [door: terminal]

use std::io::{self, Write};

/// An error, in the form that all of them have.
pub fn error(error: &dyn std::fmt::Display) {
    note(&format!(
        "throng: {}",
        throng::report::escape(&error.to_string())
    ));
}

/// A line or more for people.
pub fn note(text: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A result for whoever reads stdout.
pub fn result(text: &str) {
    // Who closes the pipe has seen enough.
    let _ = writeln!(io::stdout().lock(), "{text}");
}
