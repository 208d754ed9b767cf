//! The latency and the fault of one request, drawn by the seed.

use std::time::Duration;

use crate::chance::rng;
use crate::{Fault, Settings};

/// The latency and the fault of one request.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Scenario {
    /// The time until the request arrives.
    pub to_server: Duration,
    /// The time from its arrival until its answer.
    pub to_client: Duration,
    /// The fault of its answer.
    pub fault: Option<Fault>,
}

impl Scenario {
    /// Whether two requests can have different scenarios.
    pub(crate) fn is_random(settings: &Settings) -> bool {
        settings.latency.is_random() || !settings.faults.rates.is_empty()
    }

    /// The scenario of the request for `key` after `times` others for it.
    pub(crate) fn draw(settings: &Settings, key: &str, times: u64) -> Scenario {
        let mut rng = rng(settings.seed, key, times);
        let latency = settings.latency.draw(&mut rng);
        let to_server = share(latency, settings.there);
        Scenario {
            to_server,
            to_client: latency - to_server,
            fault: settings.faults.draw(&mut rng),
        }
    }
}

/// A share of the whole, clamped to 0 to 1; zero if it is not a number.
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
    fn both_ways_together_take_the_latency() {
        let latency = Duration::from_millis(400);
        let settings =
            |there| Settings { latency: Latency::Constant(latency), there, ..Settings::default() };
        let scenario = Scenario::draw(&settings(0.25), "A", 0);
        assert_eq!(scenario.to_server, Duration::from_millis(100));
        assert_eq!(scenario.to_client, Duration::from_millis(300));
        for odd in [-1.0, 7.0, f64::NAN, f64::INFINITY] {
            let scenario = Scenario::draw(&settings(odd), "A", 0);
            assert_eq!(scenario.to_server + scenario.to_client, latency);
        }
    }

    #[test]
    fn the_same_request_has_the_same_scenario() {
        let settings = Settings {
            latency: "lognormal:250ms:0.6".parse().unwrap(),
            faults: "500=50%".parse().unwrap(),
            ..Settings::default()
        };
        let scenarios = || (0..20).map(|times| Scenario::draw(&settings, "A", times));
        assert!(scenarios().eq(scenarios()));
        assert!(scenarios().any(|scenario| scenario.fault.is_some()));
        assert!(scenarios().any(|scenario| scenario.fault.is_none()));
    }
}
