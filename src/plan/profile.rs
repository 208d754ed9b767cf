//! Profiles: settings for the limits, refusals and demands of known APIs, which hold where a
//! job has none. Pure.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::layers::lay_over;
use crate::error::Error;

/// Each profile by its name.
const PROFILES: [(&str, &str); 24] = [
    ("airtable", include_str!("profiles/airtable.toml")),
    ("alphavantage", include_str!("profiles/alphavantage.toml")),
    ("anthropic", include_str!("profiles/anthropic.toml")),
    ("binance", include_str!("profiles/binance.toml")),
    ("discord", include_str!("profiles/discord.toml")),
    ("edgar", include_str!("profiles/edgar.toml")),
    ("gemini", include_str!("profiles/gemini.toml")),
    ("github", include_str!("profiles/github.toml")),
    ("googlemaps", include_str!("profiles/googlemaps.toml")),
    ("hubspot", include_str!("profiles/hubspot.toml")),
    ("jira", include_str!("profiles/jira.toml")),
    ("mistral", include_str!("profiles/mistral.toml")),
    ("notion", include_str!("profiles/notion.toml")),
    ("openai", include_str!("profiles/openai.toml")),
    ("openweather", include_str!("profiles/openweather.toml")),
    ("polygon", include_str!("profiles/polygon.toml")),
    ("reddit", include_str!("profiles/reddit.toml")),
    ("salesforce", include_str!("profiles/salesforce.toml")),
    ("shopify", include_str!("profiles/shopify.toml")),
    ("shopify-graphql", include_str!("profiles/shopify-graphql.toml")),
    ("slack", include_str!("profiles/slack.toml")),
    ("spotify", include_str!("profiles/spotify.toml")),
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
    /// The hosts of the API; `*.` at the beginning stands for any host below.
    hosts: Vec<String>,
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
    /// The parts of a job that hold where a model's prices do: what requests cost of each unit.
    #[serde(default)]
    priced: Map<String, Value>,
    /// The models with a published price.
    #[serde(default)]
    model: Vec<ModelPrices>,
}

/// The prices of a model in US dollars, as the provider publishes them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelPrices {
    /// The name by which requests ask for it.
    name: String,
    /// Where they hold, if that is not everywhere.
    #[serde(default)]
    about: Option<String>,
    /// The page that says so.
    url: String,
    /// The site that quotes the page, if the page itself was not read.
    #[serde(default)]
    by: Option<String>,
    /// The day on which it was read.
    read: String,
    /// By unit.
    price: Map<String, Value>,
    /// By unit, through the batch endpoint.
    batch: Map<String, Value>,
}

impl ModelPrices {
    /// Where the prices come from.
    pub fn source(&self) -> String {
        let by = self.by.as_ref().map_or(String::new(), |by| format!(", as quoted by {by}"));
        let about = self.about.as_ref().map_or(String::new(), |about| format!("; {about}"));
        format!("{}, read on {}{by}{about}", self.url, self.read)
    }
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

    /// The names of the profiles that know the API at this host.
    ///
    /// # Errors
    /// A profile of this build can't be parsed.
    pub(super) fn of_host(host: &str) -> Result<Vec<String>, Error> {
        let all = Profile::all()?.into_iter().filter(|profile| profile.has_host(host));
        Ok(all.map(|profile| profile.name).collect())
    }

    fn has_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.hosts.iter().any(|known| match known.strip_prefix('*') {
            Some(below) => host.ends_with(below),
            None => host == *known,
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
        for model in &self.model {
            let (name, price) = (&model.name, prices(&model.price));
            let _ = writeln!(
                text,
                "  --price model={name}  {price}; through --batch-api {}: {}",
                prices(&model.batch),
                model.source()
            );
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
    pub(super) fn part(&self, tier: Option<&str>) -> Result<Value, Error> {
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

    /// The parts of a job that asks for this model, through the batch endpoint or not, and where
    /// the prices come from.
    pub(super) fn priced(&self, name: &str, batched: bool) -> Result<(Value, String), Error> {
        let Some(model) = self.model.iter().find(|model| model.name == name) else {
            let names: Vec<&str> = self.model.iter().map(|model| &*model.name).collect();
            let known = match &names[..] {
                [] => "it has none".to_owned(),
                names => format!("it has those of {}", names.join(", ")),
            };
            return Err(Error::plan(format!(
                "the profile {} has no prices of the model \"{name}\" (price.model, --price model={name}): {known}; others are given by their units, such as --price input_tokens=0.15/1M",
                self.name
            )));
        };
        let mut part = Value::Object(self.priced.clone());
        let price = if batched { &model.batch } else { &model.price };
        lay_over(&mut part, json!({ "price": price }));
        let kind = if batched { "of batches " } else { "" };
        Ok((part, format!("the prices {kind}of {name} are those of {}", model.source())))
    }

    /// Makes sure that a job has the headers that the API demands.
    pub(super) fn check(&self, job: &Value) -> Result<(), Error> {
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

fn prices(prices: &Map<String, Value>) -> String {
    let text =
        |(unit, price): (&String, &Value)| format!("{unit} {}", price.as_str().unwrap_or_default());
    prices.iter().map(text).collect::<Vec<String>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Job;

    #[test]
    fn every_price_of_a_model_is_a_job_and_says_where_it_was_read() {
        let mut models = 0;
        for profile in Profile::all().unwrap() {
            for model in &profile.model {
                models += 1;
                let headers = json!({ "anthropic-version": "2023-06-01" });
                let job = |batch: Option<&str>| {
                    let job = json!({
                        "api": profile.name, "price": { "model": model.name }, "batch-api": batch,
                        "request": { "headers": headers },
                    });
                    Job::parse("job.json", &job.to_string()).unwrap()
                };
                let (single, batched) = (job(None), job(Some(&profile.name)));
                assert_eq!(single.price.units(), ["input_tokens", "output_tokens"]);
                assert_eq!(single.limit.settle.len(), 2, "{}", model.name);
                for place in 0..2 {
                    let price = |job: &Job| job.price.price(place).unwrap().of(1_000_000);
                    assert_eq!(price(&batched).times(2, 1), price(&single), "{}", model.name);
                }
                let source = single.price_source.unwrap();
                assert!(source.contains(&model.url) && source.contains("2026-11-28"), "{source}");
                assert!(profile.text().contains(&model.name));
            }
        }
        assert!(models >= 6, "{models}");
    }

    #[test]
    fn every_tier_of_every_profile_is_a_job() {
        for profile in Profile::all().unwrap() {
            assert!(!profile.source.is_empty() && !profile.tier.is_empty());
            assert!(!profile.hosts.is_empty(), "{}", profile.name);
            let headers: Map<String, Value> = profile
                .needs
                .iter()
                .map(|need| (need.header.clone(), json!("Me me@example.com")))
                .collect();
            for tier in profile.tier.keys() {
                let api = format!("{}:{tier}", profile.name);
                let job = json!({"api": api, "request": {"headers": headers}}).to_string();
                let job = Job::parse("job.json", &job).unwrap();
                assert!(!job.limit.rate.is_empty(), "{api}");
                crate::judge::AnswerTable::new(
                    &job.answer,
                    &job.refusal,
                    Default::default(),
                    job.retry.max_server_wait(),
                    20,
                )
                .unwrap();
                crate::limit::Policy::new(&job.limit, job.send.timeout).unwrap();
                assert!(profile.text().contains(&api), "{}", profile.text());
            }
        }
    }
}
