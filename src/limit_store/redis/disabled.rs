//! Stands for limits in Redis in a build without the feature `redis`.

use std::fmt;

use crate::error::Error;
use crate::limit::ValueStore;

/// A server that can't be reached. The box keeps the compiler from calling its users' code
/// unreachable.
#[derive(Clone)]
pub(crate) struct RedisLimits(Box<Never>);

/// A value that there is none of.
#[derive(Clone)]
enum Never {}

impl RedisLimits {
    pub fn parse(
        _url: &str,
        _environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<RedisLimits, Error> {
        Err(Error::plan("this build has no Redis: build with --features redis"))
    }

    pub fn values(&self) -> Box<dyn ValueStore> {
        match *self.0 {}
    }
}

impl fmt::Display for RedisLimits {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {}
    }
}
