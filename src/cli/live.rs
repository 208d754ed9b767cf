//! The part of a terminal that shows a run: live lines at the end of standard error, or all of
//! the screen.
//!
//! The cursor stays at the start of the first live line, so that what is written next takes
//! their place, however a terminal breaks them when it is resized. While the view has all of the
//! screen, messages wait for its end.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::tcgetwinsize;

/// Width of a terminal that does not say it.
const USUAL_WIDTH: usize = 80;
/// Erases from the cursor's line to the end of the screen.
const ERASE: &str = "\r\x1b[J";

/// What is on the screen.
enum Shown {
    Nothing,
    Lines,
    /// The full view, and the messages that wait for its end.
    #[cfg_attr(not(feature = "tui"), allow(dead_code, reason = "only the full view takes it"))]
    View(Vec<String>),
}

static SHOWN: Mutex<Shown> = Mutex::new(Shown::Nothing);

/// Whether standard error is a terminal whose cursor can be moved.
pub fn is_possible() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Number of columns that a line can use: one less than the terminal has, since a line that
/// ends in the last one would be broken on some.
pub fn width() -> usize {
    let columns = tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { USUAL_WIDTH - 1 } else { (columns - 1).max(1) }
}

/// Draws lines in place of those before.
pub fn draw(lines: &[String; 2]) {
    let mut shown = shown();
    *shown = Shown::Lines;
    let [first, second] = lines;
    write(&format!("{ERASE}{first}\r\n{second}\x1b[1A\r"));
}

/// Removes the lines, if they are on the screen.
pub fn clear() {
    let mut shown = shown();
    if matches!(*shown, Shown::Lines) {
        *shown = Shown::Nothing;
        write(ERASE);
    }
}

/// Writes lines in place of the live ones, which are drawn again below them.
pub fn write_above(text: &str) {
    let mut shown = shown();
    match &mut *shown {
        Shown::View(messages) => messages.push(text.to_owned()),
        Shown::Lines => {
            *shown = Shown::Nothing;
            write(&format!("{ERASE}{text}\n"));
        }
        Shown::Nothing => write(&format!("{text}\n")),
    }
}

/// From now on the view has all of the screen.
#[cfg(feature = "tui")]
pub fn begin_view() {
    *shown() = Shown::View(Vec::new());
}

/// The last message that waits for the end of the view.
#[cfg(feature = "tui")]
pub fn last_message() -> Option<String> {
    match &*shown() {
        Shown::View(messages) => messages.last().cloned(),
        _ => None,
    }
}

/// The view has given the screen back: writes the messages that have waited.
#[cfg(feature = "tui")]
pub fn end_view() {
    let mut shown = shown();
    if let Shown::View(messages) = std::mem::replace(&mut *shown, Shown::Nothing) {
        messages.iter().for_each(|message| write(&format!("{message}\n")));
    }
}

fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    // A closed stderr leaves no way to report it.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn shown() -> MutexGuard<'static, Shown> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
