//! Random numbers that follow from the seed and the request.

use std::collections::HashMap;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

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
}
