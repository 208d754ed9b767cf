//! `throng init`: write a job file to begin with.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use throng::render::looks_like_key;
use throng::{Error, curl::Translated};

use super::{Exit, flags, say};

#[derive(Args)]
#[group(skip)]
pub struct Arguments {
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

pub fn main(arguments: &Arguments) -> Result<Exit, Error> {
    let (text, notes) = match (&arguments.curl, &arguments.openapi) {
        (Some(command), _) => as_job(flags::curl(command)?)?,
        (None, Some(path)) => as_job(of_openapi(path, arguments)?)?,
        (None, None) => (STARTER.to_owned(), Vec::new()),
    };
    write(&arguments.job, &text)?;
    for note in notes {
        say::note(&format!("throng: {}", throng::report::escape(&note)));
    }
    say::note(&format!(
        "wrote {0}: give it your rows and the API's limit; throng plan {0} checks it",
        arguments.job
    ));
    Ok(Exit::Ok)
}

fn write(path: &str, text: &str) -> Result<(), Error> {
    let file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Error::plan(format!("{path} can't be written: {error}")))
}

fn of_openapi(path: &str, arguments: &Arguments) -> Result<Translated, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::plan(format!("--openapi {path} can't be read: {error}")))?;
    let operation = arguments.operation.as_deref().unwrap_or_default();
    throng::openapi::translate(&text, operation)
}

/// A whole job file, with its keys in the environment.
fn as_job(translated: Translated) -> Result<(String, Vec<String>), Error> {
    let Translated { mut job, mut notes } = translated;
    let mut keys = BTreeMap::new();
    hide_keys(&mut job, &mut keys);
    notes.extend(keys.iter().map(|(name, place)| {
        format!(
            "{place} held a key: it is {{{{ env.{name} }}}} now; export {name}=… before you run it"
        )
    }));
    job["input"] = json!({ "file": "rows.csv" });
    job["limit"] = json!({ "rate": ["10/1s"] });
    job["output"] = json!({ "file": "results.jsonl" });
    drop_nulls(&mut job);
    let text = toml::to_string_pretty(&job)
        .map_err(|error| Error::plan(format!("the job can't be written as TOML: {error}")))?;
    Ok((text, notes))
}

/// Puts variables of the environment in the place of keys.
fn hide_keys(job: &mut Value, keys: &mut BTreeMap<String, String>) {
    for part in [["request", "headers"], ["auth", ""]] {
        let (map, place) = match part {
            [one, ""] => (job.get_mut(one), format!("{one}.")),
            [one, two] => {
                let map = job.get_mut(one).and_then(|part| part.get_mut(two));
                (map, format!("{one}.{two}."))
            }
        };
        for (name, value) in map.and_then(Value::as_object_mut).into_iter().flatten() {
            let Some(text) = value
                .as_str()
                .filter(|text| looks_like_key(name) && !text.is_empty())
            else {
                continue;
            };
            if text.contains("{{") {
                continue;
            }
            let variable = variable(name);
            let start = text.split_once(' ').map_or("", |(start, _)| start);
            keys.insert(variable.clone(), place.clone() + name);
            *value = match start {
                "" => format!("{{{{ env.{variable} }}}}"),
                start => format!("{start} {{{{ env.{variable} }}}}"),
            }
            .into();
        }
    }
}

fn variable(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "authorization" | "token" => "API_TOKEN".into(),
        "password" => "API_PASSWORD".into(),
        other => other
            .to_ascii_uppercase()
            .replace(|letter: char| !letter.is_ascii_alphanumeric(), "_"),
    }
}

fn drop_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
        map.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
}
