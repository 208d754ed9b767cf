//! The circuit breaker of an origin: when it is out, when it is tried again, and what becomes
//! of requests that fail meanwhile. Pure: time and chance are arguments.
//!
//! An origin is out when attempts have failed for some time, one after the other and without
//! a success in between. Attempts that reached no server say this of the origin whatever
//! their request; those that got a 5xx, or no answer, say it when they are of several
//! requests. While it is out, no attempt goes but one probe at a time, with a pause that
//! doubles up to a maximum. Any success ends the outage, and a slow start follows.

use std::time::Duration;

use crate::limit::{SlowStart, Time};

/// The circuit breaker of one origin.
#[derive(Debug)]
pub struct Breaker {
    /// Number of failures without a success after which the origin may be out.
    failures: u32,
    /// Minimum time from the first of these failures.
    after: Duration,
    /// Failures since the last success.
    streak: Option<Streak>,
    /// Number of streaks so far.
    streaks: u64,
    outage: Option<Outage>,
    slow_start: SlowStart,
    /// The era that began when the last outage ended.
    era: u64,
}

#[derive(Debug)]
struct Streak {
    id: u64,
    since: Time,
    /// Number of failures, without an answer in between, that reached no server.
    unreachable: u32,
    /// Number of requests that have failed at the server.
    requests: u32,
    /// Whether a request waits for the end of the streak, as it is not tried again.
    is_awaited: bool,
    /// The latest failure in words.
    cause: String,
}

#[derive(Debug)]
struct Outage {
    /// The time of the next probe.
    next_probe: Time,
    /// Number of probes that failed.
    probes: u32,
    is_probed: bool,
}

/// The pause before the first probe; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Maximum pause in a short outage: within this time of the server's return the run goes on.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Maximum pause in a longer one, as a part of its time so far.
const PART_OF_OUTAGE: u32 = 20;
/// Maximum pause in any outage.
const LONGEST_OF_ALL: Duration = Duration::from_secs(30);

/// Leave for one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticket {
    /// Number of outages, of all origins, that had ended when it was given.
    era: u64,
    /// The slow start that it belongs to; none if the origin was well.
    slow_start: Option<u64>,
    is_probe: bool,
}

/// Whether an attempt may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may go.
    Go(Ticket),
    /// It waits until this time, or, without one, until another attempt has ended.
    Wait(Option<Time>),
}

/// What a failed attempt says of its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginFailure {
    /// The failure in words.
    pub cause: String,
    /// Whether nothing of the request has reached a server.
    pub is_unreachable: bool,
    /// The streak of failures in which the request was counted last.
    pub counted_in: Option<u64>,
}

/// What is known of the origin of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is out, or was: the failure says nothing of the request.
    Out,
    /// It may be out: a success or more failures will tell.
    Suspect(Suspicion),
}

/// A failure that may be one of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspicion {
    /// The streak of failures that it belongs to.
    pub streak: u64,
    /// Whether there are enough failures, and only the time has to pass.
    pub is_strong: bool,
    /// Whether a request waits for the end of the streak.
    pub is_awaited: bool,
}

/// Whether failures were an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// They were.
    Out,
    /// They were not: each is the failure of its request.
    Passing,
    /// It is not known before this time.
    Open(Time),
    /// They have lasted for long enough, and are too few.
    TooFew,
}

/// An outage as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutageState {
    /// The time of the first failure.
    pub since: Time,
    /// The latest failure in words.
    pub cause: String,
    /// The time of the next probe; none while one is on its way.
    pub next_probe: Option<Time>,
}

impl Ticket {
    /// Leave that was given without a look at the origin, after this number of outages.
    #[must_use]
    pub fn of_era(era: u64) -> Ticket {
        Ticket { era, ..Ticket::default() }
    }
}

impl Breaker {
    /// The breaker of an origin that is well. It is out after this number of failures, of
    /// which the first is this long ago.
    #[must_use]
    pub fn new(failures: u32, after: Duration) -> Breaker {
        Breaker {
            failures,
            after,
            streak: None,
            streaks: 0,
            outage: None,
            slow_start: SlowStart::default(),
            era: 0,
        }
    }

    /// Whether attempts need no leave, and successes no word.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.streak.is_none() && self.slow_start.is_over()
    }

    /// Why the last attempts have failed, if they have.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.streak.as_ref().map(|streak| streak.cause.as_str())
    }

    /// The outage, if the origin is out.
    #[must_use]
    pub fn outage(&self) -> Option<OutageState> {
        let (outage, streak) = self.outage.as_ref().zip(self.streak.as_ref())?;
        Some(OutageState {
            since: streak.since,
            cause: streak.cause.clone(),
            next_probe: (!outage.is_probed).then_some(outage.next_probe),
        })
    }

    /// Whether an attempt may go; `era` is the number of outages that have ended.
    pub fn admit(&mut self, now: Time, era: u64) -> Admission {
        match &mut self.outage {
            Some(outage) if outage.is_probed => Admission::Wait(None),
            Some(outage) if now < outage.next_probe => Admission::Wait(Some(outage.next_probe)),
            Some(outage) => {
                outage.is_probed = true;
                Admission::Go(Ticket { era, slow_start: None, is_probe: true })
            }
            None if self.slow_start.holds_back() => Admission::Wait(None),
            None => {
                let slow_start = Some(self.slow_start.take());
                Admission::Go(Ticket { era, slow_start, is_probe: false })
            }
        }
    }

    /// Whether an attempt with this ticket may still be sent.
    #[must_use]
    pub fn still_admits(&self, ticket: Ticket) -> bool {
        self.outage.is_none() || ticket.is_probe
    }

    /// An attempt has ended without a word on the origin.
    pub fn unused(&mut self, ticket: Ticket) {
        if let Some(era) = ticket.slow_start {
            self.slow_start.finished(era);
        }
        let is_probe = ticket.is_probe && ticket.era >= self.era;
        if let Some(outage) = self.outage.as_mut().filter(|_| is_probe) {
            outage.is_probed = false;
        }
    }

    /// The origin has answered an attempt. Gives whether that ends an outage; the era that
    /// then begins is `next_era`.
    pub fn succeeded(&mut self, ticket: Ticket, next_era: u64) -> bool {
        self.streak = None;
        let ends = self.outage.take().is_some();
        if ends {
            self.era = next_era;
            self.slow_start.begin();
        } else if let Some(era) = ticket.slow_start {
            self.slow_start.accepted(era);
            self.slow_start.finished(era);
        }
        ends
    }

    /// An attempt has failed; `chance` lies between 0 and 1.
    pub fn failed(
        &mut self,
        now: Time,
        ticket: Ticket,
        failure: OriginFailure,
        chance: f64,
    ) -> Standing {
        self.unused(ticket);
        if ticket.era < self.era {
            return Standing::Out;
        }
        if let Some(outage) = &mut self.outage {
            if ticket.is_probe {
                outage.probes += 1;
                if let Some(streak) = &mut self.streak {
                    streak.cause.clone_from(&failure.cause);
                    let pause = pause(outage.probes, now.since(streak.since), chance);
                    outage.next_probe = now.after(pause);
                }
            }
            return Standing::Out;
        }
        let suspicion = self.count(now, failure);
        if suspicion.is_strong && self.has_lasted(now) {
            self.open(now, chance);
            return Standing::Out;
        }
        Standing::Suspect(suspicion)
    }

    /// Whether failures of this streak were an outage.
    pub fn decide(&mut self, now: Time, streak: u64, chance: f64) -> Conclusion {
        if self.outage.is_some() {
            return Conclusion::Out;
        }
        let has_lasted = self.has_lasted(now);
        let Some(current) = self.streak.as_mut().filter(|current| current.id == streak) else {
            return Conclusion::Passing;
        };
        current.is_awaited = true;
        if !has_lasted {
            return Conclusion::Open(current.since.after(self.after));
        }
        if current.unreachable > 0 || current.requests >= self.failures {
            self.open(now, chance);
            return Conclusion::Out;
        }
        Conclusion::TooFew
    }

    fn count(&mut self, now: Time, failure: OriginFailure) -> Suspicion {
        let streaks = &mut self.streaks;
        let streak = self.streak.get_or_insert_with(|| {
            *streaks += 1;
            Streak {
                id: *streaks,
                since: now,
                unreachable: 0,
                requests: 0,
                is_awaited: false,
                cause: String::new(),
            }
        });
        streak.cause = failure.cause;
        if failure.is_unreachable {
            streak.unreachable += 1;
        } else {
            streak.unreachable = 0;
            streak.requests += u32::from(failure.counted_in != Some(streak.id));
        }
        let is_strong = streak.unreachable.max(streak.requests) >= self.failures;
        Suspicion { streak: streak.id, is_strong, is_awaited: streak.is_awaited }
    }

    fn has_lasted(&self, now: Time) -> bool {
        self.streak.as_ref().is_some_and(|streak| now.since(streak.since) >= self.after)
    }

    fn open(&mut self, now: Time, chance: f64) {
        let next_probe = now.after(pause(0, Duration::ZERO, chance));
        self.outage = Some(Outage { next_probe, probes: 0, is_probed: false });
    }
}

/// The pause after this number of probes that failed, in an outage that has lasted for this
/// time. `chance` lengthens it by up to a quarter, so that several clients don't come back at
/// once.
fn pause(probes: u32, lasted: Duration, chance: f64) -> Duration {
    let longest = (lasted / PART_OF_OUTAGE).clamp(LONGEST_PAUSE, LONGEST_OF_ALL);
    let doubled = FIRST_PAUSE * 2_u32.pow(probes.min(8));
    doubled.min(longest).mul_f64(1.0 + chance / 4.0)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * MS)
    }

    fn breaker() -> Breaker {
        Breaker::new(3, Duration::from_secs(1))
    }

    fn failure(is_unreachable: bool) -> OriginFailure {
        OriginFailure { cause: "connection refused".to_owned(), is_unreachable, counted_in: None }
    }

    /// Fails with an attempt that was let go at once, for a request that had not failed before.
    fn fail(breaker: &mut Breaker, ms: u64, is_unreachable: bool) -> Standing {
        let Admission::Go(ticket) = breaker.admit(at(ms), breaker.era) else {
            panic!("not let go at {ms} ms: {breaker:?}");
        };
        breaker.failed(at(ms), ticket, failure(is_unreachable), 0.0)
    }

    /// Lets the origin be out from the first second on.
    fn put_out(breaker: &mut Breaker) {
        for ms in [0, 10, 1_000] {
            fail(breaker, ms, true);
        }
        assert!(breaker.outage().is_some());
    }

    fn is_suspect(standing: Standing, is_strong: bool) -> bool {
        matches!(standing, Standing::Suspect(it) if it.is_strong == is_strong)
    }

    #[test]
    fn enough_failures_over_the_time_are_an_outage_and_fewer_or_sooner_are_not() {
        for is_unreachable in [true, false] {
            let mut breaker = breaker();
            assert!(is_suspect(fail(&mut breaker, 0, is_unreachable), false));
            assert!(is_suspect(fail(&mut breaker, 10, is_unreachable), false));
            assert!(is_suspect(fail(&mut breaker, 20, is_unreachable), true));
            assert!(is_suspect(fail(&mut breaker, 999, is_unreachable), true));
            assert!(breaker.outage().is_none());
            assert_eq!(fail(&mut breaker, 1_000, is_unreachable), Standing::Out);
            assert_eq!(breaker.outage().unwrap().since, at(0));
        }
    }

    #[test]
    fn a_success_begins_the_count_anew() {
        let mut breaker = breaker();
        for round in 0..100 {
            let begin = round * 5_000;
            fail(&mut breaker, begin, false);
            fail(&mut breaker, begin + 2_000, false);
            assert!(breaker.outage().is_none());
            assert!(!breaker.succeeded(Ticket::default(), 1));
            assert!(breaker.is_calm());
        }
    }

    #[test]
    fn one_request_that_fails_again_and_again_is_no_outage() {
        let mut breaker = breaker();
        let mut counted = None;
        for second in 0..100 {
            let failed = OriginFailure { counted_in: counted, ..failure(false) };
            let now = at(second * 1_000);
            let standing = breaker.failed(now, Ticket::default(), failed, 0.0);
            let Standing::Suspect(suspicion) = standing else { panic!("{breaker:?}") };
            assert!(!suspicion.is_strong);
            counted = Some(suspicion.streak);
        }
        assert_eq!(breaker.decide(at(100_000), counted.unwrap(), 0.0), Conclusion::TooFew);
    }

    #[test]
    fn one_request_that_reaches_no_server_is_one_after_the_time() {
        let mut breaker = breaker();
        let Standing::Suspect(suspicion) = fail(&mut breaker, 0, true) else { panic!() };
        assert_eq!(breaker.decide(at(999), suspicion.streak, 0.0), Conclusion::Open(at(1_000)));
        assert_eq!(breaker.decide(at(1_000), suspicion.streak, 0.0), Conclusion::Out);
        assert!(breaker.outage().is_some());
    }

    #[test]
    fn a_failure_beside_a_success_is_the_failure_of_its_request() {
        let mut breaker = breaker();
        let Standing::Suspect(suspicion) = fail(&mut breaker, 0, true) else { panic!() };
        breaker.succeeded(Ticket::default(), 1);
        assert_eq!(breaker.decide(at(5), suspicion.streak, 0.0), Conclusion::Passing);
        fail(&mut breaker, 10, true);
        assert_eq!(breaker.decide(at(15), suspicion.streak, 0.0), Conclusion::Passing);
    }

    #[test]
    fn probes_go_one_at_a_time_with_pauses_that_double_up_to_a_maximum() {
        let mut breaker = breaker();
        put_out(&mut breaker);
        let mut now = 1_000;
        for seconds in [1, 2, 4, 5, 5, 5] {
            let due = now + seconds * 1_000;
            assert_eq!(breaker.admit(at(now), 0), Admission::Wait(Some(at(due))));
            let Admission::Go(probe) = breaker.admit(at(due), 0) else { panic!("{breaker:?}") };
            assert_eq!(breaker.outage().unwrap().next_probe, None);
            assert_eq!(breaker.admit(at(due), 0), Admission::Wait(None));
            // The probe takes a second to fail.
            now = due + 1_000;
            assert_eq!(breaker.failed(at(now), probe, failure(true), 0.0), Standing::Out);
        }
    }

    #[test]
    fn pauses_follow_the_time_of_a_long_outage() {
        let seconds = |lasted: u64| pause(99, Duration::from_secs(lasted), 0.0).as_secs();
        assert_eq!([20, 100, 200, 600, 86_400].map(seconds), [5, 5, 10, 30, 30]);
        assert_eq!(pause(0, Duration::ZERO, 1.0), Duration::from_millis(1_250));
        assert_eq!(pause(u32::MAX, Duration::ZERO, 0.0), LONGEST_PAUSE);
    }

    #[test]
    fn a_probe_that_is_given_up_makes_room_for_another() {
        let mut breaker = breaker();
        put_out(&mut breaker);
        let Admission::Go(probe) = breaker.admit(at(2_000), 0) else { panic!("{breaker:?}") };
        breaker.unused(probe);
        assert!(matches!(breaker.admit(at(2_000), 0), Admission::Go(_)));
    }

    #[test]
    fn an_outage_ends_with_a_slow_start_and_older_failures_begin_no_other() {
        let mut breaker = breaker();
        let before = Ticket::default();
        put_out(&mut breaker);
        assert!(!breaker.still_admits(before));
        let Admission::Go(probe) = breaker.admit(at(2_000), 0) else { panic!("{breaker:?}") };
        assert!(breaker.still_admits(probe));
        assert!(breaker.succeeded(probe, 1));
        for _ in 0..100 {
            let standing = breaker.failed(at(9_000), before, failure(false), 0.0);
            assert_eq!(standing, Standing::Out);
        }
        let mut bursts = Vec::new();
        while !breaker.is_calm() {
            let mut burst = Vec::new();
            while let Admission::Go(ticket) = breaker.admit(at(9_000), 1)
                && burst.len() < 100
            {
                burst.push(ticket);
            }
            bursts.push(burst.len());
            for ticket in burst {
                breaker.succeeded(ticket, 1);
            }
        }
        assert_eq!(bursts, [2, 4, 8, 16, 32, 64]);
    }

    /// An origin that is down at times, and rows that ask it: each waits for leave, takes
    /// some time, and goes again after a pause until it has an answer.
    struct World {
        random: StdRng,
        down: Vec<(u64, u64)>,
        breaker: Breaker,
        eras: u64,
        /// Attempts that reached the origin while it was known to be out.
        in_vain: u64,
    }

    #[derive(Clone, Copy)]
    enum Row {
        /// It may go from this time on.
        Waits(u64),
        /// It is answered or fails then.
        Sent(u64, Ticket, bool),
        Done,
    }

    impl World {
        fn is_down(&self, ms: u64) -> bool {
            self.down.iter().any(|(from, to)| (*from..*to).contains(&ms))
        }

        fn step(&mut self, row: Row, now: u64) -> Row {
            match row {
                Row::Waits(from) if from <= now => {
                    let calm = self.breaker.is_calm();
                    let ticket = match self.breaker.admit(at(now), self.eras) {
                        Admission::Go(ticket) => ticket,
                        Admission::Wait(_) => return row,
                    };
                    let ticket = if calm { Ticket::of_era(self.eras) } else { ticket };
                    let fails = self.is_down(now);
                    self.in_vain += u64::from(fails && self.breaker.outage().is_some());
                    Row::Sent(now + self.random.random_range(1..300), ticket, fails)
                }
                Row::Sent(until, ticket, fails) if until <= now => {
                    if !fails {
                        let ends = self.breaker.succeeded(ticket, self.eras + 1);
                        self.eras += u64::from(ends);
                        return Row::Done;
                    }
                    let failed = failure(self.random.random());
                    let chance = self.random.random();
                    self.breaker.failed(at(now), ticket, failed, chance);
                    Row::Waits(now + self.random.random_range(0..500))
                }
                row => row,
            }
        }
    }

    #[test]
    fn whenever_an_origin_is_down_few_attempts_go_in_vain_and_all_rows_end() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let (first, second) =
                (random.random_range(0..5_000), random.random_range(40_000..60_000));
            let down = vec![
                (first, first + random.random_range(0..25_000)),
                (second, second + random.random_range(0..25_000)),
            ];
            let mut world = World { random, down, breaker: breaker(), eras: 0, in_vain: 0 };
            let mut rows: Vec<Row> = (0..400).map(|n| Row::Waits(n * 150)).collect();
            let mut now = 0;
            while rows.iter().any(|row| !matches!(row, Row::Done)) {
                rows = rows.into_iter().map(|row| world.step(row, now)).collect();
                now += 10;
                assert!(now < 200_000, "seed {seed}: {:?}", world.breaker);
            }
            // Probes after 1, 3, 7, 12, 17 and 22 s, in each outage.
            assert!(world.in_vain <= 12, "seed {seed}: {}", world.in_vain);
        }
    }
}
