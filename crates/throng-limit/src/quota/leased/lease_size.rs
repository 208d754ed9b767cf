//! How many units a run leases at a time. Pure.

use crate::quota::terms::Quota;
use crate::time::Time;

/// The largest lease of a fast limit is one such part of its units.
const LARGEST_PART: u64 = 50;

/// The number of units that a run leases at a time: as many as it has leased in the time after
/// which a store is looked at again, so that in a burst it asks once in that time.
///
/// It is a block at least, so that a slow run asks seldom, too, and a small part of a fast limit at
/// most: what is leased and not used is of no use to the others, and lost for a period after a crash.
#[derive(Debug, Default)]
pub struct LeaseSize {
    /// The beginning of the time in which the units are counted.
    since: Time,
    units: u64,
    /// Units that were leased in the time before.
    before: u64,
}

impl LeaseSize {
    /// The number of units to ask for.
    pub fn units(&mut self, now: Time, quota: &Quota) -> u64 {
        let next = |since| quota.next_look(since, Some(since));
        let over = next(self.since);
        if now >= over {
            let is_next = now < next(over);
            self.before = if is_next { self.units } else { 0 };
            (self.since, self.units) = (now, 0);
        }
        let is_fast = !quota.is_durable() && !quota.reports_at_once();
        let largest = if is_fast { quota.units() / LARGEST_PART } else { 0 };
        self.before.max(self.units).min(largest).max(quota.block())
    }

    /// So many were leased.
    pub fn note(&mut self, units: u64) {
        self.units += units;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::quota::account::quota_of;

    /// The units that a run asks for which asks so often and gets at most so many each time.
    fn asked(quota: &Quota, size: &mut LeaseSize, gap_micros: u64, most: u64) -> Vec<u64> {
        let begins = size.since.after(Duration::from_micros(gap_micros));
        let times = (0..6).map(|n| begins.after(Duration::from_micros(n * gap_micros)));
        let asks = times.map(|time| {
            let units = size.units(time, quota);
            size.note(units.min(most));
            units
        });
        asks.collect()
    }

    #[test]
    fn a_run_that_uses_units_up_at_once_leases_more_at_a_time_and_a_slow_one_a_block() {
        let (quota, mut size) = (quota_of("5000/1s").unwrap(), LeaseSize::default());
        assert_eq!(asked(&quota, &mut size, 300, 1_000), [25, 25, 50, 100, 100, 100]);
        // As many as come back in the time until the next look.
        assert_eq!(asked(&quota, &mut size, 2_500, 40), [100, 40, 40, 40, 40, 40]);
        assert_eq!(asked(&quota, &mut size, 2_500, 5), [40, 25, 25, 25, 25, 25]);
        size.note(1_000);
        assert_eq!(asked(&quota, &mut size, 50_000, 1_000), [25; 6]);
        for (limit, block) in [("5000/1d", 50), ("22/5s", 1), ("1000/5s", 5)] {
            let (other, mut size) = (quota_of(limit).unwrap(), LeaseSize::default());
            assert_eq!(asked(&other, &mut size, 300, 1_000), [block; 6], "{limit}");
        }
    }
}
