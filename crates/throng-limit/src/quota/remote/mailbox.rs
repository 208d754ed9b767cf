//! The requests that the limiters of one run have for a store on the network, and the answers
//! to them. Pure: time is an argument.
//!
//! A limiter leaves what it tells and wants here, and finds the answer here later. One exchange
//! is on its way at a time, with the requests of all limiters; it is repeated until its answer
//! is there.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limiter::OtherSearches;
use crate::quota::leased::{LeaseReply, LeaseRequest, QuotaHandle};
use crate::quota::remote::message::{Answer, Exchange, Terms, of_millis};
use crate::quota::remote::slot::{Sent, Slot};
use crate::quota::terms::Quota;
use crate::time::Time;

/// The requests of one run's limiters.
#[derive(Debug)]
pub struct Mailbox {
    run: String,
    slots: BTreeMap<u64, Slot>,
    /// The slots that have something to send.
    news: BTreeSet<u64>,
    /// The slots that have units which their limiters don't have yet.
    unclaimed: BTreeSet<u64>,
    /// The most other runs that have shared a limit at a time, by its name.
    most_others: BTreeMap<String, u64>,
    /// The limit whose units count longest as used since the store knows nothing of the time before,
    /// and until when.
    unknown: Option<(String, Time)>,
    /// For how long all units of a limit have counted as used for that reason, or will.
    unknown_for: Duration,
    slots_made: u64,
    sequence: u64,
    on_its_way: Option<OnItsWay>,
    /// When the last exchange was sent first.
    last: Time,
    /// Why the store gives no units any more.
    failure: Option<String>,
    /// Number of exchanges, and of answers to them.
    exchanges: u64,
}

/// An exchange whose answer is not there yet.
#[derive(Debug)]
struct OnItsWay {
    sequence: u64,
    sent: Time,
    requests: Vec<Sent>,
}

/// The shortest time between two exchanges.
const SHORTEST: Duration = Duration::from_millis(5);
/// The longest time between two exchanges of which none wants units.
const LONGEST: Duration = Duration::from_millis(100);
/// Part of the time between two exchanges by which it is longer or shorter by chance, so that
/// runs which have asked at the same time don't do so again.
const SPREAD: f64 = 0.25;
/// How long a report waits for a request for units with which it can go.
const REPORTED: Duration = Duration::from_millis(50);
/// The usual time until an exchange is answered.
const ROUND_TRIP: Duration = Duration::from_millis(1);

impl Mailbox {
    /// The mailbox of a run with this name, which no other has.
    #[must_use]
    pub fn new(run: String) -> Mailbox {
        Mailbox {
            run,
            slots: BTreeMap::new(),
            news: BTreeSet::new(),
            unclaimed: BTreeSet::new(),
            most_others: BTreeMap::new(),
            unknown: None,
            unknown_for: Duration::ZERO,
            slots_made: 0,
            sequence: 0,
            on_its_way: None,
            last: Time::ZERO,
            failure: None,
            exchanges: 0,
        }
    }

    /// A place for a limiter. Gives its number.
    pub fn open(&mut self, account: String, quota: &Quota) -> u64 {
        let number = self.slots_made;
        self.slots_made += 1;
        self.slots.insert(number, Slot::new(account, quota));
        number
    }

    /// The store gives no units any more, for this reason.
    pub fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
    }

    /// Why the store gives no units any more, if so.
    pub fn failure(&self) -> Option<&String> {
        self.failure.as_ref()
    }

    /// The most other runs that have shared this limit at a time.
    pub fn most_others(&self, limit: &str) -> u64 {
        self.most_others.get(limit).copied().unwrap_or(0)
    }

    /// The limit whose units count longest as used since the store knows nothing of the time before,
    /// and for how long they do; none if none do.
    pub fn unknown(&self, now: Time) -> Option<(String, Duration)> {
        let (limit, until) = self.unknown.as_ref().filter(|(_, until)| *until > now)?;
        Some((limit.clone(), until.since(now)))
    }

    /// For how long a limit's units have counted as used since the store knew nothing of the time
    /// before.
    pub fn unknown_for(&self, now: Time) -> Duration {
        let left = self.unknown(now).map_or(Duration::ZERO, |(_, left)| left);
        self.unknown_for.saturating_sub(left)
    }

    /// Whether nothing is left to send.
    pub fn is_done(&self) -> bool {
        self.on_its_way.is_none() && self.news.is_empty()
    }

    /// What a limiter tells and wants, and what it is answered at once; and whether the next exchange
    /// may be due earlier for that.
    fn ask(&mut self, number: u64, now: Time, request: &LeaseRequest<'_>) -> (LeaseReply, bool) {
        if self.failure.is_some() {
            return (LeaseReply::Failed, false);
        }
        let open = self.slots.get_mut(&number).filter(|slot| !slot.has_ended);
        let Some(slot) = open else { return (LeaseReply::Failed, false) };
        let may_be_due = request.wanted > 0 || self.news.is_empty();
        let reply = slot.ask(now, request);
        if slot.has_news() {
            self.news.insert(number);
        }
        if slot.unclaimed == 0 {
            self.unclaimed.remove(&number);
        }
        (reply.unwrap_or_else(|| LeaseReply::Asked(self.answered(now))), may_be_due)
    }

    /// When an answer is worth asking for.
    fn answered(&self, now: Time) -> Time {
        match &self.on_its_way {
            // The longer it takes, the later.
            Some(it) => now.after((now.since(it.sent) / 4).clamp(ROUND_TRIP, LONGEST)),
            None => self.due().unwrap_or(now).max(now).after(ROUND_TRIP),
        }
    }

    /// A limiter has sent its last request.
    fn end(&mut self, number: u64) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        let is_of_slot = |sent: &Sent| sent.slot == number;
        let is_on_its_way =
            self.on_its_way.as_ref().is_some_and(|it| it.requests.iter().any(is_of_slot));
        if slot.is_known || slot.has_news() || is_on_its_way {
            slot.has_ended = true;
            self.news.insert(number);
        } else {
            self.slots.remove(&number);
        }
    }

    /// When the next exchange is to be sent; none while there is nothing to send, or while one
    /// is on its way.
    pub fn due(&self) -> Option<Time> {
        if self.on_its_way.is_some() || self.failure.is_some() {
            return None;
        }
        let news = || self.news.iter().filter_map(|slot| self.slots.get(slot));
        let wanting = || news().filter(|slot| slot.wants());
        let keys = wanting().count() as u64;
        let gap = wanting().map(|slot| slot.gap(keys)).min().unwrap_or(LONGEST);
        let soonest = self.last.after(self.spread(gap).max(SHORTEST));
        let times = news().map(|slot| {
            let posted = slot.posted.map_or(Time::ZERO, |posted| posted.time);
            let wait = if slot.wants() || slot.has_ended { Duration::ZERO } else { REPORTED };
            posted.after(wait)
        });
        let unclaimed = self.unclaimed.iter().filter_map(|slot| self.slots.get(slot));
        let first = times.chain(unclaimed.map(Slot::lease_end)).min()?;
        Some(first.max(soonest))
    }

    /// This time, or one that is longer or shorter as the name of the run and the number of the
    /// exchange say.
    fn spread(&self, gap: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.run, self.sequence).hash(&mut hasher);
        let part = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
        gap.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * part)
    }

    /// Begins an exchange with all that is to be sent. Gives false if there is nothing, or if
    /// the answer to the one before is not there.
    pub fn begin(&mut self, now: Time) -> bool {
        if self.on_its_way.is_some() {
            return false;
        }
        self.give_back(now);
        let news = std::mem::take(&mut self.news).into_iter();
        let take = |number: u64| Some(self.slots.get_mut(&number)?.take(number, now));
        let requests: Vec<Sent> = news.filter_map(take).collect();
        if requests.is_empty() {
            return false;
        }
        self.sequence += 1;
        self.last = now;
        self.on_its_way = Some(OnItsWay { sequence: self.sequence, sent: now, requests });
        true
    }

    /// Gives back what no limiter has claimed while its lease went on.
    fn give_back(&mut self, now: Time) {
        for number in std::mem::take(&mut self.unclaimed) {
            match self.slots.get_mut(&number) {
                Some(slot) if slot.lease_end() <= now => {
                    slot.unclaimed = 0;
                    self.news.insert(number);
                }
                Some(_) => drop(self.unclaimed.insert(number)),
                None => {}
            }
        }
    }

    /// The exchange that is on its way, with the ages that all times have now.
    pub fn exchange(&self, now: Time) -> Option<Exchange> {
        let on_its_way = self.on_its_way.as_ref()?;
        let request = |sent: &Sent| self.slots.get(&sent.slot).map(|slot| slot.request(sent, now));
        Some(Exchange {
            run: self.run.clone(),
            sequence: on_its_way.sequence,
            requests: on_its_way.requests.iter().filter_map(request).collect(),
        })
    }

    /// Takes the answers to the exchange with this number; those to another are ignored.
    pub fn receive(&mut self, sequence: u64, answers: &[Answer], now: Time) {
        let is_due =
            |it: &mut OnItsWay| it.sequence == sequence && it.requests.len() == answers.len();
        let Some(on_its_way) = self.on_its_way.take_if(is_due) else { return };
        self.exchanges += 1;
        for (sent, answer) in on_its_way.requests.iter().zip(answers) {
            if let Some(slot) = self.slots.get_mut(&sent.slot) {
                slot.receive(on_its_way.sent, sent.posted.wanted, *answer, now);
                if slot.unclaimed > 0 {
                    self.unclaimed.insert(sent.slot);
                }
                let most = self.most_others.entry(slot.quota.name.clone()).or_default();
                *most = answer.others.max(*most);
                let until = answer.unknown.map(|unknown| now.after(of_millis(unknown)));
                let known = self.unknown.as_ref().map(|(_, until)| *until);
                if let Some(until) = until.filter(|until| Some(*until) > known) {
                    self.unknown_for += until.since(known.map_or(now, |known| known.max(now)));
                    self.unknown = Some((slot.quota.name.clone(), until));
                }
            }
            if sent.ends {
                self.slots.remove(&sent.slot);
            }
        }
    }

    /// Number of exchanges that were answered.
    pub fn exchanges(&self) -> u64 {
        self.exchanges
    }
}

/// The handle of one limiter.
#[derive(Debug)]
pub struct MailboxHandle {
    mailbox: Arc<Mutex<Mailbox>>,
    slot: u64,
    /// Called when there is something to send.
    on_post: Option<Arc<dyn Notify>>,
}

/// Is told that there is something to send.
pub trait Notify: std::fmt::Debug + Send + Sync {
    /// There is.
    fn notify(&self);
}

impl MailboxHandle {
    /// A handle of this limit.
    pub fn new(
        mailbox: &Arc<Mutex<Mailbox>>,
        account: String,
        quota: &Quota,
        on_post: Option<Arc<dyn Notify>>,
    ) -> MailboxHandle {
        let slot = locked(mailbox).open(account, quota);
        MailboxHandle { mailbox: mailbox.clone(), slot, on_post }
    }

    fn with_slot<T>(&self, act: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        locked(&self.mailbox).slots.get_mut(&self.slot).map(act)
    }

    fn notify(&self) {
        if let Some(on_post) = &self.on_post {
            on_post.notify();
        }
    }
}

/// The mailbox, for as long as the guard lives.
pub fn locked(mailbox: &Mutex<Mailbox>) -> MutexGuard<'_, Mailbox> {
    mailbox.lock().unwrap_or_else(PoisonError::into_inner)
}

impl QuotaHandle for MailboxHandle {
    fn exchange(&mut self, now: Time, request: &LeaseRequest<'_>) -> LeaseReply {
        let (reply, may_be_due) = locked(&self.mailbox).ask(self.slot, now, request);
        if may_be_due {
            self.notify();
        }
        reply
    }

    fn leased_from(&self, _now: Time) -> Time {
        self.with_slot(|slot| slot.leased_from).unwrap_or(Time::ZERO)
    }

    fn paused_until(&self) -> Time {
        self.with_slot(|slot| slot.paused).unwrap_or(Time::ZERO)
    }

    fn takes_back(&self) -> bool {
        false
    }

    fn gathers(&self) -> bool {
        true
    }

    fn others_lease(&self) -> bool {
        self.with_slot(|slot| slot.last.others_lease).unwrap_or(false)
    }

    fn other_searches(&self) -> OtherSearches {
        self.with_slot(|slot| slot.last.searches).unwrap_or_default()
    }

    fn allow(&mut self, units: u64) {
        self.with_slot(|slot| {
            slot.quota.set_units(units);
            slot.terms = Terms::of(&slot.quota);
        });
    }

    fn close(&mut self) -> bool {
        locked(&self.mailbox).end(self.slot);
        self.notify();
        true
    }
}

impl Drop for MailboxHandle {
    fn drop(&mut self) {
        self.close();
    }
}
