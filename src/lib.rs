//! Very many requests to a remote API, never over its rate limit.

pub mod error;

pub mod limit;
pub mod render;
pub mod source;

pub mod record;
