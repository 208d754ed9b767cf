//! What chance has in store for one request.

use std::time::Duration;

use crate::chance::dice;
use crate::{Fault, Settings};

/// How long a request travels, and what goes wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Scenario {
    /// The time before it arrives.
    pub there: Duration,
    /// The time from its arrival until its answer.
    pub back: Duration,
    /// At most one thing goes wrong.
    pub fault: Option<Fault>,
}

impl Scenario {
    /// Whether there is anything to draw: if not, times are not worth counting.
    pub(crate) fn is_random(settings: &Settings) -> bool {
        settings.latency.is_random() || !settings.faults.rates.is_empty()
    }

    /// The fate of the request for `key` after `times` others asked the same.
    pub(crate) fn draw(settings: &Settings, key: &str, times: u64) -> Scenario {
        let mut dice = dice(settings.seed, key, times);
        let latency = settings.latency.draw(&mut dice);
        let there = share(latency, settings.there);
        Scenario {
            there,
            back: latency - there,
            fault: settings.faults.draw(&mut dice),
        }
    }
}

/// At most the whole, and nothing if the share is no number.
fn share(whole: Duration, share: f64) -> Duration {
    let seconds = whole.as_secs_f64() * share.clamp(0.0, 1.0);
    let part = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    part.min(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Latency;

    #[test]
    fn the_way_there_and_the_way_back_are_the_latency() {
        let latency = Duration::from_millis(400);
        let settings = |there| Settings {
            latency: Latency::Constant(latency),
            there,
            ..Settings::default()
        };
        let fate = Scenario::draw(&settings(0.25), "A", 0);
        assert_eq!(fate.there, Duration::from_millis(100));
        assert_eq!(fate.back, Duration::from_millis(300));
        for odd in [-1.0, 7.0, f64::NAN, f64::INFINITY] {
            let fate = Scenario::draw(&settings(odd), "A", 0);
            assert_eq!(fate.there + fate.back, latency);
        }
    }

    #[test]
    fn the_same_request_has_the_same_fate() {
        let settings = Settings {
            latency: "lognormal:250ms:0.6".parse().unwrap(),
            faults: "500=50%".parse().unwrap(),
            ..Settings::default()
        };
        let fates = || (0..20).map(|times| Scenario::draw(&settings, "A", times));
        assert!(fates().eq(fates()));
        assert!(fates().any(|fate| fate.fault.is_some()));
        assert!(fates().any(|fate| fate.fault.is_none()));
    }
}
