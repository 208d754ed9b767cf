//! Units that were used before, as a limit that is to carry more sees them. Pure.

use std::time::Duration;

use super::workload::UsedUnits;

/// Units that were used before under the keys that a load is spread over, as the share of one
/// key. All times are in seconds.
#[derive(Default)]
pub struct UsedShare {
    /// By key, the units with the time until they are available again, in the order of that.
    by_key: Vec<Vec<(f64, f64)>>,
    /// Number of keys, with those that have used nothing.
    keys: usize,
}

impl UsedShare {
    pub fn new(used: &[UsedUnits], keys: usize) -> UsedShare {
        let unit = |(wait, units): &(Duration, u64)| (wait.as_secs_f64(), *units as f64);
        let by_key = used.iter().map(|key| key.units.iter().map(unit).collect());
        UsedShare { by_key: by_key.collect(), keys }
    }

    pub fn sum(&self) -> f64 {
        let units = self.by_key.iter().flatten().map(|(_, units)| units);
        units.sum::<f64>() / self.keys.max(1) as f64
    }

    /// The time until this number of the units is available.
    pub fn available(&self, units: f64) -> f64 {
        if units <= 0.0 {
            return 0.0;
        }
        let mut all: Vec<&(f64, f64)> = self.by_key.iter().flatten().collect();
        all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut sum = 0.0;
        let enough = all.into_iter().find(|(_, more)| {
            sum += more / self.keys.max(1) as f64;
            // Shares of keys are no whole numbers.
            sum >= units - 1e-9
        });
        enough.map_or(0.0, |(wait, _)| *wait)
    }

    /// The units in a bucket that leaks one in each interval, whose first ones have leaked in
    /// part.
    pub fn in_bucket(&self, interval: f64) -> f64 {
        let units = self.by_key.iter().flatten().map(|(wait, units)| units.min(wait / interval));
        units.sum::<f64>() / self.keys.max(1) as f64
    }

    /// The time until the bucket of some key, which holds this amount, takes one unit more.
    pub fn first_taken(&self, amount: f64, interval: f64) -> f64 {
        let room_in = |key: &Vec<(f64, f64)>| {
            let held: f64 = key.iter().map(|(wait, units)| units.min(wait / interval)).sum();
            let mut to_leak = held + 1.0 - amount;
            if to_leak <= 0.0 {
                return 0.0;
            }
            for (wait, units) in key {
                let units = units.min(wait / interval);
                if to_leak <= units {
                    return wait - (units - to_leak) * interval;
                }
                to_leak -= units;
            }
            0.0
        };
        if self.by_key.len() < self.keys {
            return 0.0;
        }
        self.by_key.iter().map(room_in).reduce(f64::min).unwrap_or_default()
    }
}
