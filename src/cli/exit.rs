//! The exit codes, in one table.

use std::process::ExitCode;

use crate::Error;
use crate::error::ErrorKind;
use crate::shutdown::{Interrupt, ShutdownReason};

/// The outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Every row is ok.
    Ok = 0,
    /// The run is finished, and some rows failed.
    SomeFailed = 1,
    /// The plan is wrong; nothing was sent.
    Plan = 2,
    /// The run stopped, and can be resumed.
    Stopped = 3,
    /// The terminal was closed; the run can be resumed.
    HungUp = 129,
    /// The run was interrupted, and can be resumed.
    Interrupted = 130,
    /// The run was terminated, and can be resumed.
    Terminated = 143,
}

impl Exit {
    /// The code for an error.
    pub fn of(error: &Error) -> Exit {
        match error.kind() {
            ErrorKind::Plan => Exit::Plan,
            _ => Exit::Stopped,
        }
    }

    /// 128 plus the number of the signal, as shells report it.
    pub fn of_signal(signal: Interrupt) -> Exit {
        match signal {
            Interrupt::Int => Exit::Interrupted,
            Interrupt::Term => Exit::Terminated,
            Interrupt::Hup => Exit::HungUp,
        }
    }

    /// The code for a run with this reason for an early end and this number of failed rows.
    pub fn of_run(reason: Option<&ShutdownReason>, failed: u64) -> Exit {
        match reason {
            Some(ShutdownReason::Interrupted(signal)) => Exit::of_signal(*signal),
            Some(ShutdownReason::Error(_) | ShutdownReason::Cancelled) => Exit::Stopped,
            // As with any filter, a reader that closes the pipe has read enough.
            Some(ShutdownReason::Unread) => Exit::Ok,
            None if failed > 0 => Exit::SomeFailed,
            None => Exit::Ok,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
