//! The largest count of a limit over all times of arrival that the intervals of requests
//! allow, for its worst key. Each function goes once through the requests in the order of
//! their intervals' beginnings, and once in that of the ends, and keeps some numbers for each
//! key ([`counter`] keeps the requests of two periods).

use std::collections::{VecDeque, vec_deque};
use std::io::{self, Read, Write};
use std::iter::Peekable;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::fs::external_sort::{Sorted, Stored, read_number};

/// The beginning or the end of a request's interval, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub time: i64,
    /// The other end of the interval.
    pub other: i64,
    /// The units that the request took.
    pub units: u64,
    /// The number of its key.
    pub key: u32,
}

impl Stored for Moment {
    fn size(&self) -> usize {
        size_of::<Moment>()
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let numbers = [self.time.cast_unsigned(), self.other.cast_unsigned(), self.units];
        for number in numbers.into_iter().chain([self.key.into()]) {
            to.write_all(&number.to_le_bytes())?;
        }
        Ok(())
    }

    fn read(from: &mut impl Read) -> io::Result<Option<Moment>> {
        let Some(time) = read_number(from)? else {
            return Ok(None);
        };
        let mut next =
            || read_number(from)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
        Ok(Some(Moment {
            time: time.cast_signed(),
            other: next()?.cast_signed(),
            units: next()?,
            key: u32::try_from(next()?).map_err(io::Error::other)?,
        }))
    }
}

/// The intervals of all requests, by their beginnings and by their ends.
pub(super) struct Moments<'a> {
    pub begun: Sorted<'a, Moment>,
    pub ended: Sorted<'a, Moment>,
    /// Number of keys.
    pub keys: usize,
}

/// The largest count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Peak {
    pub units: u64,
    /// When the window began that had it, in microseconds since 1970.
    pub start: i64,
    /// The number of its key.
    pub key: u32,
}

/// The count of a key at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// The moment, in microseconds since 1970.
    pub time: i64,
    pub units: u64,
}

impl Level {
    fn new(time: i64, units: u128) -> Level {
        Level { time, units: u64::try_from(units).unwrap_or(u64::MAX) }
    }
}

impl Peak {
    fn raise(&mut self, units: u128, start: i64, key: u32) {
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        if units > self.units {
            *self = Peak { units, start, key };
        }
    }
}

/// The maximum number of units in a window of this length, whenever it begins.
///
/// `[from, to]` touches `[t, t + length)` if `from < t + length` and `t ≤ to`: if the last
/// moment of the window lies in `[from, to + length)`. So the largest count is that of such
/// intervals at one moment.
pub(super) fn any_window(
    moments: Moments<'_>,
    length: i64,
    seen: &mut dyn FnMut(Level),
) -> io::Result<Peak> {
    let peak = overlap(moments, |from| from, |to| to.saturating_add(length), seen)?;
    // The window whose last moment is the peak's.
    Ok(Peak { start: peak.start.saturating_sub(length - 1), ..peak })
}

/// The maximum number of units in a window that begins at a multiple of its length, UTC.
pub(super) fn clock_window(
    moments: Moments<'_>,
    length: i64,
    seen: &mut dyn FnMut(Level),
) -> io::Result<Peak> {
    let start = |time: i64| time - time.rem_euclid(length);
    overlap(moments, start, |to| start(to).saturating_add(length), seen)
}

/// The maximum number of units in a day of this time zone.
pub(super) fn day(
    moments: Moments<'_>,
    zone: &TimeZone,
    seen: &mut dyn FnMut(Level),
) -> io::Result<Peak> {
    let midnight = |of: Zoned| of.start_of_day().map(|start| start.timestamp().as_microsecond());
    let zoned = |time| Timestamp::from_microsecond(time).map(|time| time.to_zoned(zone.clone()));
    let start = |time| zoned(time).and_then(midnight).unwrap_or(i64::MIN);
    let end =
        |time| zoned(time).and_then(|at| at.tomorrow()).and_then(midnight).unwrap_or(i64::MAX);
    overlap(moments, start, end, seen)
}

/// All units.
pub(super) fn total(moments: Moments<'_>, seen: &mut dyn FnMut(Level)) -> io::Result<Peak> {
    let peak = overlap(moments, |from| from, |_| i64::MAX, seen)?;
    Ok(Peak { start: 0, ..peak })
}

/// The maximum number of units at one moment of the intervals `[opens(from), closes(to))`,
/// and when it was reached. Neither function may go back in time. `seen` is told each count, at
/// the moment from which it holds.
fn overlap(
    moments: Moments<'_>,
    opens: impl Fn(i64) -> i64,
    closes: impl Fn(i64) -> i64,
    seen: &mut dyn FnMut(Level),
) -> io::Result<Peak> {
    let mut inside = vec![0_u128; moments.keys];
    let mut ended = moments.ended.peekable();
    let mut peak = Peak::default();
    for begun in moments.begun {
        let Moment { time, units, key, .. } = begun?;
        let now = opens(time);
        while let Some(over) = next_until(&mut ended, |to| closes(to) <= now)? {
            let inside = &mut inside[over.key as usize];
            *inside -= u128::from(over.units);
            seen(Level::new(closes(over.time), *inside));
        }
        let inside = &mut inside[key as usize];
        *inside += u128::from(units);
        seen(Level::new(time, *inside));
        peak.raise(*inside, now, key);
    }
    Ok(peak)
}

/// The next moment, if its time is of those.
fn next_until(
    moments: &mut Peekable<Sorted<'_, Moment>>,
    is_over: impl Fn(i64) -> bool,
) -> io::Result<Option<Moment>> {
    moments.next_if(|it| it.as_ref().map_or(true, |moment| is_over(moment.time))).transpose()
}

/// What a bucket of one key has seen.
#[derive(Clone, Copy)]
struct Seen {
    /// Units of requests that can have arrived.
    begun: i128,
    /// Units of requests that must have arrived.
    over: i128,
    /// The largest `rate * end - over` of the spans that can begin so far.
    best: i128,
}

/// The smallest bucket that can have held all requests, where this number of units leak from
/// it in each span of this length: the largest number of units in a span less the leak
/// meanwhile, over all spans from the end of one request to the beginning of another.
pub(super) fn bucket(
    moments: Moments<'_>,
    rate: u64,
    length: i64,
    told: &mut dyn FnMut(Level),
) -> io::Result<Peak> {
    let (rate, length) = (i128::from(rate), i128::from(length.max(1)));
    let none = Seen { begun: 0, over: 0, best: i128::MIN / 2 };
    let mut seen = vec![none; moments.keys];
    let mut ended = moments.ended.peekable();
    let mut peak = Peak::default();
    for begun in moments.begun {
        let Moment { time, units, key, .. } = begun?;
        while let Some(end) = next_until(&mut ended, |to| to <= time)? {
            let seen = &mut seen[end.key as usize];
            seen.best = seen.best.max(rate * i128::from(end.time) - length * seen.over);
            seen.over += i128::from(end.units);
        }
        let seen = &mut seen[key as usize];
        // A request without duration has ended before it has begun.
        seen.begun += i128::from(units);
        let at_once = length * (seen.begun - seen.over);
        let level = at_once.max(length * seen.begun - rate * i128::from(time) + seen.best);
        let level = u128::try_from(level).unwrap_or(0).div_ceil(length.unsigned_abs());
        told(Level::new(time, level));
        peak.raise(level, time, key);
    }
    Ok(peak)
}

/// Number of parts of a period to which a counter rounds the ends of intervals, upwards, so
/// that no more are kept than the ends of two periods.
const PARTS: i64 = 1 << 14;

/// The largest estimate of a server that counts in windows of this length and adds, to the
/// count of the window that goes on, the count of the one before, less the share of the
/// window that is gone; whenever its windows begin.
///
/// A request of `[from, to]` can be in the window that has gone on since `s` at `t` if
/// `from ≤ t` and `s ≤ to`, and else in the one before if `s - length ≤ to`. With A(x) as the
/// units with `from ≤ t` and `x ≤ to`, and u as the share of the window that is gone, the
/// estimate is u · A(s) + (1 - u) · A(s - length). It jumps up as t reaches a `from`, and
/// falls otherwise; and it grows with s but where `s` or `s - length` passes a `to`. So only
/// these are tried.
pub(super) fn counter(moments: Moments<'_>, length: i64) -> io::Result<Peak> {
    let length = length.max(1);
    let part = (length / PARTS).max(1);
    let mut keys: Vec<Counter> = (0..moments.keys).map(|_| Counter::default()).collect();
    let mut peak = Peak::default();
    for begun in moments.begun {
        let Moment { time, other, units, key } = begun?;
        let counter = &mut keys[key as usize];
        if time > counter.now {
            counter.raise(&mut peak, key, length);
            counter.go_on(time, length);
        }
        let end = other.saturating_add(part - 1);
        counter.add(end - end.rem_euclid(part), units);
    }
    for (key, counter) in (0..).zip(&mut keys) {
        counter.raise(&mut peak, key, length);
    }
    Ok(peak)
}

/// The requests of one key that a counter can still see.
#[derive(Default)]
struct Counter {
    now: i64,
    /// The ends of their intervals, in order, with their units.
    ends: VecDeque<(i64, u64)>,
    units: u128,
    /// An estimate that none exceeds: the largest one when it was computed last, and the units
    /// that have begun since. Without them, an estimate only falls as time goes on; and that of
    /// a window that begins later is at most that of one that begins at that time.
    most: u128,
}

impl Counter {
    fn go_on(&mut self, now: i64, length: i64) {
        self.now = now;
        let oldest = now.saturating_sub(length.saturating_mul(2));
        while let Some(&(end, units)) = self.ends.front()
            && end <= oldest
        {
            self.units -= u128::from(units);
            self.ends.pop_front();
        }
    }

    fn add(&mut self, end: i64, units: u64) {
        self.units += u128::from(units);
        self.most += u128::from(units);
        let place = self.ends.partition_point(|(other, _)| *other < end);
        match self.ends.get_mut(place).filter(|(other, _)| *other == end) {
            Some((_, all)) => *all = all.saturating_add(units),
            None => self.ends.insert(place, (end, units)),
        }
    }

    /// Raises the peak to the largest estimate of this moment.
    fn raise(&mut self, peak: &mut Peak, key: u32, length: i64) {
        if self.most > peak.units.into() {
            let (estimate, start) = self.largest(length);
            peak.raise(estimate, start, key);
            self.most = estimate;
        }
    }

    /// The largest estimate of this moment, and the beginning of its window.
    fn largest(&self, length: i64) -> (u128, i64) {
        let mut largest = (0, self.now);
        for behind in [0, length] {
            let (mut this, mut both) = (Tail::of(self), Tail::of(self));
            for (end, _) in &self.ends {
                // The request that began last ends now or later, so this moment is tried, too.
                let start = end.saturating_add(behind).min(self.now);
                let gone = self.now - start;
                if gone < length {
                    let (gone, left) = (gone.unsigned_abs(), (length - gone).unsigned_abs());
                    let estimate = u128::from(gone) * this.from(start)
                        + u128::from(left) * both.from(start.saturating_sub(length));
                    let estimate = estimate.div_ceil(length.unsigned_abs().into());
                    largest = largest.max((estimate, start));
                }
            }
        }
        largest
    }
}

/// The units of the requests that end at a time or later, which only grows.
struct Tail<'a> {
    ends: Peekable<vec_deque::Iter<'a, (i64, u64)>>,
    units: u128,
}

impl Tail<'_> {
    fn of(counter: &Counter) -> Tail<'_> {
        Tail { ends: counter.ends.iter().peekable(), units: counter.units }
    }

    fn from(&mut self, time: i64) -> u128 {
        while let Some((_, units)) = self.ends.next_if(|(end, _)| *end < time) {
            self.units -= u128::from(*units);
        }
        self.units
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::fs::external_sort::ExternalSort;

    /// A request of one of two keys.
    #[derive(Debug, Clone, Copy)]
    struct Request {
        from: i64,
        to: i64,
        units: u64,
        key: u32,
    }

    fn random(seed: u64) -> (Vec<Request>, i64) {
        let mut random = StdRng::seed_from_u64(seed);
        let request = |random: &mut StdRng| {
            let from = random.random_range(0..120);
            let to = from + random.random_range(0..30);
            Request { from, to, units: random.random_range(1..4), key: random.random_range(0..2) }
        };
        let count = random.random_range(1..25);
        let requests = (0..count).map(|_| request(&mut random)).collect();
        (requests, random.random_range(1..40))
    }

    fn peak(requests: &[Request], of: impl Fn(Moments<'_>) -> io::Result<Peak>) -> Peak {
        let sort = || ExternalSort::new(PathBuf::from("."), 1 << 20);
        let (mut begun, mut ended) = (sort(), sort());
        for &Request { from, to, units, key } in requests {
            begun.push(Moment { time: from, other: to, units, key }).unwrap();
            ended.push(Moment { time: to, other: from, units, key }).unwrap();
        }
        let (begun, ended) = (begun.sorted().unwrap(), ended.sorted().unwrap());
        of(Moments { begun, ended, keys: 2 }).unwrap()
    }

    /// The units of a key's requests that can be in `[start, end)`.
    fn touching(requests: &[Request], key: u32, start: i64, end: i64) -> u64 {
        let touches = |it: &&Request| it.key == key && it.from < end && it.to >= start;
        requests.iter().filter(touches).map(|it| it.units).sum()
    }

    /// The largest value for any key.
    fn most(of: impl Fn(u32) -> Option<u64>) -> u64 {
        [of(0), of(1)].into_iter().flatten().max().unwrap()
    }

    #[test]
    fn every_window_is_tried_by_brute_force() {
        for seed in 0..500 {
            let (requests, length) = random(seed);
            let at = |key, start| touching(&requests, key, start, start + length);
            let seen = Cell::new(0);
            let see = |level: Level| seen.set(seen.get().max(level.units));
            let found = peak(&requests, |moments| any_window(moments, length, &mut { see }));
            assert_eq!(found.units, seen.get(), "seed {seed}");
            let expected = most(|key| (-40..200).map(|start| at(key, start)).max());
            assert_eq!(found.units, expected, "seed {seed}");
            assert_eq!(found.units, at(found.key, found.start), "seed {seed}");
            let found = peak(&requests, |moments| clock_window(moments, length, &mut |_| {}));
            let edges = || (-40..200).filter(|start| start % length == 0);
            let expected = most(|key| edges().map(|start| at(key, start)).max());
            assert_eq!(found.units, expected, "seed {seed}");
            assert_eq!(found.units, at(found.key, found.start), "seed {seed}");
            let found = peak(&requests, |moments| total(moments, &mut |_| {}));
            assert_eq!(found.units, most(|key| Some(touching(&requests, key, 0, 200))));
        }
    }

    #[test]
    fn every_span_is_tried_by_brute_force() {
        for seed in 0..500 {
            let (requests, length) = random(seed);
            for rate in [1_i64, 3] {
                let needed = |key, start: i64, end: i64| {
                    let come = touching(&requests, key, start, end + 1) as i64;
                    // Rounded up, and never less than nothing.
                    ((come * length - rate * (end - start) + length - 1) / length).max(0) as u64
                };
                let spans = || (0..150).flat_map(|start| (start..151).map(move |end| (start, end)));
                let expected =
                    most(|key| spans().map(|(start, end)| needed(key, start, end)).max());
                let rate = rate.unsigned_abs();
                let found = peak(&requests, |moments| bucket(moments, rate, length, &mut |_| {}));
                assert_eq!(found.units, expected, "seed {seed}");
            }
        }
    }

    /// The largest estimate at `now` of a window that began at `start`: each request arrives
    /// where it counts most.
    fn estimate(requests: &[Request], key: u32, start: i64, now: i64, length: i64) -> u64 {
        let weight = |time: i64| match time {
            _ if time > now => 0,
            _ if time >= start => length,
            _ if time >= start - length => length - (now - start),
            _ => 0,
        };
        let of_key = requests.iter().filter(|it| it.key == key);
        let most = of_key.map(|it| {
            let heaviest = (it.from..=it.to).map(weight).max().unwrap();
            heaviest as u64 * it.units
        });
        most.sum::<u64>().div_ceil(length.unsigned_abs())
    }

    #[test]
    fn every_phase_of_a_counter_is_tried_by_brute_force() {
        for seed in 0..200 {
            let (requests, length) = random(seed);
            let windows =
                || (0..200).flat_map(|now| (now - length + 1..=now).map(move |start| (start, now)));
            let expected = most(|key| {
                windows().map(|(start, now)| estimate(&requests, key, start, now, length)).max()
            });
            let found = peak(&requests, |moments| counter(moments, length));
            assert_eq!(found.units, expected, "seed {seed}");
        }
    }

    #[test]
    fn days_begin_at_midnight_in_their_zone() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let at = |time: &str| time.parse::<Timestamp>().unwrap().as_microsecond();
        let request = |time: &str| Request { from: at(time), to: at(time), units: 1, key: 0 };
        // Midnight is at 08:00 UTC.
        let requests = ["2026-01-01T07:00:00Z", "2026-01-01T09:00:00Z", "2026-01-02T07:59:59Z"];
        let found = peak(&requests.map(request), |moments| day(moments, &zone, &mut |_| {}));
        assert_eq!((found.units, found.start), (2, at("2026-01-01T08:00:00Z")));
    }

    #[test]
    fn requests_one_period_apart_are_in_different_windows() {
        let requests = [0, 5, 9].map(|at| Request { from: at, to: at, units: 1, key: 0 });
        assert_eq!(peak(&requests, |moments| any_window(moments, 5, &mut |_| {})).units, 2);
        assert_eq!(peak(&requests, |moments| any_window(moments, 4, &mut |_| {})).units, 1);
    }
}
