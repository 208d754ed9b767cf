//! The secrets of a job by name, read again when they have expired.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::source::SecretSource;
use super::{Secret, Secrets, Settings, Variables, Visibility};
use crate::error::Error;

/// After reading the same values again, it is not worth reading them for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// What the job's `[secrets]` are now, and the texts that must not be shown.
#[derive(Debug, Default)]
pub struct Vault {
    entries: BTreeMap<String, VaultEntry>,
    secrets: Secrets,
    variables: Variables,
    /// The variables of the environment that the job uses.
    used: Mutex<BTreeMap<String, Visibility>>,
    /// Counts the readings that brought something new.
    edition: AtomicU64,
    /// When reading again last brought nothing.
    in_vain: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct VaultEntry {
    source: SecretSource,
    value: RwLock<Secret>,
}

impl Vault {
    /// Reads all of them once.
    ///
    /// # Errors
    /// Which of them can't be read, and why.
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
        Ok(Vault {
            entries,
            secrets,
            ..Vault::default()
        })
    }

    /// These secrets, and which variables of the environment are secrets as well.
    #[must_use]
    pub fn with(self, variables: Variables) -> Vault {
        Vault { variables, ..self }
    }

    /// The job uses this variable. `is_key` says whether its name is one that keys go by.
    pub fn add_variable(&self, name: &str, value: &str, is_key: bool) {
        let shown = self.variables.shown(name, value, is_key);
        match shown {
            Visibility::Nowhere => self.secrets.add_declared(value),
            Visibility::InAnswers => self.secrets.add_doubtful(value),
            Visibility::TooShort | Visibility::Everywhere => {}
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(name.to_owned(), shown);
    }

    /// Whether the job says that this variable is no secret.
    #[must_use]
    pub fn is_public(&self, variable: &str) -> bool {
        self.variables.shown(variable, "", false) == Visibility::Everywhere
    }

    /// The variables that the job uses, and where each of them shows.
    ///
    /// # Errors
    /// What the job says of variables that it doesn't use.
    pub fn variables(&self) -> Result<BTreeMap<String, Visibility>, Error> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.variables.check(used.keys()).map_err(Error::plan)?;
        Ok(used.clone())
    }

    /// The texts that must not be shown; what is added to them is hidden, too.
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

    /// Which edition of the values is current.
    #[must_use]
    pub fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Reads all of them again, because a server refused those of `edition`. Tells
    /// whether there is now something else to try. Blocks, unless the run `ends`.
    ///
    /// # Errors
    /// Which of them can't be read any more.
    pub fn renew(&self, edition: u64, ends: &dyn Fn() -> bool) -> Result<bool, String> {
        if self.entries.is_empty() {
            return Ok(false);
        }
        let mut in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        if self.edition() != edition {
            return Ok(true);
        }
        if in_vain.is_some_and(|at| at.elapsed() < PAUSE) {
            return Ok(false);
        }
        let is_new = self.read_again(ends)?;
        if is_new {
            self.edition.fetch_add(1, Ordering::AcqRel)
        } else {
            in_vain.replace(Instant::now()).map_or(0, |_| 0)
        };
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
    fn a_secret_is_read_again_once_for_all_who_were_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "first").unwrap();
        let text = format!("command:cat {0}; echo . >> {0}.count", path.display());
        let vault = Vault::new(&Settings::from([("token".into(), text)])).unwrap();
        assert_eq!(vault.get("token").unwrap().expose(), "first");

        std::fs::write(&path, "second").unwrap();
        for _ in 0..100 {
            assert_eq!(vault.renew(0, &|| false), Ok(true));
        }
        assert_eq!(vault.get("token").unwrap().expose(), "second");
        for _ in 0..100 {
            assert_eq!(
                vault.renew(1, &|| false),
                Ok(false),
                "there is nothing newer"
            );
        }
        let count = std::fs::read_to_string(directory.path().join("token.count")).unwrap();
        assert_eq!(count.lines().count(), 3, "plan, second, in vain");
        let both = vault.secrets().hide("first second".into());
        assert_eq!(both, "*** ***");
    }

    #[test]
    fn a_secret_that_can_t_be_read_is_named() {
        let settings = Settings::from([("token".into(), "file:/no/such".into())]);
        let error = Vault::new(&settings).unwrap_err().to_string();
        assert!(error.starts_with("secrets.token (--secret): /no/such can't be read"));
    }
}
