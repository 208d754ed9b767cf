//! The native part of the Python package `throng`; `python/throng` has what people call.
//!
//! No thread of Rust ever attaches to Python: a thread that did so while the interpreter ends
//! would crash it. Threads of Python come here, let go of the interpreter while they wait, and
//! look for signals ten times a second.

use pyo3::prelude::*;

mod command;
mod errors;
mod feed;
mod hooks;
mod job;
mod limiter;
mod process;
mod queue;
mod run;
mod stream;
mod table;
mod wait;
mod waker;

/// The native part of throng.
#[pymodule(gil_used = false)]
mod _throng {
    use pyo3::prelude::*;
    use throng::internals::wording::{Words, use_words};

    /// Sentences have the names of the package; the command has its own.
    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        use_words(Words::Keywords);
        Ok(())
    }

    #[pymodule_export]
    use crate::command::main;
    #[pymodule_export]
    use crate::errors::{
        Error, LimitError, OutputExists, PermitExpired, PlanError, ResumeMismatch, Stopped,
    };
    #[pymodule_export]
    use crate::feed::Feed;
    #[pymodule_export]
    use crate::hooks::{Answer, Hooks};
    #[pymodule_export]
    use crate::job::{Job, Plan};
    #[pymodule_export]
    use crate::limiter::{Acquire, Limiter, Permit};
    #[pymodule_export]
    use crate::run::Run;
    #[pymodule_export]
    use crate::stream::Stream;
    #[pymodule_export]
    use crate::table::{Records, convert, records};
    #[pymodule_export]
    use crate::waker::Waker;
}
