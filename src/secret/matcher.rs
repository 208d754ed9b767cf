//! Finds secrets in a text, in every spelling of their characters. Pure.

use std::ops::Range;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use smallvec::{SmallVec, smallvec};

use super::escapes::{begins_escape, units};

/// Maximum depth of escapes within each other, such as JSON in a text of JSON that is
/// quoted in a message.
const MAX_DEPTH: u8 = 3;
/// Minimum number of bytes of a secret before the `…` that cuts it off.
const MIN_CUT: usize = 3;
/// The mark of a cut text.
const CUT: &[u8] = "…".as_bytes();
/// Maximum length of an escape in bytes.
const MAX_ESCAPE: usize = 12;
/// Minimum number of characters of base64: fewer occur in other texts by chance.
const MIN_BASE64: usize = 5;

/// Finds a set of secrets.
#[derive(Default)]
pub struct Matcher {
    patterns: Vec<SecretPattern>,
    /// The patterns that begin with each byte.
    by_first: Vec<SmallVec<[usize; 2]>>,
    /// Whether a secret may begin with each byte.
    begins: Vec<bool>,
}

/// A secret, or its base64 form.
struct SecretPattern {
    bytes: Vec<u8>,
    base64: Option<MatchEdges>,
}

/// Whether characters of base64 next to a pattern depend on the secret and on the bytes
/// beside it.
#[derive(Clone, Copy)]
struct MatchEdges {
    before: bool,
    after: bool,
}

/// The end of a secret in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchEnd {
    /// The last character of the secret.
    Whole,
    /// Its last character, or a `…` within it: the text was cut there.
    OrCut,
}

impl Matcher {
    /// Finds these secrets, which are not empty.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Matcher {
        let patterns: Vec<SecretPattern> = secrets.flat_map(patterns).collect();
        let mut by_first = vec![SmallVec::<[usize; 2]>::new(); 256];
        for (number, pattern) in patterns.iter().enumerate() {
            let first = pattern.bytes[0];
            by_first[usize::from(first)].push(number);
            let other = url_safe(first).filter(|_| pattern.base64.is_some());
            if let Some(other) = other {
                by_first[usize::from(other)].push(number);
            }
        }
        let escapes = (0..=u8::MAX).map(|byte| begins_escape(byte) && byte != b'+');
        let mut begins: Vec<bool> =
            escapes.zip(&by_first).map(|(escape, first)| escape || !first.is_empty()).collect();
        begins[usize::from(b'+')] |= begins[usize::from(b' ')];
        Matcher { patterns, by_first, begins }
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The places of all secrets, in order; overlapping places are one.
    pub fn ranges(&self, text: &[u8], ends: MatchEnd) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        if self.is_empty() {
            return found;
        }
        for (at, byte) in text.iter().enumerate() {
            if !self.begins[usize::from(*byte)] {
                continue;
            }
            let Some(range) = self.at(text, at, ends) else {
                continue;
            };
            match found.last_mut().filter(|last| range.start < last.end) {
                Some(last) => last.end = last.end.max(range.end),
                None => found.push(range),
            }
        }
        found
    }

    /// Whether the text holds any secret.
    pub fn finds(&self, text: &[u8]) -> bool {
        let begins = |byte: &u8| self.begins[usize::from(*byte)];
        !self.is_empty()
            && text
                .iter()
                .enumerate()
                .any(|(at, byte)| begins(byte) && self.at(text, at, MatchEnd::Whole).is_some())
    }

    /// The longest secret that begins here.
    fn at(&self, text: &[u8], at: usize, ends: MatchEnd) -> Option<Range<usize>> {
        if !begins_escape(text[at]) {
            return self.longest(text[at], text, at, ends);
        }
        let mut firsts: SmallVec<[u8; 4]> = SmallVec::new();
        for unit in units(text, at, MAX_DEPTH) {
            if !firsts.contains(&unit.bytes()[0]) {
                firsts.push(unit.bytes()[0]);
            }
        }
        let all = firsts.iter();
        all.filter_map(|first| self.longest(*first, text, at, ends)).max_by_key(|range| range.end)
    }

    /// The longest secret with this first byte that begins here.
    fn longest(&self, first: u8, text: &[u8], at: usize, ends: MatchEnd) -> Option<Range<usize>> {
        let patterns = self.by_first[usize::from(first)].iter();
        patterns
            .map(|number| &self.patterns[*number])
            .filter_map(|pattern| pattern.find(text, at, ends))
            .max_by_key(|range| range.end)
    }
}

impl SecretPattern {
    /// The place of the pattern, if it begins here. States are visited in the order of
    /// their places in the text, so that each is visited once.
    fn find(&self, text: &[u8], at: usize, ends: MatchEnd) -> Option<Range<usize>> {
        let mut states: SmallVec<[MatcherState; 8]> = smallvec![MatcherState { matched: 0, at }];
        let (mut whole, mut cut) = (None, None);
        while let Some(first) = first_state(&states) {
            let state = self.skip_equal(text, states.swap_remove(first));
            if state.matched == self.bytes.len() {
                whole = whole.max(Some(state.at));
                continue;
            }
            if ends == MatchEnd::OrCut && state.matched >= MIN_CUT && is_cut(&text[state.at..]) {
                cut = cut.max(Some(state.at));
            }
            if !text.get(state.at).is_some_and(|byte| begins_escape(*byte)) {
                continue;
            }
            for unit in units(text, state.at, MAX_DEPTH) {
                let next =
                    MatcherState { matched: state.matched + unit.bytes().len(), at: unit.end };
                if self.has(state.matched, unit.bytes()) && !states.contains(&next) {
                    states.push(next);
                }
            }
        }
        let start = match self.base64 {
            Some(MatchEdges { before: true, .. }) if at > 0 && is_base64(text[at - 1]) => at - 1,
            _ => at,
        };
        let end = whole.map(|end| self.with_edge(text, end)).or(cut)?;
        Some(start..end)
    }

    /// The state after the bytes in which the text equals the secret.
    fn skip_equal(&self, text: &[u8], mut state: MatcherState) -> MatcherState {
        while let Some(byte) = text.get(state.at)
            && !begins_escape(*byte)
            && self.has(state.matched, &[*byte])
        {
            state.matched += 1;
            state.at += 1;
        }
        state
    }

    fn has(&self, from: usize, bytes: &[u8]) -> bool {
        let Some(own) = self.bytes.get(from..from + bytes.len()) else {
            return false;
        };
        own == bytes || (self.base64.is_some() && url_safe(own[0]) == Some(bytes[0]))
    }

    /// The end of base64 after the last character that the secret shares, and its padding.
    fn with_edge(&self, text: &[u8], mut end: usize) -> usize {
        let Some(MatchEdges { after, .. }) = self.base64 else {
            return end;
        };
        if after && text.get(end).is_some_and(|byte| is_base64(*byte)) {
            end += 1;
        }
        for _ in 0..2 {
            let units = units(text, end, MAX_DEPTH);
            let padding = units.iter().find(|unit| unit.bytes() == b"=");
            end = padding.map_or(end, |unit| unit.end);
        }
        end
    }
}

/// The number of matched bytes of a secret, and the position in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MatcherState {
    matched: usize,
    at: usize,
}

/// The index of the state with the first position in the text.
fn first_state(states: &[MatcherState]) -> Option<usize> {
    let all = states.iter().enumerate();
    all.min_by_key(|(_, state)| state.at).map(|(place, _)| place)
}

/// Whether the text was cut here, or within the escape that begins here.
fn is_cut(rest: &[u8]) -> bool {
    let escape = rest.first().is_some_and(|byte| begins_escape(*byte));
    let most = if escape { MAX_ESCAPE } else { 0 };
    let window = &rest[..rest.len().min(most + CUT.len())];
    window.windows(CUT.len()).any(|part| part == CUT)
}

/// The patterns of a secret: itself, and the characters of base64 that depend on it alone,
/// for each of its three alignments.
fn patterns(secret: &str) -> Vec<SecretPattern> {
    let mut all = vec![SecretPattern { bytes: secret.into(), base64: None }];
    for before in 0..3 {
        let bytes = [&[0; 2][..before], secret.as_bytes()].concat();
        let text = BASE64_STANDARD_NO_PAD.encode(&bytes);
        // The first characters depend on the bytes before the secret.
        let first = if before == 0 { 0 } else { before + 1 };
        let after = bytes.len() % 3 > 0;
        let last = text.len() - usize::from(after);
        if last >= first + MIN_BASE64 {
            all.push(SecretPattern {
                bytes: text[first..last].into(),
                base64: Some(MatchEdges { before: before > 0, after }),
            });
        }
    }
    all
}

/// The character of the URL-safe alphabet for one of the standard alphabet.
fn url_safe(byte: u8) -> Option<u8> {
    match byte {
        b'+' => Some(b'-'),
        b'/' => Some(b'_'),
        _ => None,
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_secrets_than_65536_are_all_found() {
        let all: Vec<String> = (0..70_000).map(|number| format!("{number:05}")).collect();
        let all = all.iter().map(String::as_str);
        let matcher = Matcher::new(all.chain(["the last one"]));
        assert!(matcher.patterns.len() > usize::from(u16::MAX));
        assert_eq!(matcher.ranges(b"it is the last one.", MatchEnd::Whole), vec![6..18]);
    }
}
