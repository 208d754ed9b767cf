//! How an attempt ends, and what it waits for: the words that the limits, the queue and the
//! callers share.

use std::time::Duration;

use crate::limiter::Availability;
use crate::time::Time;

/// Why an attempt can't have its units now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// When that may change.
    pub when: Availability,
    /// The scope of the key that is blocked, if only attempts with that key are.
    pub by_key: Option<usize>,
    /// What blocks it.
    pub by: Blocker,
    /// When the blocker has something again, where `when` is only when to look.
    pub back: Option<Time>,
    /// Thousandths of the blocker's units that lost requests hold, which may still arrive.
    pub lingering: u16,
    /// Whether the wait is longer than an attempt may wait ([`MaxWait`]), and nothing that is
    /// in flight, or leased by other runs, can end it sooner.
    pub is_too_long: bool,
}

impl Blocked {
    /// A person holds it up until then.
    pub(crate) fn by_operator(when: Availability) -> Blocked {
        Blocked {
            when,
            by_key: None,
            by: Blocker::Operator,
            back: None,
            lingering: 0,
            is_too_long: false,
        }
    }

    /// Whether waiting is of no use.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.when == Availability::Never || self.is_too_long
    }
}

/// Maximum time that an attempt waits for its permit, by what blocks it; none where it waits
/// however long that takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaxWait {
    /// The wait for a limit.
    pub limit: Option<Duration>,
    /// The wait for the end of the server's pause, or for its reset.
    pub server: Option<Duration>,
}

impl MaxWait {
    /// The maximum time that an attempt waits for this blocker.
    #[must_use]
    pub fn of(&self, blocker: Blocker) -> Option<Duration> {
        match blocker {
            Blocker::Rule(_) | Blocker::Linger(_) => self.limit,
            Blocker::Server => self.server,
            Blocker::Operator => None,
        }
    }
}

/// What has become of a request, as its sender saw it: see
/// [`Permit::finish`](crate::Permit::finish).
///
/// ```
/// use std::time::Duration;
/// use throng_limit::Outcome;
///
/// assert_eq!(Outcome::of_status(200, None), Outcome::Answered);
/// assert_eq!(Outcome::of_status(404, None), Outcome::Failed);
/// assert_eq!(Outcome::of_status(504, None), Outcome::Lost);
/// let retry_after = Some(Duration::from_secs(7));
/// assert_eq!(Outcome::of_status(429, retry_after), Outcome::Refused { retry_after });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server has answered.
    Answered,
    /// The server has answered that it can't do what was asked, though not for a limit's sake.
    Failed,
    /// The server has refused the request for a limit's sake.
    Refused {
        /// For how long it wants no other, if it says so.
        retry_after: Option<Duration>,
    },
    /// No answer came: the request may still arrive.
    Lost,
}

impl Outcome {
    /// The outcome of an HTTP request whose answer has this status. 429 is a refusal, and so
    /// is 503 where the answer names a pause. A gateway that gives up (502, 503, 504) may
    /// have passed the request on: it is lost.
    #[must_use]
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Outcome {
        match status {
            429 => Outcome::Refused { retry_after },
            503 if retry_after.is_some() => Outcome::Refused { retry_after },
            502..=504 => Outcome::Lost,
            400.. => Outcome::Failed,
            _ => Outcome::Answered,
        }
    }
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

/// Answers that cost nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uncounted {
    /// Refusals for the limit's sake.
    pub refused: bool,
    /// Other failures.
    pub failed: bool,
}

/// What blocks an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocker {
    /// The rule with this index in the policy.
    Rule(usize),
    /// Lost requests that may still arrive, which hold units of the rule with this index.
    Linger(usize),
    /// The server, by what it has said.
    Server,
    /// A person, who has paused the run or lowered its rate.
    Operator,
}

/// The kind of what blocks rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockerKind {
    /// A limit in windows, or paced, of the whole run or of a key of the pool.
    Limit,
    /// A limit in windows, or paced, of each key in a scope.
    KeyLimit,
    /// A limit of the requests in flight.
    InFlight,
    /// Lost requests that may still arrive, which hold units of a limit.
    Linger,
    /// The server, which has asked for a pause, or said that nothing is left.
    Pause,
    /// A person, who has paused the run or lowered its rate.
    Operator,
}

/// For how long a limit, or the server, has blocked the first waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedTime {
    /// The kind of what blocked it.
    pub by: BlockerKind,
    /// The limit's name.
    pub name: String,
    /// For how long.
    pub time: Duration,
}
