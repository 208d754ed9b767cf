//! What the kinds of limits have in common.

/// A kind of limit.
pub(crate) struct KindEntry {
    /// The name by which it is written.
    pub name: &'static str,
    /// The maximum number of units at once, given those of a period and the burst; none if
    /// the kind has no burst.
    pub at_once: Option<fn(units: u32, burst: Option<u32>) -> u32>,
    /// Makes the rule of a limit.
    pub rule: fn(RuleSettings) -> Box<dyn CountingRule>,
}

/// The figures of a limit. Times are in nanoseconds.
pub(crate) struct RuleSettings {
    pub units: u64,
    /// At least 1.
    pub period: u64,
    /// The maximum number of units at once.
    pub at_once: u64,
    /// The time between a whole period of the calendar and the server's start.
    pub offset: u64,
}

/// A counting rule. Times are nanoseconds since the start; a cost is at most the
/// units that the limit admits at once.
pub(crate) trait CountingRule: std::fmt::Debug + Send {
    /// The time until a request of this cost would be admitted; 0 if it is now.
    fn wait(&mut self, now: u64, cost: u64) -> u64;

    /// Counts a request, whether it would be admitted or not.
    fn take(&mut self, now: u64, cost: u64);

    /// The units left, and the time until all are.
    fn left(&mut self, now: u64) -> (u64, u64);
}
