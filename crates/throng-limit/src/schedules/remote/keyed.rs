//! Machines that share limits which each of some keys has for itself, or limits of tokens: how much
//! of them they use, also where a run is killed each second, and for how many exchanges.

use std::time::Duration;

use super::super::world::START;
use super::super::{World, calm};
use super::{CALM, Network};
use crate::Settings;

/// Runs of which each has some rows under way.
struct Load {
    runs: usize,
    /// Number of keys, of which each has the limit.
    keys: usize,
    units: u64,
    /// The most tokens that a request reserves, of which it takes a half, where they are limited.
    tokens: Option<u64>,
    /// Number of requests a second that each key has beside the tokens, if they are limited, too.
    requests: Option<u64>,
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
        let unit = if self.tokens.is_some() { " tokens" } else { "" };
        let rate = format!("{}{unit}/1s", self.units);
        let mut rates = vec![serde_json::json!({"rate": rate, "per": "{{ key }}"})];
        if let Some(requests) = self.requests {
            let rate = format!("{requests}/1s");
            rates.push(serde_json::json!({"rate": rate, "per": "{{ key }}"}));
        }
        let mut settings = serde_json::json!({"rate": rates, "linger": "200ms"});
        if self.tokens.is_some() {
            settings["cost"] = serde_json::json!({"tokens": "1"});
        }
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let mut network = Network::new(1, CALM);
        network.timeout = SECOND;
        (0..self.runs).for_each(|_| self.begin(&mut network, &settings));
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
        let units = taken as f64 * self.tokens.map_or(1.0, |tokens| tokens as f64 / 4.0);
        (units / bound as f64, network.exchanges * 1_000 / taken)
    }

    fn begin(&self, network: &mut Network, settings: &Settings) {
        let (keys, costs) = (self.keys, self.tokens.unwrap_or(1));
        let world = World { there: 10, back: 10, keys, costs, at_once: 64, ..calm() };
        network.begin(settings, world, 1_000_000);
    }
}

#[test]
fn machines_use_most_of_their_limits_while_a_run_is_killed_each_second() {
    for (keys, units, least) in [(1, 1_000, 0.8), (4, 250, 0.85)] {
        let (share, exchanges) =
            Load { runs: 4, keys, units, tokens: None, requests: None, kills: true }.play();
        assert!(share > least, "{keys} keys of {units}/1s: {share}");
        assert!(exchanges <= 50, "{keys} keys of {units}/1s: {exchanges} exchanges for 1,000");
    }
}

#[test]
fn machines_use_nearly_all_of_the_limits_of_many_keys_for_few_exchanges() {
    let load = Load { runs: 4, keys: 20, units: 50, tokens: None, requests: None, kills: false };
    let (share, exchanges) = load.play();
    assert!(share > 0.93, "{share}");
    assert!(exchanges <= 50, "{exchanges} exchanges for 1,000");
}

#[test]
fn machines_use_as_many_tokens_as_one_for_few_exchanges() {
    let play = |runs| {
        Load { runs, keys: 1, units: 25_000, tokens: Some(100), requests: None, kills: false }
            .play()
    };
    let ((alone, _), (share, exchanges)) = (play(1), play(4));
    assert!(share > 0.95 * alone, "{share} of {alone}");
    assert!(exchanges <= 50, "{exchanges} exchanges for 1,000");
}

#[test]
fn machines_use_as_many_tokens_as_one_where_requests_are_limited_too() {
    let play = |runs, kills| {
        let (units, requests) = (20_000, Some(1_000));
        Load { runs, keys: 1, units, tokens: Some(100), requests, kills }.play()
    };
    let ((alone, _), (share, exchanges)) = (play(1, false), play(4, false));
    assert!(share > 0.98 * alone, "{share} of {alone}");
    assert!(exchanges <= 55, "{exchanges} exchanges for 1,000");
    let (share, exchanges) = play(4, true);
    assert!(share > 0.88 * alone, "{share} of {alone} while a run is killed each second");
    assert!(exchanges <= 55, "{exchanges} exchanges for 1,000");
}
