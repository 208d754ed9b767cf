//! Bodies of answers: decoded, searched for values, and shown without secrets.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use serde_json::{Map, Value};
use throng::internals::extract::Extractor;

use throng::internals::secret::Secrets;

use crate::{halves, text};

/// Plain paths come to what jq comes to: the verdict and the values are equal.
pub fn json_paths(data: &[u8]) {
    thread_local! {
        // To compile a program takes far longer than to run it.
        static PAIRS: Vec<[Extractor; 2]> = pairs();
    }
    PAIRS.with(|pairs| {
        for [fast, full] in pairs {
            let found = [fast, full].map(|it| it.extract(data).map_err(|failure| failure.kind));
            assert_eq!(found[0], found[1]);
        }
    });
}

/// Extractors of some paths each: as they are, and in a spelling that only jq reads.
fn pairs() -> Vec<[Extractor; 2]> {
    const PATHS: [&str; 9] =
        [".", ".a", ".a.b", ".a[0]", ".a[-1].b", ".b", ".[0]", ".[1].a", ".c[2].a"];
    let sets = [&PATHS[..], &PATHS[1..3], &PATHS[3..6], &PATHS[6..7]];
    sets.map(|set| ["", " | ."].map(|more| extractor(set, more))).into()
}

/// Each path is a value that need not be there.
fn extractor(paths: &[&str], more: &str) -> Extractor {
    let programs: Map<String, Value> =
        paths.iter().map(|path| (format!("{path}?"), format!("{path}{more}").into())).collect();
    Extractor::new(&programs).expect("the paths are jq programs")
}

/// A body in any encoding is decoded, or refused, within the bound of its size.
pub fn bodies(data: &[u8]) {
    const MOST: u64 = 1 << 16;
    let (encoding, body) = halves(data);
    let Ok(encoding) = encoding.try_into() else {
        return;
    };
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, encoding)]);
    let body = throng::internals::send::decode(Bytes::copy_from_slice(body), &headers, MOST);
    if let Ok(body) = body {
        assert!(body.len() as u64 <= MOST.max(data.len() as u64));
    }
}

/// A body as it is written: what is JSON stays JSON with the same numbers and structure,
/// and no text in it holds the secret.
pub fn redacted(data: &[u8]) {
    let (secret, body) = halves(data);
    let (secret, body) = (text(secret), text(body));
    // What stands in the place of a secret would be one.
    if secret.is_empty() || "***".contains(secret) || secret.contains('*') {
        return;
    }
    let secrets = Secrets::default();
    secrets.add_declared(secret);
    let said = secrets.hide(body.to_owned());
    assert!(!said.contains(secret), "{said}");
    let Ok(before) = serde_json::from_str::<Value>(body) else {
        return;
    };
    let mut value = before.clone();
    secrets.hide_in_value(&mut value);
    assert_hidden(&before, &value, secret);
    let written = secrets.hide_in(Bytes::copy_from_slice(body.as_bytes()));
    let written = serde_json::from_slice(&written).expect("JSON stays JSON");
    assert_hidden(&before, &written, secret);
}

fn assert_hidden(before: &Value, after: &Value, secret: &str) {
    match (before, after) {
        (Value::String(_), Value::String(text)) => assert!(!text.contains(secret), "{text}"),
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            let pairs = before.iter().zip(after);
            pairs.for_each(|(before, after)| assert_hidden(before, after, secret));
        }
        // Names that become equal are counted where they are hidden.
        (Value::Object(before), Value::Object(after)) if before.len() == after.len() => {
            let pairs = before.values().zip(after.values());
            pairs.for_each(|(before, after)| assert_hidden(before, after, secret));
            assert!(after.keys().all(|name| !name.contains(secret)));
        }
        (Value::Object(_), Value::Object(_)) => {}
        (before, after) => assert_eq!(before, after),
    }
}
