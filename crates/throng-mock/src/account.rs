//! What the judge remembers of those who share limits: of all, or of one key. Pure.

use std::time::Duration;

use crate::Limit;
use crate::gate::{self, Gate};
use crate::limit::{LimitKind, Limits, Unit};
use crate::window::Window;

/// Limits at work, and how full their windows ever were.
#[derive(Debug)]
pub(crate) struct Account {
    limits: Vec<Part>,
    /// Refused too often, one is banned.
    ban: Option<Gate>,
    banned: bool,
    /// Requests that arrived and have not left.
    here: u64,
    /// Those of them that were admitted.
    admitted: u64,
    most_here: u64,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// How long until it would be.
    pub wait: Duration,
    /// Which limit it is, in their order.
    pub limit: usize,
    /// Whether nothing of this client is admitted any more.
    pub banned: bool,
}

/// What a server could tell of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub units: u64,
    pub left: u64,
    /// How long until all of it is left.
    pub reset: Duration,
}

/// One limit.
#[derive(Debug)]
struct Part {
    limit: Limit,
    gate: Gate,
    window: Window,
}

impl Account {
    /// Nobody has been here. `clock` is what the clock said at the start, since 1970.
    pub(crate) fn new(limits: &Limits, clock: Duration) -> Account {
        let part = |limit: &Limit| Part {
            limit: *limit,
            gate: Gate::new(limit, clock),
            window: Window::new(limit.period),
        };
        Account {
            limits: limits.all.iter().map(part).collect(),
            ban: limits.ban.map(|ban| Gate::new(&ban, clock)),
            banned: false,
            here: 0,
            admitted: 0,
            most_here: 0,
        }
    }

    /// Counts an arrival that uses so many tokens, and says whether it is admitted.
    pub(crate) fn arrive(
        &mut self,
        now: Duration,
        tokens: u64,
        refusals_count: bool,
    ) -> Result<(), Refused> {
        self.here += 1;
        self.most_here = self.most_here.max(self.here);
        for part in &mut self.limits {
            part.window.add(now, part.cost(tokens));
        }
        let admitted = match self.check_room() {
            Err(full) => Err(full),
            Ok(()) => self.pass(now, tokens, refusals_count),
        };
        match admitted {
            Ok(()) if !self.banned => {
                self.admitted += 1;
                Ok(())
            }
            Ok(()) => Err(self.refuse(now, 0, Duration::ZERO)),
            Err((limit, wait)) => Err(self.refuse(now, limit, wait)),
        }
    }

    fn pass(
        &mut self,
        now: Duration,
        tokens: u64,
        refusals_count: bool,
    ) -> Result<(), (usize, Duration)> {
        let gates = self.limits.iter_mut();
        let gates = gates.map(|part| {
            let cost = part.cost(tokens);
            (&mut part.gate, cost)
        });
        let waits = gate::admit(gates, now, refusals_count);
        waits.map_err(|wait| (self.longest(now, tokens), wait))
    }

    /// Which limit takes longest to have room.
    fn longest(&mut self, now: Duration, tokens: u64) -> usize {
        let wait = |part: &mut Part| part.gate.wait_from(now, part.cost(tokens));
        let waits = self.limits.iter_mut().map(wait).enumerate();
        waits.max_by_key(|(_, wait)| *wait).map_or(0, |(at, _)| at)
    }

    fn refuse(&mut self, now: Duration, limit: usize, wait: Duration) -> Refused {
        if let Some(ban) = &mut self.ban {
            let within = gate::admit(std::iter::once((ban, 1)), now, false);
            self.banned |= within.is_err();
        }
        Refused {
            wait,
            limit,
            banned: self.banned,
        }
    }

    /// What each limit could tell.
    pub(crate) fn counts(&mut self, now: Duration) -> Vec<Count> {
        let count = |part: &mut Part| {
            let (left, reset) = part.gate.left(now);
            let units = part.limit.burst.unwrap_or(part.limit.units).into();
            Count { units, left, reset }
        };
        self.limits.iter_mut().map(count).collect()
    }

    /// Ends what `arrive` began.
    pub(crate) fn leave(&mut self, admitted: bool) {
        self.here = self.here.saturating_sub(1);
        self.admitted = self.admitted.saturating_sub(u64::from(admitted));
    }

    /// By limit, the most that it ever had to do with.
    pub(crate) fn most(&self) -> impl Iterator<Item = u64> {
        self.limits.iter().map(|part| match part.limit.kind {
            LimitKind::InFlight => self.most_here,
            _ => part.window.most(),
        })
    }

    /// Nobody knows when the next one leaves.
    fn check_room(&self) -> Result<(), (usize, Duration)> {
        let full = |part: &Part| {
            part.limit.kind == LimitKind::InFlight && self.admitted >= u64::from(part.limit.units)
        };
        match self.limits.iter().position(full) {
            Some(limit) => Err((limit, Duration::from_millis(100))),
            None => Ok(()),
        }
    }
}

impl Part {
    fn cost(&self, tokens: u64) -> u64 {
        match self.limit.unit {
            Unit::Requests => 1,
            Unit::Tokens => tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(limits: &[&str]) -> Account {
        let limits: Vec<Limit> = limits.iter().map(|text| text.parse().unwrap()).collect();
        Account::new(&limits.into(), Duration::ZERO)
    }

    #[test]
    fn only_what_was_admitted_takes_room() {
        let mut account = account(&["in-flight:1"]);
        let arrive = |account: &mut Account| account.arrive(Duration::ZERO, 1, false).is_ok();
        assert!(arrive(&mut account) && !arrive(&mut account));
        account.leave(false);
        assert!(!arrive(&mut account));
        account.leave(true);
        assert!(arrive(&mut account));
        assert_eq!(account.most().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn tokens_and_requests_are_counted_apart() {
        let mut account = account(&["3/1s", "100 tokens/1s"]);
        let mut arrive = |tokens| account.arrive(Duration::ZERO, tokens, false).is_ok();
        assert!(arrive(60) && !arrive(41) && arrive(40) && !arrive(1));
        assert_eq!(account.most().collect::<Vec<_>>(), [4, 142]);
    }
}
