//! Quantiles: exact for few numbers, within one per cent for many.

use sketches_ddsketch::{Config, DDSketch};

/// Maximum number of numbers that are kept exactly.
const FEW: usize = 1000;

/// The quantiles of the numbers so far.
#[derive(Clone, Default)]
pub struct Quantiles {
    few: Vec<f64>,
    /// The sketch of all numbers, once they are too many to keep.
    many: Option<Box<DDSketch>>,
}

impl Quantiles {
    /// Adds one finite number.
    pub fn add(&mut self, number: f64) {
        match self.many {
            None if self.few.len() < FEW => self.few.push(number),
            _ => self.many().add(number),
        }
    }

    /// Adds the other's numbers.
    pub fn merge(&mut self, other: &Quantiles) {
        other.few.iter().for_each(|&number| self.add(number));
        if let Some(sketch) = &other.many {
            // Sketches of one configuration always merge.
            let _ = self.many().merge(sketch);
        }
    }

    /// The number that this share of all numbers, from 0 to 1, does not exceed;
    /// interpolated while they are few. None without numbers.
    #[must_use]
    pub fn at(&self, share: f64) -> Option<f64> {
        match &self.many {
            None => between(&self.few, share),
            Some(sketch) => {
                let near = sketch.quantile(share).ok()??;
                Some(near.clamp(sketch.min()?, sketch.max()?))
            }
        }
    }

    /// The exact mean. None without numbers.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let (sum, count) = match &self.many {
            None => (self.few.iter().sum(), self.few.len()),
            Some(sketch) => (sketch.sum()?, sketch.count()),
        };
        (count > 0).then(|| sum / count as f64)
    }

    /// The exact maximum.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        self.at(1.0)
    }

    /// Whether [`at`](Quantiles::at) is exact rather than within one per cent.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.many.is_none()
    }

    fn many(&mut self) -> &mut DDSketch {
        let few = &mut self.few;
        self.many.get_or_insert_with(|| {
            let mut sketch = DDSketch::new(Config::defaults());
            few.drain(..).for_each(|number| sketch.add(number));
            Box::new(sketch)
        })
    }
}

impl std::fmt::Debug for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quantiles").finish_non_exhaustive()
    }
}

/// Linear interpolation, as in most spreadsheets and statistics packages.
fn between(numbers: &[f64], share: f64) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len().checked_sub(1)? as f64);
    let below = sorted.get(place.floor() as usize)?;
    let above = sorted.get(place.ceil() as usize)?;
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl Iterator<Item = u32>) -> Quantiles {
        let mut all = Quantiles::default();
        numbers.for_each(|number| all.add(f64::from(number)));
        all
    }

    #[test]
    fn few_numbers_are_exact() {
        assert_eq!(of(0..0).at(0.5), None);
        assert_eq!(of(7..8).at(0.99), Some(7.0));
        assert_eq!(of(1..5).at(0.5), Some(2.5));
        assert_eq!(of(0..101).at(0.9), Some(90.0));
        assert!(of(0..1000).is_exact());
    }

    #[test]
    fn quantiles_of_many_numbers_are_within_one_per_cent() {
        let all = of(0..100_001);
        for (share, exact) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0)] {
            let error = all.at(share).unwrap() / exact - 1.0;
            assert!(error.abs() < 0.0101, "{share}: {error}");
        }
        assert_eq!(all.max(), Some(100_000.0));
        assert!(!all.is_exact());
    }

    #[test]
    fn merged_quantiles_equal_those_of_all_numbers() {
        for (cut, end) in [(0, 10), (100, 200), (500, 1500), (1200, 1210), (2000, 4000)] {
            let mut merged = of(0..cut);
            merged.merge(&of(cut..end));
            for share in [0.0, 0.5, 0.9, 1.0] {
                assert_eq!(merged.at(share), of(0..end).at(share), "{cut} {end}");
            }
        }
    }
}
