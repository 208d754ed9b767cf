//! The limits that runs had, from the sidecar files beside their results.

use std::path::Path;

use super::can_check;
use crate::error::Error;
use crate::limit::{Details, Limit};
use crate::sink::{self, RunFacts, RunLimit};

/// A limit, and its scope in each of the files that are verified together.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopedLimit {
    /// The limit.
    pub limit: Limit,
    /// The names of the targets whose requests it counts; empty for all requests.
    pub targets: Vec<String>,
    /// Its scope in each file.
    pub scopes: Vec<Scope>,
}

/// The requests that count together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All requests.
    All,
    /// Those with the same value of this template.
    Per(String),
    /// Those with the same key of the pool.
    Pool,
}

/// The limits of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownLimits {
    /// The limits that can be checked.
    pub limits: Vec<ScopedLimit>,
    /// Why others can't be checked.
    pub unproven: Vec<String>,
}

impl ScopedLimit {
    /// A limit with the same scope in all of this number of files.
    #[must_use]
    pub fn new(limit: Limit, scope: Scope, files: usize) -> ScopedLimit {
        ScopedLimit { limit, targets: Vec::new(), scopes: vec![scope; files] }
    }
}

impl KnownLimits {
    /// The limits of one run.
    #[must_use]
    pub fn of_run(limits: &[RunLimit]) -> KnownLimits {
        let mut known = KnownLimits { limits: Vec::new(), unproven: Vec::new() };
        for run_limit in limits {
            match can_check(&run_limit.limit) {
                Err(why) => known.unproven.push(format!("\"{}\": {why}", run_limit.limit)),
                Ok(_) => {
                    let (limit, scope) = scoped(run_limit.clone());
                    let targets = run_limit.targets.clone();
                    let limit = ScopedLimit { targets, ..ScopedLimit::new(limit, scope, 1) };
                    known.limits.push(limit);
                }
            }
        }
        known
    }
}

/// The limits of the runs of these results files.
///
/// A limit of one of the runs holds for the requests of all of them. A limit of each key has
/// the keys of a run's own template, where several runs have that limit.
///
/// # Errors
/// A sidecar file is missing or has no limits: then they must be given.
pub fn limits_of(results: &[&Path]) -> Result<KnownLimits, Error> {
    let mut known = Vec::<KnownLimit>::new();
    let mut unproven = Vec::new();
    for (file, path) in results.iter().enumerate() {
        let facts = facts_of(path)?;
        if facts.has_steps {
            unproven.push(format!(
                "the records of {} have the requests of its job's last step alone, so that a limit of an earlier one can't be verified",
                path.display()
            ));
        }
        for run_limit in run_limits(path, &facts)? {
            if let Err(why) = can_check(&run_limit.limit) {
                unproven.push(format!("\"{}\": {why}", run_limit.limit));
                continue;
            }
            let targets = run_limit.targets.clone();
            let (limit, scope) = scoped(run_limit);
            let is_same = |known: &&mut KnownLimit| {
                known.targets == targets && known.is(&limit, &scope, file)
            };
            match known.iter_mut().find(is_same) {
                Some(known) => known.scopes[file] = Some(scope),
                None => {
                    let new = KnownLimit::new(limit, scope, file, results.len());
                    known.push(KnownLimit { targets, ..new });
                }
            }
        }
    }
    unproven.dedup();
    match unproven.first() {
        Some(why) if known.is_empty() => Err(Error::plan(why.clone())),
        _ => Ok(KnownLimits {
            limits: known.into_iter().map(KnownLimit::scoped).collect(),
            unproven,
        }),
    }
}

/// A limit that some of the runs have.
struct KnownLimit {
    limit: Limit,
    targets: Vec<String>,
    /// The scope in the first run that has it.
    scope: Scope,
    /// The scope in each run that has it.
    scopes: Vec<Option<Scope>>,
}

impl KnownLimit {
    fn new(limit: Limit, scope: Scope, file: usize, files: usize) -> KnownLimit {
        let mut scopes = vec![None; files];
        scopes[file] = Some(scope.clone());
        KnownLimit { limit, targets: Vec::new(), scope, scopes }
    }

    /// Whether it is this limit of another run.
    fn is(&self, limit: &Limit, scope: &Scope, file: usize) -> bool {
        let is_same_kind = std::mem::discriminant(&self.scope) == std::mem::discriminant(scope);
        self.limit == *limit && is_same_kind && self.scopes[file].is_none()
    }

    fn scoped(self) -> ScopedLimit {
        let scopes = self.scopes.into_iter().map(|it| it.unwrap_or_else(|| self.scope.clone()));
        let scopes = scopes.collect();
        ScopedLimit { limit: self.limit, targets: self.targets, scopes }
    }
}

fn facts_of(results: &Path) -> Result<RunFacts, Error> {
    let name = results.display();
    if !results.exists() {
        return Err(Error::plan(format!("there is no file {name}")));
    }
    sink::facts_of(results).ok_or_else(|| unknown(results))
}

fn unknown(results: &Path) -> Error {
    let name = results.display();
    Error::plan(format!(
        "nothing beside {name} says what its limits were: give them with -r N/PERIOD"
    ))
}

fn run_limits(results: &Path, facts: &RunFacts) -> Result<Vec<RunLimit>, Error> {
    if !facts.limits.is_empty() {
        return Ok(facts.limits.clone());
    }
    if facts.limits_text.is_empty() {
        return Err(unknown(results));
    }
    if facts.has_steps {
        return Ok(Vec::new());
    }
    older_limits(&facts.limits_text).ok_or_else(|| {
        Error::plan(format!(
            "the limits of {} were {}: give the one to verify with -r N/PERIOD, and whose it is with --per",
            results.display(),
            facts.limits_text
        ))
    })
}

/// The limits of a sidecar that has them as a text alone, as older versions write it.
fn older_limits(text: &str) -> Option<Vec<RunLimit>> {
    let limit = |text: &str| {
        let (rate, per) = match text.split_once(" per ") {
            Some((rate, per)) => (rate, Some(per.to_owned())),
            None => (text, None),
        };
        let limit: Limit = rate.parse().ok()?;
        let details = Details { per, ..Details::default() };
        Some(RunLimit { limit: Limit { details, ..limit }, pool: false, targets: Vec::new() })
    };
    text.split(", ").map(limit).collect()
}

/// A limit without its scope and what else does not say how much it allows, and its scope.
fn scoped(known: RunLimit) -> (Limit, Scope) {
    let Details { burst, per, .. } = known.limit.details;
    let scope = match per {
        Some(template) => Scope::Per(template),
        None if known.pool => Scope::Pool,
        None => Scope::All,
    };
    let details = Details { burst, ..Details::default() };
    (Limit { details, ..known.limit }, scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_sidecar_s_text_says_limits_and_scopes() {
        let limits = older_limits("22/5s, 10/1s per {{ tenant }}").unwrap();
        let scoped: Vec<_> = limits.into_iter().map(scoped).collect();
        let per = Scope::Per("{{ tenant }}".into());
        assert_eq!(scoped[0], ("22/5s".parse().unwrap(), Scope::All));
        assert_eq!(scoped[1], ("10/1s".parse().unwrap(), per));
        assert_eq!(older_limits("10/1s for each of 2 API keys"), None);
    }
}
