//! Keys that the job itself holds, where history and backups keep them. Pure.

use serde_json::{Map, Value};

use super::Job;
use crate::render::{keys_in_data, keys_in_url, may_be_key};
use crate::secret::Secrets;

/// A key as the job writes it.
pub struct Literal {
    /// Its place in the job: `request.query.api_key`.
    pub place: String,
    /// The key, which a server may echo.
    pub value: String,
}

/// Minimum length of a key that is worth a warning, in bytes.
const SHORTEST: usize = 8;
/// Minimum length of a value that can't be a word, in bytes.
const LONG: usize = 16;

/// All values of the job whose names say that they are keys.
pub fn of(job: &Job) -> Vec<Literal> {
    let request = &job.request;
    let mut all = Vec::new();
    for (place, map) in [
        ("request.headers", &request.headers),
        ("request.query", &request.query),
        ("request.form", &request.form),
        ("request.multipart", &request.multipart),
        ("auth", &job.auth),
    ] {
        in_map(place, map, &mut all);
    }
    for before in &job.before {
        for (place, map) in [
            ("before.headers", &before.headers),
            ("before.query", &before.query),
            ("before.form", &before.form),
            ("before.auth", &before.auth),
        ] {
            in_map(place, map, &mut all);
        }
        if let Some(json) = &before.json {
            in_value("before.json", json, &mut all);
        }
        let data = before.data.as_deref().map(keys_in_data).unwrap_or_default();
        all.extend(
            data.into_iter().map(|key| Literal {
                place: format!("before.data: {}", key.name),
                value: key.value,
            }),
        );
    }
    // The path of a file that holds a refresh token is no key.
    all.retain(|it| !(it.place.starts_with("auth.") && it.value.starts_with("file:")));
    if let Some(json) = &request.json {
        in_value("request.json", json, &mut all);
    }
    let url = request.url.as_deref().map(keys_in_url).unwrap_or_default();
    let data = request.data.as_deref().map(keys_in_data).unwrap_or_default();
    for (place, keys) in [("request.url", url), ("request.data", data)] {
        all.extend(
            keys.into_iter()
                .map(|key| Literal { place: format!("{place}: {}", key.name), value: key.value }),
        );
    }
    all
}

/// The places of the job's keys that are worth a warning.
pub(crate) fn places_of_keys(job: &Job) -> Vec<String> {
    of(job).into_iter().filter(Literal::is_long).map(|key| key.place).collect()
}

fn in_map(place: &str, map: &Map<String, Value>, all: &mut Vec<Literal>) {
    for (name, value) in map {
        match value {
            Value::String(text) if may_be_key(name) && !text.contains("{{") => {
                all.push(Literal { place: format!("{place}.{name}"), value: text.clone() })
            }
            value => in_value(&format!("{place}.{name}"), value, all),
        }
    }
}

fn in_value(place: &str, value: &Value, all: &mut Vec<Literal>) {
    match value {
        Value::Object(map) => in_map(place, map, all),
        Value::Array(items) => items.iter().for_each(|item| in_value(place, item, all)),
        // The flag gives the tree as a text.
        Value::String(text) if place == "request.json" => {
            all.extend(
                keys_in_data(text).into_iter().map(|key| Literal {
                    place: format!("{place}: {}", key.name),
                    value: key.value,
                }),
            );
        }
        _ => {}
    }
}

impl Literal {
    /// Whether it is worth a warning.
    pub fn is_long(&self) -> bool {
        self.value.len() >= SHORTEST
    }

    /// Hides the key; in answers only if it is no word that they could hold by chance.
    pub fn hide(&self, secrets: &Secrets) {
        let has = |is: fn(&u8) -> bool| self.value.as_bytes().iter().any(is);
        let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
        if self.value.len() >= LONG || (self.is_long() && is_mixed) {
            secrets.add(&self.value);
        } else {
            secrets.add_doubtful(&self.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_found_wherever_a_request_may_have_them() {
        let job: Job = serde_json::from_value(json!({
            "request": {
                "url": "https://h/?sig=one&id=x",
                "headers": {"x-api-key": "two", "accept": "x"},
                "query": {"token": ["{{ env.T }}"], "access_token": "three"},
                "json": {"a": [{"password": "four"}], "token": "{{ env.T }}"},
            },
            "auth": {"kind": "bearer", "token": "five"},
        }))
        .unwrap();
        let found: Vec<(String, String)> =
            of(&job).into_iter().map(|key| (key.place, key.value)).collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(p, v)| (&**p, &**v)).collect();
        assert_eq!(
            found,
            [
                ("request.headers.x-api-key", "two"),
                ("request.query.access_token", "three"),
                ("auth.token", "five"),
                ("request.json.a.password", "four"),
                ("request.url: sig", "one"),
            ]
        );
    }

    #[test]
    fn a_word_is_not_hidden_in_answers() {
        for (value, hidden) in [
            ("created_at", "created_at"),
            ("20261127", "20261127"),
            ("ab12cd34", "***"),
            ("averylongkeyofletters", "***"),
        ] {
            let secrets = Secrets::default();
            let literal = Literal { place: String::new(), value: value.to_owned() };
            literal.hide(&secrets);
            let mut found = json!(value);
            secrets.hide_in_value(&mut found);
            assert_eq!(found, hidden);
            assert_eq!(secrets.hide(value.to_owned()), "***");
        }
    }
}
