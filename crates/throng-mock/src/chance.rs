//! Chance that is the same for everyone who asks the same.

use std::collections::HashMap;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

/// So many keys are remembered one by one.
const KEYS: usize = 4_000_000;

/// The dice for the request that asks for `key` after `times` others did.
///
/// The order in which requests for different keys come plays no part, so a
/// run is the same again although its requests overtake one another.
pub(crate) fn dice(seed: u64, key: &str, times: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(mix(seed ^ mix(hash(key) ^ mix(times))))
}

/// A number that is the same for this text in every version: FNV-1a, mixed.
pub(crate) fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// The finish of splitmix64: numbers that are alike become unlike.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How often each key was seen.
///
/// Only hashes are kept. Past 4,000,000 keys no new ones are: a running
/// number stands in for their count, so that nobody meets the same bad luck
/// for ever.
#[derive(Debug, Default)]
pub(crate) struct SeenKeys {
    times: HashMap<u64, u64>,
    beyond: u64,
}

impl SeenKeys {
    /// How often this key was seen before now.
    pub(crate) fn again(&mut self, key: &str) -> u64 {
        let key = hash(key);
        let full = self.times.len() >= KEYS && !self.times.contains_key(&key);
        let times = if full {
            &mut self.beyond
        } else {
            self.times.entry(key).or_default()
        };
        *times += 1;
        *times - 1
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = SeenKeys::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn the_dice_know_seed_key_and_times_only() {
        let roll = |seed, key, times| dice(seed, key, times).next_u64();
        assert_eq!(roll(1, "A", 0), roll(1, "A", 0));
        assert_ne!(roll(1, "A", 0), roll(2, "A", 0));
        assert_ne!(roll(1, "A", 0), roll(1, "B", 0));
        assert_ne!(roll(1, "A", 0), roll(1, "A", 1));
    }

    #[test]
    fn every_key_is_counted_for_itself() {
        let mut seen = SeenKeys::default();
        assert_eq!(
            [seen.again("A"), seen.again("A"), seen.again("B")],
            [0, 1, 0]
        );
        seen.clear();
        assert_eq!(seen.again("A"), 0);
    }
}
