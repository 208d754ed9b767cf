//! A quote API to try clients on: it limits how often it may be asked, takes
//! its time, fails now and then, and judges whoever asks.
//!
//! The limit is enforced over *arrivals*: a request counts at the instant at
//! which it reaches the server, not at the one at which it was sent. A client
//! that keeps to "22 in 5 s" by its own clock may still be over it here,
//! because the way there takes a different time for every request.
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
//! | route | answer |
//! |---|---|
//! | `GET`/`POST /v6/finance/quote/?symbols=A,B` | the quotes; `x-api-key` is checked if a key is set |
//! | `/list/{total}?size=100` and `page=`, `offset=` or `cursor=` | a page of items, with `Link`, `next`, `cursor`, `more`, `total`, `pages`; 500 from `broken=` on |
//! | `/detail/{id}` | one item; 404 if the id begins with `no` |
//! | `/batch?ids=A,B&most=50` | the items that are there, or by `{"ids": [...]}`; 413 if there are more |
//! | `GET /judge` | the [`Judgement`] as JSON; not counted |
//! | `DELETE /judge`, `POST /judge/reset` | everything starts afresh, the limits too; not counted |
//! | `POST /v1/chat/completions` | a completion, and what it used of the body's `max_tokens`; any request may name `?tokens=N` |
//! | `/echo…` | the request as JSON: method, path, query, headers, body |
//! | `/status/{code}?retry_after=V&body=T` | that status (200 to 599) |
//! | `/redirect/{code}?to=URL` | that status with a `location` |
//! | `/bytes/{n}?encoding=gzip` | a JSON string, `n` bytes long with its quotes; or `br`, `zstd`, `deflate` |
//! | `/slow/{ms}` | `{}`, that much later; the time passes after the arrival |
//! | `/drop` | none: the connection is dropped |
//! | `/close` | `{}`, then the connection is closed |
//! | `/token?expires_in=S` | an OAuth 2 token, another one each time, for 3,600 seconds unless told |
//! | `/flaky/{n}/{id}?status=429&retry_after=1` | that status (503 unless told) the first `n` times, then 200 |
//!
//! # A walk through the code
//!
//! A request comes in at the door (`server`, `acks`), is read (`asked`, by `visit`), learns its
//! fate from the seed (`fate`: `latency`, `faults`, `chance`), travels and
//! arrives in the house (`house`), where the judge (`desk`, `judge`, `window`) counts
//! it and the limits (`limit`, `limits`, `per`, `account`, `gate`) admit or refuse it. Then it is answered
//! (`answer`, `reply`) as a quote (`quotes`) or by a tool for tests (`tools`,
//! `tokens`, `lists`, `filler`). `settings`, `tls` and `parse` say how all this is
//! configured.

mod acks;
mod handler;
mod server;

mod chance;
mod faults;
mod latency;
mod request;
mod scenario;

mod account;
mod counters;
mod judge;
mod limit;
mod limits;
mod partition;
mod recorder;
mod state;
mod window;

mod answer;
mod body_stream;
mod lists;
mod quotes;
mod reply;
mod tokens;
mod tools;

mod parse;
mod settings;
mod tls;

mod dialect;
mod numbers;

pub use acks::AckCounter;
pub use dialect::Dialect;
pub use faults::{Fault, Faults};
pub use judge::{Judgement, WindowCount};
pub use latency::Latency;
pub use limit::{LimitKind, ServerLimit, ServerUnit};
pub use parse::ParseError;
pub use partition::Partition;
pub use quotes::price;
pub use recorder::Arrival;
pub use server::{LocalServer, Mock};
pub use settings::{Refusal, Settings};
pub use tls::ServerCertificate;
