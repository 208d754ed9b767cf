//! The limits of an account as the value of a store that compares versions. Pure: readings of the
//! store are arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quota::clocks::{ClockReading, ClockSnapshot, signed};
use crate::quota::remote::account::{AccountLimits, LimitBalance, Outdated, StoreMemory};
use crate::quota::remote::ledger::LedgerError;
use crate::quota::remote::message::{AccountRequests, Answer, Exchange, Request};
use crate::quota::terms::Quota;
use crate::time::Time;

/// What a store says of itself whenever values are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStart {
    /// The id of its memory: one with another id may have forgotten something.
    pub memory: String,
    /// The time since which nothing was forgotten, in microseconds since 1970 by its clock.
    pub since: u64,
    /// The time now, by its clock.
    pub now: u64,
}

/// The value of an account.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct AccountValue {
    /// The id of the memory that it was written in.
    memory: String,
    limits: AccountLimits,
}

/// A value that can't be read.
#[derive(Debug)]
pub struct Unreadable(serde_json::Error);

/// Time for which a value is kept beside that for which its units count: runs come back later.
const KEPT: Duration = Duration::from_secs(600);

impl StoreStart {
    /// The store's clock as the arithmetic has it: it begins with the memory.
    fn clocks(&self) -> ClockSnapshot {
        let up = self.now.saturating_sub(self.since);
        ClockSnapshot {
            time: Time::ZERO.after(Duration::from_micros(up)),
            clock: ClockReading {
                wall: signed(self.now),
                up: signed(up),
                boot: Some(self.memory.clone()),
            },
        }
    }
}

impl AccountValue {
    /// The value with this text; an empty one is that of an account that has none.
    ///
    /// # Errors
    /// It is none, or one of another version.
    pub fn parse(text: &[u8]) -> Result<AccountValue, Unreadable> {
        if text.is_empty() {
            return Ok(AccountValue::default());
        }
        serde_json::from_slice(text).map_err(Unreadable)
    }

    /// The text of the value.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        // Maps with texts as keys can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Carries out the requests of one exchange that are of this account.
    ///
    /// # Errors
    /// The exchange is outdated.
    pub fn exchange(
        &mut self,
        start: &StoreStart,
        run: &str,
        sequence: u64,
        requests: &[(&Request, Quota)],
    ) -> Result<Vec<Answer>, Outdated> {
        self.remember(start);
        let memory = StoreMemory::SinceStart;
        self.limits.exchange(&start.clocks(), memory, run, sequence, requests)
    }

    /// What is left of each limit.
    #[must_use]
    pub fn balances(mut self, start: &StoreStart) -> Vec<LimitBalance> {
        self.remember(start);
        self.limits.balances(&start.clocks())
    }

    /// Forgets what another memory knew: this one may have lost what came after it.
    fn remember(&mut self, start: &StoreStart) {
        if self.memory != start.memory {
            *self = AccountValue { memory: start.memory.clone(), ..AccountValue::default() };
        }
    }
}

/// The text of an account's value after an exchange, whose answers are noted; none if it changes
/// nothing.
///
/// # Errors
/// The value can't be read, or the exchange is outdated.
pub fn changed_text(
    start: &StoreStart,
    exchange: &Exchange,
    of_account: &AccountRequests<'_>,
    text: &[u8],
    answers: &mut [Answer],
) -> Result<Option<Vec<u8>>, LedgerError> {
    let AccountRequests { account, indexes, requests } = of_account;
    let mut value = parse(account, text)?;
    let own = value.exchange(start, &exchange.run, exchange.sequence, requests);
    let own = own.map_err(|why| LedgerError::refused(why.to_string()))?;
    for (index, answer) in indexes.iter().zip(own) {
        answers[*index] = answer;
    }
    Ok(Some(value.text()).filter(|new| new != text))
}

/// The value of an account with this text.
///
/// # Errors
/// It can't be read.
pub fn parse(account: &str, text: &[u8]) -> Result<AccountValue, LedgerError> {
    AccountValue::parse(text)
        .map_err(|why| LedgerError::refused(format!("the limits of {account}: {why}")))
}

/// Time for which the value has to be kept after an exchange with these requests.
#[must_use]
pub fn kept<'a>(requests: impl IntoIterator<Item = &'a Quota>) -> Duration {
    requests.into_iter().map(Quota::longest_use).max().unwrap_or_default() + KEPT
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "another version of throng has written it: {}", self.0)
    }
}

/// Tells whether a store's clock was set forward, by the clock of this machine.
#[derive(Debug, Default)]
pub struct ClockWatch {
    last: Option<(StoreStart, Time)>,
}

/// Time by which a store's clock may be ahead of this machine's.
const AHEAD: Duration = Duration::from_millis(20);
/// Part of the time between two readings by which it may be, since clocks are adjusted.
const DRIFT: u32 = 1_000;

impl ClockWatch {
    /// Notes a reading that was asked for at `asked` and answered at `answered`. Gives false if
    /// the store's clock was set forward since the reading before.
    pub fn holds(&mut self, start: &StoreStart, asked: Time, answered: Time) -> bool {
        let last = self.last.replace((start.clone(), asked));
        let Some((last, before)) = last.filter(|(last, _)| last.memory == start.memory) else {
            return true;
        };
        let longest = answered.since(before);
        let passed = Duration::from_micros(start.now.saturating_sub(last.now));
        passed <= longest + longest / DRIFT + AHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(memory: &str, since: u64, now: u64) -> StoreStart {
        StoreStart { memory: memory.to_owned(), since, now }
    }

    fn request(wanted: u64) -> Request {
        Request {
            account: "a".into(),
            limit: "5/1s".into(),
            wanted,
            linger: Some(0.0),
            ..Request::default()
        }
    }

    fn ask(value: &mut AccountValue, start: &StoreStart, sequence: u64, wanted: u64) -> u64 {
        let request = request(wanted);
        let requests = [(&request, request.quota().unwrap())];
        value.exchange(start, "run", sequence, &requests).unwrap()[0].units
    }

    #[test]
    fn a_memory_that_has_begun_long_ago_has_all_units_and_a_new_one_has_none() {
        let second = 1_000_000;
        let mut old = AccountValue::default();
        assert_eq!(ask(&mut old, &start("a", 0, 10 * second), 1, 5), 5);
        let mut new = AccountValue::parse(&old.text()).unwrap();
        // Another memory: what the first one knew counts as used, and for as long as what was
        // leased then may arrive.
        let since = 11 * second;
        assert_eq!(ask(&mut new, &start("b", since, since), 2, 5), 0);
        assert_eq!(ask(&mut new, &start("b", since, since + 2 * second), 3, 5), 0);
        assert_eq!(ask(&mut new, &start("b", since, since + 4 * second), 4, 5), 5);
    }

    #[test]
    fn a_repeated_exchange_has_its_answer_and_changes_nothing() {
        let (mut value, now) = (AccountValue::default(), start("a", 0, 10_000_000));
        assert_eq!(ask(&mut value, &now, 7, 3), 3);
        let text = value.text();
        let mut again = AccountValue::parse(&text).unwrap();
        assert_eq!(ask(&mut again, &start("a", 0, 20_000_000), 7, 3), 3);
        assert_eq!(again.text(), text);
        assert!(AccountValue::parse(b"{}").is_err());
    }

    #[test]
    fn a_clock_that_is_set_forward_is_seen_and_a_slow_answer_is_none() {
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        let read = |millis: u64| start("a", 0, 5_000_000 + millis * 1_000);
        let mut watch = ClockWatch::default();
        assert!(watch.holds(&read(0), at(0), at(1)));
        assert!(watch.holds(&read(1_000), at(1_000), at(1_001)));
        // The store stood still.
        assert!(watch.holds(&read(9_000), at(1_500), at(9_001)));
        assert!(watch.holds(&read(8_000), at(10_000), at(10_001)), "set back: the store sees it");
        assert!(!watch.holds(&read(9_200), at(11_000), at(11_001)));
        assert!(watch.holds(&start("b", 0, 99_000_000), at(11_002), at(11_003)), "another memory");
    }
}
