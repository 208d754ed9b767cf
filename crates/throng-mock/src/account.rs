//! What the judge remembers of those who share limits: of all, or of one key. Pure.

use std::time::Duration;

use crate::counters::{self, LimitCounter};
use crate::limits::ServerLimits;
use crate::window::WindowMeter;
use crate::{LimitKind, ServerLimit};

/// Limits at work, and how full their windows ever were.
#[derive(Debug)]
pub(crate) struct LimitAccount {
    limits: Vec<AccountPart>,
    /// Refused too often, one is banned.
    ban: Option<LimitCounter>,
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
struct AccountPart {
    /// Among all limits.
    place: usize,
    kind: LimitKind,
    units: u64,
    /// What it says that it has, of which something is left.
    holds: u64,
    gate: LimitCounter,
    window: WindowMeter,
}

/// Counts an arrival that costs this of each limit, and says whether it is admitted:
/// all of these must have room for it. The first of them is who is banned.
pub(crate) fn arrive(
    accounts: &mut [&mut LimitAccount],
    now: Duration,
    costs: &[u64],
    refusals_count: bool,
) -> Result<(), Refused> {
    for account in &mut *accounts {
        account.note(now, costs);
    }
    let room = accounts.iter().try_for_each(|account| account.check_room());
    let admitted = room.and_then(|()| {
        let gates = accounts.iter_mut().flat_map(|account| account.gates(costs));
        let waits = counters::admit(gates, now, refusals_count);
        waits.map_err(|wait| (longest(accounts, now, costs), wait))
    });
    let is_banned = accounts.first().is_some_and(|first| first.banned);
    let (limit, wait) = match admitted {
        Ok(()) if !is_banned => {
            accounts
                .iter_mut()
                .for_each(|account| account.admitted += 1);
            return Ok(());
        }
        Ok(()) => (0, Duration::ZERO),
        Err(why) => why,
    };
    Err(Refused {
        wait,
        limit,
        banned: accounts.first_mut().is_some_and(|first| first.refused(now)),
    })
}

/// Which limit takes longest to have room.
fn longest(accounts: &mut [&mut LimitAccount], now: Duration, costs: &[u64]) -> usize {
    let parts = accounts.iter_mut().flat_map(|account| &mut account.limits);
    let waits = parts.map(|part| (part.gate.wait_from(now, part.cost(costs)), part.place));
    let longest = waits.max_by_key(|(wait, _)| *wait);
    longest.map_or(0, |(_, place)| place)
}

impl LimitAccount {
    /// Nobody has been here; the limits are those at these places. `clock` is what the
    /// clock said at the start, since 1970.
    pub(crate) fn new(limits: &ServerLimits, places: &[usize], clock: Duration) -> LimitAccount {
        let part = |place: &usize| {
            let limit = &limits.all[*place];
            AccountPart {
                place: *place,
                kind: limit.kind,
                units: limit.units.into(),
                holds: limit.burst.unwrap_or(limit.units).into(),
                gate: LimitCounter::new(limit, clock),
                window: WindowMeter::new(limit.period),
            }
        };
        LimitAccount {
            limits: places.iter().map(part).collect(),
            ban: None,
            banned: false,
            here: 0,
            admitted: 0,
            most_here: 0,
        }
    }

    /// The same for somebody who is banned when refused more often than this.
    pub(crate) fn banned_by(self, limit: &ServerLimit, clock: Duration) -> LimitAccount {
        LimitAccount {
            ban: Some(LimitCounter::new(limit, clock)),
            ..self
        }
    }

    fn note(&mut self, now: Duration, costs: &[u64]) {
        self.here += 1;
        self.most_here = self.most_here.max(self.here);
        for part in &mut self.limits {
            part.window.add(now, part.cost(costs));
        }
    }

    fn gates(&mut self, costs: &[u64]) -> impl Iterator<Item = (&mut LimitCounter, u64)> {
        let gates = self.limits.iter_mut();
        gates.map(|part| {
            let cost = part.cost(costs);
            (&mut part.gate, cost)
        })
    }

    /// Whether it is banned, this refusal being one more.
    fn refused(&mut self, now: Duration) -> bool {
        if let Some(ban) = &mut self.ban {
            let within = counters::admit(std::iter::once((ban, 1)), now, false);
            self.banned |= within.is_err();
        }
        self.banned
    }

    /// What each limit could tell.
    pub(crate) fn counts(&mut self, now: Duration) -> impl Iterator<Item = Count> {
        self.limits.iter_mut().map(move |part| {
            let (left, reset) = part.gate.left(now);
            let units = part.holds;
            Count { units, left, reset }
        })
    }

    /// Ends what `arrive` began.
    pub(crate) fn leave(&mut self, admitted: bool) {
        self.here = self.here.saturating_sub(1);
        self.admitted = self.admitted.saturating_sub(u64::from(admitted));
    }

    /// By the place of each limit, the most that it ever had to do with.
    pub(crate) fn most(&self) -> impl Iterator<Item = (usize, u64)> {
        self.limits.iter().map(|part| {
            let most = match part.kind {
                LimitKind::InFlight => self.most_here,
                _ => part.window.most(),
            };
            (part.place, most)
        })
    }

    /// Nobody knows when the next one leaves.
    fn check_room(&self) -> Result<(), (usize, Duration)> {
        let full =
            |part: &&AccountPart| part.kind == LimitKind::InFlight && self.admitted >= part.units;
        match self.limits.iter().find(full) {
            Some(part) => Err((part.place, Duration::from_millis(100))),
            None => Ok(()),
        }
    }
}

impl AccountPart {
    fn cost(&self, costs: &[u64]) -> u64 {
        costs.get(self.place).copied().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(limits: &[&str]) -> LimitAccount {
        let limits: Vec<ServerLimit> = limits.iter().map(|text| text.parse().unwrap()).collect();
        let places: Vec<usize> = (0..limits.len()).collect();
        LimitAccount::new(&ServerLimits::from(limits), &places, Duration::ZERO)
    }

    #[test]
    fn only_what_was_admitted_takes_room() {
        let mut account = account(&["in-flight:1"]);
        let admits =
            |account: &mut LimitAccount| arrive(&mut [account], Duration::ZERO, &[], false);
        assert!(admits(&mut account).is_ok() && admits(&mut account).is_err());
        account.leave(false);
        assert!(admits(&mut account).is_err());
        account.leave(true);
        assert!(admits(&mut account).is_ok());
        assert_eq!(account.most().collect::<Vec<_>>(), [(0, 2)]);
    }

    #[test]
    fn each_limit_counts_what_it_costs() {
        let mut account = account(&["3/1s", "100 tokens/1s"]);
        let mut admits =
            |tokens| arrive(&mut [&mut account], Duration::ZERO, &[1, tokens], false).is_ok();
        assert!(admits(60) && !admits(41) && admits(40) && !admits(1));
        assert_eq!(account.most().collect::<Vec<_>>(), [(0, 4), (1, 142)]);
    }
}
