//! A server of limits: it leases the units of accounts to runs on any machine, and to other
//! programs, over a small HTTP API.
//!
//! `settings` are the address, the token and the certificate; `accounts` keeps what the limiter's
//! arithmetic makes of the requests, in files; `api` is the API; `serve` has sockets and threads;
//! `client` asks such a server.

mod accounts;
mod api;
mod client;
mod serve;
mod token;
pub(crate) use client::{HttpLedger, ServerAddress};
#[cfg(feature = "cli")]
pub(crate) use serve::{LimitServer, Listen, ServerSettings};
pub(crate) use token::TokenSource;
