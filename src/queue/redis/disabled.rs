//! Stands for Redis in a build without the feature `redis`.

use std::fmt;

use super::{JobFacts, JobFields, JobState, Queue, QueueError, QueueTerms};
use crate::error::Error;
use crate::limit_store::StoreAddress;

const WHY: &str = "this build has no Redis: build with --features redis";

/// A store that can't be opened. The box keeps the compiler from calling its users' code
/// unreachable.
#[derive(Clone)]
pub(crate) struct RedisStore(Box<Never>);

/// A value that there is none of.
#[derive(Clone)]
enum Never {}

/// When a server's records are on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerSync {
    Always,
    Later,
    Never,
}

impl RedisStore {
    pub fn open(_url: &str, _password: Option<&str>) -> Result<RedisStore, Error> {
        Err(Error::plan(WHY))
    }

    pub fn check(&self, _is_volatile: bool) -> Result<ServerSync, Error> {
        match *self.0 {}
    }

    pub fn jobs(&self) -> Result<Vec<String>, Error> {
        match *self.0 {}
    }

    pub fn limits(&self) -> StoreAddress {
        match *self.0 {}
    }

    pub fn create(&self, _job: &str, _fields: &JobFields) -> Result<bool, Error> {
        match *self.0 {}
    }

    pub fn fields(&self, _job: &str) -> Result<Option<JobFields>, QueueError> {
        match *self.0 {}
    }

    pub fn facts(&self, _job: &str) -> Result<Option<JobFacts>, Error> {
        match *self.0 {}
    }

    pub fn set_state(
        &self,
        _job: &str,
        _to: &JobState,
        _from: &[&str],
    ) -> Result<Option<JobState>, QueueError> {
        match *self.0 {}
    }

    pub fn set_field(&self, _job: &str, _name: &str, _value: &str) -> Result<(), QueueError> {
        match *self.0 {}
    }

    pub fn close(&self, _job: &str, _state: &JobState) -> Result<(), QueueError> {
        match *self.0 {}
    }

    pub fn queue(&self, _job: &str, _consumer: &str, _terms: QueueTerms) -> Box<dyn Queue> {
        match *self.0 {}
    }
}

impl fmt::Display for RedisStore {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {}
    }
}
