//! The values of one name, in bounded memory: a distribution of numbers, and the most frequent
//! texts. Pure.

use std::collections::HashMap;

use serde_json::Value;

use super::numbers::Numbers;
use crate::record::Record;
use crate::tally::{cut, number, text};

/// Maximum number of different texts whose number is kept.
const MAX_TEXTS: usize = 1_000;
/// Maximum number of characters of a text.
const MAX_CHARS: usize = 120;

/// The values of one name so far.
pub(super) struct ValueFold {
    pub name: String,
    /// Its place among the extracted values of records that come from the run itself.
    index: usize,
    pub numbers: Numbers,
    texts: HashMap<String, u64>,
    /// Number of texts that are counted in no entry, since there are too many different ones.
    pub other_texts: u64,
    /// Number of results without the value.
    pub missing: u64,
    scratch: String,
}

impl ValueFold {
    pub fn new(name: &str, index: usize) -> ValueFold {
        ValueFold {
            name: name.to_owned(),
            index,
            numbers: Numbers::default(),
            texts: HashMap::new(),
            other_texts: 0,
            missing: 0,
            scratch: String::new(),
        }
    }

    /// Adds the value of a result. A cell of a table without a text has no value.
    pub fn add(&mut self, record: &Record) {
        let value = record.values().get(self.index);
        let value = value.or_else(|| record.row.fields.get(&self.name));
        match value.filter(|value| !value.is_null() && *value != "") {
            None => self.missing += 1,
            Some(value) => match number(value) {
                Some(number) => self.numbers.add(number),
                None => self.add_text(value),
            },
        }
    }

    fn add_text(&mut self, value: &Value) {
        let text = cut(text(value, &mut self.scratch), MAX_CHARS);
        if let Some(count) = self.texts.get_mut(text) {
            *count += 1;
        } else if self.texts.len() < MAX_TEXTS {
            self.texts.insert(text.to_owned(), 1);
        } else {
            self.other_texts += 1;
        }
    }

    /// Number of values that are no numbers.
    pub fn text_count(&self) -> u64 {
        self.texts.values().sum::<u64>() + self.other_texts
    }

    /// Number of different texts, as far as they are kept.
    pub fn different_texts(&self) -> usize {
        self.texts.len()
    }

    /// The texts, the most frequent first.
    pub fn texts(&self) -> Vec<(&str, u64)> {
        let mut texts: Vec<(&str, u64)> =
            self.texts.iter().map(|(text, count)| (&**text, *count)).collect();
        texts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        texts
    }
}
