//! The headers of an answer that a job believes. Pure.

use std::borrow::Cow;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

use super::headers;
use super::limit_signal::{NamedTexts, SignalSource};

/// The word for all families of headers in a job.
const ALL: &str = "all";

/// The headers with the state of limits that a job reads, and those that it ignores.
#[derive(Debug, Clone, Default)]
pub struct HeaderRules {
    sources: Vec<SignalSource>,
    /// Names of headers that are ignored as if no answer had them, in small letters.
    ignored: Vec<String>,
    /// Whether the common families of headers are ignored.
    ignores_families: bool,
}

/// The headers of an answer without those that a job ignores.
#[derive(Debug, Clone, Copy)]
pub struct HeardHeaders<'a> {
    headers: &'a HeaderMap,
    rules: &'a HeaderRules,
}

/// The headers of an answer for the common families: also without those that a job's own
/// sources read.
#[derive(Debug, Clone, Copy)]
pub struct FamilyHeaders<'a>(pub HeardHeaders<'a>);

impl HeaderRules {
    /// The rules of a job: its own sources, and the names of headers that it ignores.
    ///
    /// # Errors
    /// A name is of no header that throng reads; a unit of resets is zero.
    pub fn new(sources: &[SignalSource], ignored: &[String]) -> Result<HeaderRules, String> {
        let (all, names): (Vec<String>, Vec<String>) = ignored
            .iter()
            .map(|name| name.trim().to_ascii_lowercase())
            .partition(|name| name == ALL);
        let rules = HeaderRules {
            sources: sources.to_vec(),
            ignored: names,
            ignores_families: !all.is_empty(),
        };
        if let Some(name) = rules.ignored.iter().find(|name| !rules.is_read(name)) {
            return Err(format!(
                "throng reads no header \"{name}\" (no-headers, --no-headers): give one that tells of a limit, such as x-ratelimit-reset or retry-after, or all"
            ));
        }
        if sources.iter().any(|source| source.reset_unit.is_some_and(|unit| unit.is_zero())) {
            return Err("signal.reset-unit is 0: give the time that 1 stands for in the reset, such as \"1ms\"".to_owned());
        }
        Ok(rules)
    }

    /// The headers of an answer that are believed.
    #[must_use]
    pub fn heard<'a>(&'a self, headers: &'a HeaderMap) -> HeardHeaders<'a> {
        HeardHeaders { headers, rules: self }
    }

    /// The sources that a job names.
    pub fn sources(&self) -> &[SignalSource] {
        &self.sources
    }

    /// Whether the common families are read.
    pub(super) fn reads_families(&self) -> bool {
        !self.ignores_families
    }

    fn is_read(&self, name: &str) -> bool {
        let others = [RETRY_AFTER.as_str(), DATE.as_str()];
        headers::names().chain(others).any(|known| known == name) || self.is_of_source(name)
    }

    fn is_of_source(&self, name: &str) -> bool {
        let mut names = self.sources.iter().flat_map(SignalSource::names);
        names.any(|of_source| of_source.eq_ignore_ascii_case(name))
    }

    fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|ignored| ignored.eq_ignore_ascii_case(name))
    }
}

impl<'a> HeardHeaders<'a> {
    /// The first value of a header.
    pub fn get(self, name: &str) -> Option<&'a HeaderValue> {
        if self.rules.ignores(name) { None } else { self.headers.get(name) }
    }

    /// The names of all headers, ignored ones included.
    pub fn map(self) -> &'a HeaderMap {
        self.headers
    }

    pub(super) fn rules(self) -> &'a HeaderRules {
        self.rules
    }
}

impl<'a> FamilyHeaders<'a> {
    /// All texts of a header.
    pub fn texts(self, name: &str) -> impl Iterator<Item = &'a str> {
        let values = self.reads(name).then(|| self.0.headers.get_all(name));
        values.into_iter().flatten().filter_map(|value| value.to_str().ok())
    }

    fn reads(self, name: &str) -> bool {
        !self.0.rules.ignores(name) && !self.0.rules.is_of_source(name)
    }
}

impl NamedTexts for HeardHeaders<'_> {
    fn text(&self, name: &str) -> Option<Result<Cow<'_, str>, String>> {
        let text = self.get(name)?.to_str().map(Cow::Borrowed);
        Some(text.map_err(|_| "it is no text".to_owned()))
    }
}

impl NamedTexts for FamilyHeaders<'_> {
    fn text(&self, name: &str) -> Option<Result<Cow<'_, str>, String>> {
        if self.reads(name) { self.0.text(name) } else { None }
    }
}
