//! The judge: counts arrivals, admits or refuses them, and reports the counts.
//!
//! It is pure: the instant is an argument, the time since any fixed start, and
//! must not go backwards.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Fault;
use crate::account::{Count, LimitAccount, Refused, arrive};
use crate::limit::ServerLimits;
use crate::request::each_symbol;

/// Maximum number of symbols that are counted one by one.
const SYMBOLS: usize = 200_000;

/// The judge's counts since the start or the last reset.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Requests that arrived, answered or not.
    pub requests: u64,
    /// Answers by kind: a status such as `200`, the name of a [`Fault`], or
    /// `gone` if the client did not wait for the answer.
    pub answers: BTreeMap<String, u64>,
    /// Answers with 429 because of the limit; also among the `answers`.
    pub refused: u64,
    /// Refusals because the client is banned; also among the `refused`.
    #[serde(default)]
    pub banned: u64,
    /// The fullest window of each limit, for its busiest key.
    pub windows: Vec<WindowCount>,
    /// Arrivals by symbol; a request can have several.
    pub symbols: BTreeMap<String, u64>,
    /// Whether there were more than 200,000 symbols: no new ones were added.
    pub symbols_truncated: bool,
    /// The most requests at once between arrival and end of the answer.
    pub most_in_flight: u64,
    /// Seconds between the first and the last arrival.
    pub seconds: f64,
    /// The completions that were made, and their tokens, as a bill would have them.
    #[serde(default)]
    pub usage: TokenUsage,
}

/// Completions and their tokens.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Number of completions.
    pub answers: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of their texts.
    pub completion_tokens: u64,
    /// Tokens of both.
    pub total_tokens: u64,
}

/// The units that arrived in the fullest window of a limit's period.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WindowCount {
    /// The limit in its text form, such as `sliding:22/5s`.
    pub limit: String,
    /// The units that the limit admits.
    pub units: u32,
    /// The most units that arrived in any half-open window of the period's length,
    /// or were in flight, admitted or not.
    pub most: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequestKind {
    /// Answered with this status, without a fault.
    Status(u16),
    /// Answered with this fault.
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

/// The facts about an arrival that its answer can report.
#[derive(Debug)]
pub(crate) struct ArrivalInfo {
    /// The time on the server's clock, since 1970.
    pub clock: Duration,
    /// Whether the limits admit it, or the reason of the refusal.
    pub admitted: Result<(), Refused>,
    /// The state of each limit.
    pub counts: Vec<Count>,
}

/// A request that has arrived and is not answered; passed to `finish` when it ends.
#[derive(Debug)]
pub(crate) struct InFlightRequest {
    resets: u64,
    keys: Vec<String>,
    admitted: bool,
}

/// The client of a request, its costs and its symbols.
#[derive(Debug, Default)]
pub(crate) struct Client<'a> {
    /// The client's key in each group of shared limits.
    pub keys: Vec<String>,
    /// The request's units for each limit; 1 if absent.
    pub costs: Vec<u64>,
    pub symbols: Option<&'a str>,
    pub path: &'a str,
    /// Whether the answer reports the counts.
    pub wants_counts: bool,
}

/// Counts requests, and admits or refuses them.
#[derive(Debug)]
pub(crate) struct RateJudge {
    limits: ServerLimits,
    /// The time on the server's clock at the start, since 1970.
    clock: Duration,
    /// Number of resets. A request from before the last one is not counted when
    /// it is answered.
    resets: u64,
    in_flight: u64,
    record: JudgeRecord,
}

/// The counts that a reset clears.
#[derive(Debug, Default)]
struct JudgeRecord {
    /// The accounts of each group of shared limits, by their keys.
    accounts: Vec<HashMap<String, LimitAccount>>,
    requests: u64,
    refused: u64,
    banned: u64,
    answers: BTreeMap<RequestKind, u64>,
    symbols: HashMap<String, u64>,
    symbols_truncated: bool,
    most_in_flight: u64,
    usage: TokenUsage,
    first: Option<Duration>,
    last: Duration,
}

impl RateJudge {
    pub(crate) fn new(limits: ServerLimits, clock: Duration) -> RateJudge {
        RateJudge { record: JudgeRecord::default(), limits, clock, resets: 0, in_flight: 0 }
    }

    /// Counts an arrival at `now`. The request is in flight until `finish`.
    pub(crate) fn arrive(
        &mut self,
        now: Duration,
        client: Client,
    ) -> (InFlightRequest, ArrivalInfo) {
        self.in_flight += 1;
        let record = &mut self.record;
        record.most_in_flight = record.most_in_flight.max(self.in_flight);
        record.arrive(now);
        each_symbol(client.symbols).for_each(|symbol| record.add_symbol(symbol));
        let refusals_count = self.limits.refusals_count;
        let mut accounts: Vec<&mut LimitAccount> = self.accounts(&client.keys).collect();
        let admitted = arrive(&mut accounts, now, &client.costs, refusals_count);
        let counts = if client.wants_counts {
            accounts.iter_mut().flat_map(|it| it.counts(now)).collect()
        } else {
            Vec::new()
        };
        self.record.refused += u64::from(admitted.is_err());
        self.record.banned += u64::from(admitted.is_err_and(|refused| refused.banned));
        let in_flight_request =
            InFlightRequest { resets: self.resets, keys: client.keys, admitted: admitted.is_ok() };
        (in_flight_request, ArrivalInfo { clock: self.clock + now, admitted, counts })
    }

    /// Counts the end of a request that arrived.
    pub(crate) fn finish(&mut self, in_flight_request: &InFlightRequest, kind: RequestKind) {
        self.in_flight -= 1;
        if in_flight_request.resets == self.resets {
            *self.record.answers.entry(kind).or_default() += 1;
            let accounts = self.accounts(&in_flight_request.keys);
            accounts.for_each(|account| account.finish(in_flight_request.admitted));
        }
    }

    /// Counts the tokens of a completion.
    pub(crate) fn bill(&mut self, in_flight_request: &InFlightRequest, usage: TokenUsage) {
        if in_flight_request.resets == self.resets {
            let sum = &mut self.record.usage;
            sum.answers += usage.answers;
            sum.prompt_tokens += usage.prompt_tokens;
            sum.completion_tokens += usage.completion_tokens;
            sum.total_tokens += usage.total_tokens;
        }
    }

    /// The account of each key, one for each group of shared limits.
    fn accounts(&mut self, keys: &[String]) -> impl Iterator<Item = &mut LimitAccount> {
        let (limits, clock) = (&self.limits, self.clock);
        let all = &mut self.record.accounts;
        all.resize_with(limits.shared.len(), HashMap::new);
        let all = all.iter_mut().zip(&limits.shared).enumerate();
        all.map(move |(at, (accounts, shared))| {
            let new = || {
                let of_first = LimitAccount::new(limits, &shared.indices, clock);
                match (at, &limits.ban) {
                    (0, Some(ban)) => of_first.banned_by(ban, clock),
                    _ => of_first,
                }
            };
            let key = keys.get(at).cloned().unwrap_or_default();
            accounts.entry(key).or_insert_with(new)
        })
    }

    /// Clears everything but the requests in flight.
    pub(crate) fn reset(&mut self) {
        self.resets += 1;
        self.record = JudgeRecord { most_in_flight: self.in_flight, ..JudgeRecord::default() };
    }

    /// The counts until now.
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
            usage: record.usage,
        }
    }

    fn windows(&self) -> Vec<WindowCount> {
        let mut most = vec![0; self.limits.all.len()];
        let accounts = self.record.accounts.iter().flat_map(HashMap::values);
        for (index, of_key) in accounts.flat_map(LimitAccount::most) {
            most[index] = of_key.max(most[index]);
        }
        let limits = self.limits.all.iter().zip(most);
        limits
            .map(|(limit, most)| WindowCount { limit: limit.to_string(), units: limit.units, most })
            .collect()
    }
}

impl JudgeRecord {
    fn arrive(&mut self, now: Duration) {
        self.requests += 1;
        self.first.get_or_insert(now);
        self.last = now;
    }

    /// Counts a symbol. It is copied only when it is new.
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

    fn arrive(judge: &mut RateJudge, ms: u64, symbol: &str) -> (InFlightRequest, bool) {
        let client = Client { symbols: Some(symbol), ..Client::default() };
        let (request, info) = judge.arrive(Duration::from_millis(ms), client);
        (request, info.admitted.is_ok())
    }

    #[test]
    fn refused_arrivals_count_for_the_fullest_window_but_not_for_the_limit() {
        let mut judge = judge();
        for ms in [0, 1000, 2000, 3000] {
            let (request, admitted) = arrive(&mut judge, ms, "A");
            assert_eq!(admitted, ms < 2000);
            judge.finish(&request, RequestKind::Status(200));
        }
        assert!(arrive(&mut judge, 5000, "B").1);
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
            partition: Some("query:tenant".parse().unwrap()),
            ..ServerLimit::new(LimitKind::SLIDING, 1, Duration::from_secs(1))
        };
        let limits = vec![of_tenant, "3/5s".parse().unwrap()];
        let mut judge = RateJudge::new(limits.into(), Duration::ZERO);
        let mut admits = |ms, tenant: &str| {
            let client =
                Client { keys: vec![String::new(), tenant.to_owned()], ..Client::default() };
            let (_, info) = judge.arrive(Duration::from_millis(ms), client);
            info.admitted.map_err(|refused| refused.limit)
        };
        assert_eq!([admits(0, "a"), admits(0, "b")], [Ok(()), Ok(())]);
        assert_eq!(admits(500, "a"), Err(0));
        assert_eq!([admits(1000, "a"), admits(1000, "b")], [Ok(()), Err(1)]);
        // A request that one limit refuses costs no units of the others.
        assert_eq!([admits(5000, "b"), admits(5000, "a")], [Ok(()), Ok(())]);
        let most = judge.judgement().windows;
        let most: Vec<_> = most.iter().map(|it| (&*it.limit, it.most)).collect();
        assert_eq!(most, [("sliding:1/1s", 2), ("sliding:3/5s", 5)]);
    }

    #[test]
    fn a_reset_clears_all_but_the_requests_in_flight() {
        let mut judge = judge();
        let (before, _) = arrive(&mut judge, 0, "A");
        arrive(&mut judge, 0, "A");
        judge.reset();
        judge.finish(&before, RequestKind::Status(200));
        let judgement = judge.judgement();
        assert_eq!((judgement.requests, judgement.answers.len()), (0, 0));
        assert_eq!(judgement.most_in_flight, 2);
        assert!(arrive(&mut judge, 0, "A").1);
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
        for kind in
            [RequestKind::Gone, RequestKind::Fault(Fault::DropMiddle), RequestKind::Status(404)]
        {
            let (request, _) = arrive(&mut judge, 0, "A");
            judge.finish(&request, kind);
        }
        let names: Vec<_> = judge.judgement().answers.into_keys().collect();
        assert_eq!(names, ["404", "cut", "gone"]);
    }
}
