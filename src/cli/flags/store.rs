//! Flags of answers that are kept, so that a request is asked for once.

use clap::Args;
use serde_json::{Value, json};

use super::send::{duration, size};

/// What is asked for once.
#[derive(Args)]
#[command(next_help_heading = "Ask once")]
pub struct StoreFlags {
    /// Ask once for rows whose requests are equal; the record of each says which row asked
    #[arg(long)]
    dedupe: bool,
    /// Ask only for rows that are new, changed, failed or older-than 30d (a,b: for any of these
    /// reasons), by what --against or --store knows
    #[arg(long, value_name = "WHICH", value_delimiter = ',')]
    only: Option<Vec<String>>,
    /// The earlier results that --only compares with, by --key FIELD
    #[arg(long, value_name = "FILE")]
    against: Option<String>,
    /// Keep answers in this directory, and ask for none that is there
    #[arg(long, value_name = "DIR")]
    store: Option<String>,
    /// Size above which the oldest answers are removed [default: 10GiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    store_size: Option<String>,
    /// Age above which an answer is asked for again, such as 30d [default: none]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    store_age: Option<String>,
    /// Send nothing: rows whose answer is not in the store fail
    #[arg(long)]
    offline: bool,
}

impl StoreFlags {
    pub fn dedupe(&self) -> Option<bool> {
        self.dedupe.then_some(true)
    }

    pub fn only(&self) -> Option<&[String]> {
        self.only.as_deref()
    }

    pub fn against(&self) -> Option<&str> {
        self.against.as_deref()
    }

    pub fn tree(&self) -> Value {
        json!({
            "dir": self.store,
            "size": self.store_size,
            "age": self.store_age,
            "offline": self.offline.then_some(true),
        })
    }
}
