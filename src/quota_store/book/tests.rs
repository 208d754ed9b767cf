//! Many runs of one quota, under clocks that are set and machines that start again,
//! against a server that remembers every arrival.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::limit::{Policy, Rule, Settings};

const HOUR: u64 = 3_600_000;
/// Any day, at noon.
const NOON: u64 = 1_764_072_000_000;

fn quota(rate: &str) -> Quota {
    let settings = Settings {
        rate: vec![rate.parse().unwrap()],
        ..Settings::default()
    };
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    policy.rules().iter().find_map(Rule::quota).unwrap()
}

/// The machine's clock says `up`, the calendar's `wall`.
fn now(up: u64, wall: u64, boot: &str) -> Now {
    Now {
        time: Time::from_nanos(up * 1_000_000),
        clock: ClockReading {
            wall,
            up,
            boot: Some(boot.to_owned()),
        },
    }
}

fn ask(wanted: u64) -> LeaseRequest<'static> {
    LeaseRequest {
        arrived: &[],
        kept: 0,
        wanted,
        least: 1,
        reset: None,
    }
}

/// A book in which so many have arrived at noon, an hour after the machine's start.
fn used(quota: &Quota, units: u64) -> QuotaState {
    let (mut book, now) = (QuotaState::default(), now(HOUR, NOON, "a"));
    book.turn(&now, quota, &|_| true);
    let arrived = [(now.time, i64::try_from(units).unwrap())];
    let offer = LeaseRequest {
        arrived: &arrived,
        ..ask(0)
    };
    let offer = LeaseRequest { least: 0, ..offer };
    assert_eq!(book.trade(&now, quota, "1", &offer), LeaseReply::Units(0));
    book
}

/// How many can be had then.
fn left(mut book: QuotaState, quota: &Quota, now: &Now) -> u64 {
    book.turn(now, quota, &|_| true);
    book.left(quota)
}

#[test]
fn what_was_used_comes_back_a_day_later() {
    for rate in ["25/1d", "25/1d@UTC", "25/1d@clock"] {
        let quota = quota(rate);
        let book = used(&quota, 20);
        let later = |hours: u64| now(HOUR + hours * HOUR, NOON + hours * HOUR, "a");
        let day = if rate == "25/1d" { 24 } else { 12 };
        assert_eq!(left(book.clone(), &quota, &later(day - 1)), 5, "{rate}");
        assert_eq!(left(book.clone(), &quota, &later(day + 1)), 25, "{rate}");
        let (mut book, then) = (book, later(1));
        book.turn(&then, &quota, &|_| true);
        let lent = book.trade(&then, &quota, "2", &LeaseRequest { least: 6, ..ask(6) });
        let LeaseReply::Later(Some(time)) = lent else {
            panic!("{lent:?}");
        };
        let wait = time.since(then.time).as_secs_f64() / 3_600.0;
        assert!((wait - (day - 1) as f64).abs() < 0.05, "{rate}: {wait} h");
    }
}

#[test]
fn a_clock_that_is_set_releases_nothing_early() {
    for rate in ["25/1d", "25/1d@UTC"] {
        let quota = quota(rate);
        let day = if rate == "25/1d" { 24 } else { 12 };
        // Set forward by two days, one hour later, on the same machine.
        let forward = now(2 * HOUR, NOON + 49 * HOUR, "a");
        assert_eq!(left(used(&quota, 25), &quota, &forward), 0, "{rate}");
        // Set back by five hours: the machine's clock knows better, but when
        // midnight is only the calendar says.
        let mut book = used(&quota, 25);
        let back = |hours: u64| now(HOUR + hours * HOUR, NOON + hours * HOUR - 5 * HOUR, "a");
        book.turn(&back(1), &quota, &|_| true);
        assert_eq!(left(book.clone(), &quota, &back(day - 1)), 0, "{rate}");
        let later = if rate == "25/1d" { 1 } else { 6 };
        assert_eq!(left(book, &quota, &back(day + later)), 25, "{rate}");
        // Over a start of the machine there is nothing but the calendar.
        let back = |hours: u64| now(hours * HOUR, NOON + hours * HOUR - 5 * HOUR, "b");
        assert_eq!(left(used(&quota, 25), &quota, &back(day)), 0, "{rate}");
        assert_eq!(left(used(&quota, 25), &quota, &back(day + 6)), 25, "{rate}");
    }
}

#[test]
fn what_was_used_before_the_machine_was_started_comes_back_in_its_time() {
    for (rate, hours) in [("25/1d", 24), ("25/1d@UTC", 12)] {
        let quota = quota(rate);
        // Started anew each time, a minute before it is looked at.
        let started = |hours: u64| now(60_000, NOON + hours * HOUR, "b");
        assert_eq!(
            left(used(&quota, 25), &quota, &started(hours - 1)),
            0,
            "{rate}"
        );
        assert_eq!(
            left(used(&quota, 25), &quota, &started(hours + 1)),
            25,
            "{rate}"
        );
        let mut book = used(&quota, 25);
        let then = started(hours - 1);
        book.turn(&then, &quota, &|_| true);
        let LeaseReply::Later(Some(time)) = book.trade(&then, &quota, "2", &ask(1)) else {
            panic!("{rate}");
        };
        let wait = time.since(then.time).as_secs_f64() / 3_600.0;
        assert!((wait - 1.0).abs() < 0.05, "{rate}: {wait} h");
    }
}

#[test]
fn a_clock_that_was_years_ahead_blocks_it_for_one_period_only() {
    let quota = quota("25/1d");
    let mut book = used(&quota, 25);
    let year = 365 * 24 * HOUR;
    book.turn(&now(HOUR, NOON - year, "b"), &quota, &|_| true);
    assert_eq!(book.left(&quota), 0);
    let later = now(26 * HOUR, NOON - year + 25 * HOUR, "b");
    assert_eq!(left(book, &quota, &later), 25);
}

#[test]
fn a_dead_run_loses_what_it_kept_and_gains_nothing() {
    let quota = quota("25/1d");
    let (mut book, noon) = (QuotaState::default(), now(HOUR, NOON, "a"));
    book.turn(&noon, &quota, &|_| true);
    assert_eq!(
        book.trade(&noon, &quota, "1", &ask(10)),
        LeaseReply::Units(10)
    );
    assert_eq!(
        book.trade(&noon, &quota, "2", &ask(99)),
        LeaseReply::Units(15)
    );
    assert_eq!(
        book.trade(&noon, &quota, "3", &ask(1)),
        LeaseReply::Later(None)
    );
    // One gives back what it didn't use, the other dies.
    let offer = LeaseRequest { least: 0, ..ask(0) };
    book.trade(&noon, &quota, "2", &offer);
    let later = now(2 * HOUR, NOON + HOUR, "a");
    book.turn(&later, &quota, &|run| run != "1");
    assert_eq!(book.left(&quota), 15);
    assert_eq!(
        left(book, &quota, &now(27 * HOUR, NOON + 26 * HOUR, "a")),
        25
    );
}

#[test]
fn a_server_s_reset_frees_what_came_before_it() {
    let (reset, noon) = (quota("25/1h@reset"), now(HOUR, NOON, "a"));
    let mut book = used(&reset, 25);
    let told = LeaseRequest {
        least: 0,
        reset: Some(noon.time.after(Duration::from_secs(600))),
        ..ask(0)
    };
    book.trade(&noon, &reset, "1", &told);
    let minutes = |m: u64| now(HOUR + m * 60_000, NOON + m * 60_000, "a");
    assert_eq!(left(book.clone(), &reset, &minutes(10)), 0);
    assert_eq!(left(book, &reset, &minutes(11)), 25);
}

#[test]
fn many_units_share_entries() {
    let quota = quota("10000000/1d");
    let mut book = QuotaState::default();
    for minute in 0..2_000 {
        let now = now(HOUR + minute * 60_000, NOON + minute * 60_000, "a");
        book.turn(&now, &quota, &|_| true);
        let before = now.time.before(Duration::from_secs(30));
        let arrived = [(before, 500), (now.time, 500), (before, -200)];
        let offer = LeaseRequest {
            arrived: &arrived,
            ..ask(1)
        };
        assert_eq!(book.trade(&now, &quota, "1", &offer), LeaseReply::Units(1));
    }
    assert!(book.arrived.len() < 4_100, "{}", book.arrived.len());
    // Those of the last day and a bit, less what was taken back.
    let used = 10_000_000 - book.left(&quota);
    assert!((1_440 * 800..1_450 * 800).contains(&used), "{used}");
}

/// What runs do at random, as the server sees it.
struct World {
    quota: Quota,
    book: QuotaState,
    rng: StdRng,
    up: u64,
    /// True time; the calendar's clock is off by so much.
    truth: u64,
    off: i64,
    /// On which start of the machine, and by how much, when the book was written.
    told: (u64, i64),
    boot: u64,
    /// Units in hand and in flight, by the run.
    runs: Vec<(String, u64, u64)>,
    born: u64,
    arrivals: Vec<u64>,
}

impl World {
    fn now(&self) -> Now {
        now(
            self.up,
            self.truth.saturating_add_signed(self.off),
            &self.boot.to_string(),
        )
    }

    fn step(&mut self) {
        let pass = self.rng.random_range(1..HOUR / 4);
        self.up += pass;
        self.truth += pass;
        match self.rng.random_range(0..150) {
            // The clock is set back; or forward, on a machine where somebody has written
            // since it was started: else no clock can tell.
            0 => self.off -= self.rng.random_range(0..(30 * HOUR) as i64),
            1 if self.told.0 == self.boot => {
                self.off += self.rng.random_range(0..(30 * HOUR) as i64)
            }
            2 => self.kill(),
            // Nor could it if the machine were started anew before anybody writes.
            3 if self.off <= self.told.1 => {
                (self.boot, self.up) = (self.boot + 1, 1_000);
                self.runs.clear();
            }
            _ => self.work(),
        }
    }

    fn kill(&mut self) {
        if !self.runs.is_empty() {
            let at = self.rng.random_range(0..self.runs.len());
            // What it kept may all arrive just now.
            let (_, hand, flight) = self.runs.remove(at);
            let arrive = self.rng.random_range(0..=hand + flight);
            self.arrivals.extend((0..arrive).map(|_| self.truth));
        }
    }

    fn work(&mut self) {
        if self.runs.len() < 3 {
            self.born += 1;
            self.runs.push((self.born.to_string(), 0, 0));
        }
        let at = self.rng.random_range(0..self.runs.len());
        let (name, mut hand, flight) = self.runs[at].clone();
        // All in flight arrive at their answers, and all in hand are sent.
        self.arrivals.extend((0..flight).map(|_| self.truth));
        let now = self.now();
        self.told = (self.boot, self.off);
        let arrived = [(now.time, i64::try_from(flight).unwrap())];
        let alive: Vec<String> = self.runs.iter().map(|(name, ..)| name.clone()).collect();
        self.book
            .turn(&now, &self.quota, &|run| alive.iter().any(|it| it == run));
        let offer = LeaseRequest {
            arrived: &arrived[..usize::from(flight > 0)],
            kept: hand,
            ..ask(self.rng.random_range(1..8))
        };
        if let LeaseReply::Units(units) = self.book.trade(&now, &self.quota, &name, &offer) {
            hand += units;
        }
        let sent = self.rng.random_range(0..=hand);
        self.runs[at] = (name, hand - sent, sent);
    }

    /// The most arrivals in any window.
    fn most(&mut self) -> usize {
        self.arrivals.sort_unstable();
        let within = |at: usize| {
            let end = self.arrivals[at] + 24 * HOUR;
            self.arrivals[at..].partition_point(|time| *time < end)
        };
        (0..self.arrivals.len()).map(within).max().unwrap_or(0)
    }
}

#[test]
fn runs_that_die_under_clocks_that_are_set_never_break_it_together() {
    let mut all = 0;
    for seed in 0..300 {
        let mut world = World {
            quota: quota("25/1d"),
            book: QuotaState::default(),
            rng: StdRng::seed_from_u64(seed),
            up: HOUR,
            truth: NOON,
            off: 0,
            told: (0, 0),
            boot: 0,
            runs: Vec::new(),
            born: 0,
            arrivals: Vec::new(),
        };
        (0..1_500).for_each(|_| world.step());
        let most = world.most();
        assert!(most <= 25, "seed {seed}: {most} in a day");
        all += world.arrivals.len();
    }
    assert!(all > 300 * 75, "they did {all} in 300 weeks");
}
