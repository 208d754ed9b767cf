//! The judge: counts arrivals, admits or refuses them, and tells afterwards.
//!
//! It is pure: the instant is an argument, given as the time since any fixed
//! start, and must not go backwards.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::account::{Count, LimitAccount, Refused, arrive};
use crate::limits::ServerLimits;
use crate::request::each_symbol;

/// So many symbols are counted one by one.
const SYMBOLS: usize = 200_000;

/// What the judge has seen since the start or the last reset.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Requests that arrived, whatever became of them.
    pub requests: u64,
    /// Answers by kind: a status such as `200`, the name of a [`Fault`], or
    /// `gone` if the client did not wait for the answer.
    pub answers: BTreeMap<String, u64>,
    /// Answers with 429 because of the limit; also among the `answers`.
    pub refused: u64,
    /// Those of them that were not taken because their client is banned.
    #[serde(default)]
    pub banned: u64,
    /// How full the windows of the limits ever were, for the busiest key.
    pub windows: Vec<WindowCount>,
    /// Arrivals by symbol; one request may ask for several.
    pub symbols: BTreeMap<String, u64>,
    /// Whether there were more than 200,000 symbols: no new ones were added.
    pub symbols_truncated: bool,
    /// The most requests between their arrival and the end of their answer.
    pub most_in_flight: u64,
    /// Seconds between the first and the last arrival.
    pub seconds: f64,
}

/// How much arrived in the fullest window of a limit's period.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WindowCount {
    /// The limit as it is written, such as `sliding:22/5s`.
    pub limit: String,
    /// How much it admits.
    pub units: u32,
    /// The most that arrived in any half-open window of the period's length, or
    /// was in flight, admitted or not.
    pub most: u64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequestKind {
    /// Answered, without any fault.
    Status(u16),
    /// Spoilt.
    Fault(Fault),
    /// The client did not wait for the answer.
    Gone,
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestKind::Status(status) => write!(f, "{status}"),
            RequestKind::Fault(fault) => write!(f, "{fault}"),
            RequestKind::Gone => f.write_str("gone"),
        }
    }
}

/// What the judge says about an arrival.
pub(crate) struct Admission {
    /// To be given back when the request leaves.
    pub stay: Stay,
    /// Whether the limits admit it, or else why not.
    pub admitted: Result<(), Refused>,
    /// What the limits could tell.
    pub counts: Vec<Count>,
}

/// A request that has arrived and not left.
#[derive(Debug)]
pub(crate) struct Stay {
    round: u64,
    keys: Vec<String>,
    admitted: bool,
}

/// Who arrives: whose limits count, and what the request asks for.
#[derive(Debug, Default)]
pub(crate) struct Client<'a> {
    /// Who it is to those who share limits, in their order.
    pub keys: Vec<String>,
    /// What it costs of each limit; 1 if that is not said.
    pub costs: Vec<u64>,
    pub symbols: Option<&'a str>,
    pub path: &'a str,
    /// Whether the answer tells the counts.
    pub asks_counts: bool,
}

/// Counts, admits and refuses.
#[derive(Debug)]
pub(crate) struct RateJudge {
    limits: ServerLimits,
    /// What the clock said at the start, since 1970.
    clock: Duration,
    /// Counts the resets, so that an answer to a request from before the last
    /// one is not counted without its arrival.
    round: u64,
    in_flight: u64,
    record: JudgeRecord,
}

/// What a reset forgets.
#[derive(Debug, Default)]
struct JudgeRecord {
    /// Of those who share limits, by their keys.
    accounts: Vec<HashMap<String, LimitAccount>>,
    requests: u64,
    refused: u64,
    banned: u64,
    answers: BTreeMap<RequestKind, u64>,
    symbols: HashMap<String, u64>,
    symbols_truncated: bool,
    most_in_flight: u64,
    first: Option<Duration>,
    last: Duration,
}

impl RateJudge {
    pub(crate) fn new(limits: ServerLimits, clock: Duration) -> RateJudge {
        RateJudge {
            record: JudgeRecord::default(),
            limits,
            clock,
            round: 0,
            in_flight: 0,
        }
    }

    /// Counts an arrival at `now`. It is in flight until it leaves.
    pub(crate) fn arrive(&mut self, now: Duration, visitor: Client) -> Admission {
        self.in_flight += 1;
        let record = &mut self.record;
        record.most_in_flight = record.most_in_flight.max(self.in_flight);
        record.arrive(now);
        each_symbol(visitor.symbols).for_each(|symbol| record.add_symbol(symbol));
        let refusals_count = self.limits.refusals_count;
        let mut accounts: Vec<&mut LimitAccount> = self.accounts(&visitor.keys).collect();
        let admitted = arrive(&mut accounts, now, &visitor.costs, refusals_count);
        let counts = if visitor.asks_counts {
            accounts.iter_mut().flat_map(|it| it.counts(now)).collect()
        } else {
            Vec::new()
        };
        self.record.refused += u64::from(admitted.is_err());
        self.record.banned += u64::from(admitted.is_err_and(|refused| refused.banned));
        let stay = Stay {
            round: self.round,
            keys: visitor.keys,
            admitted: admitted.is_ok(),
        };
        Admission {
            stay,
            admitted,
            counts,
        }
    }

    /// Ends what `arrive` began.
    pub(crate) fn leave(&mut self, stay: &Stay, kind: RequestKind) {
        self.in_flight -= 1;
        if stay.round == self.round {
            *self.record.answers.entry(kind).or_default() += 1;
            let accounts = self.accounts(&stay.keys);
            accounts.for_each(|account| account.leave(stay.admitted));
        }
    }

    /// Those of these keys, one for each group of those who share limits.
    fn accounts(&mut self, keys: &[String]) -> impl Iterator<Item = &mut LimitAccount> {
        let (limits, clock) = (&self.limits, self.clock);
        let all = &mut self.record.accounts;
        all.resize_with(limits.shared.len(), HashMap::new);
        let all = all.iter_mut().zip(&limits.shared).enumerate();
        all.map(move |(at, (accounts, shared))| {
            let new = || {
                let of_first = LimitAccount::new(limits, &shared.places, clock);
                match (at, &limits.ban) {
                    (0, Some(ban)) => of_first.banned_by(ban, clock),
                    _ => of_first,
                }
            };
            let key = keys.get(at).cloned().unwrap_or_default();
            accounts.entry(key).or_insert_with(new)
        })
    }

    /// Forgets everything but the requests that are in flight.
    pub(crate) fn reset(&mut self) {
        self.round += 1;
        self.record = JudgeRecord {
            most_in_flight: self.in_flight,
            ..JudgeRecord::default()
        };
    }

    /// What was seen until now.
    pub(crate) fn judgement(&self) -> Judgement {
        let record = &self.record;
        let answers = record.answers.iter();
        let elapsed = record.first.map(|first| record.last - first);
        Judgement {
            requests: record.requests,
            answers: answers.map(|(kind, n)| (kind.to_string(), *n)).collect(),
            refused: record.refused,
            banned: record.banned,
            windows: self.windows(),
            symbols: record.symbols.clone().into_iter().collect(),
            symbols_truncated: record.symbols_truncated,
            most_in_flight: record.most_in_flight,
            seconds: elapsed.unwrap_or_default().as_secs_f64(),
        }
    }

    fn windows(&self) -> Vec<WindowCount> {
        let mut most = vec![0; self.limits.all.len()];
        let accounts = self.record.accounts.iter().flat_map(HashMap::values);
        for (place, of_key) in accounts.flat_map(LimitAccount::most) {
            most[place] = of_key.max(most[place]);
        }
        let limits = self.limits.all.iter().zip(most);
        limits
            .map(|(limit, most)| WindowCount {
                limit: limit.to_string(),
                units: limit.units,
                most,
            })
            .collect()
    }
}

impl JudgeRecord {
    fn arrive(&mut self, now: Duration) {
        self.requests += 1;
        self.first.get_or_insert(now);
        self.last = now;
    }

    /// Looks first: a symbol is copied only when it is new.
    fn add_symbol(&mut self, symbol: &str) {
        if let Some(count) = self.symbols.get_mut(symbol) {
            *count += 1;
        } else if self.symbols.len() < SYMBOLS {
            self.symbols.insert(symbol.to_owned(), 1);
        } else {
            self.symbols_truncated = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LimitKind, ServerLimit};

    fn judge() -> RateJudge {
        RateJudge::new(vec!["2/5s".parse().unwrap()].into(), Duration::ZERO)
    }

    fn arrive(judge: &mut RateJudge, ms: u64, symbol: &str) -> Admission {
        let visitor = Client {
            symbols: Some(symbol),
            ..Client::default()
        };
        judge.arrive(Duration::from_millis(ms), visitor)
    }

    #[test]
    fn refused_arrivals_count_for_the_most_but_not_for_the_limit() {
        let mut judge = judge();
        for ms in [0, 1000, 2000, 3000] {
            let verdict = arrive(&mut judge, ms, "A");
            assert_eq!(verdict.admitted.is_ok(), ms < 2000);
            judge.leave(&verdict.stay, RequestKind::Status(200));
        }
        assert!(arrive(&mut judge, 5000, "B").admitted.is_ok());
        let judgement = judge.judgement();
        assert_eq!((judgement.requests, judgement.refused), (5, 2));
        assert_eq!(judgement.windows[0].most, 4);
        assert_eq!(judgement.windows[0].limit, "sliding:2/5s");
        assert_eq!((judgement.symbols["A"], judgement.symbols["B"]), (4, 1));
        assert_eq!(judgement.seconds, 5.0);
        assert_eq!(judgement.most_in_flight, 1);
    }

    #[test]
    fn a_limit_of_each_key_stands_beside_one_of_all() {
        let of_tenant = ServerLimit {
            per: Some("query:tenant".parse().unwrap()),
            ..ServerLimit::new(LimitKind::Sliding, 1, Duration::from_secs(1))
        };
        let limits = vec![of_tenant, "3/5s".parse().unwrap()];
        let mut judge = RateJudge::new(limits.into(), Duration::ZERO);
        let mut admits = |ms, tenant: &str| {
            let visitor = Client {
                keys: vec![String::new(), tenant.to_owned()],
                ..Client::default()
            };
            let verdict = judge.arrive(Duration::from_millis(ms), visitor);
            verdict.admitted.map_err(|refused| refused.limit)
        };
        assert_eq!([admits(0, "a"), admits(0, "b")], [Ok(()), Ok(())]);
        assert_eq!(admits(500, "a"), Err(0));
        assert_eq!([admits(1000, "a"), admits(1000, "b")], [Ok(()), Err(1)]);
        // What one of them refuses costs nothing of the others.
        assert_eq!([admits(5000, "b"), admits(5000, "a")], [Ok(()), Ok(())]);
        let most = judge.judgement().windows;
        let most: Vec<_> = most.iter().map(|it| (&*it.limit, it.most)).collect();
        assert_eq!(most, [("sliding:1/1s", 2), ("sliding:3/5s", 5)]);
    }

    #[test]
    fn a_reset_forgets_all_but_what_is_in_flight() {
        let mut judge = judge();
        let before = arrive(&mut judge, 0, "A");
        arrive(&mut judge, 0, "A");
        judge.reset();
        judge.leave(&before.stay, RequestKind::Status(200));
        let judgement = judge.judgement();
        assert_eq!((judgement.requests, judgement.answers.len()), (0, 0));
        assert_eq!(judgement.most_in_flight, 2);
        assert!(arrive(&mut judge, 0, "A").admitted.is_ok());
    }

    #[test]
    fn symbols_are_counted_up_to_a_bound() {
        let mut judge = RateJudge::new(ServerLimits::default(), Duration::ZERO);
        for symbol in 0..=SYMBOLS {
            arrive(&mut judge, 0, &symbol.to_string());
        }
        arrive(&mut judge, 0, "0");
        let judgement = judge.judgement();
        assert_eq!(judgement.symbols.len(), SYMBOLS);
        assert_eq!(judgement.symbols["0"], 2);
        assert!(judgement.symbols_truncated);
    }

    #[test]
    fn kinds_are_counted_by_name() {
        let mut judge = judge();
        for kind in [
            RequestKind::Gone,
            RequestKind::Fault(Fault::DropMiddle),
            RequestKind::Status(404),
        ] {
            let verdict = arrive(&mut judge, 0, "A");
            judge.leave(&verdict.stay, kind);
        }
        let names: Vec<_> = judge.judgement().answers.into_keys().collect();
        assert_eq!(names, ["404", "cut", "gone"]);
    }
}
