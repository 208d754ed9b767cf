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
//! | [`source`] | bytes | [`row::Row`] |
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
//! | [`format`](mod@format) | bytes, rows | the formats of files, for [`source`] and [`sink`] |
//! | [`mod@convert`] | rows | files of any format, for [`sink`] and for `throng convert` |
//! | [`tally`] | records | counts, sketches, kinds of failure |
//! | [`report`] | a tally | text and JSON |
//!
//! [`mod@run`] is the corridor between them: one reader, the workers, one writer;
//! [`mod@simulate`] walks the same rooms in virtual time.
//! [`mod@probe`] sends a few requests through them to find a limit that nobody knows.
//! [`mod@verify`] stands outside: what a results file proves of a limit.
//!
//! ```no_run
//! use throng::{Job, Plan};
//!
//! let job = Job::read("quotes.toml")?;
//! let plan = Plan::new(&job, &|name| std::env::var(name).ok())?;
//! let report = throng::run(plan)?;
//! assert_eq!(report.rows.failed, 0);
//! # Ok::<(), throng::Error>(())
//! ```

#![cfg_attr(
    not(all(feature = "cli", feature = "internals")),
    allow(
        dead_code,
        unused_imports,
        reason = "the command and the tests use more than a run does"
    )
)]

/// The README's examples are tested like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

mod error;
pub use error::{Error, ErrorKind};

mod plan;
pub use plan::{Job, Plan};
#[cfg(feature = "cli")]
mod curl;
#[cfg(feature = "openapi")]
mod openapi;
#[cfg(all(feature = "cli", not(feature = "openapi")))]
#[path = "openapi/disabled.rs"]
mod openapi;

mod secret;

mod engine;
pub use engine::{Run, run};
mod metrics;
mod shutdown;
pub use shutdown::{Interrupt, Shutdown, ShutdownReason};
mod threads;

#[cfg(feature = "cli")]
mod simulate;

mod fs;
#[cfg(feature = "cli")]
mod probe;

mod auth;
mod batch;
mod extract;
mod judge;
mod quota_store;
pub use throng_limit as limit;
mod pages;
mod render;
mod send;
mod source;

mod convert;
mod format;
mod row;
pub use row::Row;

mod record;
pub use record::{Failure, Record};
mod report;
pub use report::Report;
mod sink;
mod tally;

#[cfg(feature = "cli")]
mod verify;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

/// The modules as the tests and the fuzzers need them; no part of the interface.
#[cfg(all(feature = "internals", feature = "cli"))]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod internals {
    pub mod curl {
        pub use crate::curl::*;
    }
    pub mod extract {
        pub use crate::extract::*;
    }
    pub mod judge {
        pub use crate::judge::*;
    }
    pub mod openapi {
        pub use crate::openapi::*;
    }
    pub mod pages {
        pub use crate::pages::*;
    }
    pub mod plan {
        pub use crate::plan::*;
    }
    pub mod probe {
        pub use crate::probe::*;
    }
    pub mod record {
        pub use crate::record::*;
    }
    pub mod render {
        pub use crate::render::*;
    }
    pub mod report {
        pub use crate::report::*;
    }
    pub mod row {
        pub use crate::row::*;
    }
    pub mod secret {
        pub use crate::secret::*;
    }
    pub mod send {
        pub use crate::send::*;
    }
    pub mod simulate {
        pub use crate::cli::simulate::model::*;
        pub use crate::simulate::*;
    }
    pub mod sink {
        pub use crate::sink::*;
    }
    pub mod source {
        pub use crate::source::*;
    }
    pub mod tally {
        pub use crate::tally::*;
    }
    pub mod verify {
        pub use crate::verify::*;
    }
}
