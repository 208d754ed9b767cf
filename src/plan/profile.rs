//! Profiles: settings for the limits, refusals and demands of known APIs, which hold where a
//! job has none. Pure.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Job;
use super::job::{lay_over, unfit};
use crate::error::Error;

/// Each profile by its name.
const PROFILES: [(&str, &str); 14] = [
    ("alphavantage", include_str!("profiles/alphavantage.toml")),
    ("anthropic", include_str!("profiles/anthropic.toml")),
    ("discord", include_str!("profiles/discord.toml")),
    ("edgar", include_str!("profiles/edgar.toml")),
    ("github", include_str!("profiles/github.toml")),
    ("notion", include_str!("profiles/notion.toml")),
    ("openai", include_str!("profiles/openai.toml")),
    ("polygon", include_str!("profiles/polygon.toml")),
    ("reddit", include_str!("profiles/reddit.toml")),
    ("salesforce", include_str!("profiles/salesforce.toml")),
    ("shopify", include_str!("profiles/shopify.toml")),
    ("shopify-graphql", include_str!("profiles/shopify-graphql.toml")),
    ("stripe", include_str!("profiles/stripe.toml")),
    ("x", include_str!("profiles/x.toml")),
];

/// The settings for one API, and where they were read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name that `--api` takes.
    #[serde(skip)]
    pub name: String,
    /// Its name in full.
    pub title: String,
    /// A note for users.
    #[serde(default)]
    pub note: Option<String>,
    /// The pages that say so.
    pub source: Vec<ProfileSource>,
    /// Headers that a request must have.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// The parts of a job that hold for every tier.
    #[serde(default)]
    job: Map<String, Value>,
    /// The parts that differ by plan or account, the usual one first.
    pub tier: Map<String, Value>,
}

/// A page, and when it was read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSource {
    /// Its address.
    pub url: String,
    /// The day, `2026-11-24`.
    pub read: String,
    /// The site that quotes the page, if the page itself was not read.
    #[serde(default)]
    pub by: Option<String>,
}

/// A header that the API demands.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// Its name, in small letters.
    pub header: String,
    /// Text that its value must contain.
    #[serde(default)]
    pub has: String,
    /// Why, and what to write.
    pub why: String,
}

impl Profile {
    /// All profiles, by name.
    ///
    /// # Errors
    /// A profile of this build can't be parsed.
    pub fn all() -> Result<Vec<Profile>, Error> {
        let parse = |(name, text): (&str, &str)| {
            let profile: Profile = toml::from_str(text)
                .map_err(|error| Error::plan(format!("the profile {name}: {error}")))?;
            Ok(Profile { name: name.to_owned(), ..profile })
        };
        PROFILES.map(parse).into_iter().collect()
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// There is no such profile; the error names all.
    pub fn named(name: &str) -> Result<Profile, Error> {
        let mut all = Profile::all()?.into_iter();
        all.find(|profile| profile.name == name).ok_or_else(|| {
            let names = PROFILES.map(|(name, _)| name).join(", ");
            Error::plan(format!(
                "there is no profile \"{name}\" (api, --api); the profiles are: {names}"
            ))
        })
    }

    /// The profile as a text for users: its tiers, and where they were read.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.title);
        // Writing to a string can't fail.
        for (tier, part) in &self.tier {
            let about = part["about"].as_str().unwrap_or_default();
            let _ = writeln!(text, "  --api {}:{tier:<12}  {about}: {}", self.name, rates(part));
        }
        for need in &self.needs {
            let _ = writeln!(text, "  needs {}: {}", need.header, need.why);
        }
        if let Some(note) = &self.note {
            let _ = writeln!(text, "  {note}");
        }
        for source in &self.source {
            let by = source.by.as_ref().map_or(String::new(), |by| format!(", as quoted by {by}"));
            let _ = writeln!(text, "  read {} at {}{by}", source.read, source.url);
        }
        text
    }

    /// The parts of a job for a tier; the first, if none is named.
    fn part(&self, tier: Option<&str>) -> Result<Value, Error> {
        let found = match tier {
            Some(name) => self.tier.get(name),
            None => self.tier.values().next(),
        };
        let Some(Value::Object(found)) = found else {
            let names: Vec<&str> = self.tier.keys().map(String::as_str).collect();
            return Err(Error::plan(format!(
                "the profile {} has no tier \"{}\" (api, --api); its tiers are: {}",
                self.name,
                tier.unwrap_or_default(),
                names.join(", ")
            )));
        };
        let mut tier = found.clone();
        tier.remove("about");
        let mut part = Value::Object(self.job.clone());
        lay_over(&mut part, Value::Object(tier));
        Ok(part)
    }

    fn check(&self, job: &Value) -> Result<(), Error> {
        let headers = job["request"]["headers"].as_object();
        let has = |need: &Need| {
            let mut headers = headers.into_iter().flatten();
            headers.any(|(name, value)| {
                let fits = value.as_str().is_none_or(|value| value.contains(&need.has));
                name.eq_ignore_ascii_case(&need.header) && fits
            })
        };
        match self.needs.iter().find(|need| !has(need)) {
            None => Ok(()),
            Some(need) => Err(Error::plan(format!(
                "the profile {} needs a header {} (request.headers, --header): {}",
                self.name, need.header, need.why
            ))),
        }
    }
}

fn rates(part: &Value) -> String {
    let rates = part["limit"]["rate"].as_array();
    let text = |rate: &Value| match rate {
        Value::String(text) => text.clone(),
        table => format!(
            "{} with a burst of {}",
            table["rate"].as_str().unwrap_or_default(),
            table["burst"]
        ),
    };
    let rates: Vec<String> = rates.into_iter().flatten().map(text).collect();
    rates.join(" and ")
}

/// The job laid over the profile that it names: each setting of the job replaces the
/// profile's.
///
/// # Errors
/// There is no such profile or tier, or a header is missing that it wants.
pub(super) fn under(job: &Job) -> Result<Cow<'_, Job>, Error> {
    let Some(api) = &job.api else {
        return Ok(Cow::Borrowed(job));
    };
    let (name, tier) = match api.split_once(':') {
        Some((name, tier)) => (name, Some(tier)),
        None => (api.as_str(), None),
    };
    let profile = Profile::named(name)?;
    let default = serde_json::to_value(Job::default()).map_err(unfit)?;
    let whole = serde_json::to_value(job).map_err(unfit)?;
    let said = job.written.said(whole, &default);
    let mut tree = default;
    lay_over(&mut tree, profile.part(tier)?);
    lay_over(&mut tree, said);
    profile.check(&tree)?;
    let job = serde_json::from_value(tree).map_err(unfit)?;
    Ok(Cow::Owned(job))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::limit::Shape;

    fn job(tree: Value) -> Result<Job, Error> {
        let job = Job::parse("job.json", &tree.to_string()).unwrap();
        under(&job).map(Cow::into_owned)
    }

    #[test]
    fn every_tier_of_every_profile_is_a_job() {
        for profile in Profile::all().unwrap() {
            assert!(!profile.source.is_empty() && !profile.tier.is_empty());
            let headers: Map<String, Value> = profile
                .needs
                .iter()
                .map(|need| (need.header.clone(), json!("Me me@example.com")))
                .collect();
            for tier in profile.tier.keys() {
                let api = format!("{}:{tier}", profile.name);
                let job = job(json!({"api": api, "request": {"headers": headers}})).unwrap();
                assert!(!job.limit.rate.is_empty(), "{api}");
                crate::judge::RefusalRules::new(&job.refusal).unwrap();
                crate::limit::Policy::new(&job.limit, job.send.timeout).unwrap();
                assert!(profile.text().contains(&api), "{}", profile.text());
            }
        }
    }

    #[test]
    fn a_job_overrides_what_it_names_and_keeps_the_rest() {
        let first = job(json!({"api": "github"})).unwrap();
        assert_eq!(first.limit.rate[0].to_string(), "5000/1h@reset");
        assert_eq!(first.limit.in_flight, Some(100));
        let own = job(
            json!({"api": "github:anonymous", "limit": {"rate": "7/1m"}, "retry": {"retries": 1}}),
        );
        let own = own.unwrap();
        assert_eq!(own.limit.rate.len(), 1);
        assert_eq!(own.limit.rate[0].to_string(), "7/1m");
        assert_eq!((own.limit.in_flight, own.retry.retries), (Some(100), 1));
        assert_eq!(own.refusal.len(), 3);
    }

    #[test]
    fn what_is_written_goes_before_the_profile_also_as_the_default() {
        let own = json!({"api": "edgar", "limit": {"shape": "auto", "rate": "1/1s"}, "refusal": [],
            "request": {"headers": {"user-agent": "me@example.com"}}});
        let file = job(own.clone()).unwrap();
        assert_eq!(file.limit.shape, Shape::Auto);
        assert!(file.refusal.is_empty());
        assert_eq!(file.retry.max_refusals, 3);
        let flags = Job::default().overlay(own).unwrap();
        assert_eq!(under(&flags).unwrap().limit.shape, Shape::Auto);
        // A field that is set afterwards counts too.
        let mut later = flags;
        later.limit.shape = Shape::Burst;
        assert_eq!(under(&later).unwrap().limit.shape, Shape::Burst);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (tree, why) in [
            (json!({"api": "gitlab"}), "the profiles are: alphavantage,"),
            (json!({"api": "github:gold"}), "its tiers are: token, enterprise, anonymous"),
            (json!({"api": "edgar"}), "needs a header user-agent"),
            (
                json!({"api": "edgar", "request": {"headers": {"User-Agent": "curl"}}}),
                "a name and a mail address",
            ),
        ] {
            let error = job(tree).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
