//! An object at a URL: its version, and its bytes from any place on. Pure.

use std::fmt;

use async_channel::Receiver;
use bytes::Bytes;
use serde_json::json;

/// The bytes of an object in their order, or why no more of them come; closed at their end.
pub type Chunks = Receiver<Result<Bytes, String>>;

/// An object that can be read from any place on.
pub trait RemoteObject: fmt::Debug + Send + Sync {
    /// Begins to read it at this byte. Waits for the head of the answer.
    ///
    /// # Errors
    /// Why there is nothing to read.
    fn open(&self, from: u64) -> Result<OpenedObject, OpenError>;
}

/// An object that is being read.
#[derive(Debug)]
pub struct OpenedObject {
    pub version: ObjectVersion,
    /// The type of its contents, as the server says.
    pub content_type: Option<String>,
    /// The encoding that the server says its bytes have, if they have any.
    pub encoding: Option<String>,
    /// The place of the first byte that comes: the server may begin before the one asked for.
    pub from: u64,
    pub chunks: Chunks,
}

/// Why an object is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// Another attempt would end in the same way.
    Final(String),
    /// Another attempt may succeed.
    Passing(String),
}

/// What tells one state of an object from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The tag that the server gives each state.
    pub tag: Option<String>,
    /// When it was last changed.
    pub modified: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

impl ObjectVersion {
    /// Whether it tells that an object has changed.
    pub fn is_known(&self) -> bool {
        self.tag.is_some() || self.modified.is_some()
    }

    /// Whether an object with this version later is still the same one.
    pub fn is_same(&self, later: &ObjectVersion) -> bool {
        match (&self.tag, &later.tag) {
            (Some(tag), Some(later)) => tag == later,
            _ => self.modified == later.modified,
        }
    }

    /// A text that only this version has.
    pub fn text(&self) -> String {
        match &self.tag {
            Some(tag) => json!([tag]).to_string(),
            None => json!([self.modified, self.size]).to_string(),
        }
    }
}

impl OpenError {
    /// An object with another version than it had.
    pub fn changed() -> OpenError {
        OpenError::Final("it has changed since it was checked: run again".into())
    }

    /// Why, in words.
    pub fn why(self) -> String {
        match self {
            OpenError::Final(why) | OpenError::Passing(why) => why,
        }
    }
}
