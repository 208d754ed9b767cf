//! Stands for the full view in builds without the feature `tui`.

use std::sync::mpsc;

use crate::Error;
use crate::engine::Run;

use super::progress::Follower;
use super::watch::RunningRun;

/// # Errors
/// Always: this build lacks the full view.
pub fn check() -> Result<(), Error> {
    Err(Error::plan(
        "this build of throng lacks the full view (--progress full, throng top): it was built without the feature `tui`",
    ))
}

/// Has nothing to give back.
pub fn restore() {}

/// Sleeps.
pub fn suspended(sleep: fn()) {
    sleep();
}

/// Shows nothing.
pub fn of_run(_: &Run, _: &mut Follower, _: &mpsc::Receiver<()>) {}

/// # Errors
/// Those of [`check`].
pub fn of_process(_: RunningRun) -> Result<(), Error> {
    check()
}
