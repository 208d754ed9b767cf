//! The library as a program uses it, against a real server that judges.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed, and says where")]

mod api;
mod errors;
mod hooks;
mod limits;
mod programs;
mod runs;
mod strangers;
