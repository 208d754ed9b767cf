//! The account of a server that a job's requests count against. Pure; the caller reads the
//! environment.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Job;
use crate::quota_store::QuotaAccount;
use crate::render::{Renderer, looks_like_key};

/// The account of this job's requests, which this renderer makes.
pub fn of(
    job: &Job,
    renderer: &Renderer,
    environment: &dyn Fn(&str) -> Option<String>,
) -> QuotaAccount {
    let request = &job.request;
    let mut texts: Vec<&str> = Vec::new();
    for (name, value) in &request.headers {
        let keys = |text: &&str| looks_like_key(name) || refers(text);
        texts.extend(value.as_str().filter(keys));
    }
    for (name, value) in request.query.iter().chain(&request.form) {
        let keys = |text: &&str| looks_like_key(name) || text.contains("secret.");
        texts.extend(value.as_str().filter(keys));
    }
    texts.extend(job.auth.values().filter_map(Value::as_str));
    texts.extend(request.url.as_deref().filter(|url| refers(url)));
    let credentials: BTreeSet<String> =
        texts.into_iter().flat_map(|text| values(text, job, environment)).collect();
    let credentials: Vec<String> = credentials.into_iter().collect();
    QuotaAccount::new(server(job, renderer), &credentials, renderer.keys())
        .named(job.limit.account.as_deref())
}

/// The part of the server's address that is the same for all rows.
fn server(job: &Job, renderer: &Renderer) -> String {
    let fixed = renderer.fixed_uri();
    let origin = fixed.and_then(|uri| {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        Some(format!("{scheme}://{}", authority.as_str().to_lowercase()))
    });
    origin.unwrap_or_else(|| {
        let url = job.request.url.as_deref().unwrap_or("rows");
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url[host..].find('/').map_or(url.len(), |at| host + at);
        url[..end].to_owned()
    })
}

fn refers(text: &str) -> bool {
    text.contains("env.") || text.contains("secret.")
}

/// The values that a text refers to: of a variable its value; of a secret its source, since
/// each reading may give another value. A text that depends on the row has none.
fn values(text: &str, job: &Job, environment: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let of_environment = names(text, "env.").filter_map(environment);
    let of_secrets = names(text, "secret.").filter_map(|name| job.secrets.get(name).cloned());
    let mut values: Vec<String> = of_environment.chain(of_secrets).collect();
    if values.is_empty() && !text.contains("{{") {
        values.push(text.to_owned());
    }
    values
}

/// The names that follow a prefix.
fn names<'a>(text: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(after).skip(1).map(|rest| {
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
        let end = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
        &rest[..end]
    })
}
