//! Which variables of the environment are secrets: as the job says, or as they look.
//! Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The `[env]` part of a job. What it doesn't name is a secret if it looks like one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variables {
    /// Those that are secrets, however short.
    pub secret: Vec<String>,
    /// Those that anyone may see.
    pub public: Vec<String>,
}

/// Where a variable's value shows as `***`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visibility {
    /// Nowhere is it to be seen.
    Nowhere,
    /// It shows in values of answers, which it could spoil.
    InAnswers,
    /// It is too short to be hidden anywhere.
    TooShort,
    /// It is no secret.
    Everywhere,
}

/// Shorter values, in characters, may stand in any text by chance.
const SHORT: usize = 8;
/// No secrets, whatever they look like.
const PUBLIC: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

impl Variables {
    /// Where this one shows. `is_key` says whether its name is one that keys go by.
    pub fn shown(&self, name: &str, value: &str, is_key: bool) -> Visibility {
        let names = |list: &[String]| list.iter().any(|known| known == name);
        if names(&self.secret) {
            return Visibility::Nowhere;
        }
        if names(&self.public) || PUBLIC.contains(&name) {
            return Visibility::Everywhere;
        }
        if value.len() < super::hidden::SHORTEST {
            return Visibility::TooShort;
        }
        let is_common =
            value.chars().count() < SHORT || value.bytes().all(|byte| byte.is_ascii_digit());
        if is_common && !is_key {
            Visibility::InAnswers
        } else {
            Visibility::Nowhere
        }
    }

    /// What is wrong with it, where these are the variables that the job uses.
    pub fn check<'a>(&self, used: impl Iterator<Item = &'a String> + Clone) -> Result<(), String> {
        if let Some(name) = self.secret.iter().find(|name| self.public.contains(name)) {
            return Err(format!(
                "env.secret and env.public (--env-secret, --env-public) both name {name}: it is one or the other"
            ));
        }
        let lists = [("secret", &self.secret), ("public", &self.public)];
        for (list, names) in lists {
            if let Some(name) = names
                .iter()
                .find(|name| !used.clone().any(|it| it == *name))
            {
                return Err(format!(
                    "env.{list} (--env-{list}) names {name}, and the job uses no {{{{ env.{name} }}}}: is it misspelt?"
                ));
            }
        }
        Ok(())
    }
}

/// A clause that goes with the variable's name.
impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Visibility::Nowhere => "shows as ***",
            Visibility::InAnswers => {
                "is short or all digits: it shows as *** in plans and messages, but not in the values of answers, which could hold it by chance"
            }
            Visibility::TooShort => "is too short to be hidden",
            Visibility::Everywhere => "is no secret",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_stand_anywhere_is_hidden_if_it_is_called_a_secret() {
        let variables = Variables {
            secret: vec!["ACC".into()],
            public: vec!["MODEL".into()],
        };
        for (name, value, is_key, shown) in [
            ("YEAR", "2026", false, Visibility::InAnswers),
            ("LONG", "20261127202611272026", false, Visibility::InAnswers),
            ("WORD", "monday", false, Visibility::InAnswers),
            ("WORD", "mondaybr", false, Visibility::Nowhere),
            ("API_KEY", "2026", true, Visibility::Nowhere),
            ("API_KEY", "abc", true, Visibility::TooShort),
            ("ACC", "1", false, Visibility::Nowhere),
            ("MODEL", "a-large-model", false, Visibility::Everywhere),
            ("AWS_REGION", "eu-central-1", false, Visibility::Everywhere),
        ] {
            let found = variables.shown(name, value, is_key);
            assert_eq!(found, shown, "{name}={value}");
        }
    }

    #[test]
    fn what_is_declared_must_be_used_and_in_one_way() {
        let used = ["ACC".to_owned()];
        let check = |secret: &[&str], public: &[&str]| {
            let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let variables = Variables {
                secret: all(secret),
                public: all(public),
            };
            variables.check(used.iter())
        };
        assert_eq!(check(&["ACC"], &[]), Ok(()));
        assert!(
            check(&["ACC"], &["ACC"])
                .unwrap_err()
                .contains("both name ACC")
        );
        let error = check(&[], &["YAER"]).unwrap_err();
        assert!(
            error.starts_with("env.public (--env-public) names YAER"),
            "{error}"
        );
    }
}
