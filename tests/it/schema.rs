//! The JSON Schemas, judged by another validator (tests/servers/schema.py).

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use throng::Job;

use crate::harness::{Place, mock, throng};
use crate::recipes::blocks;
use throng_mock::Settings;

fn schema(of: &str) -> Value {
    serde_json::from_str(&throng("schema").flags(of).exits(0).stdout).unwrap()
}

/// The first error of each document; null for one that is valid.
fn errors(schema: &Value, documents: &[Value]) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(root.join("target/servers/bin/python"));
    python.arg(root.join("tests/servers/schema.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    // tests/servers/install has made it.
    let mut python = python.spawn().unwrap();
    let input = json!({ "schema": schema, "documents": documents }).to_string();
    python.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    serde_json::from_slice(&python.wait_with_output().unwrap().stdout).unwrap()
}

fn toml(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

#[test]
fn each_example_and_recipe_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = std::fs::read_dir(root.join("examples")).unwrap();
    let examples = examples.map(|file| file.unwrap().path());
    let examples = examples.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let mut texts: Vec<String> =
        examples.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for page in [
        "recipes",
        "start",
        "pages",
        "requests",
        "answers",
        "server",
        "limits",
        "guide",
        "fallbacks",
    ] {
        let page = std::fs::read_to_string(root.join(format!("docs/{page}.md"))).unwrap();
        let jobs = blocks(&page).into_iter().filter(|block| block.language == "toml");
        texts.extend(jobs.map(|block| block.text.replace("...", "")));
    }
    let documents: Vec<Value> = texts.iter().map(|text| toml(text)).collect();
    assert!(documents.len() > 15, "{}", documents.len());
    for (text, error) in texts.iter().zip(errors(&schema("job"), &documents)) {
        assert_eq!(error, Value::Null, "{text}");
    }
}

/// The parts of a job, each with its place in the schema.
const PARTS: [(&str, &str); 24] = [
    ("", ""),
    ("input", "/input"),
    ("request", "/request"),
    ("env", "/env"),
    ("limit", "/limit"),
    ("workers", "/workers"),
    ("send", "/send"),
    ("network", "/network"),
    ("tls", "/tls"),
    ("retry", "/retry"),
    ("items", "/items"),
    ("batch", "/batch"),
    ("pages", "/pages"),
    ("poll", "/poll"),
    ("output", "/output"),
    ("before", "/before/[]"),
    ("signal", "/signal/[]"),
    ("refusal", "/refusal/[]"),
    ("answers", "/answers/[]"),
    ("step", "/step/[]"),
    ("fallback", "/fallback/[]"),
    ("step.request", "/step/[]/request"),
    ("step.send", "/step/[]/send"),
    ("step.pages", "/step/[]/pages"),
];

/// A part of the schema, within lists and beside null.
fn part<'a>(schema: &'a Value, place: &str) -> &'a Value {
    place.split('/').filter(|step| !step.is_empty()).fold(schema, |at, step| {
        let next = if step == "[]" { &at["items"] } else { &at["properties"][step] };
        let forms = next["anyOf"].as_array();
        forms.and_then(|forms| forms.iter().find(|form| form["type"] != "null")).unwrap_or(next)
    })
}

#[test]
fn each_part_has_the_keys_that_throng_reads_and_a_text_for_each() {
    let schema = schema("job");
    for (name, place) in PARTS {
        let properties = part(&schema, place)["properties"].as_object();
        let properties = properties.unwrap_or_else(|| panic!("{name}: {}", part(&schema, place)));
        for (key, property) in properties {
            assert!(property["description"].is_string(), "{name}.{key}: {property}");
        }
        let wrong = place.split('/').rev().filter(|step| !step.is_empty());
        let job = wrong.fold(json!({ "no-such-key": 1 }), |inner, step| match step {
            "[]" => json!([inner]),
            step => json!({ step: inner }),
        });
        let error = Job::parse("job.json", &job.to_string()).unwrap_err().to_string();
        let (_, expected) = error.split_once("unknown field `no-such-key`, expected").unwrap();
        let expected: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
        let known: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        assert_eq!(known, expected, "{name}");
    }
}

#[test]
fn what_throng_refuses_is_not_valid_either_and_the_other_way_round() {
    let texts = [
        ("[send]\ntimeout = 30", false),
        ("[send]\ntimeout = \"soon\"", false),
        ("[send]\ntimeout = \"1m30s\"", true),
        ("[send]\nmax-body = \"10MiB\"", true),
        ("[limit]\nrate = \"22/5s\"", true),
        ("[limit]\nrate = [\"22/5s\", { rate = \"9/1m\", burst = 3, per = \"{{ a }}\" }]", true),
        ("[limit]\nrate = \"auto\"", true),
        ("[limit]\nrate = \"22\"", false),
        ("[limit]\nrate = \"0/5s\"", false),
        ("[limit]\nrate = 22", false),
        ("[limit]\nrate = [{ rates = \"9/1m\" }]", false),
        ("[limit]\nguard = \"strickt\"", false),
        ("[limit]\nuse = \"80%\"", true),
        ("[limit]\nuse = 80", false),
        ("[retry]\nretries = 1.5", false),
        ("[retry]\nmax-failures = \"5%\"", true),
        ("[retry]\nmax-failures = 5", true),
        ("[workers]\ncount = -1", false),
        ("[workers]\nmode = \"fast\"", false),
        ("[output]\nparts = 0", false),
        ("[output]\nformat = \"xlsx\"", false),
        ("[output]\nkeep-body = true", true),
        ("[output]\nkeep-body = \"all\"", true),
        ("[output]\nretry-failed = [500, \"timeout\"]", true),
        ("[input]\nformat = \"xlsx\"", true),
        ("[input]\nformat = \"docx\"", false),
        ("[request]\nheaders = 1", false),
        ("[request]\nurls = \"http://h/\"", false),
        ("[[answer]]\nstatus = [404, \"5xx\"]\nthen = \"missing\"", true),
        ("[[answer]]\nstatus = 404", false),
        ("answer = \"csv\"", true),
        ("answer = \"cvs\"", false),
        ("cookies = \"run\"", true),
        ("cookies = \"jar\"", false),
        ("[[step]]\nrequest.url = \"http://h/\"\nlimit.rate = \"3/1s\"", true),
        ("[[step]]\nlimits.rate = \"3/1s\"", false),
        ("[auth]\nkind = \"bearer\"\ntoken = \"{{ env.T }}\"", true),
    ];
    let documents: Vec<Value> = texts.iter().map(|(text, _)| toml(text)).collect();
    for ((text, is_right), error) in texts.iter().zip(errors(&schema("job"), &documents)) {
        assert_eq!(error.is_null(), *is_right, "{text}: {error}");
        assert_eq!(Job::parse("j.toml", text).is_ok(), *is_right, "{text}");
    }
    let auth = ["kind = \"beaver\"", "kind = \"basic\"\ntoken = \"x\"", "kind = \"bearer\""];
    let documents = auth.map(|keys| toml(&format!("[auth]\n{keys}")));
    assert!(errors(&schema("job"), &documents).iter().all(|error| !error.is_null()));
    let named = json!({ "$schema": "./s.json", "request": { "url": "http://h/" } });
    assert_eq!(errors(&schema("job"), std::slice::from_ref(&named)), [Value::Null]);
    assert!(Job::parse("j.json", &named.to_string()).is_ok());
}

#[test]
fn the_summaries_of_runs_are_valid() {
    let faults = "500=20%,missing=10%".parse().unwrap();
    let limits = vec!["50/1s".parse().unwrap()];
    let mock = mock(Settings { limits, faults, ..Settings::default() });
    let place = Place::new();
    let summary = |name: &str| place.path(&format!("{name}.json"));
    let quotes = || {
        let run = throng("run").quotes(&mock.url()).files(&place, 40, "out.jsonl");
        run.flags("--rate 50/1s --retries 1 --no-brake").arg("--summarize", "mean(price) by symbol")
    };
    quotes().flags("--take 20").arg("--summary-json", &summary("first")).ends();
    quotes().flags("--resume").arg("--summary-json", &summary("second")).ends();
    let report = throng("report").flags(&place.path("out.jsonl"));
    report.arg("--summary-json", &summary("report")).ends();
    let documents = ["first", "second", "report"].map(|name| place.json(&format!("{name}.json")));
    assert!(documents[1]["this_run"].is_object() && documents[0]["failed"] != 0);
    let schema = schema("summary");
    assert_eq!(errors(&schema, &documents), [Value::Null, Value::Null, Value::Null]);
    let mut wrong = documents[0].clone();
    wrong["rows"] = json!("forty");
    assert!(!errors(&schema, &[wrong])[0].is_null());
    for (key, property) in schema["properties"].as_object().unwrap() {
        assert!(property["description"].is_string(), "{key}: {property}");
    }
}
