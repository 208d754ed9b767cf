//! Files that are locked, and files that appear whole.

pub(crate) mod file_lock;
mod placed;

pub(crate) use placed::{placed, sync_directory};
