//! What throng does as its users see it: the real binary, real files, and a real
//! server that judges.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can't go on has failed, and says where"
)]

/// What tests are made of.
mod counted;
mod counts;
mod harness;
mod probed;
mod proxy;
mod recorder;
mod streams;
mod terminator;

mod acked;
mod answers;
mod auth;
mod auto;
mod batches;
mod bodies;
mod causes;
mod chains;
mod changes;
mod closing;
mod crashes;
mod curl;
mod dialects;
mod disks;
mod escapes;
mod examples;
mod faults;
mod forms;
mod heads;
mod hostile;
mod hosts;
mod inputs;
mod jobs;
mod keys;
mod kinds;
mod limits;
mod lists;
mod locks;
mod mistakes;
mod modelled;
mod networks;
mod older;
mod openapi;
mod output;
mod pages;
mod parts;
mod paused;
mod pipes;
mod plan;
mod quotas;
mod redirects;
mod refusals;
mod requests;
mod resume;
mod rows;
mod scarce;
mod scopes;
mod secrets;
mod security;
mod sending;
mod servers;
mod shares;
mod signals;
mod simulated;
mod spoken;
mod structure;
mod summary;
mod syscalls;
mod tables;
mod tls;
mod tokens;
mod unknown;
mod verdicts;
mod verify;
mod virtual_jobs;
mod words;
