//! The number of concurrent requests that a server allows on an HTTP/2 connection.
//!
//! What is sent beyond that waits inside the HTTP stack, after its permit was taken.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;

use hyper::client::conn::http2;
use hyper::rt::{Executor, Read, Write};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};

use super::causes;
use super::outgoing::Outgoing;

/// What most servers allow on one connection; more are not put on it.
const MOST: usize = 100;

/// How many requests are on a connection now; one less when it is dropped.
pub struct Streams {
    line: Rc<SharedConnection>,
}

/// A connection, for all who share it.
struct SharedConnection {
    taken: Cell<usize>,
    /// How many the server allows now; none before its settings are there.
    allowed: Box<dyn Fn() -> usize>,
    welcome: Rc<Welcome>,
    /// Why it ended.
    end: RefCell<Option<String>>,
}

/// Tells when the server's settings may have come.
#[derive(Default)]
struct Welcome {
    is_over: Cell<bool>,
    news: Notify,
}

/// Runs HTTP/2's tasks on the worker's own thread.
#[derive(Clone, Default)]
pub struct LocalExecutor {
    welcome: Rc<Welcome>,
}

impl Streams {
    /// Reads and writes a connection from now on.
    pub fn run<T>(
        connection: http2::Connection<T, Outgoing, LocalExecutor>,
        local: LocalExecutor,
    ) -> (Streams, AbortHandle)
    where
        T: Read + Write + Unpin + 'static,
    {
        let connection = Rc::new(RefCell::new(connection));
        let seen = Rc::downgrade(&connection);
        let line = Rc::new(SharedConnection {
            taken: Cell::default(),
            allowed: Box::new(move || {
                let connection = seen.upgrade();
                connection.map_or(0, |it| it.borrow().current_max_send_streams())
            }),
            welcome: local.welcome,
            end: RefCell::default(),
        });
        let streams = Streams { line: line.clone() };
        let task = spawn_local(async move {
            let end = poll_fn(|cx| Pin::new(&mut *connection.borrow_mut()).poll(cx)).await;
            let why = end.map_or_else(|error| causes(&error), |()| "it was closed".to_owned());
            line.end.replace(Some(why));
            line.welcome.news.notify_one();
        });
        (streams, task.abort_handle())
    }

    /// Waits until the server has said how many requests it takes, or gives why it
    /// never will.
    pub async fn welcome(&self) -> Result<(), String> {
        let SharedConnection { welcome, end, .. } = &*self.line;
        while self.allowed() == 0 {
            if let Some(why) = &*end.borrow() {
                return Err(why.clone());
            }
            welcome.news.notified().await;
        }
        welcome.is_over.set(true);
        Ok(())
    }

    /// Room for one more, if there is any.
    pub fn take(&self) -> Option<Streams> {
        let taken = self.line.taken.get();
        (taken < self.allowed()).then(|| {
            self.line.taken.set(taken + 1);
            Streams { line: self.line.clone() }
        })
    }

    /// Whether the server still allows as many as there are.
    pub fn fit(&self) -> bool {
        self.line.taken.get() <= self.allowed()
    }

    fn allowed(&self) -> usize {
        (self.line.allowed)().min(MOST)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let taken = &self.line.taken;
        taken.set(taken.get().saturating_sub(1));
    }
}

impl<F> Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, task: F) {
        if self.welcome.is_over.get() {
            spawn_local(task);
            return;
        }
        // The first task of a connection reads what comes, hyper's own handle doesn't
        // hear of settings.
        let welcome = self.welcome.clone();
        spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                let polled = task.as_mut().poll(cx);
                welcome.news.notify_one();
                polled
            })
            .await;
        });
    }
}
