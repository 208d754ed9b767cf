//! Sums, means and deviations in one pass, mergeable with those of another pass.

/// The statistics of the numbers so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct NumberStats {
    count: u64,
    mean: f64,
    /// The sum of squared distances from the mean (Welford).
    squares: f64,
    sum: CompensatedSum,
    min: f64,
    max: f64,
}

/// A sum with its rounding error (Neumaier).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct CompensatedSum {
    total: f64,
    lost: f64,
}

impl Default for NumberStats {
    fn default() -> NumberStats {
        NumberStats {
            count: 0,
            mean: 0.0,
            squares: 0.0,
            sum: CompensatedSum::default(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl NumberStats {
    pub(super) fn add(&mut self, number: f64) {
        self.count += 1;
        let distance = number - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (number - self.mean);
        self.sum.add(number);
        self.min = self.min.min(number);
        self.max = self.max.max(number);
    }

    /// Adds the other's numbers (Chan et al.).
    pub(super) fn merge(&mut self, other: NumberStats) {
        let count = self.count + other.count;
        if count == 0 {
            return;
        }
        let share = other.count as f64 / count as f64;
        let distance = other.mean - self.mean;
        self.squares += other.squares + distance * distance * self.count as f64 * share;
        self.mean += distance * share;
        self.count = count;
        self.sum.add(other.sum.total);
        self.sum.add(other.sum.lost);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub(super) fn sum(&self) -> f64 {
        self.sum.total + self.sum.lost
    }

    pub(super) fn mean(&self) -> Option<f64> {
        self.some(self.mean)
    }

    pub(super) fn min(&self) -> Option<f64> {
        self.some(self.min)
    }

    pub(super) fn max(&self) -> Option<f64> {
        self.some(self.max)
    }

    /// The sample standard deviation; none for fewer than two numbers.
    pub(super) fn stddev(&self) -> Option<f64> {
        let freedom = self.count.checked_sub(1).filter(|&freedom| freedom > 0)?;
        Some((self.squares / freedom as f64).sqrt())
    }

    fn some(&self, value: f64) -> Option<f64> {
        (self.count > 0).then_some(value)
    }
}

impl CompensatedSum {
    fn add(&mut self, number: f64) {
        let total = self.total + number;
        self.lost += if self.total.abs() >= number.abs() {
            (self.total - total) + number
        } else {
            (number - total) + self.total
        };
        self.total = total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[f64]) -> NumberStats {
        let mut all = NumberStats::default();
        numbers.iter().for_each(|&number| all.add(number));
        all
    }

    #[test]
    fn known_numbers_have_known_statistics() {
        let numbers = of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(numbers.mean(), Some(5.0));
        assert_eq!(numbers.sum(), 40.0);
        assert_eq!((numbers.min(), numbers.max()), (Some(2.0), Some(9.0)));
        let stddev = numbers.stddev().unwrap();
        assert!((stddev - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn no_numbers_have_no_mean_and_one_number_no_deviation() {
        assert_eq!((of(&[]).mean(), of(&[]).min(), of(&[]).sum()), (None, None, 0.0));
        assert_eq!((of(&[3.0]).mean(), of(&[3.0]).stddev()), (Some(3.0), None));
    }

    #[test]
    fn small_numbers_beside_large_ones_are_kept() {
        assert_eq!(of(&[1e16, 1.0, 1.0, -1e16]).sum(), 2.0);
        let far = of(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]);
        assert!((far.stddev().unwrap() - 30.0_f64.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn merging_nothing_changes_nothing() {
        let (mut all, nothing) = (of(&[1.0, 2.0]), NumberStats::default());
        all.merge(nothing);
        assert_eq!(all, of(&[1.0, 2.0]));
        let mut nothing = nothing;
        nothing.merge(all);
        assert_eq!(nothing.mean(), Some(1.5));
    }
}
