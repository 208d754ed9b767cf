//! The secrets of a job by name, read again when they have expired, and the variables of the
//! environment that the job uses.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::hidden::{MIN_LENGTH, RotatingSecrets, Secrets};
use super::source::{Secret, SecretSource};
use crate::error::Error;

/// The `[secrets]` part of a job: for each name, `file:PATH` or `command:TEXT`.
/// Templates use it as `{{ secret.NAME }}`.
pub type Settings = BTreeMap<String, String>;

/// Time for which values are not read again after a reading without a change.
const REREAD_PAUSE: Duration = Duration::from_secs(5);
/// Maximum number of values of one secret that are hidden beside its first one: a command may
/// give others as long as a run lasts.
const MAX_HIDDEN: usize = 16;

/// The current values of the job's `[secrets]`, and all texts that are hidden.
#[derive(Debug, Default)]
pub struct Vault {
    entries: BTreeMap<String, VaultEntry>,
    /// What stands in the place of values that only a login gives, by their names.
    placeholders: BTreeMap<String, Secret>,
    secrets: Secrets,
    variables: Variables,
    /// The variables of the environment that the job uses, and their visibility.
    used: Mutex<BTreeMap<String, Visibility>>,
    /// Number of readings that changed a value.
    edition: AtomicU64,
    /// Time of the last reading without a change.
    unchanged: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct VaultEntry {
    source: SecretSource,
    value: RwLock<Secret>,
    /// Hides the values that are read again.
    hidden: RotatingSecrets,
}

impl Vault {
    /// Reads all secrets once.
    ///
    /// # Errors
    /// Which secret can't be read, and why.
    pub fn new(settings: &Settings) -> Result<Vault, Error> {
        let secrets = Secrets::default();
        let mut entries = BTreeMap::new();
        for (name, text) in settings {
            let wrong = |why: String| Error::plan(format!("secrets.{name} (--secret): {why}"));
            let source = SecretSource::parse(text).map_err(wrong)?;
            let value = source.read().map_err(wrong)?;
            secrets.add_declared(value.expose());
            let value = RwLock::new(value);
            let hidden = secrets.rotating(MAX_HIDDEN);
            entries.insert(name.clone(), VaultEntry { source, value, hidden });
        }
        Ok(Vault { entries, secrets, ..Vault::default() })
    }

    /// The vault with these settings of variables of the environment.
    pub fn with(self, variables: Variables) -> Vault {
        Vault { variables, ..self }
    }

    /// The vault with the names of values that a login gives: a request has a placeholder for
    /// each, which nobody can guess, until it is signed.
    ///
    /// # Errors
    /// Which name is given twice.
    pub fn with_logins<'a>(mut self, names: impl Iterator<Item = &'a str>) -> Result<Vault, Error> {
        for name in names {
            let number = self.placeholders.len();
            let placeholder = format!("throng{:016x}x{number}x", rand::random::<u64>());
            self.secrets.add(&placeholder);
            let before = self.placeholders.insert(name.to_owned(), Secret::new(placeholder));
            if before.is_some() || self.entries.contains_key(name) {
                return Err(Error::plan(format!(
                    "before.extract.{name}: there is another secret of this name: give it one of its own"
                )));
            }
        }
        Ok(self)
    }

    /// Adds a variable that the job uses. `is_key` says whether its name is that of a key.
    pub fn add_variable(&self, name: &str, value: &str, is_key: bool) {
        let shown = self.variables.visibility(name, value, is_key);
        match shown {
            Visibility::Hidden => self.secrets.add_declared(value),
            Visibility::HiddenInMessages => self.secrets.add_doubtful(value),
            Visibility::TooShort | Visibility::Public => {}
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(name.to_owned(), shown);
    }

    /// Whether this variable is declared to be no secret.
    pub fn is_public(&self, variable: &str) -> bool {
        self.variables.visibility(variable, "", false) == Visibility::Public
    }

    /// The variables that the job uses, and their visibility.
    ///
    /// # Errors
    /// Which declared variable the job does not use, or declares twice.
    pub fn variables(&self) -> Result<BTreeMap<String, Visibility>, Error> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.variables.check(used.keys()).map_err(Error::plan)?;
        Ok(used.clone())
    }

    /// The texts that are hidden; more can be added.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The current value of a secret.
    pub fn get(&self, name: &str) -> Option<Secret> {
        if let Some(placeholder) = self.placeholders.get(name) {
            return Some(placeholder.clone());
        }
        let entry = self.entries.get(name)?;
        let value = entry.value.read().unwrap_or_else(PoisonError::into_inner);
        Some(value.clone())
    }

    /// Whether the job has no secrets that can be read again.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of the current edition of the values.
    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Reads all secrets again, because a server refused those of `edition`. Returns
    /// whether there are other values now. Blocks, unless the run `ends`.
    ///
    /// # Errors
    /// Which secret can't be read any more.
    pub fn reload(&self, edition: u64, ends: &dyn Fn() -> bool) -> Result<bool, String> {
        let mut unchanged = self.unchanged.lock().unwrap_or_else(PoisonError::into_inner);
        if self.edition() != edition {
            return Ok(true);
        }
        if unchanged.is_some_and(|at| at.elapsed() < REREAD_PAUSE) {
            return Ok(false);
        }
        let is_new = self.read_again(ends)?;
        if is_new {
            self.edition.fetch_add(1, Ordering::AcqRel);
        } else {
            *unchanged = Some(Instant::now());
        }
        Ok(is_new)
    }

    fn read_again(&self, ends: &dyn Fn() -> bool) -> Result<bool, String> {
        let mut is_new = false;
        for (name, entry) in &self.entries {
            let read = entry.source.read_unless(ends);
            let read = read.map_err(|why| format!("secrets.{name} (--secret): {why}"))?;
            let mut value = entry.value.write().unwrap_or_else(PoisonError::into_inner);
            if *value != read {
                entry.hidden.add_declared(read.expose());
                *value = read;
                is_new = true;
            }
        }
        Ok(is_new)
    }
}

/// The `[env]` part of a job. A variable that it doesn't name is a secret if its value may
/// be one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Variables {
    /// Names of variables that are secrets, however short.
    pub secret: Vec<String>,
    /// Names of variables that are no secrets.
    pub public: Vec<String>,
}

/// The places in which a variable's value shows as `***`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visibility {
    /// The value is hidden everywhere.
    Hidden,
    /// The value is hidden except in answers, which could hold it by chance.
    HiddenInMessages,
    /// The value is too short to be hidden.
    TooShort,
    /// The value is no secret.
    Public,
}

/// Minimum number of characters of a value that other texts don't hold by chance.
const MIN_CHARS: usize = 8;
/// Variables that are no secrets.
const PUBLIC: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

impl Variables {
    /// The visibility of a variable. `is_key` says whether its name is that of a key.
    pub fn visibility(&self, name: &str, value: &str, is_key: bool) -> Visibility {
        let names = |list: &[String]| list.iter().any(|known| known == name);
        if names(&self.secret) {
            return Visibility::Hidden;
        }
        if names(&self.public) || PUBLIC.contains(&name) {
            return Visibility::Public;
        }
        if value.len() < MIN_LENGTH {
            return Visibility::TooShort;
        }
        let is_common =
            value.chars().count() < MIN_CHARS || value.bytes().all(|byte| byte.is_ascii_digit());
        if is_common && !is_key { Visibility::HiddenInMessages } else { Visibility::Hidden }
    }

    /// Checks the names against the variables that the job uses.
    pub fn check<'a>(&self, used: impl Iterator<Item = &'a String> + Clone) -> Result<(), String> {
        if let Some(name) = self.secret.iter().find(|name| self.public.contains(name)) {
            return Err(format!(
                "env.secret and env.public (--env-secret, --env-public) both name {name}: it is one or the other"
            ));
        }
        let lists = [("secret", &self.secret), ("public", &self.public)];
        for (list, names) in lists {
            if let Some(name) = names.iter().find(|name| !used.clone().any(|it| it == *name)) {
                return Err(format!(
                    "env.{list} (--env-{list}) names {name}, and the job uses no {{{{ env.{name} }}}}: is it misspelt?"
                ));
            }
        }
        Ok(())
    }
}

/// A clause whose subject is the variable's name.
impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Visibility::Hidden => "shows as ***",
            Visibility::HiddenInMessages => {
                "is short or all digits: it shows as *** in plans and messages, but not in the values of answers, which could hold it by chance"
            }
            Visibility::TooShort => "is too short to be hidden",
            Visibility::Public => "is no secret",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_again_once_for_all_refused_requests() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "first").unwrap();
        let text = format!("command:cat {0}; echo . >> {0}.count", path.display());
        let vault = Vault::new(&Settings::from([("token".into(), text)])).unwrap();
        assert_eq!(vault.get("token").unwrap().expose(), "first");

        std::fs::write(&path, "second").unwrap();
        for _ in 0..100 {
            assert_eq!(vault.reload(0, &|| false), Ok(true));
        }
        assert_eq!(vault.get("token").unwrap().expose(), "second");
        for _ in 0..100 {
            assert_eq!(vault.reload(1, &|| false), Ok(false), "there is nothing newer");
        }
        let count = std::fs::read_to_string(directory.path().join("token.count")).unwrap();
        assert_eq!(count.lines().count(), 3, "plan, second, in vain");
        let both = vault.secrets().hide("first second".into());
        assert_eq!(both, "*** ***");
    }

    #[test]
    fn the_first_and_the_latest_values_of_a_secret_are_hidden() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let write = |number: u64| std::fs::write(&path, format!("value-{number:03}")).unwrap();
        write(0);
        let text = format!("file:{}", path.display());
        let vault = Vault::new(&Settings::from([("token".into(), text)])).unwrap();
        for number in 1..=100 {
            write(number);
            assert_eq!(vault.reload(number - 1, &|| false), Ok(true));
        }
        let all = (0..=100).map(|number| format!("value-{number:03}"));
        let hidden = all.filter(|value| vault.secrets().hide(value.clone()) == "***");
        assert_eq!(hidden.count(), 1 + MAX_HIDDEN);
        assert_eq!(vault.secrets().hide("value-000 value-100".into()), "*** ***");
    }

    #[test]
    fn an_unreadable_secret_is_named() {
        let settings = Settings::from([("token".into(), "file:/no/such".into())]);
        let error = Vault::new(&settings).unwrap_err().to_string();
        assert!(error.starts_with("secrets.token (--secret): /no/such can't be read"));
    }

    #[test]
    fn a_common_value_is_hidden_everywhere_if_its_name_is_a_key_s() {
        let variables = Variables { secret: vec!["ACC".into()], public: vec!["MODEL".into()] };
        for (name, value, is_key, shown) in [
            ("YEAR", "2026", false, Visibility::HiddenInMessages),
            ("LONG", "20261127202611272026", false, Visibility::HiddenInMessages),
            ("WORD", "monday", false, Visibility::HiddenInMessages),
            ("WORD", "mondaybr", false, Visibility::Hidden),
            ("API_KEY", "2026", true, Visibility::Hidden),
            ("API_KEY", "abc", true, Visibility::TooShort),
            ("ACC", "1", false, Visibility::Hidden),
            ("MODEL", "a-large-model", false, Visibility::Public),
            ("AWS_REGION", "eu-central-1", false, Visibility::Public),
        ] {
            let found = variables.visibility(name, value, is_key);
            assert_eq!(found, shown, "{name}={value}");
        }
    }

    #[test]
    fn a_declared_variable_must_be_used_and_declared_once() {
        let used = ["ACC".to_owned()];
        let check = |secret: &[&str], public: &[&str]| {
            let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let variables = Variables { secret: all(secret), public: all(public) };
            variables.check(used.iter())
        };
        assert_eq!(check(&["ACC"], &[]), Ok(()));
        assert!(check(&["ACC"], &["ACC"]).unwrap_err().contains("both name ACC"));
        let error = check(&[], &["YAER"]).unwrap_err();
        assert!(error.starts_with("env.public (--env-public) names YAER"), "{error}");
    }
}
