//! Very many requests to a remote API, fast, and never over its rate limit.
//!
//! A **row** comes in, becomes a **request**, waits at the **gate** for a
//! **permit**, is signed and **sent**, is **judged**, perhaps tried again, its
//! **values** are extracted, and it leaves as exactly one **record**; records
//! are written and **tallied**, and the tally is **reported**. Data passes each
//! room once, in the order below. Two stairs lead back and no more: a retry
//! returns to the gate, and every answer teaches the gate.
//!
//! | room | takes | gives |
//! |---|---|---|
//! | [`plan`] | a job file and flags | a checked [`Plan`] |
//! | [`source`] | bytes | [`source::Row`] |
//! | [`render`] | a row and templates | `http::Request` |
//! | [`limit`] | units | [`limit::Permit`] |
//! | [`ledger`] | what was spent | what may be, for [`limit`], over processes |
//! | [`auth`] | a request | a signed request |
//! | [`send`] | a request | [`send::Answer`] |
//! | [`judge`] | an answer, or none | [`judge::Verdict`] |
//! | [`extract`] | an answer | values |
//! | [`pages`] | an answer | where its next page is |
//! | [`batch`] | rows, an answer | one row for all, each row's part |
//! | [`sink`] | [`record::Record`] | bytes |
//! | [`table`] | rows | files of any format, for [`sink`] and for `throng convert` |
//! | [`tally`] | records | counts, sketches, kinds of failure |
//! | [`report`] | a tally | text and JSON |
//!
//! [`mod@run`] is the corridor between them: one reader, the workers, one writer;
//! [`mod@simulate`] walks the same rooms in virtual time.
//! [`mod@probe`] sends a few requests through them to find a limit that nobody knows.
//! [`mod@verify`] stands outside: what a results file proves of a limit.
//!
//! ```no_run
//! use throng::plan::{Job, Plan};
//!
//! let job = Job::read("quotes.toml")?;
//! let plan = Plan::new(&job, &|name| std::env::var(name).ok())?;
//! let report = throng::run(plan)?;
//! assert_eq!(report.rows.failed, 0);
//! # Ok::<(), throng::Error>(())
//! ```

/// The README's examples are tested like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub mod error;
pub use error::Error;

pub mod plan;
pub use plan::Plan;
pub mod curl;
pub mod openapi;

pub mod secret;

pub mod engine;
pub use engine::run;
pub mod metrics;
pub mod shutdown;
pub mod threads;

pub mod simulate;

pub mod descriptors;
mod file_lock;
pub mod probe;

pub mod auth;
pub mod batch;
pub mod extract;
pub mod judge;
pub mod quota_store;
pub use throng_limit as limit;
pub mod pages;
pub mod render;
pub mod send;
pub mod source;

pub mod record;
pub mod report;
pub mod sink;
pub mod table;
pub mod tally;

pub mod verify;
