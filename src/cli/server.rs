//! The flags of a server's behaviour apart from its limits, for the mock and simulations.

use clap::Args;
use throng_mock::{Faults, Refusal, Settings};

/// The behaviour of a server.
#[derive(Args)]
#[group(skip)]
pub struct Behaviour {
    /// The share of the latency that passes before a request arrives
    #[arg(long, default_value_t = 0.5, value_name = "SHARE", value_parser = share)]
    pub there: f64,
    /// Spoil a share of the answers: 429, 500, drop, cut, empty, missing, notjson or drip (repeat)
    #[arg(long, value_name = "KIND=5%")]
    fault: Vec<Faults>,
    /// The retry-after of a refusal: seconds, date, or bare (none)
    #[arg(long, default_value = "seconds")]
    refusal: Refusal,
    /// The seed of latencies and faults
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "it is 0 (all on the way back) to 1 (all on the way there)".into())
}

impl Behaviour {
    /// The settings of a server without limits and latency.
    pub fn settings(&self) -> Settings {
        let faults = self.fault.iter();
        Settings {
            there: self.there,
            faults: Faults { rates: faults.flat_map(|faults| faults.rates.clone()).collect() },
            refusal: self.refusal,
            seed: self.seed,
            ..Settings::default()
        }
    }
}
