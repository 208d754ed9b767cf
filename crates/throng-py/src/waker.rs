//! Wakes an event loop of asyncio from threads that know nothing of Python: by a byte in a
//! socket that the loop reads.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use pyo3::prelude::*;

use crate::process::OfProcess;

/// What an event loop reads, and the numbers of the waits that may go on.
#[pyclass(frozen)]
pub struct Waker {
    inner: OfProcess<Arc<WakeQueue>>,
}

/// The waits that may go on, and the socket that says so.
pub struct WakeQueue {
    ready: Mutex<Vec<u64>>,
    reader: UnixStream,
    writer: UnixStream,
}

#[pymethods]
impl Waker {
    #[new]
    fn new() -> PyResult<Waker> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let queue = WakeQueue { ready: Mutex::default(), reader, writer };
        Ok(Waker { inner: OfProcess::new("the event loop's waker", Arc::new(queue)) })
    }

    /// The descriptor to read.
    fn fileno(&self) -> PyResult<i32> {
        Ok(self.inner.get()?.reader.as_raw_fd())
    }

    /// The numbers of the waits that may go on.
    fn ready(&self) -> PyResult<Vec<u64>> {
        let queue = self.inner.get()?;
        let mut ready = queue.ready.lock().unwrap_or_else(PoisonError::into_inner);
        // The bytes are read under the lock, so that none is written for what is taken here.
        let mut bytes = [0; 64];
        while (&queue.reader).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        Ok(std::mem::take(&mut *ready))
    }
}

impl Waker {
    /// What wakes the wait of this number.
    pub fn of(&self, number: u64) -> PyResult<std::task::Waker> {
        let queue = self.inner.get()?.clone();
        Ok(Arc::new(OneWait { queue, number }).into())
    }
}

struct OneWait {
    queue: Arc<WakeQueue>,
    number: u64,
}

impl Wake for OneWait {
    fn wake(self: Arc<Self>) {
        let mut ready = self.queue.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push(self.number);
        if ready.len() == 1 {
            // A full socket is one that has something to read; the end of the loop is no error.
            let _written = (&self.queue.writer).write(&[0]);
        }
    }
}
