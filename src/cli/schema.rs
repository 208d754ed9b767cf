//! `throng schema`: the JSON Schema of a job file, of the summary and of events, for editors and programs.

use clap::{Args, ValueEnum};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::exit::Exit;
use super::say;
use crate::Error;
use crate::plan::Job;
use crate::report::Report;

#[derive(Args)]
#[group(skip)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArgs {
    /// What the schema describes
    #[arg(value_name = "OF", value_enum, default_value_t = Of::Job)]
    of: Of,
}

const EXAMPLES: &str = "\
Examples:
  throng schema > throng.schema.json        then, as the first line of a job file in TOML:
                                            #:schema ./throng.schema.json
  throng schema summary                     of what --summary-json writes
  throng schema events                      of a line that --events writes";

/// The schema of a line of events.
const EVENTS: &str = include_str!("../../docs/events.schema.json");

/// What has a schema.
#[derive(Clone, Copy, ValueEnum)]
enum Of {
    /// A job file, in TOML or JSON.
    Job,
    /// The summary of a run (--summary-json).
    Summary,
    /// A line of the events of a run (--events).
    Events,
}

pub fn main(arguments: &SchemaArgs) -> Result<Exit, Error> {
    let schema = match arguments.of {
        Of::Job => of_job(),
        Of::Summary => of_summary(),
        Of::Events => {
            say::result(EVENTS.trim_end());
            return Ok(Exit::Ok);
        }
    };
    let text = serde_json::to_string_pretty(&schema);
    say::result(&text.map_err(|error| Error::stopped(error.to_string()))?);
    Ok(Exit::Ok)
}

fn of_job() -> Value {
    let mut schema = titled::<Job>(SchemaSettings::draft07(), "A job of throng");
    // The older name of a key.
    let keys = &mut schema["properties"]["before"]["items"]["properties"];
    keys["body"] = keys["data"].clone();
    schema
}

fn of_summary() -> Value {
    titled::<Report>(SchemaSettings::draft07().for_serialize(), "The summary of a run of throng")
}

/// The schema of a type in one piece, as editors show it best.
fn titled<T: JsonSchema>(settings: SchemaSettings, title: &str) -> Value {
    let settings = settings.with(|settings| settings.inline_subschemas = true);
    let mut schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    let mut schema = schema.to_value();
    drop_null_defaults(&mut schema);
    schema
}

/// That a key is left out by default needs no words.
fn drop_null_defaults(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            if keys.get("default").is_some_and(Value::is_null) {
                keys.remove("default");
            }
            keys.values_mut().for_each(drop_null_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null_defaults),
        _ => {}
    }
}
