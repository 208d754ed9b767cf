//! A call of a hook that catches panics.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{HookFuture, RowError};

/// Starts a hook and waits for its result. If it panics, its row fails.
pub(crate) async fn call<T>(start: impl FnOnce() -> HookFuture<T>) -> Result<T, RowError> {
    let mut future = catch_unwind(AssertUnwindSafe(start)).map_err(|it| panicked(&*it))?;
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Err(panicked(&*panic)).into())
    })
    .await
}

/// The error of a row whose hook panicked with this.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> RowError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    RowError::failed(format!("the hook panicked: {}", text.unwrap_or("without a message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hook_that_panics_is_an_error_wherever_it_does() {
        let at_once = call::<u8>(|| panic!("at {}", "once")).await.unwrap_err();
        assert_eq!(at_once.reason(), "the hook panicked: at once");
        let later = call::<u8>(|| {
            Box::pin(async {
                tokio::task::yield_now().await;
                panic!("later")
            })
        });
        assert_eq!(later.await.unwrap_err().reason(), "the hook panicked: later");
        assert_eq!(call(|| Box::pin(async { Ok(7) })).await, Ok(7));
    }
}
