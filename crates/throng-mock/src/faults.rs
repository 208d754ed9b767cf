//! Random faults, independent of the limits.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};

use crate::ParseError;
use crate::parse;

/// A fault of an answer. Its text form is the name given with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `429`: refused without `retry-after`, though the limit was kept.
    Refuse,
    /// `500`: the server fails.
    ServerError,
    /// `drop`: the connection is dropped before any byte of the answer. With
    /// HTTP/2 only the stream is reset.
    DropBefore,
    /// `cut`: the connection (the stream) is dropped half-way through a body.
    DropMiddle,
    /// `empty`: the list of quotes is empty. Only quotes are affected.
    EmptyResult,
    /// `missing`: quotes have no price. Only quotes are affected.
    MissingKey,
    /// `notjson`: status 200, but the body is HTML.
    NotJson,
    /// `drip`: the body comes in pieces over about one second.
    Drip,
}

/// The faults, and their names in settings and counts.
const NAMES: [(Fault, &str); 8] = [
    (Fault::Refuse, "429"),
    (Fault::ServerError, "500"),
    (Fault::DropBefore, "drop"),
    (Fault::DropMiddle, "cut"),
    (Fault::EmptyResult, "empty"),
    (Fault::MissingKey, "missing"),
    (Fault::NotJson, "notjson"),
    (Fault::Drip, "drip"),
];

impl Fault {
    /// Whether only quotes can have it.
    pub(crate) fn is_for_quotes(self) -> bool {
        matches!(self, Fault::EmptyResult | Fault::MissingKey)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(fault, _)| fault == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Fault {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Fault, ParseError> {
        let found = NAMES.iter().find(|(_, name)| *name == text.trim());
        found.map(|(fault, _)| *fault).ok_or_else(|| {
            let names = NAMES.map(|(_, name)| name).join(", ");
            ParseError::new(&format!("a fault is one of {names}"), text)
        })
    }
}

/// The probability of each fault. From text: `429=5%`, or several with commas.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Faults {
    /// A fault and its probability, 0 to 1. A request has at most one fault; if
    /// the probabilities sum up to more than 1, the last ones get the rest.
    pub rates: Vec<(Fault, f64)>,
}

impl Faults {
    /// At most one fault, for one request.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Option<Fault> {
        let mut left: f64 = rng.random();
        for &(fault, chance) in &self.rates {
            if left < chance {
                return Some(fault);
            }
            left -= chance;
        }
        None
    }
}

impl FromStr for Faults {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Faults, ParseError> {
        let rates = text.split(',').map(rate).collect::<Result<_, _>>()?;
        Ok(Faults { rates })
    }
}

fn rate(text: &str) -> Result<(Fault, f64), ParseError> {
    let wrong = || ParseError::new("a fault is NAME=CHANCE such as 429=5% or 500=0.05", text);
    let (name, chance) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.parse()?, parse::share(chance).ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::rng;

    fn faults(text: &str) -> Faults {
        text.parse().unwrap()
    }

    #[test]
    fn faults_are_read() {
        assert_eq!(faults("429=5%").rates, [(Fault::Refuse, 0.05)]);
        let two = [(Fault::ServerError, 0.05), (Fault::Drip, 1.0)];
        assert_eq!(faults("500=0.05,drip=100%").rates, two);
        for (fault, _) in NAMES {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
    }

    #[test]
    fn text_that_is_not_a_fault_is_an_error() {
        let error = |text: &str| text.parse::<Faults>().unwrap_err().to_string();
        assert!(error("429").contains("such as 429=5%"));
        assert!(error("429=often").ends_with("not \"429=often\""));
        assert!(error("500=2").contains("such as 429=5%"));
        assert!(error("503=5%").starts_with("a fault is one of 429, 500, drop, "));
    }

    #[test]
    fn each_fault_has_its_probability() {
        let faults = faults("500=10%,cut=30%");
        let mut counts = [0, 0, 0];
        for times in 0..10_000 {
            match faults.draw(&mut rng(3, "faults", times)) {
                Some(Fault::ServerError) => counts[0] += 1,
                Some(Fault::DropMiddle) => counts[1] += 1,
                _ => counts[2] += 1,
            }
        }
        for (count, expected) in counts.into_iter().zip([1000_i32, 3000, 6000]) {
            assert!((count - expected).abs() < 200, "{counts:?}");
        }
    }
}
