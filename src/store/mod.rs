//! Answers that are kept, so that a request is asked for once.
//!
//! - `settings`: the `[store]` part of a job
//! - `request_key`: what a request asks for, as a hash
//! - `entry`: a kept answer as bytes, which show whether they are whole
//! - `database`: the file of the entries, which several runs may use at a time
//! - `answer_store`: the store of one run

mod answer_store;
#[cfg(feature = "sqlite")]
mod database;
#[cfg(not(feature = "sqlite"))]
#[path = "disabled.rs"]
mod database;
mod entry;
mod request_key;
mod settings;

pub(crate) use answer_store::AnswerStore;
pub(crate) use entry::{AskedBy, KeptAnswer};
pub(crate) use request_key::RequestKey;
pub use settings::StoreSettings;
pub(crate) use settings::or_directory;
