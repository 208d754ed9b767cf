//! The distribution of numbers: exact for few different ones, then in a grid that gets coarser.
//! Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

/// Maximum number of different numbers, or of cells of the grid.
const MAX_CELLS: usize = 2048;
/// Number of bars of a histogram, at about which it is readable.
const BARS: f64 = 32.0;
/// A share of the numbers at each end that may be so far away that it would hide the others.
const TAIL: f64 = 0.005;
/// How many times the width of all others the ends may take.
const FAR: f64 = 2.0;

/// A finite number with an order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Finite(f64);

impl Eq for Finite {}

impl Ord for Finite {
    fn cmp(&self, other: &Finite) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Finite) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Numbers with how often each came.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    cells: BTreeMap<Finite, u64>,
    /// The width of a cell of the grid; 0 while all numbers are exact.
    width: f64,
    count: u64,
    sum: f64,
    has_fractions: bool,
    ends: Option<(f64, f64)>,
}

/// A histogram with bars of one width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Histogram {
    /// The lower edge of each bar, and the upper edge of the last one.
    pub edges: Vec<f64>,
    pub counts: Vec<u64>,
    /// Number of numbers below the first edge.
    pub below: u64,
    /// Number of numbers at the last edge or above.
    pub above: u64,
}

impl Numbers {
    /// Adds a finite number.
    pub fn add(&mut self, number: f64) {
        // A zero has no sign here.
        let number = number + 0.0;
        self.count += 1;
        self.sum += number;
        self.has_fractions |= number.fract() != 0.0;
        let (min, max) = self.ends.unwrap_or((number, number));
        self.ends = Some((min.min(number), max.max(number)));
        *self.cells.entry(self.cell(number)).or_default() += 1;
        while self.cells.len() > MAX_CELLS {
            self.coarsen();
        }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The smallest and the largest number.
    pub fn ends(&self) -> Option<(f64, f64)> {
        self.ends
    }

    /// The number that this share of all does not exceed, as exact as the cells are.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share * self.count.saturating_sub(1) as f64).floor() as u64;
        let mut before = 0;
        let cell = self.cells.iter().find(|(_, count)| {
            before += **count;
            before > rank
        });
        let (min, max) = self.ends?;
        cell.map(|(cell, _)| cell.0.clamp(min, max))
    }

    /// The histogram; none without numbers.
    pub fn histogram(&self) -> Option<Histogram> {
        let (low, high) = self.shown()?;
        let step = match nice((high - low) / BARS) {
            step if !self.has_fractions => step.max(1.0),
            step => step,
        };
        let edge = |index: f64| trimmed(index * step);
        let first = (low / step).floor();
        let bars = ((high / step).floor() - first + 1.0).clamp(1.0, 4.0 * BARS);
        let edges: Vec<f64> = (0..=bars as u64).map(|bar| edge(first + bar as f64)).collect();
        let mut counts = vec![0; bars as usize];
        let (mut below, mut above) = (0, 0);
        for (Finite(number), count) in &self.cells {
            match edges.partition_point(|edge| edge <= number) {
                0 => below += count,
                bar if bar > counts.len() => above += count,
                bar => counts[bar - 1] += count,
            }
        }
        Some(Histogram { edges, counts, below, above })
    }

    /// The ends of the histogram: those of all numbers, unless few are far away.
    fn shown(&self) -> Option<(f64, f64)> {
        let (min, max) = self.ends?;
        let (low, high) = (self.quantile(TAIL)?, self.quantile(1.0 - TAIL)?);
        let width = (high - low) * (1.0 + FAR);
        let is_far = width > 0.0 && max - min > width;
        Some(if is_far { (low, high) } else { (min, max) })
    }

    fn cell(&self, number: f64) -> Finite {
        if self.width == 0.0 {
            return Finite(number);
        }
        let cell = ((number / self.width).floor() + 0.5) * self.width;
        Finite(if cell.is_finite() { cell } else { number })
    }

    fn coarsen(&mut self) {
        let (min, max) = self.ends.unwrap_or_default();
        self.width = match self.width {
            0.0 => ((max / 2.0 - min / 2.0) * 2.0 / MAX_CELLS as f64).log2().floor().exp2(),
            width => width * 2.0,
        };
        for (cell, count) in std::mem::take(&mut self.cells) {
            *self.cells.entry(self.cell(cell.0)).or_default() += count;
        }
    }
}

/// The smallest of 1, 2 or 5 times a power of ten that is at least as large; 1 for nothing.
fn nice(width: f64) -> f64 {
    if !(width > 0.0 && width.is_finite()) {
        return 1.0;
    }
    let power = 10_f64.powf(width.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= width * 0.999_999);
    trimmed(step.unwrap_or(10.0) * power)
}

/// The number without the rounding errors of its last digits.
fn trimmed(number: f64) -> f64 {
    format!("{number:.12e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: impl IntoIterator<Item = f64>) -> Numbers {
        let mut all = Numbers::default();
        numbers.into_iter().for_each(|number| all.add(number));
        all
    }

    #[test]
    fn each_number_is_in_the_bar_between_whose_edges_it_lies() {
        let numbers: Vec<f64> = (0..200).map(|number| f64::from(number) / 10.0).collect();
        let Histogram { edges, counts, below, above } = of(numbers.clone()).histogram().unwrap();
        for (bar, count) in counts.iter().enumerate() {
            let inside = numbers.iter().filter(|it| (edges[bar]..edges[bar + 1]).contains(*it));
            assert_eq!(*count, inside.count() as u64, "{bar} {edges:?}");
        }
        assert_eq!((below, above, counts.len()), (0, 0, 20));
    }

    #[test]
    fn few_numbers_that_are_far_away_hide_no_others() {
        let all = of((0..1000).map(f64::from).chain([1e12, -1e12]));
        let shape = all.histogram().unwrap();
        assert!(shape.edges[0] >= 0.0 && shape.edges[shape.counts.len()] <= 1_050.0, "{shape:?}");
        let inside: u64 = shape.counts.iter().sum();
        assert_eq!(inside + shape.below + shape.above, 1002);
        assert!(inside > 980, "{shape:?}");
    }

    #[test]
    fn many_numbers_take_no_more_memory_and_stay_nearly_exact() {
        let all = of((0..100_000).map(|number| f64::from(number) * 0.37));
        assert!(all.cells.len() <= MAX_CELLS && all.count() == 100_000);
        let median = all.quantile(0.5).unwrap();
        assert!((median / 18_499.8 - 1.0).abs() < 0.002, "{median}");
        assert_eq!(all.ends(), Some((0.0, 99_999.0 * 0.37)));
        let bars = all.histogram().unwrap().counts;
        assert!((19..=40).contains(&bars.len()), "{}", bars.len());
    }

    #[test]
    fn one_number_and_none_have_a_histogram_and_none() {
        assert_eq!(of([]).histogram(), None);
        for number in [0.0, 7.0, -0.001, 1e300, f64::MIN_POSITIVE] {
            let shape = of([number, number]).histogram().unwrap();
            assert_eq!(shape.counts.iter().sum::<u64>() + shape.above, 2, "{number} {shape:?}");
        }
    }

    #[test]
    fn the_largest_numbers_there_are_end_somewhere() {
        let all = of((0..10_000).map(|number| f64::MAX / (f64::from(number) - 5_000.5)));
        assert!(all.cells.len() <= MAX_CELLS);
        assert!(all.histogram().is_some());
    }

    #[test]
    fn steps_are_round() {
        for (width, step) in [(0.031, 0.05), (1.0, 1.0), (0.0, 1.0), (70.0, 100.0), (3e-9, 5e-9)] {
            assert_eq!(nice(width), step);
        }
    }
}
