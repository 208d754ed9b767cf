//! Closures as hooks, with rows and values of the program's own types.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::hooks::{
    Answer, HookFuture, Processed, RequestHook, ResponseHook, RowError, RowRequest,
};
use crate::row::{Fields, Row};

/// A request, or the result of making one: an [`http::Request`], a [`RowRequest`], or a `Result`
/// of either.
pub trait IntoRowRequest {
    /// The request, or why there is none.
    ///
    /// # Errors
    /// Why the row has no request; it fails.
    fn into_row_request(self) -> Result<RowRequest, RowError>;
}

impl<B: Into<Bytes>> IntoRowRequest for http::Request<B> {
    fn into_row_request(self) -> Result<RowRequest, RowError> {
        Ok(RowRequest::from(self))
    }
}

impl<R: IntoRowRequest, E: Into<RowError>> IntoRowRequest for Result<R, E> {
    fn into_row_request(self) -> Result<RowRequest, RowError> {
        self.map_err(Into::into)?.into_row_request()
    }
}

/// A row as the program's type.
pub(super) fn item<T: DeserializeOwned>(row: &Row) -> Result<T, RowError> {
    T::deserialize(&row.fields).map_err(|error| {
        RowError::failed(format!("the row is no {}: {error}", std::any::type_name::<T>()))
    })
}

/// A result of the program's type as values.
pub(super) fn processed<O: Serialize>(output: O) -> Result<Processed, RowError> {
    Ok(Processed::Values(values(output)?))
}

fn values<O: Serialize>(output: O) -> Result<Fields, RowError> {
    match serde_json::to_value(output)? {
        Value::Object(values) => Ok(values),
        other => Err(RowError::failed(format!("the hook gave {other}, and values are an object"))),
    }
}

/// A function that makes requests.
pub(super) struct RequestFn<F, T, R> {
    make: F,
    types: PhantomData<fn(T) -> R>,
}

impl<F, T, R> RequestFn<F, T, R> {
    pub fn new(make: F) -> RequestFn<F, T, R> {
        RequestFn { make, types: PhantomData }
    }
}

impl<T, R, F> RequestHook for RequestFn<F, T, R>
where
    T: DeserializeOwned,
    R: IntoRowRequest,
    F: Fn(&T) -> R + Send + Sync,
{
    fn request(&self, row: &Row) -> HookFuture<RowRequest> {
        let made = item(row).and_then(|item: T| (self.make)(&item).into_row_request());
        Box::pin(std::future::ready(made))
    }
}

/// A function that processes answers, and what makes values of its results.
pub(super) struct ResponseFn<F, T, O> {
    process: F,
    finish: fn(O) -> Result<Processed, RowError>,
    row: PhantomData<fn(T)>,
}

impl<F, T, O: Serialize> ResponseFn<F, T, O> {
    /// A function that makes one record of each answer.
    pub fn one(process: F) -> ResponseFn<F, T, O> {
        ResponseFn { process, finish: processed, row: PhantomData }
    }
}

impl<F, T, O: Serialize> ResponseFn<F, T, Vec<O>> {
    /// A function that makes several records of each answer.
    pub fn many(process: F) -> ResponseFn<F, T, Vec<O>> {
        let finish = |outputs: Vec<O>| {
            let records: Result<_, _> = outputs.into_iter().map(values).collect();
            Ok(Processed::Records(records?))
        };
        ResponseFn { process, finish, row: PhantomData }
    }
}

impl<T, O, F, P> ResponseHook for ResponseFn<P, T, O>
where
    T: DeserializeOwned,
    O: 'static,
    F: Future<Output = Result<O, RowError>> + Send + 'static,
    P: Fn(T, Answer) -> F + Send + Sync,
{
    fn process(&self, row: &Row, answer: Answer) -> HookFuture<Processed> {
        let (work, finish) = (item(row).map(|item| (self.process)(item, answer)), self.finish);
        Box::pin(async move { finish(work?.await?) })
    }
}
