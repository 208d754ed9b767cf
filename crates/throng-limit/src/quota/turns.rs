//! The turns of the runs that want units of one limit, of which there are too few. Pure.
//!
//! The run goes first that has got the fewest units since several runs have been waiting, and
//! of those that have got as many, the one that began to wait first. What the others are kept
//! back for is at most what the first needs, so the first is never held up by them. Runs that ask
//! seldom get a share at a time: they may be ahead of one another by one, since units that are
//! kept for a run until it asks are used by none.

use serde::{Deserialize, Serialize};

/// The runs that wait for units, and those that have got some since others wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Turns(Vec<Turn>);

/// A run's turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Turn {
    run: String,
    /// Units that the run waits for; none if it has got what it asked for.
    units: u64,
    /// The time by which the run asks again, if it still wants units.
    until: u64,
    /// Units that the run has got since several runs have been waiting.
    served: u64,
}

impl Turns {
    /// Whether no run waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the turns of runs that have not asked again in time.
    pub fn expire(&mut self, now: u64) {
        self.0.retain(|turn| turn.until >= now);
        self.end_if_none_waits();
    }

    /// Ends the turn of a run that is gone.
    pub fn forget(&mut self, run: &str) {
        self.0.retain(|turn| turn.run != run);
        self.end_if_none_waits();
    }

    /// Number of other runs that wait.
    pub fn others(&self, run: &str) -> u64 {
        self.waiting().filter(|turn| turn.run != run).count() as u64
    }

    /// Units that are kept for the runs that go before this one, where the limit has `limit`, and
    /// runs get `share` units at a time. Each is kept what it waits for, or what this run has got
    /// more.
    pub fn kept_for_others(&self, run: &str, limit: u64, share: u64) -> u64 {
        let served = self.served(run);
        let own = self.0.iter().position(|turn| turn.run == run && turn.units > 0);
        let own = own.unwrap_or(self.0.len());
        let turns = self.0.iter().enumerate().filter(|(_, turn)| turn.units > 0);
        let ahead = share.saturating_sub(1);
        let before = turns.filter(|(index, turn)| (turn.served + ahead, *index) < (served, own));
        let most = if share > 1 { share } else { u64::MAX };
        let more = |turn: &Turn| (served - turn.served).min(most);
        before.map(|(_, turn)| turn.units.min(limit).max(more(turn))).sum()
    }

    /// A run waits for units, and asks again before `until`.
    pub fn wait(&mut self, run: &str, units: u64, until: u64) {
        let least = self.least();
        match self.0.iter_mut().find(|turn| turn.run == run && turn.units > 0) {
            Some(turn) => (turn.units, turn.until) = (units, until),
            None => {
                let served = self.served(run).max(least);
                self.0.retain(|turn| turn.run != run);
                self.0.push(Turn { run: run.to_owned(), units, until, served });
            }
        }
    }

    /// A run has got units, and asks again before `until` if it wants more.
    pub fn serve(&mut self, run: &str, units: u64, until: u64) {
        let served = self.served(run) + units;
        match self.0.iter_mut().find(|turn| turn.run == run) {
            Some(turn) => (turn.units, turn.until, turn.served) = (0, until, served),
            None => self.0.push(Turn { run: run.to_owned(), units: 0, until, served }),
        }
        self.end_if_none_waits();
    }

    /// A run doesn't wait for units of this limit any more.
    pub fn stop_waiting(&mut self, run: &str) {
        for turn in self.0.iter_mut().filter(|turn| turn.run == run) {
            turn.units = 0;
        }
        self.end_if_none_waits();
    }

    fn waiting(&self) -> impl Iterator<Item = &Turn> {
        self.0.iter().filter(|turn| turn.units > 0)
    }

    /// The fewest units that a run which waits has got.
    fn least(&self) -> u64 {
        self.waiting().map(|turn| turn.served).min().unwrap_or(0)
    }

    /// Units that a run has got; a run that is new begins where the first of the others is.
    fn served(&self, run: &str) -> u64 {
        let turn = self.0.iter().find(|turn| turn.run == run);
        turn.map_or_else(|| self.least(), |turn| turn.served)
    }

    fn end_if_none_waits(&mut self) {
        if self.waiting().next().is_none() {
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: u64 = 10;

    /// Runs that each take one unit after the other while they may, one run after the other.
    fn shares(runs: &[&str], turns: &mut Turns, mut left: u64) -> Vec<u64> {
        let mut shares = vec![0; runs.len()];
        for (run, share) in runs.iter().zip(&mut shares) {
            while left > turns.kept_for_others(run, 100, 1) {
                left -= 1;
                *share += 1;
                turns.serve(run, 1, LATER);
            }
            turns.wait(run, 1, LATER);
        }
        shares
    }

    #[test]
    fn units_that_come_back_together_are_shared_evenly_in_any_order_of_requests() {
        let mut turns = Turns::default();
        ["a", "b", "c", "d"].iter().for_each(|run| turns.wait(run, 1, LATER));
        for runs in [["a", "b", "c", "d"], ["d", "c", "b", "a"], ["b", "a", "d", "c"]] {
            let shares = shares(&runs, &mut turns, 22);
            assert!(shares.iter().all(|share| (5..=6).contains(share)), "{shares:?}");
        }
    }

    #[test]
    fn the_first_waits_for_no_other_and_gets_all_that_it_needs() {
        let mut turns = Turns::default();
        turns.wait("large", 8, LATER);
        turns.wait("small", 1, LATER);
        assert_eq!(
            (turns.kept_for_others("large", 10, 1), turns.kept_for_others("small", 10, 1)),
            (0, 8)
        );
        assert_eq!(turns.kept_for_others("new", 10, 1), 9);
        // More than the whole limit is not kept.
        assert_eq!(turns.kept_for_others("small", 5, 1), 5);
        // A run that has got more than another waits until that has got as much.
        turns.serve("large", 8, LATER);
        turns.wait("large", 8, LATER);
        assert_eq!(
            (turns.kept_for_others("large", 10, 1), turns.kept_for_others("small", 10, 1)),
            (8, 0)
        );
    }

    #[test]
    fn a_run_may_be_ahead_of_another_by_less_than_the_share_that_both_get_at_a_time() {
        let mut turns = Turns::default();
        turns.wait("behind", 1, LATER);
        turns.serve("ahead", 20, LATER);
        assert_eq!(turns.kept_for_others("ahead", 1_000, 25), 0);
        turns.serve("ahead", 20, LATER);
        assert_eq!(turns.kept_for_others("ahead", 1_000, 25), 25);
        assert_eq!(turns.kept_for_others("behind", 1_000, 25), 0);
    }

    #[test]
    fn a_run_that_does_not_ask_again_keeps_nothing_from_the_others() {
        let mut turns = Turns::default();
        turns.wait("gone", 5, LATER);
        turns.wait("here", 1, 3 * LATER);
        turns.expire(2 * LATER);
        assert_eq!(turns.kept_for_others("here", 10, 1), 0);
        turns.stop_waiting("here");
        assert!(turns.is_empty());
    }
}
