//! Answers that are kept, so that a request is asked for once.
//!
//! - `settings`: the `[store]` part of a job
//! - `request_key`: what a request asks for, as a hash
//! - `entry`: a kept answer as bytes, which show whether they are whole
//! - `database`: the file of the entries, which several runs may use at a time
//! - `answer_store`: the store of one run
//! - `claims`: rows that wait for the answer to another row's request

mod answer_store;
mod claims;
#[cfg(feature = "sqlite")]
mod database;
#[cfg(not(feature = "sqlite"))]
#[path = "disabled.rs"]
mod database;
mod entry;
mod request_key;
mod settings;

pub(crate) use answer_store::{
    AnswerStore, FoundAnswers, KnownAnswers, StoreTerms, remove_private,
};
pub(crate) use claims::Claimed;
pub(crate) use entry::{AskedBy, KeptAnswer, KeptFailure};
pub(crate) use request_key::RequestKey;
pub use settings::StoreSettings;
