//! The visibility of variables of the environment, by the job or by their values. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The `[env]` part of a job. A variable that it doesn't name is a secret if its value may
/// be one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
        if value.len() < super::hidden::MIN_LENGTH {
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
