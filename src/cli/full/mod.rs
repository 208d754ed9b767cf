//! The full view of a run: `--progress full` of a run of this process, `throng top` of another's.

mod draw;
mod history;
mod terminal;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::Error;
use crate::engine::Run;

use super::progress::{Follower, RunView};
use super::watch::{Request, RunningRun};
use super::{live, signals};
use history::History;
use terminal::Screen;
pub use terminal::{restore, suspended};

/// Maximum time between two looks at the events of the run.
const EVERY: Duration = Duration::from_millis(250);
/// Part of the rate by which a key lowers and raises it.
const STEP: f64 = 0.1;

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    Ask(Request),
    /// Ctrl-C: as the signal.
    Interrupt,
    /// Ctrl-Z: sleep until `fg`.
    Suspend,
    /// Close the view.
    Close,
}

/// Checks that there is a terminal for the view.
///
/// # Errors
/// There is none.
pub fn check() -> Result<(), Error> {
    if live::is_possible() {
        return Ok(());
    }
    Err(Error::plan(
        "the full view needs a terminal on standard error: --progress log writes a line every few seconds",
    ))
}

/// Shows a run of this process until it ends, or until the view is closed.
pub fn of_run(run: &Run, follower: &mut Follower, ended: &mpsc::Receiver<()>) {
    let Ok(mut screen) = Screen::open() else {
        return;
    };
    let mut history = History::default();
    loop {
        history.add(follower.update());
        let view = &mut follower.view;
        if screen.draw(|frame| draw::draw(frame, view, &history)).is_err() {
            return;
        }
        match key(view, &screen) {
            Some(Action::Ask(request)) => {
                expect(view, request);
                request.apply(run);
            }
            Some(Action::Interrupt) => signals::interrupt_run(run.shutdown()),
            Some(Action::Suspend) => screen.suspend(),
            Some(Action::Close) => return,
            None => {}
        }
        let wait = ended.recv_timeout(Duration::ZERO);
        if wait != Err(RecvTimeoutError::Timeout) || screen.is_over() {
            return;
        }
    }
}

/// Shows a run of another process until it ends, or until the view is closed.
///
/// # Errors
/// The terminal can't show the view.
pub fn of_process(mut run: RunningRun) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::stopped(format!("the terminal can't show the view: {error}"))
    };
    let mut screen = Screen::open().map_err(failed)?;
    let mut history = History::default();
    loop {
        history.add(&run.view);
        screen.draw(|frame| draw::draw(frame, &run.view, &history)).map_err(failed)?;
        let asked = match key(&run.view, &screen) {
            Some(Action::Ask(request)) => {
                expect(&mut run.view, request);
                run.ask(request)
            }
            Some(Action::Suspend) => {
                screen.suspend();
                Ok(())
            }
            Some(Action::Interrupt | Action::Close) => return Ok(()),
            None => Ok(()),
        };
        if asked.and_then(|()| run.update()).is_err() {
            drop(screen);
            super::say::note("throng: the run has ended");
            return Ok(());
        }
        if screen.is_over() {
            return Ok(());
        }
    }
}

/// Shows at once what the run will tell after it was asked for this.
fn expect(view: &mut RunView, request: Request) {
    match request {
        Request::Pause => view.asked_paused = Some(true),
        Request::Resume => view.asked_paused = Some(false),
        Request::RateShare(share) => view.asked_rate_share = Some(share),
        Request::Stop => {}
    }
}

/// The key that is pressed within the next moment.
fn key(view: &RunView, screen: &Screen) -> Option<Action> {
    let is_there = event::poll(EVERY).unwrap_or(false);
    if !is_there || screen.is_over() {
        return None;
    }
    match event::read().ok()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => action(key, view),
        // After a resize the view is drawn again.
        _ => None,
    }
}

fn action(key: KeyEvent, view: &RunView) -> Option<Action> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    let action = match key.code {
        KeyCode::Char('c') if is_control => Action::Interrupt,
        KeyCode::Char('z') if is_control => Action::Suspend,
        KeyCode::Char('q') | KeyCode::Esc => Action::Close,
        KeyCode::Char('p' | ' ') if view.is_paused() => Action::Ask(Request::Resume),
        KeyCode::Char('p' | ' ') => Action::Ask(Request::Pause),
        KeyCode::Char('-' | '_') | KeyCode::Down => Action::Ask(changed_rate(view, -STEP)),
        KeyCode::Char('+' | '=') | KeyCode::Up => Action::Ask(changed_rate(view, STEP)),
        KeyCode::Char('s') => Action::Ask(Request::Stop),
        _ => return None,
    };
    let is_allowed = view.may_control || !matches!(action, Action::Ask(_));
    is_allowed.then_some(action)
}

/// The rate a step higher or lower: never over the limit, nor quite nothing.
fn changed_rate(view: &RunView, step: f64) -> Request {
    let share = ((view.rate_share() + step) * 10.0).round() / 10.0;
    Request::RateShare(share.clamp(STEP, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, view: &RunView) -> Option<Action> {
        action(KeyEvent::new(code, KeyModifiers::NONE), view)
    }

    #[test]
    fn the_rate_moves_by_tenths_and_stays_within_the_limit() {
        let mut view = RunView { may_control: true, ..RunView::default() };
        let mut shares = Vec::new();
        for key in "---+++++------------".chars() {
            let Some(Action::Ask(Request::RateShare(share))) = pressed(KeyCode::Char(key), &view)
            else {
                panic!("{key}");
            };
            expect(&mut view, Request::RateShare(share));
            shares.push(share);
        }
        assert_eq!(shares[..8], [0.9, 0.8, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0]);
        assert_eq!(shares.last(), Some(&0.1));
    }

    #[test]
    fn another_user_s_run_is_only_read() {
        let view = RunView::default();
        for key in ['p', 's', '+', '-'] {
            assert_eq!(pressed(KeyCode::Char(key), &view), None);
        }
        assert_eq!(pressed(KeyCode::Char('q'), &view), Some(Action::Close));
    }
}
