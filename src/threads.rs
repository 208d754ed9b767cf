//! Threads, which the system may refuse. [door: threads]

use std::io;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

/// Starts a thread.
///
/// # Errors
/// That the system has none left, and where it is told how many there may be.
pub fn start<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().spawn(work).map_err(|error| {
        let text = format!(
            "no thread can be started: {error}; are there too many processes and threads (ulimit -u)?"
        );
        io::Error::new(error.kind(), text)
    })
}

/// Does work that blocks, on a thread of its own.
///
/// # Errors
/// That there is none, or that the work panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, is_done) = oneshot::channel();
    start(move || {
        // Its result may not be waited for any more.
        let _ = done.send(work());
    })?;
    is_done
        .await
        .map_err(|_| io::Error::other("the thread that did it panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_blocks_comes_back_or_says_that_it_panicked() {
        assert_eq!(blocking(|| 7).await.unwrap(), 7);
        let error = blocking(|| panic!("on purpose")).await.unwrap_err();
        assert!(error.to_string().contains("panicked"));
    }
}
