//! The keys of `[auth]` for the JSON Schema of a job: a kind, and the keys of that kind. Pure.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{SCHEMES, basic, bearer, header, hmac, oauth2, sigv4};

/// The keys of `[auth]`.
pub struct AuthKeys;

/// The keys of a scheme.
type Keys = fn(&mut SchemaGenerator) -> Schema;

/// The keys of each scheme, in the order of the schemes.
static KEYS: [Keys; SCHEMES.len()] = [
    header::Settings::json_schema,
    basic::Settings::json_schema,
    bearer::Settings::json_schema,
    oauth2::Settings::json_schema,
    sigv4::Settings::json_schema,
    hmac::Settings::json_schema,
];

impl JsonSchema for AuthKeys {
    fn schema_name() -> Cow<'static, str> {
        "Auth".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let none = json!({ "type": "object", "maxProperties": 0 });
        let kinds = SCHEMES.iter().zip(KEYS).map(|(scheme, keys)| {
            let mut keys = keys(generator).to_value();
            keys["title"] = scheme.name.into();
            keys["properties"]["kind"] = json!({
                "const": scheme.name,
                "description": format!("The kind of authentication: {}", scheme.about),
            });
            if let Some(required) = keys.get_mut("required").and_then(Value::as_array_mut) {
                required.push("kind".into());
            } else {
                keys["required"] = json!(["kind"]);
            }
            keys
        });
        let kinds: Vec<Value> = kinds.chain([none]).collect();
        json_schema!({ "anyOf": kinds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_keys_of_its_own() {
        let schema = AuthKeys::json_schema(&mut SchemaGenerator::default()).to_value();
        for (name, key) in [("header", "value"), ("oauth2", "token-url"), ("sigv4", "service")] {
            let kinds = schema["anyOf"].as_array().unwrap();
            let kind = kinds.iter().find(|kind| kind["title"] == name).unwrap();
            assert!(kind["properties"][key].is_object(), "{name}: {kind}");
        }
    }
}
