//! Threads, which the system may refuse.

use std::io;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

/// Starts a thread.
///
/// # Errors
/// If the system has no threads left. The message names the setting to raise.
pub fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().spawn(work).map_err(|error| {
        let text = format!(
            "no thread can be started: {error}; are there too many processes and threads (ulimit -u)?"
        );
        io::Error::new(error.kind(), text)
    })
}

/// Runs blocking work on a thread of its own.
///
/// # Errors
/// If no thread can be started, or the work panicked.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, is_done) = oneshot::channel();
    spawn(move || {
        // The receiver may have been dropped.
        let _ = done.send(work());
    })?;
    is_done.await.map_err(|_| io::Error::other("the thread that did it panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn blocking_work_returns_its_result_or_its_panic() {
        assert_eq!(run_blocking(|| 7).await.unwrap(), 7);
        let error = run_blocking(|| panic!("on purpose")).await.unwrap_err();
        assert!(error.to_string().contains("panicked"));
    }
}
