//! Threads and tasks that panic: the run must neither hang nor end as if all were well.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::task::{JoinError, JoinSet};

use crate::error::{Error, StopCause};
use crate::shutdown::{Shutdown, ShutdownReason};

/// Does a part of the run's work. If it panics, the run is asked to end: answers in flight
/// elsewhere come in, and records stay.
pub fn caught(shutdown: &Shutdown, who: &str, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        shutdown.request(reason(who, panic.as_ref()));
    }
}

/// Waits for all tasks; a task that panics loses its own row, and ends the run.
pub async fn all(tasks: &mut JoinSet<()>, shutdown: &Shutdown) {
    while let Some(ended) = tasks.join_next().await {
        if let Some(panic) = ended.err().and_then(|it| JoinError::try_into_panic(it).ok()) {
            shutdown.request(reason("a worker", panic.as_ref()));
        }
    }
}

fn reason(who: &str, panic: &(dyn Any + Send)) -> ShutdownReason {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let text = format!(
        "{who} panicked: {}; this is a mistake in throng, please report it",
        text.unwrap_or("without a word")
    );
    ShutdownReason::Error(Error::stopped_by(StopCause::Panicked, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(shutdown: &Shutdown) -> String {
        match shutdown.reason() {
            Some(ShutdownReason::Error(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_thread_that_panics_ends_the_run() {
        let shutdown = Shutdown::default();
        caught(&shutdown, "the reader", || {});
        assert!(!shutdown.is_requested());
        caught(&shutdown, "the reader", || panic!("no more {}", "rows"));
        assert!(why(&shutdown).starts_with("the reader panicked: no more rows; this is a mistake"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_task_that_panics_ends_the_run_and_the_others_are_waited_for() {
        let (shutdown, (done, mut is_done)) =
            (Shutdown::default(), tokio::sync::oneshot::channel());
        let mut tasks = JoinSet::new();
        tasks.spawn(async { panic!("a row too many") });
        let other = shutdown.clone();
        tasks.spawn(async move {
            other.requested().await;
            done.send(()).unwrap();
        });
        all(&mut tasks, &shutdown).await;
        assert!(why(&shutdown).contains("a worker panicked: a row too many"));
        is_done.try_recv().unwrap();
    }
}
