//! What the judge remembers of those who share limits: of all, or of one key. Pure.

use std::time::Duration;

use crate::Limit;
use crate::gate::{self, Gate};
use crate::limit::{LimitKind, Unit};
use crate::window::Window;

/// Limits at work, and how full their windows ever were.
#[derive(Debug)]
pub(crate) struct Account {
    limits: Vec<Part>,
    /// Requests that arrived and have not left.
    here: u64,
    /// Those of them that were admitted.
    admitted: u64,
    most_here: u64,
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
    pub(crate) fn new(limits: &[Limit], clock: Duration) -> Account {
        let part = |limit: &Limit| Part {
            limit: *limit,
            gate: Gate::new(limit, clock),
            window: Window::new(limit.period),
        };
        Account {
            limits: limits.iter().map(part).collect(),
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
    ) -> Result<(), Duration> {
        self.here += 1;
        self.most_here = self.most_here.max(self.here);
        for part in &mut self.limits {
            part.window.add(now, part.cost(tokens));
        }
        self.check_room()?;
        let gates = self.limits.iter_mut();
        let gates = gates.map(|part| {
            let cost = part.cost(tokens);
            (&mut part.gate, cost)
        });
        gate::admit(gates, now, refusals_count)?;
        self.admitted += 1;
        Ok(())
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
    fn check_room(&self) -> Result<(), Duration> {
        let full = |part: &Part| {
            part.limit.kind == LimitKind::InFlight && self.admitted >= u64::from(part.limit.units)
        };
        match self.limits.iter().any(full) {
            true => Err(Duration::from_millis(100)),
            false => Ok(()),
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
        Account::new(&limits, Duration::ZERO)
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
