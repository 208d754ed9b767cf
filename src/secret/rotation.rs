//! The values that one source gives and replaces. Pure.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Values of one source, the latest last.
#[derive(Clone)]
pub(super) struct RotationQueue {
    values: VecDeque<RotatingValue>,
    /// Maximum number of values that the source no longer holds.
    max_replaced: usize,
}

/// A value that its source may replace by another one at any time.
#[derive(Clone, PartialEq)]
pub struct RotatingValue {
    text: Arc<str>,
    /// Whether it is hidden in messages alone.
    is_doubtful: bool,
}

impl RotatingValue {
    /// A secret.
    pub fn new(text: &str) -> RotatingValue {
        RotatingValue { text: text.into(), is_doubtful: false }
    }

    /// A value that may be no secret, and is hidden in messages alone if so.
    pub fn doubtful_if(text: &str, is_doubtful: bool) -> RotatingValue {
        RotatingValue { text: text.into(), is_doubtful }
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

impl RotationQueue {
    pub(super) fn new(max_replaced: usize) -> RotationQueue {
        RotationQueue { values: VecDeque::new(), max_replaced }
    }

    /// The values that are hidden everywhere, or in messages alone.
    pub(super) fn texts(&self, is_doubtful: bool) -> impl Iterator<Item = &str> + Clone {
        let values = self.values.iter().filter(move |value| value.is_doubtful == is_doubtful);
        values.map(|value| &*value.text)
    }

    /// Whether the latest values are these.
    pub(super) fn ends_with(&self, values: &[RotatingValue]) -> bool {
        let before = self.values.len().checked_sub(values.len());
        before.is_some_and(|before| self.values.iter().skip(before).eq(values))
    }

    /// Adds a value as the latest. Gives whether more is hidden than before. A secret stays one
    /// if the same text comes as a doubtful value.
    pub(super) fn add(&mut self, mut value: RotatingValue) -> bool {
        let index = self.values.iter().position(|known| known.text == value.text);
        let known = index.and_then(|index| self.values.remove(index));
        let is_new = known.as_ref().is_none_or(|it| it.is_doubtful && !value.is_doubtful);
        value.is_doubtful &= known.is_none_or(|it| it.is_doubtful);
        self.values.push_back(value);
        is_new
    }

    /// Drops the oldest values beyond the maximum that are not among those that the source
    /// still holds.
    pub(super) fn evict(&mut self, held: impl FnOnce() -> HashSet<String>) {
        if self.values.len() <= self.max_replaced {
            return;
        }
        let held = held();
        let is_replaced = |value: &RotatingValue| !held.contains(&*value.text);
        let replaced = self.values.iter().filter(|value| is_replaced(value)).count();
        let mut excess = replaced.saturating_sub(self.max_replaced);
        self.values.retain(|value| {
            let is_evicted = excess > 0 && is_replaced(value);
            excess -= usize::from(is_evicted);
            !is_evicted
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(queue: &RotationQueue) -> Vec<&str> {
        queue.texts(false).collect()
    }

    #[test]
    fn the_oldest_value_goes_unless_its_source_still_holds_it() {
        let mut queue = RotationQueue::new(2);
        for number in 0..200 {
            queue.add(RotatingValue::new(&format!("value-{number}")));
            queue.evict(|| HashSet::from(["value-0".to_owned(), "value-7".to_owned()]));
        }
        assert_eq!(shown(&queue), ["value-0", "value-7", "value-198", "value-199"]);
        queue.add(RotatingValue::new("value-200"));
        queue.evict(HashSet::new);
        assert_eq!(shown(&queue), ["value-199", "value-200"]);
    }

    #[test]
    fn a_value_that_comes_again_is_the_latest_and_stays_a_secret() {
        let mut queue = RotationQueue::new(2);
        assert!(queue.add(RotatingValue::doubtful_if("one", true)));
        assert!(queue.add(RotatingValue::new("two")));
        assert!(queue.add(RotatingValue::new("one")), "it was hidden in messages alone");
        assert!(!queue.add(RotatingValue::doubtful_if("two", true)));
        assert_eq!((shown(&queue), queue.texts(true).count()), (vec!["one", "two"], 0));
        assert!(queue.ends_with(&[RotatingValue::new("two")]));
    }
}
