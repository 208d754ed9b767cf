//! Iterators and streams as rows.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::BoxError;
use crate::format::rows::TEXT_FIELD;
use crate::row::Fields;
use crate::source::RowSource;

/// The fields of a row of the program's type.
fn fields(item: impl Serialize) -> Result<Fields, BoxError> {
    match serde_json::to_value(item)? {
        Value::Object(fields) => Ok(fields),
        text @ Value::String(_) => Ok(Fields::from_iter([(TEXT_FIELD.to_owned(), text)])),
        other => {
            Err(format!("{other} is neither an object nor a text: make it one of them").into())
        }
    }
}

/// The rows of an iterator.
pub(super) struct IteratorRows<I>(pub I);

impl<I: Iterator<Item: Serialize> + Send> RowSource for IteratorRows<I> {
    fn next_row(&mut self) -> Option<Result<Fields, BoxError>> {
        self.0.next().map(fields)
    }
}

/// The rows of a stream.
pub(super) struct StreamRows<S> {
    rows: Pin<Box<S>>,
    runtime: StreamRuntime,
}

/// The runtime that a stream is polled in.
enum StreamRuntime {
    /// That of the program.
    Program(Handle),
    /// One of its own, once it is needed.
    Own(Option<Runtime>),
}

impl<S> StreamRows<S> {
    /// The rows of a stream, which is polled in the runtime that is current now, if one is.
    pub fn new(rows: S) -> StreamRows<S> {
        let current = Handle::try_current();
        let runtime = current.map_or(StreamRuntime::Own(None), StreamRuntime::Program);
        StreamRows { rows: Box::pin(rows), runtime }
    }
}

impl StreamRuntime {
    fn block_on<T>(&mut self, work: impl Future<Output = T>) -> std::io::Result<T> {
        Ok(match self {
            StreamRuntime::Program(runtime) => runtime.block_on(work),
            StreamRuntime::Own(Some(runtime)) => runtime.block_on(work),
            StreamRuntime::Own(none) => {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                none.insert(runtime).block_on(work)
            }
        })
    }
}

impl<S: Stream<Item: Serialize> + Send> RowSource for StreamRows<S> {
    fn next_row(&mut self) -> Option<Result<Fields, BoxError>> {
        let rows = &mut self.rows;
        match self.runtime.block_on(poll_fn(|context| rows.as_mut().poll_next(context))) {
            Ok(item) => item.map(fields),
            Err(error) => Some(Err(error.into())),
        }
    }
}
