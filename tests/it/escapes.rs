//! Values are the server's, and secrets show nowhere, however a server escapes what
//! it echoes.

use std::path::Path;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::harness::{Place, each, run, throng};
use crate::recorder::{Recorder, answer};

/// As keys are: base64, and what every escape is for.
const KEY: &str = "sk/live+7f3a9c==&<\"q\\>é~";

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |all, byte| {
        if byte.is_ascii_alphanumeric() {
            all + &char::from(byte).to_string()
        } else {
            all + &format!("%{byte:02x}")
        }
    })
}

fn capitals(text: &str) -> String {
    let escaped = percent(text);
    let mut parts = escaped.split('%');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |all, part| all + "%" + &part[..2].to_uppercase() + &part[2..])
}

/// With these characters as JSON's `\uXXXX`, in capital or small digits.
fn unicode(text: &str, which: &str, capital: bool) -> String {
    let quoted = json!(text).to_string();
    let inside = quoted[1..quoted.len() - 1].chars();
    inside.fold(String::new(), |all, letter| match letter {
        letter if !which.contains(letter) => all + &letter.to_string(),
        letter if capital => all + &format!("\\u{:04X}", letter as u32),
        letter => all + &format!("\\u{:04x}", letter as u32),
    })
}

fn php(text: &str) -> String {
    unicode(text, "é", false).replace('/', "\\/")
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('+', "&#43;")
}

/// The key as it stands in the JSON of one server or another: what a parser makes of
/// it is the key itself for the first ones.
fn forms() -> Vec<(&'static str, String)> {
    vec![
        ("plain", unicode(KEY, "", true)),
        ("php", php(KEY)),
        ("dotnet", unicode(KEY, "+&<>é", true)),
        ("gson", unicode(KEY, "=&<>'", false)),
        ("go", unicode(KEY, "&<>", false)),
        ("python", unicode(KEY, "é", false)),
        ("percent", percent(KEY)),
        ("capitals", capitals(KEY)),
        ("html", unicode(&html(KEY), "", true)),
        ("base64", BASE64_STANDARD.encode(KEY)),
        ("base64url", BASE64_URL_SAFE_NO_PAD.encode(KEY)),
        ("basic", php(&BASE64_STANDARD.encode(format!("me:{KEY}")))),
    ]
}

/// All that the key may look like in a file.
fn looks() -> Vec<String> {
    let forms = forms().into_iter().map(|(_, form)| form);
    let some = KEY[..10].to_owned();
    let mut all: Vec<String> = forms.flat_map(|form| [php(&form), form]).collect();
    all.extend([KEY.to_owned(), percent(&some), php(&some), some]);
    all.retain(|form| !form.starts_with(&BASE64_STANDARD.encode("me:")));
    // Of `me:KEY` what comes after its first bytes.
    all.push(BASE64_STANDARD.encode(format!("me:{KEY}"))[4..20].to_owned());
    all
}

/// Nothing in this text, and in no text within it, is the key.
#[track_caller]
fn assert_hidden(name: &str, text: &str) {
    for look in looks() {
        assert!(!text.contains(&look), "{look} in {name}: {text}");
    }
    for line in text.lines() {
        if let Ok(json) = serde_json::from_str::<Value>(line) {
            assert_hidden_in(name, &json);
        }
    }
}

#[track_caller]
fn assert_hidden_in(name: &str, json: &Value) {
    match json {
        Value::String(text) => assert_hidden(name, text),
        Value::Array(items) => items.iter().for_each(|item| assert_hidden_in(name, item)),
        Value::Object(map) => map.iter().for_each(|(key, item)| {
            assert_hidden(name, key);
            assert_hidden_in(name, item);
        }),
        _ => {}
    }
}

#[track_caller]
fn assert_folder_is_clean(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_folder_is_clean(&path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert_hidden(&path.display().to_string(), &text);
    }
}

/// Echoes the key in the form that the path names, in one place or another of an answer.
fn echoing() -> Recorder {
    Recorder::answering(|came| {
        let path = came.line.split(['/', ' ', '?']).collect::<Vec<_>>();
        let (place, form) = (path[2], path[3]);
        let key = forms().into_iter().find(|(name, _)| *name == form).unwrap();
        let body = format!(
            "{{\"id\":1234567890123,\"key\":\"{0}\",\"text\":\"your key {0}.\",\"{0}\":[0.5,{{\"deep\":\"{0}\"}}]}}",
            key.1
        );
        let plain = [("content-type", "application/json")];
        match place {
            "ok" => answer("200 OK", &plain, &body),
            "refused" => answer("400 Bad Request", &plain, &body),
            "broken" => answer("200 OK", &plain, &format!("<p>{}</p>{body}", key.1)),
            "moved" => {
                let to = format!("/login?key={}", percent(KEY));
                answer("302 Found", &[("location", &to)], "")
            }
            _ => {
                let odd = format!("none for {}", percent(KEY));
                answer("200 OK", &[("x-ratelimit-remaining", &odd)], &body)
            }
        }
    })
}

#[test]
fn no_artefact_holds_a_secret_however_the_server_escapes_it() {
    let (place, state, server) = (Place::new(), Place::new(), echoing());
    let mut rows = "place,form\n".to_owned();
    for place in ["ok", "refused", "broken", "moved", "odd"] {
        for (form, _) in forms() {
            rows += &format!("{place},{form}\n");
        }
    }
    let input = place.file("rows.csv", &rows);
    let url = format!("{}/{{{{ place }}}}/{{{{ form }}}}?key={{{{ env.XKEY }}}}", server.url());
    let ask = |command: &str| {
        throng(command)
            .arg("--url", &url)
            .arg("--header", "x-api-key: {{ env.XKEY }}")
            .arg("--auth", "kind=basic")
            .arg("--auth", "user=me")
            .arg("--auth", "password={{ env.XKEY }}")
            .arg("--input", &input)
            .arg("--rate", "100000/1d")
            .arg("--extract", "id=.id")
            .arg("--extract", "key=.key")
            .arg("--extract", "text=.text")
            .arg("--extract", "all=.")
            .arg("--extract", "said=.|tostring")
            .arg("--extract", "packed=.key|@base64")
            .arg("--summarize", "count(id) by key")
            .arg("--summarize", "distinct(text)")
            .env("XKEY", KEY)
            .env("XDG_STATE_HOME", &state.path("state"))
    };
    let planned = ask("plan").exits(0);
    assert_hidden("the plan", &planned.stdout);
    assert_hidden("the plan", &planned.stderr);
    for (name, flags) in [("one.jsonl", "--keep-body"), ("two.csv", "")] {
        let output = place.path(name);
        let ended = ask("run")
            .arg("--output", &output)
            .arg("--summary-json", &place.path(&format!("{name}.summary")))
            .flags("--verbose --retries 0")
            .flags(flags)
            .exits(1);
        assert_hidden("stderr", &ended.stderr);
        let told = throng("report").flags(&output).exits(1);
        assert_hidden("the report", &told.stdout);
        assert_hidden("the report", &told.stderr);
    }
    let failed = forms().len() * 3;
    let records = place.records("one.jsonl");
    let ok: Vec<Value> = records.iter().filter(|it| it["_ok"] == true).cloned().collect();
    assert_eq!(ok.len(), records.len() - failed);
    assert!(each(&ok, "id").iter().all(|id| *id == 1_234_567_890_123_u64));
    for record in &ok {
        assert_eq!(record["key"], "***", "{record}");
        assert_eq!(record["text"], "your key ***.", "{record}");
        let body: Value = serde_json::from_str(record["_body"].as_str().unwrap()).unwrap();
        assert_eq!(body, record["all"], "the body stays JSON, with the same values");
        assert_eq!(body["***"], json!([0.5, {"deep": "***"}]));
    }
    assert_folder_is_clean(Path::new(&place.path("")));
    assert_folder_is_clean(Path::new(&state.path("")));
}

/// A server's answer to everything.
fn saying(body: &'static str) -> Recorder {
    Recorder::answering(move |_| answer("200 OK", &[], body))
}

#[test]
fn what_is_short_or_all_digits_spoils_no_answer() {
    let server = saying(r#"{"total":120261,"date":"2026-11-27","id":12345,"acc":"12345"}"#);
    let url = format!("{}/?year={{{{ env.YEAR }}}}&acc={{{{ env.ACC }}}}", server.url());
    let ask = |command: &str, flags: &str| {
        throng(command)
            .arg("--url", &url)
            .arg("--extract", "total=.total")
            .arg("--extract", "date=.date")
            .arg("--extract", "id=.id")
            .arg("--extract", "acc=.acc")
            .flags(flags)
            .env("YEAR", "2026")
            .env("ACC", "12345")
            .exits(0)
    };
    for (flags, date, acc) in [
        ("", "2026-11-27", "12345"),
        ("--env-public YEAR --env-secret ACC", "2026-11-27", "***"),
        ("--env-secret YEAR --env-secret ACC", "***-11-27", "***"),
    ] {
        let record = &ask("run", flags).records()[0];
        assert_eq!(record["_ok"], true);
        let found = ["total", "date", "id", "acc"].map(|name| record[name].clone());
        assert_eq!(found, [json!(120_261), json!(date), json!(12_345), json!(acc)], "{flags}");
    }
    let plan = ask("plan", "--env-secret ACC").stdout;
    for line in [
        "secret    env.ACC shows as ***\n",
        "secret    env.YEAR is short or all digits: it shows as *** in plans and messages, but not in the values of answers",
        "(--env-secret YEAR)",
    ] {
        assert!(plan.contains(line), "{plan}");
    }
    assert!(plan.contains("?year=***&acc=***"), "{plan}");
    let plan = ask("plan", "--env-public YEAR").stdout;
    assert!(plan.contains("?year=2026&acc=***"), "{plan}");
}

#[test]
fn what_is_declared_must_be_used() {
    for (flags, why) in [
        ("--env-secret YAER", "names YAER, and the job uses no {{ env.YAER }}"),
        ("--env-secret KEY --env-public KEY", "both name KEY"),
    ] {
        throng("plan")
            .arg("--url", "http://127.0.0.1:1/?k={{ env.KEY }}")
            .flags(flags)
            .env("KEY", "x")
            .exits(2)
            .says(why);
    }
}

#[test]
fn a_step_asks_with_what_the_server_said_and_records_what_may_be_seen() {
    let server = Recorder::answering(|came| {
        let plain = [("content-type", "application/json")];
        if came.line.contains("/first") {
            answer("200 OK", &plain, &format!("{{\"next\":\"{}\"}}", php(KEY)))
        } else {
            answer("200 OK", &plain, "{\"n\": 1}")
        }
    });
    let place = Place::new();
    let job = json!({
        "input": {"list": [{"id": 1}]},
        "request": {"url": format!("{}/first", server.url()), "headers": {"x-key": "{{ env.XKEY }}"}},
        "extract": {"next": ".next"},
        "step": [{
            "request": {"url": format!("{}/then?of={{{{ next }}}}", server.url())},
            "extract": {"n": ".n"},
        }],
    });
    let job = place.file("job.json", &job.to_string());
    let ended = run().flags(&job).env("XKEY", KEY).exits(0);
    assert_eq!(ended.records()[0]["next"], "***");
    assert_hidden("stdout", &ended.stdout);
    let asked = server.came().into_iter().find(|came| came.line.contains("/then"));
    let asked = asked.unwrap().line.to_lowercase();
    assert!(asked.contains(&percent("sk/live+7f3a9c").replace("%2d", "-")), "{asked}");
}

#[test]
fn keys_in_urls_and_bodies_are_neither_planned_nor_written_in_clear() {
    let place = Place::new();
    let input = place.file("rows.csv", "id,sig\n7,of-the-row-1\n");
    for (command, keys, variables) in [
        (
            "curl 'http://127.0.0.1:1/a?id={{ id }}&api_key=ab12%2Fcd34&sig=zz99yy88&page_token=x1'",
            vec!["ab12%2Fcd34", "ab12/cd34", "zz99yy88"],
            "&api_key={{ env.API_KEY }}&sig={{ env.SIG }}&page_token=x1",
        ),
        (
            "curl http://127.0.0.1:1/ -H 'authorization: Bearer t1o2k3e4n5' -d 'user={{ id }}&token=another1key'",
            vec!["t1o2k3e4n5", "another1key"],
            "token={{ env.API_TOKEN",
        ),
        (
            "curl http://127.0.0.1:1/ --json '{\"id\": \"{{ id }}\", \"password\" : \"p4ss\\u0077ord\"}'",
            vec!["p4ss\\u0077ord", "p4ssword"],
            "\"password\" : \"{{ env.API_PASSWORD }}\"",
        ),
    ] {
        let job = place.path("job.toml");
        let wrote = throng("init").flags(&job).arg("--curl", command).exits(0);
        let text = place.read("job.toml");
        assert!(text.contains(variables), "{text}");
        std::fs::remove_file(&job).unwrap();
        let planned = throng("plan").arg("--curl", command).arg("--input", &input).exits(0);
        assert!(planned.stdout.contains("***"), "{}", planned.stdout);
        for key in keys {
            for said in [&text, &wrote.stderr, &planned.stdout, &planned.stderr] {
                assert!(!said.contains(key), "{key} in {said}");
            }
        }
    }
    // Also those of rows.
    let planned = throng("plan")
        .arg("--url", "http://127.0.0.1:1/{{ id }}?sig={{ sig }}")
        .arg("--input", &input)
        .exits(0);
    assert!(planned.stdout.contains("/7?sig=***"), "{}", planned.stdout);
}

#[test]
fn a_proxy_s_password_is_not_written() {
    let place = Place::new();
    throng("init")
        .flags(&place.path("job.toml"))
        .arg("--curl", "curl -x http://me:s3cr3t@proxy:1 http://h/")
        .exits(0)
        .says("network.proxy held a password");
    assert!(!place.read("job.toml").contains("s3cr3t"));
}
