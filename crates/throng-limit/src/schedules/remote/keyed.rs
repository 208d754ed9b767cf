//! Machines that share limits which each of some keys has for itself, or one limit for all: how much
//! of them they use, also where a run is killed each second, and for how many exchanges.

use std::time::Duration;

use super::super::world::START;
use super::super::{World, calm};
use super::{CALM, Network};
use crate::Settings;

/// Four runs of which each has some rows under way.
struct Load {
    keys: usize,
    /// The limit of each key.
    units: u64,
    /// Whether a run is killed each second, and another one begun.
    kills: bool,
}

/// How long a load is played, and how long a run lives that is killed.
const SECONDS: u64 = 6;
const SECOND: Duration = Duration::from_secs(1);

impl Load {
    /// The share of the limits that the runs use together, and the number of exchanges for 1,000
    /// requests.
    fn play(&self) -> (f64, usize) {
        let rates = serde_json::json!([{"rate": format!("{}/1s", self.units), "per": "{{ key }}"}]);
        let settings = serde_json::json!({"rate": rates, "linger": "200ms"});
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let mut network = Network::new(1, CALM);
        network.timeout = SECOND;
        (0..4).for_each(|_| self.begin(&mut network, &settings));
        let (end, mut kill, mut taken) = (START.after(SECOND * SECONDS as u32), START, 0);
        while let Some((time, run)) = network.next().filter(|(time, _)| *time < end) {
            if self.kills && time >= kill.after(SECOND) {
                kill = kill.after(SECOND);
                let (_, first) = network.members.pop_first().unwrap();
                taken += first.taken;
                self.begin(&mut network, &settings);
            } else {
                network.step(time, run);
            }
        }
        taken += network.members.values().map(|member| member.taken).sum::<usize>();
        let bound = self.units * self.keys as u64 * SECONDS;
        (taken as f64 / bound as f64, network.exchanges * 1_000 / taken)
    }

    fn begin(&self, network: &mut Network, settings: &Settings) {
        let world = World { there: 10, back: 10, keys: self.keys, at_once: 64, ..calm() };
        network.begin(settings, world, 1_000_000);
    }
}

#[test]
fn machines_use_most_of_their_limits_while_a_run_is_killed_each_second() {
    for (keys, units, least) in [(1, 1_000, 0.8), (4, 250, 0.85)] {
        let (share, exchanges) = Load { keys, units, kills: true }.play();
        assert!(share > least, "{keys} keys of {units}/1s: {share}");
        assert!(exchanges <= 50, "{keys} keys of {units}/1s: {exchanges} exchanges for 1,000");
    }
}

#[test]
fn machines_use_nearly_all_of_the_limits_of_many_keys_for_few_exchanges() {
    let (share, exchanges) = Load { keys: 20, units: 50, kills: false }.play();
    assert!(share > 0.93, "{share}");
    assert!(exchanges <= 50, "{exchanges} exchanges for 1,000");
}
