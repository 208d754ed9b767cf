//! Stands for limits in PostgreSQL in a build without the feature `postgres`.

use std::fmt;
use std::path::Path;

use crate::error::Error;
use crate::limit::ValueStore;

/// A server that can't be reached. The box keeps the compiler from calling its users' code
/// unreachable.
#[derive(Clone)]
pub(crate) struct PostgresLimits(Box<Never>);

/// A value that there is none of.
#[derive(Clone)]
enum Never {}

impl PostgresLimits {
    pub fn parse(
        _url: &str,
        _cacert: Option<&Path>,
        _environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<PostgresLimits, Error> {
        Err(Error::plan("this build has no PostgreSQL: build with --features postgres"))
    }

    pub fn values(&self) -> Box<dyn ValueStore> {
        match *self.0 {}
    }
}

impl fmt::Display for PostgresLimits {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {}
    }
}
