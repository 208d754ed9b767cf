//! Where the workers' time went, over the time of the run. Pure.

use serde::Serialize;

/// Maximum number of moments that are kept.
const MAX_MOMENTS: usize = 720;
/// Maximum number of points of the plot.
const MAX_POINTS: usize = 120;
/// Time between two snapshots, in seconds.
const STEP: f64 = 0.5;
/// Number of causes that have a colour of their own.
const CAUSES: usize = 5;

/// The time by cause up to each of some moments.
#[derive(Debug, Default)]
pub struct CauseLine {
    names: Vec<String>,
    moments: Vec<Moment>,
    /// Every how many moments one is kept, and the number of those that came since.
    every: usize,
    since: usize,
}

#[derive(Debug, Clone)]
struct Moment {
    at: f64,
    /// Seconds by cause, in the order of the names.
    spent: Vec<f64>,
}

/// The shares of the causes in each part of a run.
#[derive(Debug, Serialize)]
pub(super) struct CauseSeries {
    /// The length of each part, in seconds.
    pub width: f64,
    /// When each part begins, in seconds from the beginning of the run.
    pub at: Vec<f64>,
    pub causes: Vec<CauseShares>,
}

#[derive(Debug, Serialize)]
pub(super) struct CauseShares {
    pub name: String,
    /// In percent of the workers' time.
    pub shares: Vec<f64>,
}

impl CauseLine {
    /// Adds the seconds by cause up to a moment of the run.
    pub fn add(&mut self, at: f64, spent: impl Iterator<Item = (String, f64)>) {
        let mut moment = Moment { at, spent: vec![0.0; self.names.len()] };
        for (name, seconds) in spent {
            match self.names.iter().position(|known| *known == name) {
                Some(place) => moment.spent[place] += seconds,
                None => {
                    self.names.push(name);
                    moment.spent.push(seconds);
                }
            }
        }
        self.since += 1;
        if self.since < self.every {
            return;
        }
        self.since = 0;
        self.moments.push(moment);
        if self.moments.len() > MAX_MOMENTS {
            // The times only add up, so what is left out is in the next moment.
            let mut place = 0;
            self.moments.retain(|_| {
                place += 1;
                place % 2 == 0
            });
            self.every = self.every.max(1) * 2;
        }
    }

    /// The shares over time; none for a run that was over at once.
    pub(super) fn series(&self) -> Option<CauseSeries> {
        let end = self.moments.last()?.at;
        let mut width = STEP;
        while end / width > MAX_POINTS as f64 {
            width *= 2.0;
        }
        let points = (end / width).floor() as usize;
        if points < 3 {
            return None;
        }
        let at: Vec<f64> = (0..points).map(|point| point as f64 * width).collect();
        let shares = |cause: usize| -> Vec<f64> {
            let spent = |at: f64| self.spent(cause, at);
            let share = |at: &f64| (spent(at + width) - spent(*at)) / width * 100.0;
            at.iter().map(|at| (share(at).clamp(0.0, 100.0) * 10.0).round() / 10.0).collect()
        };
        let named = self.names.iter().enumerate();
        let mut causes: Vec<CauseShares> = named
            .map(|(place, name)| CauseShares { name: name.clone(), shares: shares(place) })
            .collect();
        causes.sort_by(|a, b| sum(b).total_cmp(&sum(a)));
        if causes.len() > CAUSES {
            let rest = causes.split_off(CAUSES - 1);
            let all = |point: usize| rest.iter().map(|cause| cause.shares[point]).sum();
            causes.push(CauseShares {
                name: "all others".to_owned(),
                shares: (0..points).map(all).collect(),
            });
        }
        Some(CauseSeries { width, at, causes })
    }

    /// The seconds of a cause up to this time, between two moments in proportion.
    fn spent(&self, cause: usize, at: f64) -> f64 {
        let of = |moment: &Moment| moment.spent.get(cause).copied().unwrap_or(0.0);
        let after = self.moments.partition_point(|moment| moment.at < at);
        let (from, spent) = match after.checked_sub(1).map(|before| &self.moments[before]) {
            Some(before) => (before.at, of(before)),
            None => (0.0, 0.0),
        };
        match self.moments.get(after) {
            Some(next) if next.at > from => {
                spent + (of(next) - spent) * (at - from) / (next.at - from)
            }
            _ => spent,
        }
    }
}

fn sum(cause: &CauseShares) -> f64 {
    cause.shares.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_each_part_however_long_it_takes() {
        for snapshots in [12, 5_000] {
            let mut line = CauseLine::default();
            let end = f64::from(snapshots) * STEP;
            for snapshot in 1..=snapshots {
                let at = f64::from(snapshot) * STEP;
                let work = at.min(end / 2.0);
                let spent = [("work".to_owned(), work), ("limit".to_owned(), at - work)];
                line.add(at, spent.into_iter());
            }
            let series = line.series().unwrap();
            assert!(series.at.len() <= MAX_POINTS && line.moments.len() <= MAX_MOMENTS);
            for (point, at) in series.at.iter().enumerate() {
                let all: f64 = series.causes.iter().map(|cause| cause.shares[point]).sum();
                assert!((all - 100.0).abs() < 0.5, "{snapshots} {at}: {all}");
                let work = series.causes.iter().find(|cause| cause.name == "work").unwrap();
                let wanted = if at + series.width <= end / 2.0 { 100.0 } else { 0.0 };
                let is_between = *at < end / 2.0 && at + series.width > end / 2.0;
                assert!(is_between || (work.shares[point] - wanted).abs() < 0.5, "{at}");
            }
        }
        assert!(CauseLine::default().series().is_none());
    }
}
