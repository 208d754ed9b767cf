//! Stands for the file of a store in a build without the feature `sqlite`.

use std::io;
use std::path::Path;

use super::entry::{AskedBy, KeptAnswer};
use super::request_key::RequestKey;

const WHY: &str = "this build keeps no answers: build with --features sqlite";

/// A store that can't be opened.
pub(super) enum Database {}

/// An entry that is to be written.
#[expect(dead_code, reason = "no store has it")]
pub(super) struct NewEntry {
    pub key: RequestKey,
    pub asked: u64,
    pub by: AskedBy,
    pub has_validator: bool,
    pub failed_in: Option<u64>,
    pub bytes: Vec<u8>,
}

impl Database {
    pub fn open(_path: &Path) -> Result<Database, String> {
        Err(WHY.to_owned())
    }

    pub fn find(&self, _key: RequestKey, _process: u64) -> Result<Option<KeptAnswer>, String> {
        match *self {}
    }

    pub fn asked(&self, _key: RequestKey) -> Result<Option<(u64, AskedBy)>, String> {
        match *self {}
    }

    pub fn put(&mut self, _entries: &[NewEntry]) -> Result<(), String> {
        match *self {}
    }

    pub fn remove_before(&self, _asked: u64) -> Result<(), String> {
        match *self {}
    }

    pub fn remove_others(&self, _run: u64) -> Result<(), String> {
        match *self {}
    }

    pub fn remove_failures(&self, _process: u64) -> Result<(), String> {
        match *self {}
    }

    pub fn shrink_to(&self, _max_size: u64) -> Result<u64, String> {
        match *self {}
    }

    pub fn settle(&self) -> Result<(), String> {
        match *self {}
    }
}

/// There is nothing to remove.
pub(super) fn remove(_path: &Path) -> io::Result<()> {
    Ok(())
}
