//! Live lines at the end of standard error. The cursor stays at the start of the first one, so
//! that what is written next takes their place, however a terminal breaks them when it is
//! resized.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::tcgetwinsize;

/// Width of a terminal that does not say it.
const USUAL_WIDTH: usize = 80;
/// Erases from the cursor's line to the end of the screen.
const ERASE: &str = "\r\x1b[J";

/// Whether live lines are on the screen.
static ARE_DRAWN: Mutex<bool> = Mutex::new(false);

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
    let mut are_drawn = are_drawn();
    *are_drawn = true;
    let [first, second] = lines;
    write(&format!("{ERASE}{first}\r\n{second}\x1b[1A\r"));
}

/// Removes the lines, if they are on the screen.
pub fn clear() {
    let mut are_drawn = are_drawn();
    if std::mem::take(&mut *are_drawn) {
        write(ERASE);
    }
}

/// Writes lines in place of the live ones, which are drawn again below them.
pub fn write_above(text: &str) {
    let mut are_drawn = are_drawn();
    let erase = if std::mem::take(&mut *are_drawn) { ERASE } else { "" };
    write(&format!("{erase}{text}\n"));
}

fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    // A closed stderr leaves no way to report it.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn are_drawn() -> MutexGuard<'static, bool> {
    ARE_DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}
