//! The file of whole records that grows while a run goes on.

pub(super) mod disk;
pub(super) mod open_output;
pub(super) mod record_cutter;
pub(super) mod rewrite;
pub(super) mod sort;
