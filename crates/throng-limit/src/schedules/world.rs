//! A client that takes permits as early as it may, and what the world does to
//! its attempts. Everything follows from a seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::servers::Arrival;
use crate::{Acquired, Availability, Cost, End, LimitSet, RateLimitInfo, Time};

pub const LINGER: Duration = Duration::from_secs(30);

/// What the world does to attempts; times in milliseconds.
#[derive(Debug, Clone)]
pub struct World {
    /// The longest way there, and back, and the server's work after the head.
    pub there: u64,
    pub back: u64,
    pub body: u64,
    pub connect: u64,
    /// Shares of attempts.
    pub lost: f64,
    pub refused: f64,
    pub unsent: f64,
    /// A few take far longer than the rest.
    pub heavy: bool,
    /// Whether the acknowledgement of an attempt is seen.
    pub acks: bool,
    /// How long the server's program takes to take one in, one after the other, in
    /// microseconds, until so many are known to it; its network stack has them before.
    pub takes_in: (u64, usize),
    /// The windows that the server tells of, by their length.
    pub resets: Option<u64>,
    /// Units beside requests: the most that an attempt reserves.
    pub costs: u64,
    pub keys: usize,
    /// Number of requests that wait or are under way at a time, where one whose key has nothing
    /// left holds up no other; 0 if one after the other waits, however many are under way.
    pub at_once: usize,
}

/// A mistake that an implementation could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    None,
    LostCountsAsAnswered,
    LostComesBack,
    RefusedComesBack,
    AckedWhenSent,
    AnsweredWhenSent,
    RetriesWithoutPermit,
    CostsOne,
    SettlesBeforeSending,
    FinishedAtHead,
    ReturnsSome,
    FastClock,
    ForgetsKeys,
    SendsLate,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Send,
    Acked,
    Head(Outcome),
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Answered,
    Refused(u64),
    Lost,
    Unsent,
}

/// One attempt on its way.
struct Attempt {
    ask: Cost,
    taken: Acquired,
    sent: Time,
    /// What it turns out to cost.
    true_units: Vec<u64>,
    key: usize,
    done: bool,
}

/// What a row asks, what it will turn out to cost, and its key.
type Wish = (Cost, Vec<u64>, usize);

/// A client in its world.
pub struct Run {
    pub limits: LimitSet,
    world: World,
    bug: Bug,
    random: StdRng,
    pub now: Time,
    events: BinaryHeap<Reverse<(Time, usize, Event)>>,
    attempts: Vec<Attempt>,
    pub arrivals: Vec<Arrival>,
    to_take: u32,
    waiting: Vec<Wish>,
    /// Number of attempts that are not finished.
    open: usize,
    /// Every answer takes exactly so long more.
    latency: Duration,
    /// Until when the server's program is taking in what came.
    busy: Time,
    /// When the client's machine was started, whose clock begins then.
    pub started: Duration,
}

/// When a run begins.
pub const START: Time = Time::from_nanos(7_000_000_000);

impl Run {
    pub fn new(limits: LimitSet, world: World, bug: Bug, seed: u64, requests: u32) -> Run {
        Run {
            limits,
            world,
            bug,
            random: StdRng::seed_from_u64(seed ^ 0x5EED),
            now: START,
            events: BinaryHeap::new(),
            attempts: Vec::new(),
            arrivals: Vec::new(),
            to_take: requests,
            waiting: Vec::new(),
            open: 0,
            latency: Duration::ZERO,
            busy: START,
            started: Duration::ZERO,
        }
    }

    /// The run with every answer this many milliseconds later.
    pub fn answering_after(mut self, millis: u64) -> Run {
        self.latency = Duration::from_millis(millis);
        self
    }

    /// Takes permits as early as it can until all are used, or none can be had any more.
    pub fn arrivals(mut self) -> Vec<Arrival> {
        self.play();
        self.arrivals
    }

    /// Takes permits as early as it can, as [`Run::arrivals`] does. Gives the time from the first
    /// permit to the last answer's head.
    pub fn makespan(mut self) -> Duration {
        self.play();
        self.now.since(START)
    }

    fn play(&mut self) {
        loop {
            let next_event = self.next_event();
            match self.try_take() {
                Some(Availability::Now) => {}
                Some(Availability::At(time)) if next_event.is_none_or(|event| time < event) => {
                    self.now = time;
                }
                _ if next_event.is_some() => self.happen(),
                _ => return,
            }
        }
    }

    /// When something happens next to an attempt.
    pub fn next_event(&self) -> Option<Time> {
        self.events.peek().map(|Reverse((time, ..))| *time)
    }

    /// None if nothing more is wanted, or can be before an answer.
    pub fn try_take(&mut self) -> Option<Availability> {
        while self.wants_another() {
            let wish = self.wish();
            self.waiting.push(wish);
        }
        let (mut first, mut blocked) = (None, HashSet::new());
        for place in 0..self.waiting.len() {
            if !blocked.insert(self.waiting[place].2) {
                continue;
            }
            match self.try_to_take(place) {
                Availability::Now => return Some(Availability::Now),
                Availability::Never => {
                    self.to_take = 0;
                    self.waiting.clear();
                    return None;
                }
                when => first = first.into_iter().chain([when]).min(),
            }
        }
        first
    }

    fn wants_another(&self) -> bool {
        let has_room = match self.world.at_once {
            0 => self.waiting.is_empty(),
            at_once => self.waiting.len() + self.open < at_once,
        };
        has_room && self.waiting.len() < self.to_take as usize
    }

    fn try_to_take(&mut self, place: usize) -> Availability {
        let taken = match self.limits.take(self.clock(), &self.waiting[place].0) {
            Ok(taken) => taken,
            Err(blocked) => {
                return match blocked.when {
                    Availability::At(time) => Availability::At(self.real(time)),
                    when => when,
                };
            }
        };
        let (ask, true_units, key) = self.waiting.remove(place);
        (self.to_take, self.open) = (self.to_take - 1, self.open + 1);
        let (attempt, sent) = (self.attempts.len(), self.now);
        self.attempts.push(Attempt { ask, taken, sent, true_units, key, done: false });
        let connected = self.later(self.world.connect);
        self.push(connected, attempt, Event::Send);
        Availability::Now
    }

    /// What the next row asks, what it will turn out to cost, and its key.
    fn wish(&mut self) -> Wish {
        let reserved = self.random.random_range(1..=self.world.costs.max(1));
        let true_cost = self.random.random_range(1..=reserved);
        let key = self.random.random_range(0..self.world.keys.max(1));
        let asked = if self.bug == Bug::CostsOne { 1 } else { reserved };
        let named = if self.bug == Bug::ForgetsKeys { self.attempts.len() } else { key };
        let keys = (self.world.keys > 0).then(|| named.to_string().into());
        (Cost::new([1, asked], keys), vec![1, true_cost], key)
    }

    /// The next event happens.
    pub fn happen(&mut self) {
        let Some(Reverse((time, attempt, event))) = self.events.pop() else {
            return;
        };
        self.now = self.now.max(time);
        match event {
            Event::Send => self.send(attempt),
            Event::Acked => self.tell(attempt, |limits, now, a| {
                limits.acked(now, &a.ask, &mut a.taken);
            }),
            Event::Head(outcome) => self.head(attempt, outcome),
            Event::Finished => self.finish(attempt),
        }
    }

    fn send(&mut self, attempt: usize) {
        let (now, clock) = (self.now, self.clock());
        let a = &mut self.attempts[attempt];
        a.sent = clock;
        let may_send = self.limits.may_send(clock, &a.ask, &mut a.taken);
        if !may_send && self.bug != Bug::SendsLate {
            (self.to_take, self.open) = (self.to_take + 1, self.open - 1);
            a.done = true;
            self.limits.ended(clock, &a.ask, &mut a.taken, End::Returned);
            self.limits.finished(clock, &a.ask, &mut a.taken);
            return;
        }
        self.limits.sent(clock, &a.ask, &mut a.taken);
        if self.bug == Bug::SettlesBeforeSending {
            self.limits.settle(clock, &a.ask, &mut a.taken, 1, 1);
        }
        if self.random.random_bool(self.world.unsent) {
            return self.push(now, attempt, Event::Head(Outcome::Unsent));
        }
        if self.random.random_bool(self.world.lost) {
            return self.lose(attempt);
        }
        let there = self.later(self.world.there);
        let arrival = self.take_in(attempt, there);
        if self.world.acks && self.random.random_bool(0.9) {
            let acked = there.after(self.up_to(self.world.there / 4));
            self.push(acked, attempt, Event::Acked);
        }
        let heavy = self.world.heavy && self.random.random_bool(0.02);
        let back = if heavy { 8_000 } else { self.world.back };
        let head = arrival.after(self.latency).after(self.up_to(back));
        let end = head.after(self.up_to(self.world.body));
        self.arrive(attempt, arrival, end);
        let refused = self.random.random_bool(self.world.refused);
        let outcome = if refused {
            Outcome::Refused(self.random.random_range(0..3_000))
        } else {
            Outcome::Answered
        };
        match self.bug {
            Bug::AnsweredWhenSent => self.push(now, attempt, Event::Head(outcome)),
            Bug::AckedWhenSent => {
                self.push(now, attempt, Event::Acked);
                self.push(head, attempt, Event::Head(outcome));
            }
            _ => self.push(head, attempt, Event::Head(outcome)),
        }
        let finished = if self.bug == Bug::FinishedAtHead { head } else { end };
        self.push(finished.max(head), attempt, Event::Finished);
        if refused && self.bug == Bug::RetriesWithoutPermit {
            self.arrive(attempt, head, head);
        }
    }

    /// When the server's program has taken in what its network stack has then.
    fn take_in(&mut self, attempt: usize, there: Time) -> Time {
        let (micros, unknown) = self.world.takes_in;
        if attempt < unknown {
            self.busy = self.busy.max(there).after(Duration::from_micros(micros));
        }
        self.busy.max(there)
    }

    /// Given up after a while, it still arrives until linger has passed, or never.
    fn lose(&mut self, attempt: usize) {
        let given_up = self.later(5_000);
        if self.random.random_bool(0.7) {
            let latest = given_up.after(LINGER);
            let late = self.now.after(self.up_to(35_000)).min(latest);
            self.arrive(attempt, late, latest);
        }
        self.push(given_up, attempt, Event::Head(Outcome::Lost));
        self.push(given_up, attempt, Event::Finished);
    }

    fn arrive(&mut self, attempt: usize, at: Time, until: Time) {
        let nanos = |time: Time| time.since(Time::ZERO).as_nanos() as u64;
        let a = &self.attempts[attempt];
        self.arrivals.push(Arrival {
            at: nanos(at),
            until: nanos(until),
            units: a.true_units.clone(),
            key: a.key,
        });
    }

    fn head(&mut self, attempt: usize, outcome: Outcome) {
        let random = self.random.random_bool(0.02);
        let bug = self.bug;
        let resets = self.world.resets;
        self.tell(attempt, |limits, now, a| {
            let (ask, taken) = (&a.ask, &mut a.taken);
            let end = match (outcome, bug) {
                (_, Bug::ReturnsSome) if random => End::Returned,
                (Outcome::Lost, Bug::LostCountsAsAnswered) => End::Answered,
                (Outcome::Lost, Bug::LostComesBack) => End::Returned,
                (Outcome::Refused(_), Bug::RefusedComesBack) => End::Returned,
                (Outcome::Lost, _) => End::Lost,
                (Outcome::Unsent, _) => End::Returned,
                (Outcome::Answered, _) => End::Answered,
                (Outcome::Refused(pause), _) => {
                    let pause = (pause > 0).then(|| Duration::from_millis(pause));
                    limits.refused(now, ask, taken, a.sent, pause, 0.5);
                    return;
                }
            };
            limits.ended(now, ask, taken, end);
            if let Some(period) = resets.filter(|_| outcome == Outcome::Answered) {
                // A server whose clock is ours, and which answered just now.
                let nanos = now.since(Time::ZERO).as_nanos() as u64;
                let reset = Duration::from_nanos(period - nanos % period);
                let said = RateLimitInfo { reset: Some(reset), ..RateLimitInfo::default() };
                limits.learn(now, ask, taken, Some(0), said);
            }
        });
        if outcome == Outcome::Unsent {
            self.finish(attempt);
        }
    }

    fn finish(&mut self, attempt: usize) {
        if !std::mem::replace(&mut self.attempts[attempt].done, true) {
            self.open -= 1;
            self.tell(attempt, |limits, now, a| {
                let cost = a.true_units[1];
                limits.settle(now, &a.ask, &mut a.taken, 1, cost);
                limits.finished(now, &a.ask, &mut a.taken);
            });
        }
    }

    fn tell(&mut self, attempt: usize, event: impl FnOnce(&mut LimitSet, Time, &mut Attempt)) {
        let clock = self.clock();
        let a = &mut self.attempts[attempt];
        event(&mut self.limits, clock, a);
    }

    /// What our clock says now.
    pub fn clock(&self) -> Time {
        match self.bug {
            Bug::FastClock => Time::ZERO.after(self.now.since(Time::ZERO).mul_f64(1.02)),
            _ => self.now.before(self.started),
        }
    }

    /// When our clock will say that.
    fn real(&self, clock: Time) -> Time {
        match self.bug {
            Bug::FastClock => {
                let real = clock.since(Time::ZERO).div_f64(1.02);
                Time::ZERO.after(real + Duration::from_micros(1))
            }
            _ => clock.after(self.started),
        }
    }

    fn push(&mut self, time: Time, attempt: usize, event: Event) {
        self.events.push(Reverse((time, attempt, event)));
    }

    fn later(&mut self, most: u64) -> Time {
        self.now.after(self.up_to(most))
    }

    fn up_to(&mut self, millis: u64) -> Duration {
        Duration::from_micros(self.random.random_range(0..=millis * 1_000))
    }
}
