//! Stands for Arrow IPC in a build without the feature `arrow`.

use super::entry::FormatEntry;

pub(super) static FORMAT: FormatEntry = FormatEntry::missing(
    "arrow",
    &["arrow", "feather"],
    "this build has no Arrow: build with --features arrow",
);
