//! Random documents, written as one JSON writer or another would, with random secrets
//! in them.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use super::{Secrets, literals};
use crate::extract::Extractor;
use crate::record::excerpt;

const LETTERS: [&str; 24] = [
    "a", "Z", "0", "7", "-", "_", "/", "+", "=", "&", "%", "\"", "\\", "<", " ", "u", "n", "'",
    "ü", "😀", ";", "#", ":", "\n",
];

struct Made {
    chance: StdRng,
    secret: String,
}

impl Made {
    fn new(seed: u64) -> Made {
        let mut made = Made { chance: StdRng::seed_from_u64(seed), secret: String::new() };
        let length = made.below(24) + 5;
        made.secret = match seed % 4 {
            0 => (0..length).map(|_| made.below(10).to_string()).collect(),
            _ => made.letters(length),
        };
        made
    }

    fn below(&mut self, most: usize) -> usize {
        self.chance.random_range(0..most)
    }

    fn letters(&mut self, length: usize) -> String {
        (0..length).map(|_| LETTERS[self.below(LETTERS.len())]).collect()
    }

    /// A text, often with the secret in it.
    fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(4) {
            let length = self.below(6);
            text += &self.letters(length);
            if self.below(3) == 0 {
                text += &self.secret;
            }
        }
        text
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => Value::Null,
            // The digits of a secret may well stand in a number.
            1 => self.secret.parse::<u64>().map_or(json!(17.25), |it| json!(it)),
            2 => json!(self.chance.random::<i32>()),
            3 | 4 => self.text().into(),
            5 => {
                let length = self.below(4);
                (0..length).map(|_| self.value(depth - 1)).collect()
            }
            _ => {
                let length = self.below(4);
                let pairs = (0..length).map(|_| (self.text(), self.value(depth - 1)));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// The value as some writer of JSON puts it.
    fn written(&mut self, value: &Value, json: &mut String) {
        match value {
            Value::String(text) => self.literal(text, json),
            Value::Array(items) => {
                json.push('[');
                for (number, item) in items.iter().enumerate() {
                    json.push_str(if number == 0 { "" } else { ", " });
                    self.written(item, json);
                }
                json.push(']');
            }
            Value::Object(map) => {
                json.push('{');
                for (number, (name, item)) in map.iter().enumerate() {
                    json.push_str(if number == 0 { "" } else { ",\n" });
                    self.literal(name, json);
                    json.push(':');
                    self.written(item, json);
                }
                json.push('}');
            }
            other => json.push_str(&other.to_string()),
        }
    }

    fn literal(&mut self, text: &str, json: &mut String) {
        json.push('"');
        for letter in text.chars() {
            match (letter, self.below(3)) {
                (_, 0) => {
                    let upper = self.below(2) == 0;
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        *json += &if upper {
                            format!("\\u{unit:04X}")
                        } else {
                            format!("\\u{unit:04x}")
                        };
                    }
                }
                ('/', 1) | ('"' | '\\', _) => {
                    json.push('\\');
                    json.push(letter);
                }
                ('\n', _) => json.push_str("\\n"),
                _ => json.push(letter),
            }
        }
        json.push('"');
    }
}

/// What stands outside of quotes.
fn structure(json: &str) -> String {
    let (mut left, mut from) = (String::new(), 0);
    while let Some(literal) = literals::next_literal(json.as_bytes(), from) {
        left += &json[from..literal.start];
        from = literal.end;
        // The quote that ends it.
        left.push('"');
        from += 1;
    }
    left + &json[from..]
}

fn holds(value: &Value, secret: &str) -> bool {
    match value {
        Value::String(text) => text.contains(secret),
        Value::Array(items) => items.iter().any(|item| holds(item, secret)),
        Value::Object(map) => {
            map.iter().any(|(name, item)| name.contains(secret) || holds(item, secret))
        }
        _ => false,
    }
}

#[test]
fn values_are_the_server_s_and_hold_no_secret_however_they_are_written() {
    let all = json!({"all?": ".x"});
    let paths = Extractor::new(all.as_object().unwrap()).unwrap();
    let by_jq = json!({"all?": ".x | ."});
    let by_jq = Extractor::new(by_jq.as_object().unwrap()).unwrap();
    for seed in 0..3_000 {
        let mut made = Made::new(seed);
        let document = json!({ "x": made.value(3) });
        let mut body = String::new();
        made.written(&document, &mut body);
        let secret = &made.secret;
        let secrets = Secrets::default();
        secrets.add(secret);

        // What is found is the same, and only texts with the secret in them change.
        let mut values = paths.extract(body.as_bytes()).unwrap();
        assert_eq!(values, [document["x"].clone()], "seed {seed}: {body}");
        assert_eq!(by_jq.extract(body.as_bytes()).unwrap(), values, "seed {seed}");
        secrets.hide_in_values(&mut values);
        assert!(!holds(&values[0], secret), "seed {seed}: {secret:?} in {values:?}");
        let none = Secrets::default();
        none.add("a secret that is not there");
        let mut same = document["x"].clone();
        none.hide_in_value(&mut same);
        assert_eq!(same, document["x"], "seed {seed}");

        // The body that is kept comes to the same values, with the same numbers.
        let kept = secrets.hide_in(Bytes::from(body.clone()));
        let kept = String::from_utf8(kept.to_vec()).unwrap();
        assert_eq!(structure(&kept), structure(&body), "seed {seed}: {kept}");
        let read = paths.extract(kept.as_bytes()).unwrap();
        assert!(!holds(&read[0], secret), "seed {seed}: {secret:?} in {kept}");
        let quiet = !holds(&document, secret);
        assert!(!quiet || kept == body || !values.contains(&document["x"]), "seed {seed}");

        // A message that quotes its beginning, or all of it.
        for most in [80, usize::MAX] {
            let start = excerpt(&body, most);
            let said = secrets.hide(format!("it begins {start:?}"));
            assert_hidden(&said, secret, seed);
        }
    }
}

/// Neither as it is nor once undone: not if all that JSON and Rust may have escaped
/// is read again.
#[track_caller]
fn assert_hidden(said: &str, secret: &str, seed: u64) {
    assert!(!said.contains(secret), "seed {seed}: {secret:?} in {said}");
    let quoted = said.trim_start_matches("it begins ");
    let once = undone(quoted.trim_matches('"'));
    let twice = undone(&once);
    for text in [once, twice] {
        assert!(!text.contains(secret), "seed {seed}: {secret:?} in {said}");
    }
}

/// Without one layer of backslashes.
fn undone(text: &str) -> String {
    let (mut plain, mut letters) = (String::new(), text.chars());
    let mut units = Vec::new();
    while let Some(letter) = letters.next() {
        let rest = letters.as_str();
        let unit = rest.strip_prefix('u').and_then(|rest| rest.get(..4));
        let unit = unit.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        if let (b'\\', Some(unit)) = (letter as u8, unit) {
            units.push(unit);
            letters = rest[5..].chars();
            continue;
        }
        plain += &String::from_utf16_lossy(&std::mem::take(&mut units));
        match (letter, rest.chars().next()) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some(next)) => plain.push(next),
            _ => {
                plain.push(letter);
                continue;
            }
        }
        letters.next();
    }
    plain + &String::from_utf16_lossy(&units)
}

#[test]
fn a_message_holds_no_secret_in_any_form_that_servers_write() {
    for seed in 0..3_000 {
        let mut made = Made::new(seed);
        let secret = made.secret.clone();
        let secrets = Secrets::default();
        secrets.add(&secret);
        let (before, after) = (made.below(4), made.below(4));
        let (before, after) = (made.letters(before), made.letters(after));
        for form in forms(&secret) {
            let text = format!("{before}{form}{after}");
            let hidden = secrets.hide(text.clone());
            assert!(
                hidden.contains("***") && !hidden.contains(&form),
                "seed {seed}: {secret:?} as {text:?}: {hidden:?}"
            );
        }
    }
}

/// Hexadecimal digits in small letters.
fn lower(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "%" + &part[..2].to_lowercase() + &part[2..])
}

/// A secret in the forms of URLs, of HTML, of base64, and of JSON within them.
fn forms(secret: &str) -> Vec<String> {
    let percent = |text: &str| {
        text.bytes().fold(String::new(), |all, byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                all + &char::from(byte).to_string()
            }
            byte => all + &format!("%{byte:02X}"),
        })
    };
    let entities = |text: &str, decimal: bool| {
        text.chars().fold(String::new(), |all, letter| match letter {
            '&' | '"' | '<' | '\'' if decimal => all + &format!("&#{};", letter as u32),
            '&' | '"' | '<' | '\'' | '+' => all + &format!("&#x{:x};", letter as u32),
            letter => all + &letter.to_string(),
        })
    };
    let named = secret.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let json = |text: &str| {
        let quoted = json!(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let php = json!(secret).to_string().replace('/', "\\/");
    let encoded = percent(secret);
    vec![
        secret.to_owned(),
        encoded.clone(),
        lower(&encoded),
        encoded.replace("%20", "+"),
        percent(&encoded),
        entities(secret, true),
        entities(secret, false),
        named.clone(),
        json(&named),
        json(secret),
        php[1..php.len() - 1].to_owned(),
        json(&json(secret)),
        json(secret).replace('+', "\\u002B").replace('&', "\\u0026").replace('=', "\\u003d"),
        BASE64_STANDARD.encode(secret),
        BASE64_URL_SAFE_NO_PAD.encode(secret),
        percent(&BASE64_STANDARD.encode(secret)),
        BASE64_STANDARD.encode(secret).replace('/', "\\/"),
    ]
}
