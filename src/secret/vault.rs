//! The secrets of a job by name, read again when they have expired.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::source::SecretSource;
use super::{Secret, Secrets, Settings, Variables, Visibility};
use crate::error::Error;

/// Time for which values are not read again after a reading without a change.
const REREAD_PAUSE: Duration = Duration::from_secs(5);

/// The current values of the job's `[secrets]`, and all texts that are hidden.
#[derive(Debug, Default)]
pub struct Vault {
    entries: BTreeMap<String, VaultEntry>,
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
            entries.insert(name.clone(), VaultEntry { source, value });
        }
        Ok(Vault { entries, secrets, ..Vault::default() })
    }

    /// The vault with these settings of variables of the environment.
    #[must_use]
    pub fn with(self, variables: Variables) -> Vault {
        Vault { variables, ..self }
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
    #[must_use]
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
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The current value of a secret.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Secret> {
        let entry = self.entries.get(name)?;
        let value = entry.value.read().unwrap_or_else(PoisonError::into_inner);
        Some(value.clone())
    }

    /// The names of all secrets.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The number of the current edition of the values.
    #[must_use]
    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Reads all secrets again, because a server refused those of `edition`. Returns
    /// whether there are other values now. Blocks, unless the run `ends`.
    ///
    /// # Errors
    /// Which secret can't be read any more.
    pub fn reload(&self, edition: u64, ends: &dyn Fn() -> bool) -> Result<bool, String> {
        if self.entries.is_empty() {
            return Ok(false);
        }
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
                self.secrets.add_declared(read.expose());
                *value = read;
                is_new = true;
            }
        }
        Ok(is_new)
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
    fn an_unreadable_secret_is_named() {
        let settings = Settings::from([("token".into(), "file:/no/such".into())]);
        let error = Vault::new(&settings).unwrap_err().to_string();
        assert!(error.starts_with("secrets.token (--secret): /no/such can't be read"));
    }
}
