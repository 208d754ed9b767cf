//! Random numbers that follow from the seed and the request, and what they decide: the
//! latency and the fault.

use std::collections::HashMap;
use std::time::Duration;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::{Fault, Settings};

/// Maximum number of keys that are counted one by one.
const KEYS: usize = 4_000_000;

/// The random numbers of the request for `key` after `times` others for it.
///
/// They don't depend on the order of requests for different keys, so a run is
/// repeatable although its requests overtake one another.
pub(crate) fn rng(seed: u64, key: &str, times: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(mix(seed ^ mix(hash(key) ^ mix(times))))
}

/// A hash that is the same in every version: FNV-1a, mixed.
pub(crate) fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// The finalizer of splitmix64: similar numbers become different ones.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number of requests for each key.
///
/// Only hashes are kept, of at most 4,000,000 keys. All further keys share one
/// count, so that a fault does not repeat for ever.
#[derive(Debug, Default)]
pub(crate) struct KeyCounts {
    times: HashMap<u64, u64>,
    beyond: u64,
}

impl KeyCounts {
    /// Counts this key once more and returns the count before.
    pub(crate) fn count_up(&mut self, key: &str) -> u64 {
        let key = hash(key);
        let full = self.times.len() >= KEYS && !self.times.contains_key(&key);
        let times = if full { &mut self.beyond } else { self.times.entry(key).or_default() };
        *times += 1;
        *times - 1
    }

    /// Clears all counts.
    pub(crate) fn clear(&mut self) {
        *self = KeyCounts::default();
    }
}

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
    use rand::Rng;

    use super::*;
    use crate::Latency;

    #[test]
    fn random_numbers_depend_on_seed_key_and_times_only() {
        let roll = |seed, key, times| rng(seed, key, times).next_u64();
        assert_eq!(roll(1, "A", 0), roll(1, "A", 0));
        assert_ne!(roll(1, "A", 0), roll(2, "A", 0));
        assert_ne!(roll(1, "A", 0), roll(1, "B", 0));
        assert_ne!(roll(1, "A", 0), roll(1, "A", 1));
    }

    #[test]
    fn every_key_has_its_own_count() {
        let mut seen = KeyCounts::default();
        assert_eq!([seen.count_up("A"), seen.count_up("A"), seen.count_up("B")], [0, 1, 0]);
        seen.clear();
        assert_eq!(seen.count_up("A"), 0);
    }

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
