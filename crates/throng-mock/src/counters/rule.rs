//! The trait of counting rules.

/// A counting rule. Times are nanoseconds since the start; a cost is at most the
/// units that the limit admits at once.
pub(super) trait CountingRule: std::fmt::Debug + Send {
    /// The time until a request of this cost would be admitted; 0 if it is now.
    fn wait(&mut self, now: u64, cost: u64) -> u64;

    /// Counts a request, whether it would be admitted or not.
    fn take(&mut self, now: u64, cost: u64);

    /// The units left, and the time until all are.
    fn left(&mut self, now: u64) -> (u64, u64);
}
