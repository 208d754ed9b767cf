//! What a run spends: reserved before a request is sent, settled by its answer. Pure.
//!
//! **Guarantee.** What is spent and what is reserved are together never more than the budget. A
//! request whose answer never came stays spent at its estimate, since the server may have billed
//! it. Where answers tell the true cost, an estimate may be too low: every later estimate is
//! raised by the largest factor that an answer has told, and no more requests are under way than
//! answers have told their cost, but for one.

use serde::{Deserialize, Serialize};

use super::usd::Usd;

/// The denominator of the factor by which estimates are raised.
const WHOLE: u64 = 1_000_000;

/// The least part of the budget, and of what is spent, that is noted on the disk at once.
const PARTS: u64 = 2_000;

/// Number of requests for which the disk notes room at once.
const AT_ONCE: u64 = 2;

/// The money of a run.
#[derive(Debug, Default)]
pub struct SpendingAccount {
    budget: Option<Usd>,
    /// What earlier runs of the same results have spent.
    before: Usd,
    spent: Usd,
    open: Usd,
    open_requests: u64,
    unsettled: Usd,
    unsettled_requests: u64,
    /// The factor by which estimates are raised, in millionths.
    factor: u64,
    /// Number of requests whose answers are known.
    answered: u64,
    /// What the disk knows that may be spent; none if no disk notes it.
    noted: Option<Usd>,
    /// Units that were billed, by their place in the list of prices.
    units: Vec<u64>,
}

/// What an account says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// This amount is reserved, once the disk has noted that `note` may be spent in all.
    Reserved { amount: Usd, note: Option<Usd> },
    /// It may be reserved once another request has ended.
    Wait,
    /// The budget will never allow this amount.
    Never(Usd),
}

/// What a run has cost so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bill {
    /// What this run has spent.
    pub spent: Usd,
    /// What earlier runs of the same results have spent.
    pub before: Usd,
    /// The part of `spent` that no answer has settled: estimates.
    pub unsettled: Usd,
    /// Number of requests of that part.
    pub unsettled_requests: u64,
    /// What may be spent in all.
    pub budget: Option<Usd>,
    /// Units that were billed, by their place in the list of prices.
    pub units: Vec<u64>,
}

/// What was spent in a part of a run, as one process tells it another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BillPart {
    /// The amount, in millionths of a millionth of a dollar.
    spent: u64,
    /// The part of it that no answer has settled.
    unsettled: u64,
    /// Number of requests of that part.
    unsettled_requests: u64,
    /// Units that were billed, by their place in the list of prices.
    units: Vec<u64>,
}

impl BillPart {
    /// Whether nothing was spent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == BillPart::default()
    }
}

impl Bill {
    /// What was spent since an earlier bill of the same run.
    #[must_use]
    pub fn since(&self, earlier: &Bill) -> BillPart {
        let before = earlier.units.iter().copied().chain(std::iter::repeat(0));
        BillPart {
            spent: self.spent.minus(earlier.spent).0,
            unsettled: self.unsettled.minus(earlier.unsettled).0,
            unsettled_requests: self.unsettled_requests.saturating_sub(earlier.unsettled_requests),
            units: self
                .units
                .iter()
                .zip(before)
                .map(|(now, then)| now.saturating_sub(then))
                .collect(),
        }
    }

    /// What all runs of the same results have spent.
    #[must_use]
    pub fn total(&self) -> Usd {
        self.before.plus(self.spent)
    }
}

impl SpendingAccount {
    /// An account with this budget, if there is one, of which earlier runs have spent `before`.
    #[must_use]
    pub fn new(budget: Option<Usd>, before: Usd) -> SpendingAccount {
        SpendingAccount { budget, before, factor: WHOLE, ..SpendingAccount::default() }
    }

    /// From now on the disk must know what may be spent; it knows this.
    pub fn note_on_disk(&mut self, noted: Usd) {
        self.noted = Some(self.noted.map_or(noted, |known| known.max(noted)));
    }

    /// Reserves the estimate of a request, whose answer tells the true cost if it `is_told`.
    pub fn draw(&mut self, estimate: Usd, is_told: bool) -> Draw {
        let gone = self.before.plus(self.spent);
        let amount = estimate.times(self.factor, WHOLE);
        let budget = self.budget.unwrap_or(Usd(u64::MAX));
        let is_early = self.budget.is_some() && is_told && self.open_requests > self.answered;
        if gone.plus(amount) > budget {
            return Draw::Never(amount);
        }
        if is_early || gone.plus(self.open).plus(amount) > budget {
            return Draw::Wait;
        }
        let all = gone.plus(self.open).plus(amount);
        let note = self.noted.filter(|noted| all > *noted).map(|_| {
            let part = self.budget.unwrap_or(gone).times(1, PARTS);
            all.plus(part.max(amount.times(AT_ONCE, 1))).min(budget)
        });
        self.open = self.open.plus(amount);
        self.open_requests += 1;
        Draw::Reserved { amount, note }
    }

    /// Gives back what was reserved for a request that was not sent, or that costs nothing.
    pub fn give_back(&mut self, reserved: Usd) {
        self.open = self.open.minus(reserved);
        self.open_requests = self.open_requests.saturating_sub(1);
    }

    /// Bills a request at its estimate, as no answer has settled it.
    pub fn lose(&mut self, reserved: Usd, estimate: Usd) {
        self.give_back(reserved);
        let amount = estimate.times(self.factor, WHOLE).min(reserved);
        self.spent = self.spent.plus(amount);
        self.unsettled = self.unsettled.plus(amount);
        self.unsettled_requests += 1;
    }

    /// Bills a request at its estimate, as its answer tells no cost.
    pub fn assume(&mut self, reserved: Usd, estimate: Usd) {
        self.answered += 1;
        self.lose(reserved, estimate);
    }

    /// Bills a request of this estimate at what it has cost.
    pub fn settle(&mut self, reserved: Usd, estimate: Usd, used: Usd, units: &[(usize, u64)]) {
        self.give_back(reserved);
        self.spent = self.spent.plus(used);
        self.answered += 1;
        if used > estimate && estimate > Usd::ZERO {
            self.factor = self.factor.max(Usd(used.0).times(WHOLE, estimate.0).0);
        }
        for (place, count) in units {
            self.count(*place, *count);
        }
    }

    fn count(&mut self, place: usize, count: u64) {
        if self.units.len() <= place {
            self.units.resize(place + 1, 0);
        }
        self.units[place] = self.units[place].saturating_add(count);
    }

    /// Adds what another process has spent. Gives what the disk is to note as spent in all, if it
    /// knows of less.
    pub fn add(&mut self, part: &BillPart) -> Option<Usd> {
        self.spent = self.spent.plus(Usd(part.spent));
        self.unsettled = self.unsettled.plus(Usd(part.unsettled));
        self.unsettled_requests = self.unsettled_requests.saturating_add(part.unsettled_requests);
        part.units.iter().enumerate().for_each(|(place, count)| self.count(place, *count));
        let all = self.before.plus(self.spent);
        let is_more = self.noted.is_some_and(|noted| all > noted);
        is_more.then(|| all.plus(all.times(1, PARTS)))
    }

    /// The bill so far.
    #[must_use]
    pub fn bill(&self) -> Bill {
        Bill {
            spent: self.spent,
            before: self.before,
            unsettled: self.unsettled,
            unsettled_requests: self.unsettled_requests,
            budget: self.budget,
            units: self.units.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(draw: Draw) -> Usd {
        match draw {
            Draw::Reserved { amount, .. } => amount,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_budget_is_reserved_settled_and_never_passed() {
        let mut account = SpendingAccount::new(Some(Usd(100)), Usd(10));
        let first = reserved(account.draw(Usd(40), false));
        let second = reserved(account.draw(Usd(40), false));
        assert_eq!(account.draw(Usd(40), false), Draw::Wait);
        account.settle(first, Usd(40), Usd(20), &[(1, 5)]);
        assert_eq!(account.draw(Usd(40), false), Draw::Wait);
        account.give_back(second);
        let third = reserved(account.draw(Usd(40), false));
        account.lose(third, Usd(40));
        assert_eq!(account.draw(Usd(31), false), Draw::Never(Usd(31)));
        let bill = account.bill();
        assert_eq!((bill.total(), bill.unsettled, bill.unsettled_requests), (Usd(70), Usd(40), 1));
        assert_eq!(bill.units, [0, 5]);
    }

    #[test]
    fn the_first_request_goes_alone_and_a_low_estimate_raises_all_later_ones() {
        let mut account = SpendingAccount::new(Some(Usd(1_000)), Usd::ZERO);
        let first = reserved(account.draw(Usd(10), true));
        assert_eq!((first, account.draw(Usd(10), true)), (Usd(10), Draw::Wait));
        account.settle(first, Usd(10), Usd(25), &[]);
        assert_eq!(reserved(account.draw(Usd(10), true)), Usd(25));
        // A cheaper answer does not lower them again.
        account.settle(Usd(25), Usd(10), Usd(5), &[]);
        for _ in 0..3 {
            assert_eq!(reserved(account.draw(Usd(10), true)), Usd(25));
        }
        assert_eq!(account.draw(Usd(10), true), Draw::Wait);
    }

    #[test]
    fn the_parts_of_a_bill_add_up_in_another_process() {
        let (mut worker, mut collector) = (SpendingAccount::default(), SpendingAccount::default());
        worker.factor = WHOLE;
        collector.note_on_disk(Usd::ZERO);
        let mut told = Bill::default();
        for (used, units) in [(Usd(20), &[(1, 5)][..]), (Usd(7), &[(0, 2), (2, 3)])] {
            let reserved = reserved(worker.draw(Usd(40), false));
            worker.settle(reserved, Usd(40), used, units);
            let reserved = self::reserved(worker.draw(Usd(3), false));
            worker.lose(reserved, Usd(3));
            let part = worker.bill().since(&told);
            told = worker.bill();
            let json = serde_json::to_string(&part).unwrap();
            let noted = collector.add(&serde_json::from_str(&json).unwrap()).unwrap();
            assert!(noted >= collector.bill().total());
            collector.note_on_disk(noted);
        }
        assert!(worker.bill().since(&told).units.iter().all(|units| *units == 0));
        assert_eq!(collector.bill(), worker.bill());
        assert_eq!(collector.bill().spent, Usd(33));
    }

    #[test]
    fn the_disk_knows_of_money_before_it_is_spent() {
        let mut account = SpendingAccount::new(None, Usd::ZERO);
        account.note_on_disk(Usd::ZERO);
        let note = |draw| match draw {
            Draw::Reserved { note, .. } => note,
            other => panic!("{other:?}"),
        };
        let first = note(account.draw(Usd(10), false));
        assert_eq!(first, Some(Usd(30)));
        account.note_on_disk(Usd(30));
        for _ in 0..2 {
            assert_eq!(note(account.draw(Usd(10), false)), None);
        }
        assert_eq!(note(account.draw(Usd(10), false)), Some(Usd(60)));
    }
}
