//! A quote API to test clients against: it enforces rate limits, adds latency
//! and faults, and counts how well a client kept the limits.
//!
//! The limits count *arrivals*: a request counts at the instant at which it
//! reaches the server, not when it was sent. A client that keeps "22 in 5 s" by
//! its own clock can still break that limit here, because each request takes a
//! different time to arrive.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use throng_mock::{Mock, Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = vec!["22/5s".parse()?];
//! let mock = Mock::start(Settings { limits, ..Settings::default() }, "127.0.0.1:0")?;
//!
//! let mut stream = TcpStream::connect(mock.addr())?;
//! stream.write_all(
//!     b"GET /v6/finance/quote/?symbols=ACME HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n\r\n",
//! )?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//!
//! let price = throng_mock::price("ACME");
//! assert!(answer.contains(&format!("\"regularMarketPreviousClose\":{price}")));
//! assert_eq!(mock.judgement().windows[0].most, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Routes
//!
#![doc = include_str!("routes.md")]
//!
//! # The way of a request
//!
//! `server` accepts a connection (`acks` counts its bytes) and `handler` reads the
//! `request`. The seed decides its `latency` and `faults` (`chance`). After
//! the latency it arrives: `recorder` and `judge` count it, and the limits
//! (`limit`, `partition`, `account`, `counters`, `kinds`) admit or refuse it. `state`
//! routes it to `quotes`, `lists`, `jobs`, `batches`, `recipes` or `tools` (`tokens`, `body_stream`), and the answer
//! (`answer`, `reply`) is worded by a `dialect` if one is set. `settings`,
//! `tls` and `parse` hold the configuration.

mod acks;
mod handler;
mod server;

mod chance;
mod faults;
mod latency;
mod request;

mod account;
mod counters;
mod judge;
mod kinds;
mod limit;
mod partition;
mod recorder;
mod state;

mod answer;
mod batches;
mod body_stream;
mod jobs;
mod lists;
mod quotes;
mod recipes;
mod reply;
mod routes;
mod scripted;
mod tokens;
mod tools;

mod parse;
mod settings;
mod tls;

mod dialect;

pub use acks::AckCounter;
pub use batches::{BatchCounts, BatchFaults};
pub use body_stream::file_bytes as file;
pub use dialect::Dialect;
pub use faults::{Fault, Faults};
pub use judge::{Judgement, TokenUsage, WindowCount};
pub use kinds::LimitKind;
pub use latency::Latency;
pub use limit::{ServerLimit, ServerUnit};
pub use parse::ParseError;
pub use partition::Partition;
pub use quotes::price;
pub use recorder::Arrival;
pub use routes::routes;
pub use server::{LocalServer, Mock};
pub use settings::{Refusal, Settings};
pub use tls::ServerCertificate;
