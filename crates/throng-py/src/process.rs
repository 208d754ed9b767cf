//! Values that belong to the process that made them: after a fork they have no threads, and
//! what they counted is the parent's.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::process;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// A value that only the process uses that made it.
pub struct OfProcess<T> {
    process: u32,
    value: ManuallyDrop<Option<T>>,
    /// What a user calls it.
    name: &'static str,
}

impl<T> OfProcess<T> {
    pub fn new(name: &'static str, value: T) -> OfProcess<T> {
        OfProcess { process: process::id(), value: ManuallyDrop::new(Some(value)), name }
    }

    /// The value, unless this is another process.
    pub fn get(&self) -> PyResult<&T> {
        self.check()?;
        self.value.deref().as_ref().ok_or_else(|| self.ended())
    }

    /// The value, to change it.
    pub fn get_mut(&mut self) -> PyResult<&mut T> {
        self.check()?;
        let ended = self.ended();
        self.value.as_mut().ok_or(ended)
    }

    /// The value, which is gone afterwards.
    pub fn take(&mut self) -> PyResult<Option<T>> {
        self.check()?;
        Ok(self.value.take())
    }

    fn ended(&self) -> PyErr {
        PyRuntimeError::new_err(format!("{} is over", self.name))
    }

    fn check(&self) -> PyResult<()> {
        if self.process == process::id() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!(
            "{} was made before this process was forked, and the parent still counts with it: \
             make a new one in each process (limiters of the same account share their limits), \
             or start processes with multiprocessing.get_context(\"spawn\")",
            self.name
        )))
    }
}

/// In a forked process the value is left as it is: it would give back what the parent uses.
impl<T> Drop for OfProcess<T> {
    fn drop(&mut self) {
        if self.process == process::id() {
            drop(self.value.take());
        }
    }
}
