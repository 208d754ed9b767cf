//! One limit as slots: pure arithmetic, with time as an argument.
//!
//! **Guarantee (strict).** A limit of N units has N slots. An attempt holds its
//! slots from when it is sent until X after its answer is first seen. Of N+1
//! arrivals two share a slot, say a before b; a arrived before its answer was
//! seen, b was sent X after that and arrived later still: so they lie at least
//! X apart, and no half-open window of length X holds more than N arrivals,
//! whatever the latencies. Nothing that knows only when it sent and when answers came can
//! be safe and send earlier.
//!
//! **Sent.** The slots come back X and a margin after sending. That is safe
//! only while the way to the server varies by less than the margin.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rate::Rate;
use super::time::Time;

/// What a limit is proven against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// Arrivals at the server, whatever the latencies.
    #[default]
    Strict,
    /// Our own clock, with a margin that grows on evidence.
    Sent,
}

impl Guard {
    /// Its name in flags and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Guard::Strict => "strict",
            Guard::Sent => "sent",
        }
    }
}

/// When a permit can be had, as far as is known now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// At once.
    Now,
    /// Not before this time.
    At(Time),
    /// Not before some attempt in flight ends.
    AfterAnAnswer,
}

/// More slots than this share entries, so that memory stays bounded.
const EXACT: u64 = 4_096;
const SMALLEST_MARGIN: Duration = Duration::from_millis(20);

/// The slots of one limit.
#[derive(Debug)]
pub struct Window {
    rate: Rate,
    guard: Guard,
    /// How long a slot stays taken: X, with room for clocks that differ.
    hold: Duration,
    margin: Duration,
    linger: Duration,
    /// Units sent, or about to be, without an answer.
    in_flight: u64,
    /// Units by the time at which they come back.
    held: BTreeMap<Time, u64>,
    held_units: u64,
    most: u64,
    lost: u64,
}

impl Window {
    /// All slots free. `linger` is how long after we gave an attempt up it may
    /// still arrive.
    #[must_use]
    pub fn new(rate: Rate, guard: Guard, linger: Duration) -> Window {
        Window {
            rate,
            guard,
            // Clocks may differ by 500 parts in a million, and a server may
            // count in whole milliseconds.
            hold: rate.period + rate.period / 2_000 + Duration::from_millis(1),
            margin: SMALLEST_MARGIN,
            linger,
            in_flight: 0,
            held: BTreeMap::new(),
            held_units: 0,
            most: 0,
            lost: 0,
        }
    }

    /// When `units` can be taken if nothing else happens before.
    pub fn earliest(&mut self, now: Time, units: u64) -> When {
        self.release(now);
        let used = self.in_flight + self.held_units;
        let Some(mut missing) = (used + units)
            .checked_sub(self.rate.units)
            .filter(|m| *m > 0)
        else {
            return When::Now;
        };
        for (&time, &back) in &self.held {
            missing = missing.saturating_sub(back);
            if missing == 0 {
                return When::At(time);
            }
        }
        When::AfterAnAnswer
    }

    /// Takes `units`, which [`earliest`](Window::earliest) said could be had.
    pub fn take(&mut self, now: Time, units: u64) {
        self.release(now);
        self.in_flight += units;
        self.most = self.most.max(self.in_flight + self.held_units);
    }

    /// The attempt is being written. Under `sent` its slots now have a time to
    /// come back at, which the permit keeps.
    pub fn sent(&mut self, now: Time, units: u64) -> Option<Time> {
        self.counts_sending().then(|| {
            self.in_flight -= units;
            self.hold_until(now.after(self.hold + self.margin), units)
        })
    }

    /// The answer's head has been seen.
    pub fn answered(&mut self, now: Time, units: u64, release: Option<Time>) {
        if release.is_none() {
            self.in_flight -= units;
            self.hold_until(now.after(self.hold), units);
        }
    }

    /// No answer came: the request may still arrive until linger has passed.
    pub fn lost(&mut self, now: Time, units: u64, release: Option<Time>) {
        self.returned(units, release);
        self.lost += 1;
        let until = now.after(self.hold + self.linger);
        self.hold_until(until.round_up(self.grain(self.linger / 512)), units);
    }

    /// Nothing was sent: the slots are free again.
    pub fn returned(&mut self, units: u64, release: Option<Time>) {
        match release {
            None => self.in_flight -= units,
            Some(time) => self.let_go(time, units),
        }
    }

    /// The server refused although our count was within the limit: what it
    /// counts differs from what we sent by more than the margin.
    pub fn unexplained(&mut self) {
        self.margin = (self.margin * 2).min(self.rate.period);
    }

    /// What this window has to say when the run ends.
    #[must_use]
    pub fn state(&self) -> WindowState {
        WindowState {
            rate: self.rate,
            guard: self.guard,
            most: self.most,
            lost: self.lost,
            linger: self.linger,
            margin: (self.guard == Guard::Sent).then_some(self.margin),
        }
    }

    pub(crate) fn counts_sending(&self) -> bool {
        self.guard == Guard::Sent
    }

    fn release(&mut self, now: Time) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() > now {
                break;
            }
            self.held_units -= entry.remove();
        }
    }

    fn hold_until(&mut self, until: Time, units: u64) -> Time {
        let until = until.round_up(self.grain(self.hold / 2_048));
        *self.held.entry(until).or_default() += units;
        self.held_units += units;
        until
    }

    /// Takes units out of an entry, if it has not come back already.
    fn let_go(&mut self, time: Time, units: u64) {
        if let Some(entry) = self.held.get_mut(&time) {
            *entry -= units;
            self.held_units -= units;
            if *entry == 0 {
                self.held.remove(&time);
            }
        }
    }

    fn grain(&self, coarse: Duration) -> Duration {
        if self.rate.units > EXACT {
            coarse
        } else {
            Duration::ZERO
        }
    }
}

/// A window's own account of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowState {
    /// The limit.
    pub rate: Rate,
    /// What it was proven against.
    pub guard: Guard,
    /// The most units that can have been in one window, by our own count.
    pub most: u64,
    /// Attempts that were never answered.
    pub lost: u64,
    /// How long a lost attempt was taken to be able to arrive.
    pub linger: Duration,
    /// The margin at the end, under `sent`.
    pub margin: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn window(rate: &str, guard: Guard) -> Window {
        Window::new(rate.parse().unwrap(), guard, Duration::from_secs(30))
    }

    #[test]
    fn strict_frees_a_slot_one_period_after_the_answer() {
        let mut window = window("2/1s", Guard::Strict);
        window.take(at(0), 1);
        window.take(at(0), 1);
        assert_eq!(window.earliest(at(500), 1), When::AfterAnAnswer);
        window.answered(at(700), 1, None);
        // 1 s, 500 parts in a million and 1 ms after the answer
        let free = at(700).after(Duration::from_micros(1_001_500));
        assert_eq!(window.earliest(at(800), 1), When::At(free));
        assert_eq!(window.earliest(free, 1), When::Now);
        assert_eq!(window.earliest(free, 2), When::AfterAnAnswer);
    }

    #[test]
    fn sent_frees_a_slot_a_margin_after_the_period() {
        let mut window = window("1/1s", Guard::Sent);
        window.take(at(0), 1);
        assert_eq!(window.earliest(at(0), 1), When::AfterAnAnswer);
        let release = window.sent(at(10), 1);
        window.answered(at(600), 1, release);
        let free = at(10).after(Duration::from_micros(1_021_500));
        assert_eq!(window.earliest(at(700), 1), When::At(free));
        window.unexplained();
        window.take(free, 1);
        assert_eq!(
            window.sent(free, 1),
            Some(free.after(Duration::from_micros(1_041_500)))
        );
    }

    #[test]
    fn a_lost_attempt_keeps_its_slot_for_linger() {
        for guard in [Guard::Strict, Guard::Sent] {
            let mut window = window("1/1s", guard);
            window.take(at(0), 1);
            let release = window.sent(at(0), 1);
            window.lost(at(500), 1, release);
            let free = at(31_500).after(Duration::from_micros(1_500));
            assert_eq!(window.earliest(at(20_000), 1), When::At(free), "{guard:?}");
        }
    }

    #[test]
    fn what_was_not_sent_comes_back_at_once() {
        for guard in [Guard::Strict, Guard::Sent] {
            let mut window = window("1/1s", guard);
            window.take(at(0), 1);
            let release = window.sent(at(0), 1);
            window.returned(1, release);
            assert_eq!(window.earliest(at(0), 1), When::Now, "{guard:?}");
        }
    }

    #[test]
    fn ten_million_a_day_keep_few_entries() {
        let mut window = window("10000000/1d", Guard::Strict);
        for i in 0..1_000_000u64 {
            let now = at(i * 86);
            window.take(now, 1);
            if i % 10 == 0 {
                window.lost(now, 1, None);
            } else {
                window.answered(now, 1, None);
            }
        }
        assert!(window.held.len() < 5_000, "{}", window.held.len());
        assert_eq!(window.held_units, 1_000_000);
    }
}
