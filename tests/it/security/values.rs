//! Values of rows stay in the place that the job gives them.

use super::{CANARY, carries_canary};
use crate::harness::{Place, each, run};
use crate::recorder::Recorder;

#[test]
fn row_11_no_value_becomes_another_header_or_request() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let mut rows = String::new();
    for byte in 0..=255u8 {
        rows += &format!("{}\n", serde_json::json!({ "x": format!("a{}b", char::from(byte)) }));
    }
    rows +=
        "{\"x\": \"a\\r\\nx-evil: 1\\r\\n\\r\\nGET /evil HTTP/1.1\\r\\nhost: h\\r\\n\\r\\n\"}\n";
    let input = place.file("rows.jsonl", &rows);
    let ended = run()
        .arg("--url", &format!("{}/p/{{{{ x }}}}?q={{{{ x }}}}", recorder.url()))
        .arg("--header", "x-row: {{ x }}")
        .arg("--input", &input)
        .flags("--workers 1")
        .ends();
    let records = ended.records();
    let sent = records.iter().filter(|record| record["_ok"] == true).count();
    let came = recorder.came();
    assert_eq!(came.len(), sent);
    assert!(sent > 200 && sent < 257, "{sent}");
    for came in &came {
        let names: Vec<&str> = came.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent", "x-row"], "{came:?}");
        assert!(came.line.starts_with("GET /p/a") && came.line.ends_with("b HTTP/1.1"), "{came:?}");
    }
    assert!(
        records
            .iter()
            .filter(|record| record["_ok"] == false)
            .all(|record| record["_error"] == "input")
    );
}

#[test]
fn row_12_values_keep_to_their_part_of_the_url() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let values = [
        "a/b", "a?b", "a#b", "a&b", "a%b", "a@b", "a\\b", "%2e%2e", "..", ".", "", "é ü", "a;b",
        "a=b", "a+b", "%00",
    ];
    let rows: String =
        values.iter().map(|x| format!("{}\n", serde_json::json!({ "x": x }))).collect();
    let input = place.file("rows.jsonl", &rows);
    let ended = run()
        .arg("--url", &format!("{}/users/{{{{ x }}}}/x", recorder.url()))
        .arg("--input", &input)
        .flags("--method DELETE --workers 1 --mode sync")
        .exits(1);
    let refused: Vec<String> = ended
        .records()
        .iter()
        .filter(|record| record["_error"] == "input")
        .map(|record| record["x"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(refused, ["..", ".", ""]);
    let arrived: Vec<String> = recorder
        .came()
        .iter()
        .map(|came| {
            let path =
                came.line.strip_prefix("DELETE ").unwrap().strip_suffix(" HTTP/1.1").unwrap();
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!((segments.len(), segments[1], segments[3]), (4, "users", "x"), "{path}");
            percent_encoding::percent_decode_str(segments[2]).decode_utf8().unwrap().into_owned()
        })
        .collect();
    let meant: Vec<&str> = values.into_iter().filter(|x| !["", ".", ".."].contains(x)).collect();
    assert_eq!(arrived, meant);
}

#[test]
fn row_13_a_row_s_url_replaces_nothing() {
    let (place, recorder, evil) = (Place::new(), Recorder::start(), Recorder::start());
    let host = evil.addr();
    let rows =
        format!("url\n//{host}/\nhttp://{host}/\n\\\\{host}/\n{0}/fine\n/{host}\n", recorder.url());
    let input = place.file("rows.csv", &rows);
    let ended = run()
        .arg("--url", "{{ url }}")
        .arg("--input", &input)
        .arg("--allow-host", &recorder.addr().to_string())
        .exits(1);
    assert_eq!(
        each(&ended.records(), "_error"),
        ["input", "input", "input", "", "input"].map(|kind| match kind {
            "" => serde_json::Value::Null,
            kind => kind.into(),
        })
    );
    assert!(evil.came().is_empty());
    assert_eq!(recorder.only().line, "GET /fine HTTP/1.1");
    // Behind a base, it is only a part of the path.
    recorder.forget();
    run()
        .arg("--url", &format!("{}/{{{{ url }}}}", recorder.url()))
        .arg("--input", &input)
        .exits(0);
    assert!(evil.came().is_empty());
    assert_eq!(recorder.came().len(), 5);
}

#[test]
fn row_13_keys_go_only_to_hosts_that_are_named() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let input = place.file("rows.csv", &format!("url\n{}/a\n", recorder.url()));
    let ask = || {
        run()
            .arg("--url", "{{ url }}")
            .arg("--input", &input)
            .arg("--header", "x-key: {{ env.CANARY }}")
            .env("CANARY", CANARY)
    };
    ask().exits(2).says(&format!("rows decide which host gets the job's keys: name the hosts that may (request.allow-host): --allow-host {}", recorder.addr()));
    ask().arg("--allow-host", &recorder.addr().to_string()).exits(0);
    assert!(carries_canary(&recorder));
}
