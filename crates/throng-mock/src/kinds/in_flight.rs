//! Requests in flight, which the account counts: the rule admits everything.

use super::rule::{CountingRule, KindEntry};

pub(super) static KIND: KindEntry =
    KindEntry { name: "in-flight", at_once: None, rule: |_| Box::new(InFlightRule) };

#[derive(Debug)]
struct InFlightRule;

impl CountingRule for InFlightRule {
    fn wait(&mut self, _now: u64, _cost: u64) -> u64 {
        0
    }

    fn take(&mut self, _now: u64, _cost: u64) {}

    fn left(&mut self, _now: u64) -> (u64, u64) {
        (u64::MAX, 0)
    }
}
