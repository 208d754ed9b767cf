//! N slots, and when each comes back: the arithmetic that windows share. Pure.

use std::time::Duration;

use crate::limiter::{Availability, Reservation, UnitsState};
use crate::time::Time;
use crate::window::timeline::Timeline;

/// Number of slots up to which times are exact.
const EXACT: u64 = 4_096;
/// Entries for one period where times are rounded.
const ENTRIES: u32 = 2_048;
/// Entries for the time for which lost attempts may still arrive.
const LATE_ENTRIES: u32 = 1_024;

/// N slots. Each is free, in flight, or counted until a time that is known.
#[derive(Debug)]
pub struct Slots {
    units: u64,
    period: Duration,
    in_flight: u64,
    /// Units by the time at which they come back.
    counted: Timeline,
    peak: u64,
}

impl Slots {
    /// Slots that are all free. Where they are many, times are rounded up by a small part
    /// of `period`.
    #[must_use]
    pub fn new(units: u64, period: Duration) -> Slots {
        let mut slots =
            Slots { units, period, in_flight: 0, counted: Timeline::default(), peak: 0 };
        slots.resize(units);
        slots
    }

    /// When so many are free, if none is given back before its time.
    pub fn earliest(&mut self, now: Time, units: u64) -> Availability {
        self.release(now);
        if units > self.units {
            return Availability::Never;
        }
        let missing = (self.used() + units).saturating_sub(self.units);
        if missing == 0 {
            return Availability::Now;
        }
        match self.counted.time_of(missing) {
            Some(time) => Availability::At(time),
            None => Availability::AfterAnAnswer,
        }
    }

    /// Puts so many in flight.
    pub fn take(&mut self, now: Time, units: u64) -> Reservation {
        self.release(now);
        self.in_flight += units;
        self.peak = self.peak.max(self.used());
        Reservation::new(units)
    }

    /// Counts the units of an attempt until this time.
    pub fn count_until(&mut self, until: Time, hold: &mut Reservation) {
        self.give_back(hold);
        hold.place = UnitsState::Until(self.counted.add(until, hold.units));
    }

    /// Counts the units of an attempt that may still arrive for as long as `linger`.
    pub fn count_late(&mut self, until: Time, linger: Duration, hold: &mut Reservation) {
        let until = if self.is_exact() {
            until
        } else {
            // Later than others by the resolution, lest a reset take it for one that has
            // arrived.
            until.round_up(linger / LATE_ENTRIES).after(self.resolution())
        };
        self.count_until(until, hold);
    }

    /// Frees the units of an attempt at once.
    pub fn give_back(&mut self, hold: &mut Reservation) {
        match hold.place {
            UnitsState::InFlight => self.in_flight -= hold.units,
            UnitsState::Until(time) => self.counted.remove(time, hold.units),
            UnitsState::Free => {}
        }
        hold.place = UnitsState::Free;
    }

    /// Frees the unit that comes back first; false if none is counted.
    pub fn forget_first(&mut self) -> bool {
        self.counted.remove_first()
    }

    /// The attempt holds more or fewer units from now on. More may be a debt, which is
    /// paid before anything else is taken.
    pub fn settle(&mut self, now: Time, hold: &mut Reservation, units: u64) {
        self.release(now);
        let until = hold.place;
        self.give_back(hold);
        hold.units = units;
        match until {
            UnitsState::InFlight => self.in_flight += units,
            UnitsState::Until(time) if time > now => self.counted.put(time, units),
            _ => {}
        }
        hold.place = until;
        self.peak = self.peak.max(self.used());
    }

    /// Number of slots.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Changes the number of slots. More may be taken: that is a debt.
    pub fn resize(&mut self, units: u64) {
        self.units = units;
        self.counted.set_resolution(self.resolution());
    }

    /// Units that are counted until later than `until`, but not than `latest`, are
    /// counted until `until`.
    pub fn release_by(&mut self, now: Time, until: Time, latest: Time) {
        self.release(now);
        self.counted.move_up(latest, until);
    }

    /// All units are counted until later than they were, or as long. Attempts that
    /// remember the earlier time count twice if their cost turns out to differ.
    pub fn postpone(&mut self, later: impl Fn(Time) -> Time) {
        self.counted.map(later);
    }

    /// Number of slots that are not free.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.in_flight + self.counted.units()
    }

    /// Whether all are free.
    pub fn is_idle(&mut self, now: Time) -> bool {
        self.release(now);
        self.used() == 0
    }

    /// The most slots that were not free at any time.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    fn is_exact(&self) -> bool {
        self.units <= EXACT
    }

    fn resolution(&self) -> Duration {
        if self.is_exact() { Duration::ZERO } else { self.period / ENTRIES }
    }

    fn release(&mut self, now: Time) {
        self.counted.forget(now, Duration::ZERO);
    }

    /// Number of times that it remembers.
    pub fn entries(&self) -> usize {
        self.counted.entries()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn slots_come_back_when_their_time_comes() {
        let mut slots = Slots::new(2, Duration::from_secs(1));
        let mut first = slots.take(at(0), 1);
        let mut second = slots.take(at(0), 1);
        assert_eq!(slots.earliest(at(1), 1), Availability::AfterAnAnswer);
        slots.count_until(at(900), &mut second);
        slots.count_until(at(500), &mut first);
        assert_eq!(slots.earliest(at(1), 1), Availability::At(at(500)));
        assert_eq!(slots.earliest(at(1), 2), Availability::At(at(900)));
        assert_eq!(slots.earliest(at(500), 1), Availability::Now);
        assert_eq!(slots.earliest(at(1), 3), Availability::Never);
        slots.give_back(&mut second);
        assert!(slots.is_idle(at(500)));
        assert_eq!(slots.peak(), 2);
    }

    #[test]
    fn a_debt_is_paid_first_and_a_refund_is_free_at_once() {
        let mut slots = Slots::new(10, Duration::from_secs(1));
        let mut hold = slots.take(at(0), 4);
        slots.count_until(at(1_000), &mut hold);
        slots.settle(at(1), &mut hold, 15);
        assert_eq!(slots.used(), 15);
        assert_eq!(slots.earliest(at(1), 1), Availability::At(at(1_000)));
        slots.settle(at(2), &mut hold, 3);
        assert_eq!(slots.earliest(at(2), 7), Availability::Now);
        slots.settle(at(1_500), &mut hold, 9);
        assert!(slots.is_idle(at(1_500)), "its time has come already");
    }

    #[test]
    fn many_slots_keep_few_entries() {
        let day = Duration::from_secs(86_400);
        let mut slots = Slots::new(10_000_000, day);
        for i in 0..1_000_000u64 {
            let now = at(i * 86);
            let mut hold = slots.take(now, 1);
            slots.count_until(now.after(day), &mut hold);
        }
        assert!(slots.entries() <= 2_049, "{}", slots.entries());
        assert_eq!(slots.used(), 1_000_000);
    }

    #[test]
    fn what_costs_nothing_is_not_remembered() {
        let mut slots = Slots::new(10, Duration::from_secs(1));
        for i in 0..100 {
            let mut hold = slots.take(at(i), 1);
            slots.count_until(at(1_000 + i), &mut hold);
            slots.settle(at(i), &mut hold, 0);
        }
        assert_eq!((slots.used(), slots.entries()), (0, 0));
    }

    #[test]
    fn they_may_become_many_later() {
        let day = Duration::from_secs(86_400);
        let mut slots = Slots::new(100, day);
        let mut first = slots.take(at(7), 1);
        slots.count_until(at(7).after(day), &mut first);
        slots.resize(10_000_000);
        for i in 0..100_000 {
            let now = at(8 + i * 864);
            let mut hold = slots.take(now, 1);
            slots.count_until(now.after(day), &mut hold);
        }
        slots.give_back(&mut first);
        assert_eq!(slots.used(), 100_000);
        assert!(slots.entries() <= 2_049, "{}", slots.entries());
    }

    #[test]
    fn a_reset_frees_nothing_that_may_still_arrive_however_many_there_are() {
        let (hour, linger) = (Duration::from_secs(3_600), Duration::from_millis(100));
        for units in [10, 10_000] {
            for i in 0..2_000 {
                let now = at(i);
                let mut slots = Slots::new(units, hour);
                let [mut answered, mut lost] = [0; 2].map(|_| slots.take(now, 1));
                slots.count_until(now.after(hour), &mut answered);
                slots.count_late(now.after(linger + hour), linger, &mut lost);
                slots.release_by(now, at(5_000), now.after(hour));
                assert_eq!(slots.earliest(at(9_000), units - 1), Availability::Now, "{i}");
                assert_ne!(slots.earliest(at(9_000), units), Availability::Now, "{i}");
            }
        }
    }
}
