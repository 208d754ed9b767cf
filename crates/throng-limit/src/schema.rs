//! The forms of values that a job writes as texts, for the JSON Schema of a job.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::config::Details;

/// A value in one of two forms.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "the schema needs the type alone")]
pub enum Either<A, B> {
    First(A),
    Second(B),
}

/// A value, or a list of them.
pub type OneOrMany<T> = Either<T, Vec<T>>;

/// A duration: `30s`, `500ms`, `1h30m`.
pub struct DurationText;

/// A share in percent.
pub struct ShareText;

/// A rate as a text or a table.
pub struct LimitText;

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let units = "nanos|nsec|ns|micros|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y";
        json_schema!({
            "type": "string",
            "pattern": format!("^ *(0|([0-9]+ *({units}) *)+)$"),
            "examples": ["30s", "500ms", "1h30m"],
        })
    }
}

impl JsonSchema for ShareText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^ *[0-9.]+ *% *$", "examples": ["80%"] })
    }
}

impl JsonSchema for LimitText {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = json_schema!({
            "type": "string",
            "pattern": "^(auto|[^/]*[1-9][^/]*/.+)$",
            "description": "At most so many units in any period.",
            "examples": [
                "22/5s", "300/1m", "90000 tokens/1m", "counter:300/1m", "bucket:10/1s", "gcra:30/1m",
                "100/1m@clock", "25/1d@America/New_York", "5000/run", "auto:100/1s",
            ],
        });
        let mut table = Details::json_schema(generator).to_value();
        table["properties"]["rate"] = text.clone().to_value();
        table["required"] = serde_json::json!(["rate"]);
        json_schema!({ "anyOf": [text, table] })
    }
}
