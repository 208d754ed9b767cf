//! The kinds of limits. Each is a file, and a line in `KINDS`.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

mod bucket;
mod counter;
mod fixed;
mod gcra;
mod in_flight;
mod rule;
mod sliding;

pub(crate) use rule::{CountingRule, KindEntry, RuleSettings};

static KINDS: [&KindEntry; 7] = [
    &sliding::KIND,
    &fixed::KIND,
    &fixed::CLOCK,
    &bucket::KIND,
    &gcra::KIND,
    &counter::KIND,
    &in_flight::KIND,
];

/// The counting rule of a limit, such as `sliding`, `bucket` or `gcra`. It counts admitted
/// requests only, unless the settings let refusals count.
#[derive(Clone, Copy)]
pub struct LimitKind(&'static KindEntry);

impl LimitKind {
    /// Any half-open window of the period's length holds at most the units.
    pub const SLIDING: LimitKind = LimitKind(&sliding::KIND);
    /// Consecutive windows from the first arrival on, each of which begins empty.
    pub const FIXED: LimitKind = LimitKind(&fixed::KIND);
    /// Windows begin at whole periods of the calendar, UTC.
    pub const CLOCK: LimitKind = LimitKind(&fixed::CLOCK);
    /// A token bucket: the burst at once, then one every period / units.
    pub const BUCKET: LimitKind = LimitKind(&bucket::KIND);
    /// The number of requests that are admitted and not answered yet.
    pub const IN_FLIGHT: LimitKind = LimitKind(&in_flight::KIND);

    /// Whether it has a burst of its own.
    #[must_use]
    pub fn has_burst(self) -> bool {
        self.0.at_once.is_some()
    }

    /// Maximum number of units that are admitted at once.
    pub(crate) fn at_once(self, units: u32, burst: Option<u32>) -> u32 {
        self.0.at_once.map_or(units, |at_once| at_once(units, burst))
    }

    pub(crate) fn rule(self, settings: RuleSettings) -> Box<dyn CountingRule> {
        (self.0.rule)(settings)
    }
}

impl PartialEq for LimitKind {
    fn eq(&self, other: &LimitKind) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for LimitKind {}

impl fmt::Debug for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl FromStr for LimitKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<LimitKind, ParseError> {
        let entry = KINDS.iter().find(|entry| entry.name == text.trim());
        entry.map(|entry| LimitKind(entry)).ok_or_else(|| {
            let names = KINDS.map(|entry| entry.name).join(", ");
            ParseError::new(&format!("a limit's kind is one of {names}"), text)
        })
    }
}
