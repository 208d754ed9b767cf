//! Waits of threads of Python, which Ctrl-C can end.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// Time after which a thread that waits looks for signals.
const LOOK: Duration = Duration::from_millis(50);

/// Calls `step` without the interpreter until it gives a value or `timeout` is over, with the
/// longest time that it may wait.
///
/// # Errors
/// A signal handler has raised an exception, such as `KeyboardInterrupt`.
pub fn until<T: Send>(
    py: Python<'_>,
    timeout: Option<Duration>,
    mut step: impl FnMut(Duration) -> Option<T> + Send,
) -> PyResult<Option<T>> {
    let start = Instant::now();
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        let wait = left.unwrap_or(LOOK).min(LOOK);
        if let Some(value) = py.detach(|| step(wait)) {
            return Ok(Some(value));
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        py.check_signals()?;
    }
}

/// A number of seconds as a duration; none is no end.
pub fn duration(seconds: Option<f64>) -> Option<Duration> {
    let whole = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    seconds.and_then(whole)
}
