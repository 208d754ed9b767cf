//! Very many requests to a remote API, never over its rate limit.

pub mod error;

pub mod auth;
pub mod extract;
pub mod judge;
pub mod limit;
pub mod render;
pub mod send;
pub mod source;

pub mod record;
