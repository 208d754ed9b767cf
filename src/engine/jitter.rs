//! Chance, where a run needs it: random, or from a seed, so that a simulation is
//! the same each time.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Where chance comes from.
#[derive(Debug, Default)]
pub enum Jitter {
    /// The operating system.
    #[default]
    Random,
    /// A seed.
    Seeded(Box<Mutex<StdRng>>),
}

impl Jitter {
    /// The same each time for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Jitter {
        Jitter::Seeded(Box::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A number from 0 to 1.
    pub fn draw(&self) -> f64 {
        match self {
            Jitter::Random => rand::random(),
            Jitter::Seeded(random) => {
                let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
                random.random()
            }
        }
    }
}
