//! Many runs of one quota, with clocks that are set and machines that restart,
//! against a server that counts every arrival.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::config::{Policy, Rule, Settings};
use crate::quota::account::Participant;

const HOUR: u64 = 3_600_000;
/// Noon of some day.
const NOON: u64 = 1_764_072_000_000;

fn quota(rate: &str) -> Quota {
    let settings = Settings { rate: vec![rate.parse().unwrap()], ..Settings::default() };
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    policy.rules().iter().find_map(Rule::quota).unwrap()
}

/// Now, with the machine's clock at `up` and the calendar at `wall`.
fn now(up: u64, wall: u64, boot: &str) -> ClockSnapshot {
    ClockSnapshot {
        time: Time::from_nanos(up * 1_000_000),
        clock: ClockReading {
            wall: i64::try_from(wall * 1_000).unwrap(),
            up: i64::try_from(up * 1_000).unwrap(),
            boot: Some(boot.to_owned()),
        },
    }
}

fn request_for(wanted: u64) -> LeaseRequest<'static> {
    LeaseRequest { wanted, least: 1, ..LeaseRequest::default() }
}

/// An exchange with the only limit of an account.
fn exchange(
    state: &mut QuotaState,
    now: &ClockSnapshot,
    quota: &Quota,
    run: &str,
    request: &LeaseRequest<'_>,
) -> LeaseReply {
    let is_alive = |_: &str| true;
    Participant { run, now, is_alive: Some(&is_alive) }
        .exchange(state, quota, &mut [], request)
        .reply
}

/// A state with these units arrived at noon, an hour after the machine's start.
fn used(quota: &Quota, units: u64) -> QuotaState {
    let (mut state, now) = (QuotaState::default(), now(HOUR, NOON, "a"));
    state.advance(&now, quota, Some(&|_| true));
    let arrived = [(now.time, i64::try_from(units).unwrap())];
    let request = LeaseRequest { arrived: &arrived, ..request_for(0) };
    let request = LeaseRequest { least: 0, ..request };
    assert_eq!(exchange(&mut state, &now, quota, "1", &request), LeaseReply::Units(0));
    state
}

/// The units left at that time.
fn left(mut state: QuotaState, quota: &Quota, now: &ClockSnapshot) -> u64 {
    state.advance(now, quota, Some(&|_| true));
    state.left(now, quota, None)
}

#[test]
fn used_units_are_free_a_day_later() {
    for rate in ["25/1d", "25/1d@UTC", "25/1d@clock"] {
        let quota = quota(rate);
        let state = used(&quota, 20);
        let later = |hours: u64| now(HOUR + hours * HOUR, NOON + hours * HOUR, "a");
        let day = if rate == "25/1d" { 24 } else { 12 };
        assert_eq!(left(state.clone(), &quota, &later(day - 1)), 5, "{rate}");
        assert_eq!(left(state.clone(), &quota, &later(day + 1)), 25, "{rate}");
        let (mut state, then) = (state, later(1));
        state.advance(&then, &quota, Some(&|_| true));
        let reply =
            exchange(&mut state, &then, &quota, "2", &LeaseRequest { least: 6, ..request_for(6) });
        let LeaseReply::Later(Some(time)) = reply else {
            panic!("{reply:?}");
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
        // Set back by five hours: the machine's clock corrects it, but only the
        // calendar knows midnight.
        let mut state = used(&quota, 25);
        let back = |hours: u64| now(HOUR + hours * HOUR, NOON + hours * HOUR - 5 * HOUR, "a");
        state.advance(&back(1), &quota, Some(&|_| true));
        assert_eq!(left(state.clone(), &quota, &back(day - 1)), 0, "{rate}");
        let later = if rate == "25/1d" { 1 } else { 6 };
        assert_eq!(left(state, &quota, &back(day + later)), 25, "{rate}");
        // Across a restart of the machine only the calendar is known.
        let back = |hours: u64| now(hours * HOUR, NOON + hours * HOUR - 5 * HOUR, "b");
        assert_eq!(left(used(&quota, 25), &quota, &back(day)), 0, "{rate}");
        assert_eq!(left(used(&quota, 25), &quota, &back(day + 6)), 25, "{rate}");
    }
}

#[test]
fn units_used_before_a_restart_of_the_machine_are_free_in_time() {
    for (rate, hours) in [("25/1d", 24), ("25/1d@UTC", 12)] {
        let quota = quota(rate);
        // Restarted each time, a minute before the check.
        let started = |hours: u64| now(60_000, NOON + hours * HOUR, "b");
        assert_eq!(left(used(&quota, 25), &quota, &started(hours - 1)), 0, "{rate}");
        assert_eq!(left(used(&quota, 25), &quota, &started(hours + 1)), 25, "{rate}");
        let mut state = used(&quota, 25);
        let then = started(hours - 1);
        state.advance(&then, &quota, Some(&|_| true));
        let LeaseReply::Later(Some(time)) =
            exchange(&mut state, &then, &quota, "2", &request_for(1))
        else {
            panic!("{rate}");
        };
        let wait = time.since(then.time).as_secs_f64() / 3_600.0;
        assert!((wait - 1.0).abs() < 0.05, "{rate}: {wait} h");
    }
}

#[test]
fn a_clock_that_was_years_ahead_blocks_a_quota_for_one_period_only() {
    let quota = quota("25/1d");
    let mut state = used(&quota, 25);
    let year = 365 * 24 * HOUR;
    state.advance(&now(HOUR, NOON - year, "b"), &quota, Some(&|_| true));
    assert_eq!(left(state.clone(), &quota, &now(HOUR, NOON - year, "b")), 0);
    let later = now(26 * HOUR, NOON - year + 25 * HOUR, "b");
    assert_eq!(left(state, &quota, &later), 25);
}

#[test]
fn the_leased_units_of_a_dead_run_count_as_used() {
    let quota = quota("25/1d");
    let (mut state, noon) = (QuotaState::default(), now(HOUR, NOON, "a"));
    state.advance(&noon, &quota, Some(&|_| true));
    assert_eq!(exchange(&mut state, &noon, &quota, "1", &request_for(10)), LeaseReply::Units(10));
    assert_eq!(exchange(&mut state, &noon, &quota, "2", &request_for(99)), LeaseReply::Units(15));
    assert_eq!(exchange(&mut state, &noon, &quota, "3", &request_for(1)), LeaseReply::Later(None));
    // Run 2 returns its unused units, run 1 dies.
    let request = LeaseRequest { least: 0, ..request_for(0) };
    exchange(&mut state, &noon, &quota, "2", &request);
    let later = now(2 * HOUR, NOON + HOUR, "a");
    state.advance(&later, &quota, Some(&|run| run != "1"));
    assert_eq!(state.left(&later, &quota, None), 15);
    assert_eq!(left(state, &quota, &now(27 * HOUR, NOON + 26 * HOUR, "a")), 25);
}

#[test]
fn a_request_that_costs_more_than_another_run_has_learnt_locks_out_no_run() {
    let (quota, noon) = (quota("20/1d"), now(HOUR, NOON, "a"));
    let mut state = QuotaState::default();
    let learnt = LeaseRequest { learnt: Some(5), ..LeaseRequest::default() };
    exchange(&mut state, &noon, &quota, "learnt", &learnt);
    let large = LeaseRequest { least: 8, ..request_for(8) };
    // It waits until all five are free, and holds up no other for more than these.
    let one = exchange(&mut state, &noon, &quota, "small", &request_for(1));
    assert_eq!(one, LeaseReply::Units(1));
    let reply = exchange(&mut state, &noon, &quota, "large", &large);
    assert_eq!(reply, LeaseReply::Later(None));
    exchange(&mut state, &noon, &quota, "small", &LeaseRequest::default());
    assert_eq!(exchange(&mut state, &noon, &quota, "large", &large), LeaseReply::Units(8));
    let arrived = [(noon.time, 8)];
    let sent = LeaseRequest { arrived: &arrived, ..LeaseRequest::default() };
    exchange(&mut state, &noon, &quota, "large", &sent);
    let next = now(26 * HOUR, NOON + 25 * HOUR, "a");
    let one = exchange(&mut state, &next, &quota, "small", &request_for(1));
    assert_eq!(one, LeaseReply::Units(1));
}

#[test]
fn a_dead_run_with_a_long_timeout_counts_until_its_last_request_can_have_arrived() {
    let settings = Settings {
        rate: vec!["25/1m".parse().unwrap()],
        linger: Some(Duration::from_secs(1)),
        ..Settings::default()
    };
    let timeout = Duration::from_secs(120);
    let quota = Policy::new(&settings, timeout).unwrap().rules()[0].quota().unwrap();
    let seconds = |seconds: u64| now(HOUR + seconds * 1_000, NOON + seconds * 1_000, "a");
    let mut state = QuotaState::default();
    exchange(&mut state, &seconds(0), &quota, "dead", &request_for(10));
    // Its lease was over after a second; what it sent then was given up after two minutes.
    let later = seconds(110);
    let dead = |run: &str| run != "dead";
    assert_eq!(state.of_dead(&later, &quota, Some(&dead)), (10, Duration::from_secs(1)));
    state.advance(&later, &quota, Some(&dead));
    assert_eq!(state.left(&seconds(170), &quota, None), 15);
}

#[test]
fn what_was_poured_into_a_bucket_and_is_reported_late_leaks_after_what_was_reported() {
    let (quota, second) = (quota("bucket:10/10s"), 1_000);
    let at = |millis: u64| now(HOUR + millis, NOON + millis, "a");
    let mut state = QuotaState::default();
    for run in ["early", "late"] {
        exchange(&mut state, &at(0), &quota, run, &request_for(1));
    }
    let report = |state: &mut QuotaState, now: u64, run: &str, arrived: u64| {
        let arrived = [(at(arrived).time, 1)];
        let request = LeaseRequest { arrived: &arrived, ..LeaseRequest::default() };
        exchange(state, &at(now), &quota, run, &request);
    };
    // One leaks in a second; the other was poured in meanwhile, and is reported afterwards.
    report(&mut state, 0, "early", 0);
    report(&mut state, second + 100, "late", second / 2);
    assert_eq!(left(state.clone(), &quota, &at(2 * second - 200)), 9);
    assert_eq!(left(state, &quota, &at(2 * second + 200)), 10);
}

#[test]
fn a_limit_that_no_run_states_learns_what_runs_send_meanwhile() {
    for rate in ["2000/1d", "100000/1d"] {
        let (day, minute) = (quota(rate), quota("300/1m"));
        let (mut dormant, mut stated) = (used(&day, 20), QuotaState::default());
        dormant.end_handle("1");
        let later = |seconds: u64| now(HOUR + seconds * 1_000, NOON + seconds * 1_000, "a");
        for seconds in 1..=3 * 3_600 {
            let then = later(seconds);
            let arrived = [(then.time, i64::from(seconds % 10 == 0))];
            let request = LeaseRequest { arrived: &arrived, kept: 1, ..LeaseRequest::default() };
            exchange(&mut stated, &then, &minute, "2", &request);
            if seconds % 240 == 0 {
                dormant.keep_up(&then, vec![stated.clone()], &day);
            }
        }
        let then = later(3 * 3_600);
        let used = day.units() - left(dormant.clone(), &day, &then);
        assert!((1_100..1_110).contains(&used), "{rate}: {used} of 20 and 1080");
        // A day after the first of them the first are free again.
        let then = later(25 * 3_600);
        let used = day.units() - left(dormant, &day, &then);
        assert!((720..740).contains(&used), "{rate}: {used} of 720");
    }
}

#[test]
fn the_age_of_a_state_does_not_follow_the_calendar() {
    let state = used(&quota("22/5s"), 20);
    let hours = |up: u64, wall: u64, boot: &str| {
        state.age(&now(up * HOUR, NOON + wall * HOUR, boot)).as_secs_f64() / 3_600.0
    };
    assert_eq!(hours(3, 2, "a"), 2.0);
    assert_eq!(hours(3, 1_000, "a"), 2.0, "set forward");
    assert_eq!(hours(1, 2, "b"), 1.0, "restarted");
    assert_eq!(hours(5, 2, "b"), 2.0, "restarted");
    assert_eq!(hours(5, 0, "b"), 0.0, "set back");
}

#[test]
fn a_server_s_reset_frees_earlier_arrivals() {
    let (reset, noon) = (quota("25/1h@reset"), now(HOUR, NOON, "a"));
    let mut state = used(&reset, 25);
    let written = LeaseRequest {
        least: 0,
        reset: Some(noon.time.after(Duration::from_secs(600))),
        ..request_for(0)
    };
    exchange(&mut state, &noon, &reset, "1", &written);
    let minutes = |m: u64| now(HOUR + m * 60_000, NOON + m * 60_000, "a");
    assert_eq!(left(state.clone(), &reset, &minutes(10)), 0);
    assert_eq!(left(state, &reset, &minutes(11)), 25);
}

#[test]
fn many_units_share_entries() {
    let quota = quota("10000000/1d");
    let mut state = QuotaState::default();
    for minute in 0..2_000 {
        let now = now(HOUR + minute * 60_000, NOON + minute * 60_000, "a");
        state.advance(&now, &quota, Some(&|_| true));
        let before = now.time.before(Duration::from_secs(30));
        let arrived = [(before, 500), (now.time, 500), (before, -200)];
        let request = LeaseRequest { arrived: &arrived, ..request_for(1) };
        assert_eq!(exchange(&mut state, &now, &quota, "1", &request), LeaseReply::Units(1));
    }
    assert!(state.arrivals.entries() < 1_032, "{}", state.arrivals.entries());
    // The units of a little more than a day, less the subtracted ones.
    let last = now(HOUR + 1_999 * 60_000, NOON + 1_999 * 60_000, "a");
    let used = 10_000_000 - state.left(&last, &quota, None);
    assert!((1_440 * 800..1_450 * 800).contains(&used), "{used}");
}

/// A run of a random world.
#[derive(Clone)]
struct Run {
    name: String,
    in_hand: u64,
    in_flight: u64,
    /// True time of the last exchange, after which it has sent what is in flight.
    exchanged: u64,
}

/// Random runs and the arrivals that the server counts.
struct World {
    quota: Quota,
    state: QuotaState,
    rng: StdRng,
    up: u64,
    /// True time; the calendar's clock differs from it by `skew`.
    truth: u64,
    skew: i64,
    /// Boot and skew when the state was last written.
    written: (u64, i64),
    boot: u64,
    runs: Vec<Run>,
    started: u64,
    arrivals: Vec<u64>,
}

impl World {
    fn now(&self) -> ClockSnapshot {
        now(self.up, self.truth.saturating_add_signed(self.skew), &self.boot.to_string())
    }

    fn step(&mut self) {
        let pass = self.rng.random_range(1..HOUR / 4);
        self.up += pass;
        self.truth += pass;
        match self.rng.random_range(0..150) {
            // The clock is set back; or forward, if the state was written since the
            // machine's start: else no clock can tell.
            0 => self.skew -= self.rng.random_range(0..(30 * HOUR) as i64),
            1 if self.written.0 == self.boot => {
                self.skew += self.rng.random_range(0..(30 * HOUR) as i64)
            }
            2 => self.kill(),
            // A restart before the state is written can't be told either.
            3 if self.skew <= self.written.1 => {
                (self.boot, self.up) = (self.boot + 1, 1_000);
                self.runs.clear();
            }
            _ => self.work(),
        }
    }

    /// Kills a run. As long as its lease goes on all its units may arrive now; later, those
    /// in flight have arrived.
    fn kill(&mut self) {
        if !self.runs.is_empty() {
            let at = self.rng.random_range(0..self.runs.len());
            let run = self.runs.remove(at);
            let lease = u64::try_from(self.quota.lease().as_millis()).unwrap();
            let is_leased = self.truth - run.exchanged < lease;
            let (most, time) = if is_leased {
                (run.in_hand + run.in_flight, self.truth)
            } else {
                (run.in_flight, run.exchanged + 60_000)
            };
            let arrive = self.rng.random_range(0..=most);
            self.arrivals.extend((0..arrive).map(|_| time));
        }
    }

    fn work(&mut self) {
        if self.runs.len() < 3 {
            self.started += 1;
            let name = self.started.to_string();
            self.runs.push(Run { name, in_hand: 0, in_flight: 0, exchanged: self.truth });
        }
        let at = self.rng.random_range(0..self.runs.len());
        let Run { name, in_hand, in_flight, .. } = self.runs[at].clone();
        // All units in flight arrive at their answers.
        self.arrivals.extend((0..in_flight).map(|_| self.truth));
        let now = self.now();
        self.written = (self.boot, self.skew);
        let arrived = [(now.time, i64::try_from(in_flight).unwrap())];
        let alive: Vec<String> = self.runs.iter().map(|run| run.name.clone()).collect();
        self.state.advance(&now, &self.quota, Some(&|run| alive.iter().any(|it| it == run)));
        let request = LeaseRequest {
            arrived: &arrived[..usize::from(in_flight > 0)],
            kept: in_hand,
            ..request_for(self.rng.random_range(1..8))
        };
        let reply = exchange(&mut self.state, &now, &self.quota, &name, &request);
        let leased = if let LeaseReply::Units(units) = reply { units } else { 0 };
        let sent = self.rng.random_range(0..=in_hand + leased);
        let in_hand = in_hand + leased - sent;
        self.runs[at] = Run { name, in_hand, in_flight: sent, exchanged: self.truth };
    }

    /// The most arrivals in any day.
    fn most_in_a_day(&mut self) -> usize {
        self.arrivals.sort_unstable();
        let within = |at: usize| {
            let end = self.arrivals[at] + 24 * HOUR;
            self.arrivals[at..].partition_point(|time| *time < end)
        };
        (0..self.arrivals.len()).map(within).max().unwrap_or(0)
    }
}

#[test]
fn dying_runs_and_changed_clocks_never_exceed_the_quota() {
    let mut arrivals = 0;
    for seed in 0..300 {
        let mut world = World {
            quota: quota("25/1d"),
            state: QuotaState::default(),
            rng: StdRng::seed_from_u64(seed),
            up: HOUR,
            truth: NOON,
            skew: 0,
            written: (0, 0),
            boot: 0,
            runs: Vec::new(),
            started: 0,
            arrivals: Vec::new(),
        };
        (0..1_500).for_each(|_| world.step());
        let most_in_a_day = world.most_in_a_day();
        assert!(most_in_a_day <= 25, "seed {seed}: {most_in_a_day} in a day");
        arrivals += world.arrivals.len();
    }
    assert!(arrivals > 300 * 75, "they did {arrivals} in 300 weeks");
}
