//! What a run did in the last minutes, for the charts. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::progress::RunView;
use crate::events::LatencySnapshot;

/// The time that the charts show.
pub const SHOWN: Duration = Duration::from_secs(120);

/// The points of the charts: the time of the run in seconds, and a value.
#[derive(Default)]
pub struct History {
    /// Requests of the last period of the limit, or of the last second.
    pub in_window: Series,
    /// Latencies in milliseconds.
    pub p50: Series,
    /// Latencies in milliseconds.
    pub p90: Series,
    /// Latencies in milliseconds.
    pub p99: Series,
    /// The time of the run in seconds.
    pub now: f64,
    /// The latencies of the last snapshot.
    before: LatencySnapshot,
}

/// Points of one line.
#[derive(Default)]
pub struct Series(VecDeque<(f64, f64)>);

impl History {
    /// Adds the run at this moment.
    pub fn add(&mut self, view: &RunView) {
        self.now = view.elapsed.as_secs_f64();
        self.in_window.add(self.now, view.now.pace.in_window as f64);
        let lately = view.now.latency.since(&self.before);
        for (series, share) in [(&mut self.p50, 0.5), (&mut self.p90, 0.9), (&mut self.p99, 0.99)] {
            if let Some(latency) = lately.quantile(share) {
                series.add(self.now, latency.as_secs_f64() * 1_000.0);
            }
        }
        self.before = view.now.latency.clone();
        for series in [&mut self.in_window, &mut self.p50, &mut self.p90, &mut self.p99] {
            series.forget(self.now - SHOWN.as_secs_f64());
        }
    }
}

impl Series {
    fn add(&mut self, at: f64, value: f64) {
        self.0.push_back((at, value));
    }

    fn forget(&mut self, before: f64) {
        while self.0.front().is_some_and(|(at, _)| *at < before) {
            self.0.pop_front();
        }
    }

    /// The points.
    pub fn points(&self) -> Vec<(f64, f64)> {
        self.0.iter().copied().collect()
    }

    /// The largest value.
    pub fn most(&self) -> f64 {
        self.0.iter().map(|(_, value)| *value).fold(0.0, f64::max)
    }

    /// The latest value.
    pub fn last(&self) -> Option<f64> {
        self.0.back().map(|(_, value)| *value)
    }
}
