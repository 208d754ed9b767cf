//! How an attempt ends, and who or what an attempt waits for: the words that the
//! limits, the queue and the callers share.

use std::time::Duration;

use crate::kinds::Availability;
use crate::time::Time;

/// Why nothing can be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// When that may change.
    pub when: Availability,
    /// The scope whose key it is that says so, if only attempts with that key have to
    /// wait.
    pub by_key: Option<usize>,
    /// Who says so.
    pub by: Blocker,
    /// When that one has something again, where `when` is only when to look.
    pub back: Option<Time>,
}

/// How an attempt ended, as far as limits care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server took it in.
    Answered,
    /// It answered that it could not be done.
    Failed,
    /// No answer came, or none that proves that it arrived by now.
    Lost,
    /// Nothing was sent.
    Returned,
}

/// Which answers cost nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uncounted {
    /// Refusals for the limit's sake.
    pub refused: bool,
    /// Other failures.
    pub failed: bool,
}

/// Who says wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// The limit that this part keeps, by its index in the policy.
    Part(usize),
    /// The server, by what it said.
    Server,
}

/// Who holds rows up at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockerKind {
    /// A limit in windows, or paced, of the whole run or of a key of the pool.
    Limit,
    /// The same, of each key in a scope.
    KeyLimit,
    /// What may be in flight.
    InFlight,
    /// The server, which asked for a pause, or said that nothing is left.
    Pause,
}

/// For how long somebody held rows up at the gate, whoever waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedTime {
    /// Who.
    pub by: BlockerKind,
    /// The limit's name.
    pub name: String,
    /// For how long.
    pub time: Duration,
}
