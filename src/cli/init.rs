//! `throng init`: writes a first job file.

use std::collections::BTreeMap;
use std::io::Write;

use crate::render::{EmbeddedKey, keys_in_data, keys_in_url, may_be_key};
use crate::{Error, curl::Translated};
use clap::Args;
use serde_json::{Value, json};

use super::exit::Exit;
use super::{flags, say};

#[derive(Args)]
#[group(skip)]
pub struct InitArgs {
    /// The job file to write; it must not exist
    #[arg(value_name = "JOB", default_value = "job.toml")]
    job: String,
    /// Begin with this curl command, in quotes, or @FILE with one
    #[arg(long, value_name = "COMMAND")]
    curl: Option<String>,
    /// Begin with an operation of this OpenAPI description (3.0 or 3.1, JSON or YAML)
    #[arg(long, value_name = "FILE", conflicts_with = "curl")]
    openapi: Option<String>,
    /// Its operationId, or 'METHOD /path'; without it, they are listed
    #[arg(long, value_name = "ID", requires = "openapi")]
    operation: Option<String>,
}

const STARTER: &str = r#"# throng plan JOB checks it and sends nothing; throng run JOB does it.

[input]
file = "rows.csv"                 # a row each: .csv .tsv .jsonl .json .txt, or "-"

[request]
url     = "https://api.example/v1/items/{{ id }}"
headers = { authorization = "Bearer {{ env.API_TOKEN }}" }

[limit]
rate = ["10/1s"]                  # several may hold at once

[extract]
name = ".item.name"               # jq; "name?" may be missing

[output]
file = "results.jsonl"
"#;

pub fn main(arguments: &InitArgs) -> Result<Exit, Error> {
    let (text, notes) = match (&arguments.curl, &arguments.openapi) {
        (Some(command), _) => as_job(flags::curl(command)?)?,
        (None, Some(path)) => as_job(of_openapi(path, arguments)?)?,
        (None, None) => (STARTER.to_owned(), Vec::new()),
    };
    write(&arguments.job, &text)?;
    for note in notes {
        say::note(&format!("throng: {}", crate::report::escape(&note)));
    }
    say::note(&format!(
        "wrote {0}. Name the file of your rows there, use their fields in the request, as in {{{{ id }}}}, and set the API's limit. Then: throng try {0}",
        arguments.job
    ));
    Ok(Exit::Ok)
}

fn write(path: &str, text: &str) -> Result<(), Error> {
    let file = std::fs::File::options().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Error::plan(format!("{path} can't be written: {error}")))
}

fn of_openapi(path: &str, arguments: &InitArgs) -> Result<Translated, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::plan(format!("--openapi {path} can't be read: {error}")))?;
    let operation = arguments.operation.as_deref().unwrap_or_default();
    crate::openapi::translate(&text, operation)
}

/// A whole job file, with its keys in the environment.
fn as_job(translated: Translated) -> Result<(String, Vec<String>), Error> {
    let Translated { mut job, mut notes } = translated;
    let mut keys = FoundKeys::default();
    keys.take_from(&mut job);
    notes.extend(keys.0.iter().map(|(name, found)| {
        format!(
            "{} held a key: it is now {{{{ env.{name} }}}}; export {name}=… before you run it, without escapes such as %2F",
            found.place
        )
    }));
    let proxy = job.pointer("/network/proxy").and_then(Value::as_str);
    if proxy.is_some_and(|proxy| !keys_in_url(proxy).is_empty()) {
        job["network"]["proxy"] = Value::Null;
        notes.push(
            "network.proxy held a password and is left out: export HTTPS_PROXY=… before you run it"
                .into(),
        );
    }
    job["input"] = json!({ "file": "rows.csv" });
    job["limit"] = json!({ "rate": ["10/1s"] });
    job["output"] = json!({ "file": "results.jsonl" });
    drop_nulls(&mut job);
    let text = toml::to_string_pretty(&job)
        .map_err(|error| Error::plan(format!("the job can't be written as TOML: {error}")))?;
    Ok((text, notes))
}

/// Keys that were found, by the environment variables that replace them.
#[derive(Default)]
struct FoundKeys(BTreeMap<String, InitResult>);

struct InitResult {
    value: String,
    place: String,
}

impl FoundKeys {
    /// Replaces all keys of a request and of its authentication by variables.
    fn take_from(&mut self, job: &mut Value) {
        for name in ["url", "data"] {
            let text = job.get_mut("request").and_then(|part| part.get_mut(name));
            if let Some(Value::String(text)) = text {
                let keys = if name == "data" { keys_in_data(text) } else { keys_in_url(text) };
                *text = self.without(&format!("request.{name}"), text, &keys);
            }
        }
        for name in ["headers", "query", "form", "multipart", "json"] {
            let part = job.get_mut("request").and_then(|part| part.get_mut(name));
            self.take_from_tree(&format!("request.{name}"), part);
        }
        self.take_from_tree("auth", job.get_mut("auth"));
    }

    fn take_from_tree(&mut self, place: &str, tree: Option<&mut Value>) {
        match tree {
            Some(Value::Array(items)) => {
                items.iter_mut().for_each(|item| self.take_from_tree(place, Some(item)))
            }
            Some(Value::Object(map)) => {
                for (name, value) in map {
                    let place = format!("{place}.{name}");
                    match value {
                        Value::String(text) if may_be_key(name) => {
                            *text = self.instead_of(&place, name, text);
                        }
                        value => self.take_from_tree(&place, Some(value)),
                    }
                }
            }
            _ => {}
        }
    }

    /// `Bearer {{ env.API_TOKEN }}` for `Bearer xyz`.
    fn instead_of(&mut self, place: &str, name: &str, text: &str) -> String {
        if text.is_empty() || text.contains("{{") {
            return text.to_owned();
        }
        let (start, value) = match text.split_once(' ') {
            Some((start, value)) => (format!("{start} "), value),
            None => (String::new(), text),
        };
        start + &self.variable(place, name, value)
    }

    fn without(&mut self, place: &str, text: &str, keys: &[EmbeddedKey]) -> String {
        let (mut left, mut from) = (String::new(), 0);
        for key in keys {
            left += &text[from..key.range.start];
            left += &self.variable(&format!("{place}: {}", key.name), &key.name, &key.value);
            from = key.range.end;
        }
        left + &text[from..]
    }

    /// The template that replaces a value. Each value has a variable of its own.
    fn variable(&mut self, place: &str, name: &str, value: &str) -> String {
        let first = variable(name);
        let mut variable = first.clone();
        let mut number = 2;
        while self.0.get(&variable).is_some_and(|found| found.value != value) {
            variable = format!("{first}_{number}");
            number += 1;
        }
        let template = format!("{{{{ env.{variable} }}}}");
        self.0
            .entry(variable)
            .or_insert_with(|| InitResult { value: value.to_owned(), place: place.to_owned() });
        template
    }
}

fn variable(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "authorization" | "token" => "API_TOKEN".into(),
        "password" => "API_PASSWORD".into(),
        other => {
            other.to_ascii_uppercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
        }
    }
}

fn drop_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
        map.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
}
