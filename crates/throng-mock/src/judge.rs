//! The judge: counts arrivals, admits or refuses them, and tells afterwards.
//!
//! It is pure: the instant is an argument, given as the time since any fixed
//! start, and must not go backwards.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gate::{self, Gate};
use crate::window::Window;
use crate::{Fault, Limit};

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
    /// How full the windows of the limits ever were.
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

/// How many arrivals there were in the fullest window of a limit's period.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WindowCount {
    /// The limit as it is written, such as `sliding:22/5s`.
    pub limit: String,
    /// How many it admits.
    pub units: u32,
    /// The most arrivals in any half-open window of the period's length,
    /// admitted or not.
    pub most: u64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Answered, without any fault.
    Status(u16),
    /// Spoilt.
    Fault(Fault),
    /// The client did not wait for the answer.
    Gone,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Status(status) => write!(f, "{status}"),
            Kind::Fault(fault) => write!(f, "{fault}"),
            Kind::Gone => f.write_str("gone"),
        }
    }
}

/// What the judge says about an arrival.
pub(crate) struct Verdict {
    /// To be given back when the request leaves.
    pub round: u64,
    /// Whether the limits admit it, or else how long to wait.
    pub admitted: Result<(), Duration>,
}

/// Counts, admits and refuses.
#[derive(Debug)]
pub(crate) struct Judge {
    limits: Vec<Limit>,
    /// Counts the resets, so that an answer to a request from before the last
    /// one is not counted without its arrival.
    round: u64,
    in_flight: u64,
    record: Record,
}

/// What a reset forgets.
#[derive(Debug, Default)]
struct Record {
    gates: Vec<Gate>,
    windows: Vec<Window>,
    requests: u64,
    refused: u64,
    answers: BTreeMap<Kind, u64>,
    symbols: HashMap<String, u64>,
    symbols_truncated: bool,
    most_in_flight: u64,
    first: Option<Duration>,
    last: Duration,
}

impl Judge {
    pub(crate) fn new(limits: Vec<Limit>) -> Judge {
        Judge {
            record: Record::new(&limits, 0),
            limits,
            round: 0,
            in_flight: 0,
        }
    }

    /// Counts an arrival at `now`. It is in flight until it leaves.
    pub(crate) fn arrive<'a>(
        &mut self,
        now: Duration,
        symbols: impl Iterator<Item = &'a str>,
    ) -> Verdict {
        self.in_flight += 1;
        let record = &mut self.record;
        record.most_in_flight = record.most_in_flight.max(self.in_flight);
        record.arrive(now);
        symbols.for_each(|symbol| record.add_symbol(symbol));
        let admitted = gate::admit(&mut record.gates, now);
        record.refused += u64::from(admitted.is_err());
        Verdict {
            round: self.round,
            admitted,
        }
    }

    /// Ends what `arrive` began.
    pub(crate) fn leave(&mut self, round: u64, kind: Kind) {
        self.in_flight -= 1;
        if round == self.round {
            *self.record.answers.entry(kind).or_default() += 1;
        }
    }

    /// Forgets everything but the requests that are in flight.
    pub(crate) fn reset(&mut self) {
        self.round += 1;
        self.record = Record::new(&self.limits, self.in_flight);
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
            windows: self.windows(),
            symbols: record.symbols.clone().into_iter().collect(),
            symbols_truncated: record.symbols_truncated,
            most_in_flight: record.most_in_flight,
            seconds: elapsed.unwrap_or_default().as_secs_f64(),
        }
    }

    fn windows(&self) -> Vec<WindowCount> {
        let windows = self.limits.iter().zip(&self.record.windows);
        windows
            .map(|(limit, window)| WindowCount {
                limit: limit.to_string(),
                units: limit.units,
                most: window.most(),
            })
            .collect()
    }
}

impl Record {
    fn new(limits: &[Limit], in_flight: u64) -> Record {
        Record {
            gates: limits.iter().map(Gate::new).collect(),
            windows: limits.iter().map(|l| Window::new(l.period)).collect(),
            most_in_flight: in_flight,
            ..Record::default()
        }
    }

    fn arrive(&mut self, now: Duration) {
        self.requests += 1;
        self.first.get_or_insert(now);
        self.last = now;
        self.windows.iter_mut().for_each(|window| window.add(now));
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

    fn judge() -> Judge {
        Judge::new(vec!["2/5s".parse().unwrap()])
    }

    fn arrive(judge: &mut Judge, ms: u64, symbol: &str) -> Verdict {
        judge.arrive(Duration::from_millis(ms), std::iter::once(symbol))
    }

    #[test]
    fn refused_arrivals_count_for_the_most_but_not_for_the_limit() {
        let mut judge = judge();
        for ms in [0, 1000, 2000, 3000] {
            let verdict = arrive(&mut judge, ms, "A");
            assert_eq!(verdict.admitted.is_ok(), ms < 2000);
            judge.leave(verdict.round, Kind::Status(200));
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
    fn a_reset_forgets_all_but_what_is_in_flight() {
        let mut judge = judge();
        let before = arrive(&mut judge, 0, "A");
        arrive(&mut judge, 0, "A");
        judge.reset();
        judge.leave(before.round, Kind::Status(200));
        let judgement = judge.judgement();
        assert_eq!((judgement.requests, judgement.answers.len()), (0, 0));
        assert_eq!(judgement.most_in_flight, 2);
        assert!(arrive(&mut judge, 0, "A").admitted.is_ok());
    }

    #[test]
    fn symbols_are_counted_up_to_a_bound() {
        let mut judge = Judge::new(Vec::new());
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
            Kind::Gone,
            Kind::Fault(Fault::DropMiddle),
            Kind::Status(404),
        ] {
            let verdict = arrive(&mut judge, 0, "A");
            judge.leave(verdict.round, kind);
        }
        let names: Vec<_> = judge.judgement().answers.into_keys().collect();
        assert_eq!(names, ["404", "cut", "gone"]);
    }
}
