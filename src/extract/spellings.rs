//! Plain paths without jq against the same paths by jq: both give one verdict and the
//! same values, for every body.

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};

use super::*;

const ROUNDS: usize = 20_000;

/// Texts in the place of values: valid JSON, and invalid JSON.
const ODD: [&str; 46] = [
    "1e400",
    "-1e400",
    "1e-400",
    "-0",
    "-0.0",
    "1.0",
    "1E5",
    "1e+5",
    "0.1e1",
    "12345678901234567890123",
    "18446744073709551615",
    "-9223372036854775809",
    "9007199254740993",
    "0.30000000000000004",
    "1.7976931348623157e308",
    "5e-324",
    "123456789.123456789e-7",
    "00",
    "01",
    "-",
    "+1",
    "1.",
    ".5",
    "1e",
    "0x10",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""\ud83d\ude00""#,
    r#""\u0000""#,
    r#""\q""#,
    r#""\u12""#,
    "\"\u{1}\"",
    "\"\t\"",
    "\"\u{7f}\u{2028}é😀\"",
    "'a'",
    "tru",
    "nulll",
    "[1,]",
    "{\"a\":1,}",
    "{\"a\":1,\"a\":2}",
    "{\"\\u0061\":3,\"b\":{\"c\":null}}",
    "undefined",
];

/// Bytes that are inserted into a body.
const BYTES: [&[u8]; 24] = [
    b" ",
    b"\n",
    b"\r\n",
    b"\t",
    b",",
    b":",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"0",
    b"e",
    b"-",
    b"\0",
    b"\x0b",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"{}",
    b" {\"a\":7}",
    b"\x1b",
];

fn value(chance: &mut SmallRng, depth: u32, out: &mut String) {
    let kind = chance.random_range(0..if depth < 4 { 10 } else { 7 });
    match kind {
        0 => out.push_str(ODD[chance.random_range(0..ODD.len())]),
        1 => out.push_str(&f64::from_bits(chance.next_u64()).to_string()),
        2 => out.push_str(&json!(f64::from_bits(chance.next_u64())).to_string()),
        3 => out.push_str(&chance.random_range(-1_000..1_000).to_string()),
        4 => out.push_str(["true", "false", "null", "\"\"", "\"text\""][chance.random_range(0..5)]),
        5 => out.push_str(&json!(chance.random::<f64>() * 1e6).to_string()),
        6 => out.push_str(&chance.next_u64().to_string()),
        7 => list(chance, depth, out),
        _ => object(chance, depth, out),
    }
}

fn list(chance: &mut SmallRng, depth: u32, out: &mut String) {
    out.push('[');
    for place in 0..chance.random_range(0..4) {
        out.push_str(if place > 0 { ", " } else { "" });
        value(chance, depth + 1, out);
    }
    out.push(']');
}

fn object(chance: &mut SmallRng, depth: u32, out: &mut String) {
    out.push('{');
    for place in 0..chance.random_range(0..5) {
        out.push_str(if place > 0 { "," } else { "" });
        let keys = ["a", "b", "c", "d", "\\u0061", "A", "a b", ""];
        out.push_str(&format!("\"{}\": ", keys[chance.random_range(0..keys.len())]));
        value(chance, depth + 1, out);
    }
    out.push('}');
}

fn body(chance: &mut SmallRng) -> Vec<u8> {
    let mut text = String::new();
    object(chance, 0, &mut text);
    if chance.random_range(0..20) == 0 {
        let depth = chance.random_range(60..260);
        text = format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    }
    let mut body = text.into_bytes();
    for _ in 0..[0, 0, 0, 1, 2][chance.random_range(0..5)] {
        let at = chance.random_range(0..=body.len());
        match chance.random_range(0..4) {
            0 => body.truncate(at),
            1 if at < body.len() => drop(body.remove(at)),
            2 if at < body.len() => body[at] ^= 1 << chance.random_range(0..8),
            _ => {
                let bytes = BYTES[chance.random_range(0..BYTES.len())];
                // Often at the ends, where mistakes are likely.
                let at = [0, at, body.len()][chance.random_range(0..3)];
                body.splice(at..at, bytes.iter().copied());
            }
        }
    }
    body
}

/// An extractor of the values of these programs, all of which may be missing.
fn extractor(programs: impl Iterator<Item = String>) -> Extractor {
    let named = programs.enumerate();
    let settings = named.map(|(place, code)| (format!("v{place}?"), code.into()));
    Extractor::new(&settings.collect()).unwrap()
}

/// The values, or the kind of the failure.
fn found(extractor: &Extractor, body: &[u8]) -> Result<Vec<Value>, String> {
    let found = extractor.extract(body);
    found.map_err(|failure| failure.kind.text().into_owned())
}

#[test]
fn a_verdict_does_not_depend_on_how_a_program_is_spelt() {
    let paths = [".a", ".b", ".a.b", ".c[0]", ".a[1].c", ".d[-1]", ".none.x", ".b.a.c", "."];
    let sets = [&paths[..], &paths[..8], &paths[..1], &paths[2..4], &paths[3..6], &paths[7..]];
    let extractors = sets.map(|set| {
        let plain = set.iter().map(ToString::to_string);
        let by_jq = set.iter().map(|path| format!(". | {path}"));
        (extractor(plain), extractor(by_jq), set)
    });
    let mut chance = SmallRng::seed_from_u64(17);
    let mut verdicts = std::collections::BTreeMap::<String, usize>::new();
    for round in 0..ROUNDS {
        let body = body(&mut chance);
        let (plain, by_jq, set) = &extractors[round % extractors.len()];
        assert!(plain.is_single_pass() && !by_jq.is_single_pass());
        let (plain, by_jq) = (found(plain, &body), found(by_jq, &body));
        // As texts, since -0 and 0 are equal.
        assert_eq!(
            format!("{plain:?}"),
            format!("{by_jq:?}"),
            "round {round}, {set:?} of {}",
            body.escape_ascii()
        );
        let verdict = plain.err().unwrap_or_else(|| "ok".to_owned());
        *verdicts.entry(verdict).or_default() += 1;
    }
    for verdict in ["ok", "not json", "not text"] {
        assert!(verdicts.get(verdict) > Some(&100), "{verdicts:?}");
    }
}
