//! The exit codes, in one table.

use std::process::ExitCode;

use throng::Error;
use throng::error::ErrorKind;
use throng::stop::Reason;

/// How a command ended.
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
    /// It was interrupted, and can be resumed.
    Interrupted = 130,
}

impl Exit {
    /// The code for an error.
    pub fn of(error: &Error) -> Exit {
        match error.kind() {
            ErrorKind::Plan => Exit::Plan,
            _ => Exit::Stopped,
        }
    }

    /// The code for a run that ended for this reason, or by itself, with so many failed rows.
    pub fn of_run(reason: Option<&Reason>, failed: u64) -> Exit {
        match reason {
            Some(Reason::Interrupted) => Exit::Interrupted,
            Some(Reason::Trouble(_)) => Exit::Stopped,
            // As with any filter: who reads no further has seen enough.
            Some(Reason::Unread) => Exit::Ok,
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
