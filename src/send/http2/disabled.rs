//! Stands for HTTP/2 in a build without the feature `http2`. Servers are not offered it, so
//! that none speaks it.

use std::future::Ready;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use tokio::task::AbortHandle;

use super::SendError;
use super::request::{Interim, WriteResult};

const WHY: &str = "this build has no HTTP/2: build with --features http2";

/// Why this build has no HTTP/2.
pub const MISSING: Option<&str> = Some(WHY);

/// A share of a connection that can't be opened.
pub enum Http2 {}

impl Http2 {
    pub async fn open<T>(_io: T) -> Result<(Http2, AbortHandle), String> {
        Err(WHY.to_owned())
    }

    pub async fn welcome(&self) -> Result<(), SendError> {
        match *self {}
    }

    pub fn share(&self) -> Option<Http2> {
        match *self {}
    }

    pub fn has_room(&self) -> bool {
        match *self {}
    }

    pub fn is_closed(&self) -> bool {
        match *self {}
    }

    pub async fn ready(&mut self) -> Result<(), hyper::Error> {
        match *self {}
    }

    pub fn write(&mut self, _: Request<Bytes>, _: &Arc<Interim>) -> Ready<WriteResult> {
        match *self {}
    }
}

pub fn is_turned_away(_error: &hyper::Error) -> bool {
    false
}

pub fn is_malformed_stream(_error: &hyper::Error) -> bool {
    false
}
