//! Hiding secrets: a text has `***` in their place. Pure.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::literals;
use super::matcher::{MatchEnd, Matcher};
use super::rotation::{RotatingValue, RotationQueue};

/// Minimum length in bytes of a value that is hidden without being declared a secret: a
/// shorter one would blank out half of every text.
pub(super) const MIN_LENGTH: usize = 4;

const HIDDEN: &[u8] = b"***";

/// The secret values of a job, to which more may be added while it runs. Clones share
/// them. It can't be printed.
#[derive(Clone, Default)]
pub struct Secrets {
    hidden: Arc<RwLock<Arc<Hidden>>>,
}

#[derive(Default)]
struct Hidden {
    /// Values that are hidden everywhere.
    secrets: Vec<String>,
    /// Values that are hidden in messages alone.
    doubtful: Vec<String>,
    /// Values that are given and replaced while the run lasts, by their source.
    rotating: Vec<RotationQueue>,
    /// Finds the values that are hidden in answers.
    in_answers: Arc<Matcher>,
    /// Finds the values that are hidden in messages.
    in_messages: Arc<Matcher>,
}

/// The secrets that one source gives and replaces: only the latest are hidden, so that
/// their number doesn't grow while a run lasts.
#[derive(Debug, Clone)]
pub struct RotatingSecrets {
    secrets: Secrets,
    /// Index of its queue.
    queue: usize,
}

impl Secrets {
    /// Adds a value, unless it is shorter than 4 bytes.
    pub fn add(&self, value: &str) {
        if value.len() >= MIN_LENGTH {
            self.add_declared(value);
        }
    }

    /// Adds a value of any length that the job declares a secret.
    pub fn add_declared(&self, value: &str) {
        self.change(value, |hidden| &mut hidden.secrets);
    }

    /// Adds a value that may be no secret: it is hidden in messages, plans and details of
    /// failures, and not in the values of answers, which could hold it by chance.
    pub fn add_doubtful(&self, value: &str) {
        if value.len() >= MIN_LENGTH {
            self.change(value, |hidden| &mut hidden.doubtful);
        }
    }

    /// The secrets of another source that gives and replaces them. Beyond those that the
    /// source still holds, this number of replaced ones is hidden.
    #[must_use]
    pub fn rotating(&self, max_replaced: usize) -> RotatingSecrets {
        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = hidden.values();
        next.rotating.push(RotationQueue::new(max_replaced));
        next.keep_matchers(&hidden);
        let queue = next.rotating.len() - 1;
        *hidden = Arc::new(next);
        RotatingSecrets { secrets: self.clone(), queue }
    }

    fn change(&self, value: &str, list: impl Fn(&mut Hidden) -> &mut Vec<String>) {
        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = hidden.values();
        let values = list(&mut next);
        if value.is_empty() || values.iter().any(|known| known == value) {
            return;
        }
        values.push(value.to_owned());
        next.set_matchers();
        *hidden = Arc::new(next);
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.now().in_messages.is_empty()
    }

    /// A message without the secrets. The beginning of one that a `…` cuts off is hidden
    /// too.
    pub fn hide(&self, text: String) -> String {
        let found = self.now().in_messages.ranges(text.as_bytes(), MatchEnd::OrCut);
        hide_text(text, &found)
    }

    /// Hides the secrets in a value of an answer: in its texts and names. Numbers and
    /// structure stay.
    pub fn hide_in_value(&self, value: &mut Value) {
        self.hide_in_values(std::slice::from_mut(value));
    }

    /// Hides the secrets in values of an answer.
    pub fn hide_in_values(&self, values: &mut [Value]) {
        let hidden = self.now();
        if !hidden.in_answers.is_empty() {
            let all = values.iter_mut();
            all.for_each(|value| hidden.in_answers.hide_in_value(value));
        }
    }

    /// The body of an answer as a text without the secrets.
    pub fn hide_in_body(&self, body: String) -> String {
        let found = self.now().in_answers.in_body(body.as_bytes());
        hide_text(body, &found)
    }

    /// The body of an answer without the secrets. JSON changes between quotes alone and
    /// stays JSON; all other bytes stay the same.
    pub fn hide_in(&self, body: Bytes) -> Bytes {
        let found = self.now().in_answers.in_body(&body);
        if found.is_empty() {
            return body;
        }
        hide(&body, &found).into()
    }

    fn now(&self) -> Arc<Hidden> {
        let hidden = self.hidden.read().unwrap_or_else(PoisonError::into_inner);
        hidden.clone()
    }
}

impl RotatingSecrets {
    /// Adds a value, unless it is shorter than 4 bytes.
    pub fn add(&self, value: &str) {
        self.add_all([RotatingValue::new(value)], HashSet::new);
    }

    /// Adds a value of any length that the job declares a secret.
    pub fn add_declared(&self, value: &str) {
        if !value.is_empty() {
            self.change(vec![RotatingValue::new(value)], HashSet::new);
        }
    }

    /// Adds values of which none is shorter than 4 bytes; the shorter ones are left out. `held`
    /// gives the values that the source still holds: they stay hidden, however many come after
    /// them.
    pub fn add_all(
        &self,
        values: impl IntoIterator<Item = RotatingValue>,
        held: impl FnOnce() -> HashSet<String>,
    ) {
        let long = values.into_iter().filter(|value| value.len() >= MIN_LENGTH);
        self.change(long.collect(), held);
    }

    fn change(&self, values: Vec<RotatingValue>, held: impl FnOnce() -> HashSet<String>) {
        let mut hidden = self.secrets.hidden.write().unwrap_or_else(PoisonError::into_inner);
        if hidden.rotating.get(self.queue).is_none_or(|queue| queue.ends_with(&values)) {
            return;
        }
        let mut next = hidden.values();
        let queue = &mut next.rotating[self.queue];
        let mut is_new = false;
        for value in values {
            is_new |= queue.add(value);
        }
        if is_new {
            queue.evict(held);
            next.set_matchers();
        } else {
            next.keep_matchers(&hidden);
        }
        *hidden = Arc::new(next);
    }
}

impl Hidden {
    /// The values without what finds them.
    fn values(&self) -> Hidden {
        Hidden {
            secrets: self.secrets.clone(),
            doubtful: self.doubtful.clone(),
            rotating: self.rotating.clone(),
            ..Hidden::default()
        }
    }

    /// Takes over what finds the same values.
    fn keep_matchers(&mut self, before: &Hidden) {
        self.in_answers = before.in_answers.clone();
        self.in_messages = before.in_messages.clone();
    }

    fn set_matchers(&mut self) {
        let secrets = self.secrets.iter().map(String::as_str);
        let doubtful = self.doubtful.iter().map(String::as_str);
        let rotating =
            |is_doubtful| self.rotating.iter().flat_map(move |queue| queue.texts(is_doubtful));
        let secrets = secrets.chain(rotating(false));
        self.in_answers = Arc::new(Matcher::new(secrets.clone()));
        let all = secrets.chain(doubtful).chain(rotating(true));
        self.in_messages = Arc::new(Matcher::new(all));
    }
}

impl Matcher {
    fn hide_in_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let found = self.ranges(text.as_bytes(), MatchEnd::Whole);
                if !found.is_empty() {
                    *text = hide_text(std::mem::take(text), &found);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in_value(item)),
            Value::Object(map) => {
                if map.keys().any(|name| self.finds(name.as_bytes())) {
                    *map = self.renamed(std::mem::take(map));
                }
                map.values_mut().for_each(|item| self.hide_in_value(item));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The map with names without secrets; two fields with one new name are both kept.
    fn renamed(&self, map: Map<String, Value>) -> Map<String, Value> {
        let mut renamed = Map::new();
        for (name, value) in map {
            let found = self.ranges(name.as_bytes(), MatchEnd::Whole);
            let mut name = hide_text(name, &found);
            while renamed.contains_key(&name) {
                name.push('*');
            }
            renamed.insert(name, value);
        }
        renamed
    }

    /// The places of secrets in a body, between quotes if it is JSON.
    fn in_body(&self, body: &[u8]) -> Vec<Range<usize>> {
        if self.is_empty() {
            return Vec::new();
        }
        let anywhere = self.ranges(body, MatchEnd::Whole);
        let Ok(text) = std::str::from_utf8(body) else {
            return anywhere;
        };
        let within = literals::ranges(self, text);
        let is_clean = anywhere.is_empty() && within.is_empty();
        if !is_clean && literals::is_json(text) { within } else { anywhere }
    }
}

/// The bytes with `***` in these places.
fn hide(text: &[u8], places: &[Range<usize>]) -> Vec<u8> {
    let mut hidden = Vec::with_capacity(text.len());
    let mut from = 0;
    for place in places {
        hidden.extend_from_slice(&text[from..place.start]);
        hidden.extend_from_slice(HIDDEN);
        from = place.end;
    }
    hidden.extend_from_slice(&text[from..]);
    hidden
}

/// The text with `***` in these places: secrets begin and end with whole characters.
fn hide_text(text: String, places: &[Range<usize>]) -> String {
    if places.is_empty() {
        return text;
    }
    let hidden = hide(text.as_bytes(), places);
    String::from_utf8(hidden)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.now().secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        let secrets = Secrets::default();
        values.iter().for_each(|value| secrets.clone().add(value));
        secrets
    }

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let secrets = secrets(&["s3cr&t_", "s3cr&t_longer", "pass\"word", "us"]);
        let text = "s3cr%26t%5F s3cr%26t_ us s3cr&t_longer, s3cr&t_ pass\\\"word pass%22word";
        assert_eq!(secrets.hide(text.to_owned()), "*** *** us ***, *** *** ***");
        assert!(!format!("{secrets:?}").contains("s3cr"));
    }

    #[test]
    fn base64_of_it_is_hidden_wherever_it_stands() {
        let secret = "S3cr\u{fc}t/key+of=mine?>~";
        let secrets = secrets(&[secret]);
        for before in ["", "u", "us", "me:", "user"] {
            for after in ["", ":", "ab", "abc"] {
                let whole = format!("{before}{secret}{after}");
                let standard = BASE64_STANDARD.encode(&whole);
                for text in [
                    standard.clone(),
                    BASE64_URL_SAFE_NO_PAD.encode(&whole),
                    standard.replace('/', "\\/").replace('=', "%3d"),
                ] {
                    let hidden = secrets.hide(format!("Basic {text} x"));
                    let left = hidden.len() - "Basic *** x".len();
                    let most = (before.len() + after.len()) * 4 / 3 + 7;
                    assert!(hidden.contains("***") && left <= most, "{text}: {hidden}");
                }
            }
        }
        let basic = BASE64_STANDARD.encode(secret);
        assert_eq!(secrets.hide(format!("Basic {basic}.")), "Basic ***.");
    }

    #[test]
    fn of_a_text_that_was_cut_no_part_of_it_is_left() {
        let secrets = secrets(&["a-very-secret/key"]);
        for (text, hidden) in [
            ("bad key a-ver…", "bad key ***…"),
            (r"bad key a-very-secret\u00…", r"bad key ***\u00…"),
            ("a-v", "a-v"),
            ("a-very other…", "a-very other…"),
        ] {
            assert_eq!(secrets.hide(text.to_owned()), hidden);
        }
    }

    #[test]
    fn what_overlaps_is_hidden_as_one() {
        let secrets = secrets(&["abcdef", "defghi", "ghi~"]);
        assert_eq!(secrets.hide("xabcdefghi~y".to_owned()), "x***y");
        assert_eq!(secrets.hide("abcdefabcdef".to_owned()), "******");
    }

    #[test]
    fn a_value_keeps_its_numbers_and_its_structure() {
        let secrets = secrets(&["12345", "na/me"]);
        let mut value = json!({
            "total": 12345, "text": "12345", "12345": [1.12345, "a12345b", {"na/me": null}],
            "x12345": true, "x*": 1,
        });
        secrets.hide_in_value(&mut value);
        let expected = json!({
            "total": 12345, "text": "***", "***": [1.12345, "a***b", {"***": null}],
            "x***": true, "x*": 1,
        });
        assert_eq!(value, expected);
        let mut twice = json!({"12345": 1, "***": 2, "na/me": 3});
        secrets.hide_in_value(&mut twice);
        assert_eq!(twice, json!({"***": 1, "****": 2, "*****": 3}));
    }

    #[test]
    fn a_body_of_json_changes_between_quotes_alone() {
        let secrets = secrets(&["12345", "a/b\"c+"]);
        for (body, hidden) in [
            (
                r#"{"id": 12345, "12345" : "x\n\u0031234\u0035"}"#,
                r#"{"id": 12345, "***" : "x\n***"}"#,
            ),
            (r#"["a\/b\"c\u002B", 1.0e5]"#, r#"["***", 1.0e5]"#),
            (r#"["\\a/b\u0022c+\\"]"#, r#"["\\***\\"]"#),
            ("{\"n\":12345}\n{\"n\":\"12345\"}", "{\"n\":12345}\n{\"n\":\"***\"}"),
            ("id 12345, a%2fb&quot;c&#43;", "id ***, ***"),
            ("no", "no"),
        ] {
            let found = secrets.hide_in(Bytes::from(body.to_owned()));
            assert_eq!(found, hidden);
        }
        let odd = Bytes::from_static(b"\xff 12345");
        assert_eq!(secrets.hide_in(odd), &b"\xff ***"[..]);
    }

    #[test]
    fn of_values_that_a_source_replaces_the_latest_are_hidden() {
        let secrets = secrets(&["always"]);
        let source = secrets.rotating(2);
        for value in ["one-value", "two-value", "one-value", "three-value"] {
            source.add(value);
        }
        let hidden = secrets.hide("always one-value two-value three-value".to_owned());
        assert_eq!(hidden, "*** *** two-value ***");
    }

    #[test]
    fn no_source_takes_the_place_of_another_and_none_grows() {
        let secrets = secrets(&["always"]);
        let (login, cookies) = (secrets.rotating(1), secrets.rotating(2));
        login.add("a-token");
        for number in 0..100 {
            let value = RotatingValue::new(&format!("cookie-of-{number}"));
            cookies.add_all([value], || HashSet::from(["cookie-of-0".to_owned()]));
        }
        let text = "always a-token cookie-of-0; cookie-of-97; cookie-of-98; cookie-of-99;";
        let hidden = secrets.hide(text.to_owned());
        assert_eq!(hidden, "*** *** ***; cookie-of-97; ***; ***;");
        let values: usize = secrets.now().rotating.iter().map(|it| it.texts(false).count()).sum();
        assert_eq!(values, 4);
    }

    #[test]
    fn what_may_be_no_secret_is_hidden_in_messages_alone() {
        let secrets = Secrets::default();
        secrets.add_doubtful("2026");
        let mut value = json!("2026-11-27");
        secrets.hide_in_value(&mut value);
        assert_eq!(value, "2026-11-27");
        assert_eq!(secrets.hide("of 2026".to_owned()), "of ***");
        secrets.add_declared("7");
        secrets.hide_in_value(&mut value);
        assert_eq!(value, "2026-11-2***");
    }
}
