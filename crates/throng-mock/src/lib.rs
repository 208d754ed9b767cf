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
//! | route | answer |
//! |---|---|
//! | `GET`/`POST /v6/finance/quote/?symbols=A,B` | the quotes; the settings can require an `x-api-key` |
//! | `/list/{total}?size=100` and `page=`, `offset=` or `cursor=` | a page of items, with `Link`, `next`, `cursor`, `more`, `total`, `pages`; 500 from item `broken=` on |
//! | `/detail/{id}` | one item; 404 if the id begins with `no` |
//! | `/batch?ids=A,B&most=50` | the items that exist, or by `{"ids": [...]}`; 413 for more ids than `most` |
//! | `POST /jobs?key=K`, or by a JSON body | 202 with a `Location`, for a job that runs for `polls` polls (2) and `ms`; it fails with `fail`; counted as `submit:K` |
//! | `GET /jobs/{id}` | `status` running (with the status `running=202` and `retry_after`), done or failed |
//! | `GET /jobs/{id}/result` | the result of a job that is done |
//! | `POST /api/generate`, `POST /v1/embeddings` | Ollama's stream of JSON documents; OpenAI's embeddings |
//! | `/wp-json/wp/v2/posts`, `POST /{index}/_search?scroll=1m`, `/oai?verb=ListRecords`, `POST /graphql`, `/odata/Books` | five titles in pages, as WordPress, Elasticsearch, OAI-PMH, GraphQL and OData have them |
//! | `PUT /subscriptions/…/{name}` | 201 with an `Azure-AsyncOperation`, which is done at its second poll; it fails if the name begins with `no` |
//! | `POST /account/login`, `/account/orders/{id}` | a session as a cookie; what only that session may see, else 401 |
//! | `POST /uploads`, `PUT /storage/{name}` | a presigned URL by `{"name": …}`; takes the file for it |
//! | `/reports/{id}/pdf` | a small PDF |
//! | `GET /judge` | the [`Judgement`] as JSON; not counted |
//! | `DELETE /judge`, `POST /judge/reset` | resets counts and limits; not counted |
//! | `POST /v1/chat/completions` | a completion and its `total_tokens`, at most the body's `max_tokens`; any request may set `?tokens=N` |
//! | `/echo…` | the request as JSON: method, path, query, headers, body |
//! | `/status/{code}?retry_after=V&body=T` | that status (200 to 599) |
//! | `/redirect/{code}?to=URL` | that status with a `location` |
//! | `/bytes/{n}?encoding=gzip` | a JSON string, `n` bytes long with its quotes; or `br`, `zstd`, `deflate` |
//! | `/file/{name}?size=N&encoding=gzip&type=T` | the bytes of [`file()`], of this type (default `application/octet-stream`) |
//! | `/slow/{ms}` | `{}`, that many milliseconds after the arrival |
//! | `/drop` | none: the connection is dropped |
//! | `/close` | `{}`, then the connection is closed |
//! | `/token?expires_in=S` | a new OAuth 2 token each time, valid for `S` seconds (default 3,600) |
//! | `/flaky/{n}/{id}?status=429&retry_after=1` | that status (default 503) the first `n` times, then 200 |
//!
//! # The way of a request
//!
//! `server` accepts a connection (`acks` counts its bytes) and `handler` reads the
//! `request`. The seed decides its `latency` and `faults` (`chance`). After
//! the latency it arrives: `recorder` and `judge` count it, and the limits
//! (`limit`, `partition`, `account`, `counters`, `kinds`) admit or refuse it. `state`
//! routes it to `quotes`, `lists`, `jobs`, `recipes` or `tools` (`tokens`, `body_stream`), and the answer
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
mod body_stream;
mod jobs;
mod lists;
mod quotes;
mod recipes;
mod reply;
mod scripted;
mod tokens;
mod tools;

mod parse;
mod settings;
mod tls;

mod dialect;

pub use acks::AckCounter;
pub use body_stream::file_bytes as file;
pub use dialect::Dialect;
pub use faults::{Fault, Faults};
pub use judge::{Judgement, WindowCount};
pub use kinds::LimitKind;
pub use latency::Latency;
pub use limit::{ServerLimit, ServerUnit};
pub use parse::ParseError;
pub use partition::Partition;
pub use quotes::price;
pub use recorder::Arrival;
pub use server::{LocalServer, Mock};
pub use settings::{Refusal, Settings};
pub use tls::ServerCertificate;
