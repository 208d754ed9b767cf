//! What a store of units is asked for, and what it answers. Pure.

use std::fmt;

use crate::limiter::{OtherSearches, SearchReport};
use crate::quota::terms::Quota;
use crate::time::Time;

/// A store of units that are counted for longer than a process lives.
pub trait QuotaStore: fmt::Debug + Send + Sync {
    /// The account that a quota is counted in, if it is counted here.
    fn account(&self, quota: &Quota, key: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>>;

    /// Why the store gives no units any more, if so.
    fn trouble(&self) -> Option<String>;

    /// Why the store does not answer now, if so: it may again later.
    fn outage(&self) -> Option<String> {
        None
    }

    /// Waits for a short time until the store knows all that was sent, once the limits are closed.
    /// It gives no units any more.
    fn end(&self) {}
}

/// The owner of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKey<'a> {
    /// The whole run's.
    Run,
    /// That of the key of the pool with this index.
    Pool(usize),
    /// That of this key in its scope.
    Key(&'a str),
}

/// The account of one limit.
pub trait QuotaHandle: fmt::Debug + Send {
    /// Notes what has arrived, and leases the units that are asked for. All of that is
    /// durable when it returns.
    fn exchange(&mut self, now: Time, request: &LeaseRequest<'_>) -> LeaseReply;

    /// The time from which the lease of the units goes on that an exchange has given.
    fn leased_from(&self, now: Time) -> Time {
        now
    }

    /// Whether the store can take back units of which it was told that they have arrived.
    fn takes_back(&self) -> bool {
        true
    }

    /// Whether it takes reports to the store some at a time, so that each answer can be reported.
    fn gathers(&self) -> bool {
        false
    }

    /// The end of a pause that another run was asked for, as far as it is known.
    fn paused_until(&self) -> Time {
        Time::ZERO
    }

    /// Whether other runs leased units at the last exchange: they may give them back.
    fn others_lease(&self) -> bool {
        false
    }

    /// The searches for a pace of the other runs, at the last exchange.
    fn other_searches(&self) -> OtherSearches {
        OtherSearches::default()
    }

    /// The limit has this many units from now on, as the server says.
    fn allow(&mut self, _units: u64) {}

    /// Nothing is leased any more. Gives whether the store knows.
    fn close(&mut self) -> bool {
        true
    }
}

/// What a process tells a quota store, and the units that it asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeaseRequest<'a> {
    /// Units, and the latest time at which they can have arrived, since the exchange
    /// before; a negative number takes units back.
    pub arrived: &'a [(Time, i64)],
    /// Units that it keeps: in flight, or not used yet.
    pub kept: u64,
    /// More units that are wanted.
    pub wanted: u64,
    /// Fewer than these are of no use.
    pub least: u64,
    /// What arrived before this doesn't count any more a little after it.
    pub reset: Option<Time>,
    /// The end of a pause that the server has asked this run for.
    pub pause: Option<Time>,
    /// The units that the run believes the server allows, where refusals have taught it.
    pub learnt: Option<u64>,
    /// The run's search for a pace, if the limit is searched for.
    pub search: Option<SearchReport>,
}

/// The answer of a quota store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseReply {
    /// This many more units are kept.
    Units(u64),
    /// None; enough come back at this time, if that is known.
    Later(Option<Time>),
    /// Another process is writing: nothing was noted.
    Busy,
    /// All is noted, and the units are asked for; the answer is worth asking for at this time.
    Asked(Time),
    /// The store gives no units any more.
    Failed,
}
