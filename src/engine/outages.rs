//! The outages of a run: the circuit breakers of the origins that the job names, which all
//! workers share. While no origin has failed lately, an attempt reads one number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::judge::{
    Admission, Breaker, Conclusion, Judge, OriginFailure, OutageState, Standing, Suspicion, Ticket,
};
use crate::limit::Time;
use crate::send::Origin;

/// The circuit breakers of a run.
#[derive(Debug)]
pub struct Outages {
    /// Twice the number of outages that have ended, and 1 more while an origin is not well.
    state: AtomicU64,
    origins: Mutex<HashMap<Origin, WatchedOrigin>>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct WatchedOrigin {
    breaker: Breaker,
    /// The time of its outages that are over.
    was_out: Duration,
}

/// Leave for one attempt at an origin. Dropped before its outcome is told, it is given back.
pub struct Pass<'a> {
    outages: &'a Outages,
    /// The origin, unless all were well.
    origin: Option<Box<Origin>>,
    ticket: Ticket,
}

/// The reason for which an attempt has no leave yet.
#[derive(Debug)]
pub enum NoPass {
    /// It may be had then, or when something has changed.
    Wait(Option<Time>),
    /// The origin has been out for too long.
    TooLong(OutageState),
}

impl Outages {
    pub fn new() -> Outages {
        Outages {
            state: AtomicU64::new(0),
            origins: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Whether all origins are well.
    pub fn is_calm(&self) -> bool {
        self.state.load(Ordering::Acquire).is_multiple_of(2)
    }

    /// Leave without a look at the origin: either all are well, or the job does not name it.
    pub fn pass(&self) -> Pass<'_> {
        Pass { outages: self, origin: None, ticket: Ticket::of_era(self.era()) }
    }

    /// Leave for an attempt at an origin, which may be out for at most `max_wait`.
    pub fn admit(
        &self,
        origin: &Origin,
        now: Time,
        max_wait: Option<Duration>,
    ) -> Result<Pass<'_>, NoPass> {
        let mut origins = self.lock();
        let Some(watched) = origins.get_mut(origin) else {
            return Ok(self.pass());
        };
        let outage = watched.breaker.outage();
        let ends = outage.as_ref().zip(max_wait).map(|(outage, most)| outage.since.after(most));
        if let Some(outage) = outage.filter(|_| ends.is_some_and(|ends| ends <= now)) {
            return Err(NoPass::TooLong(outage));
        }
        match watched.breaker.admit(now, self.era()) {
            Admission::Go(ticket) => {
                Ok(Pass { outages: self, origin: Some(Box::new(origin.clone())), ticket })
            }
            Admission::Wait(until) => Err(NoPass::Wait(ends.into_iter().chain(until).min())),
        }
    }

    /// Whether an attempt with this leave may still be sent.
    pub fn still_admits(&self, pass: &Pass<'_>, origin: &Origin) -> bool {
        let origins = self.lock();
        origins.get(origin).is_none_or(|it| it.breaker.still_admits(pass.ticket))
    }

    /// The origin has answered an attempt.
    pub fn succeeded(&self, mut pass: Pass<'_>, origin: &Origin, now: Time) {
        pass.origin = None;
        let mut origins = self.lock();
        if let Some(watched) = origins.get_mut(origin) {
            let since = watched.breaker.outage().map(|outage| outage.since);
            let era = self.era() + 1;
            if watched.breaker.succeeded(pass.ticket, era) {
                watched.was_out += since.map_or(Duration::ZERO, |since| now.since(since));
                self.state.store(2 * era + 1, Ordering::Release);
            }
        }
        self.update(&origins);
    }

    /// An attempt has failed; `chance` lies between 0 and 1.
    pub fn failed(
        &self,
        mut pass: Pass<'_>,
        origin: &Origin,
        judge: &Judge,
        now: Time,
        failure: OriginFailure,
        chance: f64,
    ) -> Option<Standing> {
        pass.origin = None;
        let mut origins = self.lock();
        if !origins.contains_key(origin) {
            let breaker = judge.breaker()?;
            origins.insert(origin.clone(), WatchedOrigin { breaker, was_out: Duration::ZERO });
        }
        let breaker = &mut origins.get_mut(origin)?.breaker;
        let standing = breaker.failed(now, pass.ticket, failure, chance);
        self.update(&origins);
        Some(standing)
    }

    /// Whether the failures of a streak were an outage.
    pub fn decide(
        &self,
        origin: &Origin,
        suspicion: Suspicion,
        now: Time,
        chance: f64,
    ) -> Conclusion {
        let mut origins = self.lock();
        let decision = origins
            .get_mut(origin)
            .map_or(Conclusion::Passing, |it| it.breaker.decide(now, suspicion.streak, chance));
        if decision == Conclusion::Out {
            self.update(&origins);
        }
        decision
    }

    /// Notifies of changes from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The origins that are out now.
    pub fn now(&self) -> Vec<(Origin, OutageState)> {
        let origins = self.lock();
        let out = origins.iter().filter_map(|(origin, it)| Some((origin, it.breaker.outage()?)));
        out.map(|(origin, outage)| (origin.clone(), outage)).collect()
    }

    /// An origin whose last attempts have failed, and why, whether it is out or not.
    pub fn failing(&self) -> Option<(Origin, String)> {
        let origins = self.lock();
        let mut failing =
            origins.iter().filter_map(|(origin, it)| Some((origin, it.breaker.cause()?)));
        failing.next().map(|(origin, cause)| (origin.clone(), cause.to_owned()))
    }

    /// The origins that are or were out, that of the longest time first.
    pub fn origins(&self, now: Time) -> Vec<Origin> {
        let origins = self.lock();
        let times = origins.iter().map(|(origin, it)| {
            let since = it.breaker.outage().map(|outage| now.since(outage.since));
            (it.was_out + since.unwrap_or_default(), origin.clone())
        });
        let mut times: Vec<(Duration, Origin)> =
            times.filter(|(time, _)| !time.is_zero()).collect();
        times.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        times.into_iter().map(|(_, origin)| origin).collect()
    }

    fn era(&self) -> u64 {
        self.state.load(Ordering::Acquire) / 2
    }

    fn update(&self, origins: &HashMap<Origin, WatchedOrigin>) {
        let is_calm = origins.values().all(|it| it.breaker.is_calm());
        self.state.store(2 * self.era() + u64::from(!is_calm), Ordering::Release);
        self.changed.send_replace(());
    }

    fn unused(&self, origin: &Origin, ticket: Ticket) {
        let mut origins = self.lock();
        if let Some(watched) = origins.get_mut(origin) {
            watched.breaker.unused(ticket);
        }
        self.update(&origins);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, WatchedOrigin>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(origin) = self.origin.take() {
            self.outages.unused(&origin, self.ticket);
        }
    }
}
