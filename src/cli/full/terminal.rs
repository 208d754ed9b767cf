//! The screen of the view, which is given back however the view ends: closed, dropped, by a panic
//! or by a signal.

use std::io::{self, Stderr};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

use super::super::{live, signals};

/// Whether the view has the screen.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// Whether the process sleeps, and will take the screen again.
static IS_ASLEEP: AtomicBool = AtomicBool::new(false);
/// Whether the next frame is drawn anew.
static IS_STALE: AtomicBool = AtomicBool::new(false);

/// The view on the screen, until it is dropped.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
}

impl Screen {
    /// Takes the screen.
    ///
    /// # Errors
    /// The terminal can't be set up.
    pub fn open() -> io::Result<Screen> {
        restore_on_panic();
        enter()?;
        match Terminal::new(CrosstermBackend::new(io::stderr())) {
            Ok(terminal) => Ok(Screen { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Draws the view.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if !IS_OPEN.load(Ordering::Acquire) {
            return Ok(());
        }
        if IS_STALE.swap(false, Ordering::AcqRel) {
            self.terminal.clear()?;
        }
        self.terminal.draw(draw).map(drop)
    }

    /// Whether the screen was given back: after a panic of any thread.
    pub fn is_over(&self) -> bool {
        !IS_OPEN.load(Ordering::Acquire) && !IS_ASLEEP.load(Ordering::Acquire)
    }

    /// Gives the screen back, sleeps until `fg`, and takes it again.
    pub fn suspend(&self) {
        suspended(signals::sleep_until_woken);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn enter() -> io::Result<()> {
    live::begin_view();
    IS_OPEN.store(true, Ordering::Release);
    let entered = enable_raw_mode().and_then(|()| execute!(io::stderr(), EnterAlternateScreen));
    entered.inspect_err(|_| restore())
}

/// Gives the screen back, if the view has it.
pub fn restore() {
    if IS_OPEN.swap(false, Ordering::AcqRel) {
        // A terminal that is gone needs nothing.
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
        live::end_view();
    }
}

/// Sleeps without the screen, which the view takes again if it had it. The next frame is drawn
/// anew, since the terminal has another one then.
pub fn suspended(sleep: fn()) {
    let had_it = IS_OPEN.load(Ordering::Acquire);
    IS_ASLEEP.store(had_it, Ordering::Release);
    restore();
    sleep();
    if had_it && enter().is_ok() {
        IS_STALE.store(true, Ordering::Release);
    }
    IS_ASLEEP.store(false, Ordering::Release);
}

/// Gives the screen back before a panic is told.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
}
