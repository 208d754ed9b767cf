//! Makes very many requests to a remote API, fast, and never exceeds its rate limit.
//!
//! A [`Job`] names the rows, the request of each row, the limits and the output. Checked, it is
//! a [`Plan`]. [`run`] carries the plan out: each row ends as exactly one [`Record`], a result
//! or a [`Failure`], and the [`Report`] has the counts. A [`Run`] does the same under a
//! [`Shutdown`] handle and with counters that can be read while it goes on.
//!
//! The rate limiter can be used by itself, around any HTTP client:
//! [`limit::RateLimiter`].
//!
//! ```
//! use throng::{Job, Plan};
//! # let server = throng_mock::Mock::start(throng_mock::Settings::default(), "127.0.0.1:0")?;
//! # let folder = tempfile::tempdir()?;
//! # let url = server.url();
//! # let output = folder.path().join("quotes.jsonl").display().to_string();
//!
//! let job = Job::parse("quotes.toml", &format!(r#"
//!     [input]
//!     list = [{{ symbol = "AAPL" }}, {{ symbol = "MSFT" }}]
//!     [request]
//!     url = "{url}/v6/finance/quote/?symbols={{{{ symbol }}}}"
//!     [limit]
//!     rate = "300/1m"
//!     [extract]
//!     price = ".quoteResponse.result[0].regularMarketPreviousClose"
//!     [output]
//!     file = "{output}"
//! "#))?;
//! let plan = Plan::new(&job, &|name| std::env::var(name).ok())?;
//! let report = throng::run(plan)?;
//! assert_eq!((report.rows.ok, report.rows.failed), (2, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! All but `otlp` are on by default; `default-features = false` leaves only the library of a run, which
//! needs no C code but that of TLS. What a build lacks is refused by a message that names the
//! feature.
//!
//! | feature | what it adds |
//! |---|---|
//! | `cli` | the command |
//! | `tui` | the full view of a run: `--progress full`, `throng top` |
//! | `otlp` | OpenTelemetry: a trace and the metrics of a run (`--otlp`); off by default |
//! | `simulate` | the commands `simulate`, `mock` and `demo` |
//! | `openapi` | job files from OpenAPI descriptions |
//! | `http2` | HTTP/2 to servers |
//! | `json-schema` | answers that are checked by a JSON Schema |
//! | `arrow` | Arrow IPC as an input and output format |
//! | `parquet` | Parquet as an input and output format, and `output.parts` |
//! | `sqlite` | SQLite as an input and output format |
//! | `redis` | workers on many machines, by a queue in Redis or Valkey |
//! | `postgres` | limits that runs share through PostgreSQL |
//! | `zstd` | answers and files that Zstandard compresses |
//! | `acked` | the guard `acked`: the kernel tells when a request has arrived (Linux) |

#![cfg_attr(
    not(feature = "simulate"),
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

mod failure;
pub use failure::{Failure, FailureKind};
mod error;
pub use error::{BoxError, Error, ErrorKind, Problem, StopCause};
mod wording;

mod plan;
pub use plan::{Job, Plan};
#[cfg(feature = "cli")]
mod curl;
#[cfg(feature = "cli")]
#[cfg_attr(not(feature = "openapi"), path = "openapi/disabled.rs")]
mod openapi;

mod check;
mod cookies;
mod helpers;
mod hooks;
mod price;
pub use hooks::{
    Answer, Batches, HookFuture, Processed, RequestHook, ResponseHook, RowError, RowRequest,
};
mod secret;

mod engine;
pub use engine::{Run, run};
mod builder;
#[cfg(feature = "arrow")]
pub use builder::RecordBatchStream;
pub use builder::{IntoRowRequest, JobBuilder, JobHandle, Progress, RecordStream};
pub mod events;
mod metrics;
mod shutdown;
pub use shutdown::{Interrupt, Shutdown, ShutdownReason};
mod threads;

#[cfg(feature = "simulate")]
mod simulate;

mod exact_size;
mod fs;
mod machines;
#[cfg(feature = "cli")]
mod probe;
mod text_or_table;

mod auth;
mod batch;
mod batch_api;
mod extract;
mod judge;
mod limit_server;
mod limit_store;
mod quota_store;
pub use quota_store::shared_store;
pub use throng_limit as limit;
mod pages;
mod poll;
mod render;
mod save;
mod send;
mod source;
pub use source::RowSource;
mod store;

mod convert;
mod format;
#[cfg(feature = "cli")]
mod merge;
mod queue;
mod row;
pub use row::{Fields, Row};

mod record;
pub use record::{AnswerOrigin, Record, SavedFile};
mod report;
pub use report::Report;
#[cfg(feature = "cli")]
mod html_report;
mod sink;
pub use sink::Sink;
mod tally;
#[cfg_attr(not(feature = "zstd"), path = "zstandard/disabled.rs")]
mod zstandard;

#[cfg(feature = "cli")]
mod renew;
#[cfg(feature = "cli")]
mod try_row;
#[cfg(feature = "cli")]
mod verify;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

/// The modules as the tests and the fuzzers need them; no part of the interface.
#[cfg(feature = "simulate")]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod internals {
    pub mod convert {
        pub use crate::convert::*;
    }
    pub mod curl {
        pub use crate::curl::*;
    }
    pub mod extract {
        pub use crate::extract::*;
    }
    pub mod judge {
        pub use crate::judge::*;
    }
    #[cfg(feature = "openapi")]
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
    pub mod wording {
        pub use crate::wording::*;
    }
    pub mod verify {
        pub use crate::verify::*;
    }
}
