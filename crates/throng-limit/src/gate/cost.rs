//! What an attempt costs, and what it has acquired.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::error::{AcquireError, UnknownUnit};
use crate::limiter::Reservation;
use crate::server::AnsweredMark;

/// What one attempt costs: units of each kind that a limit counts.
///
/// A number is a number of requests, and no other units: `limiter.acquire(1)`.
///
/// ```
/// use throng_limit::{AcquireError, Cost, RateLimiter};
///
/// let limiter = RateLimiter::builder()
///     .limit("60/1m".parse()?)
///     .limit("90000 tokens/1m".parse()?)
///     .build()?;
/// limiter.try_acquire(Cost::one().with("tokens", 250))?.answered();
///
/// // A unit that is forgotten, or misspelt, is an error and not a limit that is off.
/// let forgotten = limiter.try_acquire(1).unwrap_err();
/// assert_eq!(forgotten, AcquireError::MissingCost { unit: "tokens".into() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Cost {
    /// By the limiter's units; requests come first.
    pub(crate) units: SmallVec<[u64; 2]>,
    /// By the limiter's scopes: the key that the attempt has in each.
    pub(crate) keys: ScopeKeys,
    /// The key of the pool that the attempt must have; any if none is given.
    pub(crate) pool_key: Option<u32>,
    /// The units that were named last, until the limiter has looked the names up.
    pub(crate) named: Option<Box<NamedUnits>>,
}

/// Whose limits an attempt counts against, one key for each scope.
pub(crate) type ScopeKeys = SmallVec<[Arc<str>; 1]>;

impl Cost {
    /// One request.
    #[must_use]
    pub fn one() -> Cost {
        Cost::from(1)
    }

    /// Also so many of these units, such as `tokens`; of `requests`, so many instead of one.
    #[must_use]
    pub fn with(mut self, unit: impl Into<Cow<'static, str>>, units: u64) -> Cost {
        self.named =
            Some(Box::new(NamedUnits { unit: unit.into(), units, before: self.named.take() }));
        self
    }

    /// Units of each kind, requests first, against the limits of these keys, one for
    /// each scope.
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        units: impl IntoIterator<Item = u64>,
        keys: impl IntoIterator<Item = Arc<str>>,
    ) -> Cost {
        Cost {
            units: units.into_iter().collect(),
            keys: keys.into_iter().collect(),
            pool_key: None,
            named: None,
        }
    }

    /// The same against the limits of this key of the pool alone, by its index.
    #[doc(hidden)]
    #[must_use]
    pub fn with_pool_key(self, key: usize) -> Cost {
        Cost { pool_key: u32::try_from(key).ok(), ..self }
    }

    /// The keys whose limits it counts against, by scope.
    #[doc(hidden)]
    #[must_use]
    pub fn keys(&self) -> &[Arc<str>] {
        &self.keys
    }

    /// The number of kinds of units that it says something of.
    pub(crate) fn kinds(&self) -> usize {
        self.units.len()
    }

    /// Units of this kind; one, like a request, if it says nothing of them.
    #[doc(hidden)]
    #[must_use]
    pub fn units_of(&self, unit: usize) -> u64 {
        self.units.get(unit).copied().unwrap_or(1)
    }

    /// Whether it is anything but one request.
    pub(crate) fn has_costs(&self) -> bool {
        !matches!(self.units.as_slice(), [1])
    }

    /// Whether it is less in some unit, and more in none.
    pub(crate) fn is_smaller_than(&self, other: &Cost) -> bool {
        self.units != other.units
            && (0..self.units.len().max(other.units.len()))
                .all(|unit| self.units_of(unit) <= other.units_of(unit))
    }

    /// Whether limits that block the other cost block this one, too: it is no less in any unit, and
    /// wants the same key of the pool.
    pub(crate) fn is_at_least(&self, other: &Cost) -> bool {
        self.pool_key == other.pool_key
            && (self.units == other.units || other.is_smaller_than(self))
    }

    /// Looks all names up among the limiter's units.
    ///
    /// # Errors
    /// A name is not among them, or one of them has no cost.
    pub(crate) fn look_up(&mut self, units: &[String]) -> Result<(), AcquireError> {
        let mut costs: Vec<Option<u64>> = self.units.iter().copied().map(Some).collect();
        costs.resize(units.len().max(costs.len()), None);
        if let Some(named) = self.named.take() {
            named.look_up(units, &mut costs)?;
        }
        let missing = costs.iter().position(Option::is_none);
        if let Some(unit) = missing.and_then(|missing| units.get(missing)) {
            return Err(AcquireError::MissingCost { unit: unit.clone() });
        }
        self.units = costs.into_iter().flatten().collect();
        Ok(())
    }
}

/// Units by name, which the limiter looks up; most costs have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedUnits {
    unit: Cow<'static, str>,
    units: u64,
    before: Option<Box<NamedUnits>>,
}

impl NamedUnits {
    /// Units that were named later replace earlier ones of the same name.
    fn look_up(&self, units: &[String], costs: &mut [Option<u64>]) -> Result<(), UnknownUnit> {
        if let Some(before) = &self.before {
            before.look_up(units, costs)?;
        }
        let index = units.iter().position(|known| **known == *self.unit);
        let index = index.ok_or_else(|| UnknownUnit { unit: self.unit.to_string() })?;
        costs[index] = Some(self.units);
        Ok(())
    }
}

impl Clone for Cost {
    fn clone(&self) -> Cost {
        Cost {
            // One copy, where a clone goes from unit to unit.
            units: SmallVec::from_slice(&self.units),
            keys: if self.keys.is_empty() { ScopeKeys::new() } else { self.keys.clone() },
            pool_key: self.pool_key,
            named: self.named.clone(),
        }
    }
}

impl From<u64> for Cost {
    fn from(requests: u64) -> Cost {
        Cost { units: smallvec![requests], keys: ScopeKeys::new(), pool_key: None, named: None }
    }
}

/// What an attempt has taken from each limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acquired {
    pub(crate) holds: SmallVec<[Reservation; 2]>,
    /// Which key of the pool it uses, if there is a pool.
    pub(crate) key: Option<usize>,
    /// What was known when it was taken.
    pub(crate) snapshot: Snapshot,
}

/// What a group knew when an attempt was taken from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Snapshot {
    /// What had been answered by then.
    pub mark: AnsweredMark,
    /// Which beginning after a pause it belongs to.
    pub era: u64,
    /// The units of which the server had too few left, by its answer.
    pub lacking: SmallVec<[usize; 2]>,
}

impl Acquired {
    /// Which key of the pool it uses, if there is a pool.
    #[must_use]
    pub fn key(&self) -> Option<usize> {
        self.key
    }
}
