//! Pages about runs, opened in headless Chromium: the numbers on them are those of the records,
//! by the arithmetic of `tests/servers/pages.js`.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};
use throng_mock::{Fault, Faults, Latency, Mock, Settings};

use crate::harness::{Place, mock, plain_mock, repetitions, run, symbols, throng};

const HOSTILE: &str = "</script><script>pwned=1</script><img src=x onerror=pwned=2>";

/// A server that fails at some requests and leaves out some values.
fn faulty(status_500: f64) -> Mock {
    mock(Settings {
        latency: "lognormal:40ms:0.5".parse::<Latency>().unwrap(),
        faults: Faults { rates: vec![(Fault::ServerError, status_500), (Fault::MissingKey, 0.05)] },
        seed: 5,
        ..Settings::default()
    })
}

/// Opens the pages; what is wrong with them fails the test.
#[track_caller]
fn check(place: &Place, pages: &Value) {
    let list = place.file("pages.json", &pages.to_string());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/pages.js");
    let output = Command::new("node").args([script, &list]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// The sidecar of results whose run had this limit and these values.
fn sidecar(place: &Place, results: &str, limit: &str, values: &[&str]) {
    let identity = json!({"parts": [], "limits": limit, "values": values});
    let says = json!({"throng": "0.1.0", "run": "x", "identity": identity, "complete": true});
    place.file(&format!("{results}.throng"), &says.to_string());
}

#[test]
fn the_numbers_of_a_run_are_on_its_page_and_on_that_of_its_results() {
    let (place, mock) = (Place::new(), faulty(0.1));
    let asked = || run().quotes(&mock.url()).files(&place, 90, "small.jsonl");
    let live = place.path("small.html");
    let flags = ["-s", "mean(price)", "-s", "max(price) by symbol", "--report", &live];
    let mut command = asked().flags("-r 30/1s --retries 1").command();
    let ended = command.args(flags).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    let again = place.path("again.html");
    throng("report").flags(&place.path("small.jsonl")).arg("--html", &again).exits(1);
    let told = |page: &str| json!({"page": page, "records": place.path("small.jsonl"), "allowed": 30, "period": 1, "exact": true});
    check(&place, &json!({"run": told(&live), "results": told(&again)}));
    let page = place.read("small.html");
    assert!(page.contains("Where the time went") && page.contains("<h2>Plan</h2>"));
    assert!(page.len() < 300_000, "{}", page.len());
}

#[test]
fn all_failed_and_resumed_runs_have_pages() {
    let place = Place::new();
    let server = plain_mock();
    let page = place.path("failed.html");
    let results = place.path("failed.jsonl");
    let codes = "code\n404\n410\n400\n403\n".to_owned() + &"404\n410\n400\n403\n".repeat(9);
    let asked = run().arg("--url", &format!("{}/status/{{{{ code }}}}", server.url()));
    let asked = asked.arg("--input", &place.file("codes.csv", &codes)).arg("--output", &results);
    asked.flags("-r 30/1s -e price=.price").arg("--report", &page).exits(1);
    let failed = json!({"page": page, "records": results, "allowed": 30, "period": 1, "exact": true, "shows": ["40 failed", "status 410"]});

    let server = faulty(0.0);
    let page = place.path("resumed.html");
    let resumed = || run().quotes(&server.url()).files(&place, 60, "resumed.jsonl");
    resumed().flags("-r 50/1s --take 25").ends();
    resumed().flags("-r 50/1s --resume").arg("--report", &page).ends();
    let resumed = json!({"page": page, "records": place.path("resumed.jsonl"), "allowed": 50, "period": 1, "exact": true, "shows": ["of this run"]});
    check(&place, &json!({"failed": failed, "resumed": resumed}));
}

/// Records as a run of this number of rows writes them: 1,000 in the first part of each second.
fn many(rows: u64) -> String {
    let mut text = String::new();
    for row in 0..rows {
        let noise = (row.wrapping_mul(2_654_435_761) >> 7) % 10_000;
        let from = 1_800_000_000.0 + (row / 1_000) as f64 + (row % 1_000) as f64 * 4e-5;
        let ms = 20.0 + noise as f64 / 100.0;
        let price = 50.0 + (noise * 37 % 10_000) as f64 / 100.0;
        let outcome = if noise % 200 == 7 {
            r#""price":null,"sector":null,"_ok":false,"_status":503,"_error":"status 503","_detail":"busy""#.to_owned()
        } else {
            let sector = ["tech", "energy", "health"][(noise % 3) as usize];
            format!(
                r#""price":{price:.2},"sector":"{sector}","_ok":true,"_status":200,"_error":null,"_detail":null"#
            )
        };
        let _ = writeln!(
            text,
            r#"{{"id":{row},{outcome},"_row":{row},"_attempts":1,"_ms":{ms:.3},"_arrived":[[{from:.6},{:.6}]]}}"#,
            from + ms / 1e3
        );
    }
    text
}

#[test]
fn a_page_about_very_many_rows_is_small() {
    let place = Place::new();
    // A million in the long tests: a build for debugging takes half a minute for them.
    let rows = repetitions(100_000, 1_000_000) as u64;
    let results = place.file("many.jsonl", &many(rows));
    sidecar(&place, "many.jsonl", "1100/1s", &["price", "sector"]);
    let page = place.path("many.html");
    throng("report").flags(&results).arg("--html", &page).exits(1);
    assert!(place.read("many.html").len() < 500_000);
    check(
        &place,
        &json!({"many": {"page": page, "records": results, "allowed": 1100, "period": 1}}),
    );
}

#[test]
fn hostile_text_is_shown_and_not_run() {
    let place = Place::new();
    let mut text = String::new();
    for row in 0..30 {
        let ok = row % 2 == 0;
        let from = 1_800_000_000.0 + f64::from(row) / 10.0;
        let record = json!({
            HOSTILE: HOSTILE, "v": if ok { json!(HOSTILE) } else { Value::Null }, "_row": row, "_ok": ok,
            "_status": 200, "_error": if ok { Value::Null } else { json!(HOSTILE) },
            "_detail": if ok { Value::Null } else { json!(format!("{HOSTILE} {{{{ 7*7 }}}} \u{202e}\u{1b}[31m")) },
            "_attempts": 1, "_ms": 50.0, "_arrived": [[from, from + 0.05]],
        });
        let _ = writeln!(text, "{record}");
    }
    let results = place.file("hostile.jsonl", &text);
    sidecar(&place, "hostile.jsonl", "20/1s", &["v", HOSTILE]);
    let page = place.path("hostile.html");
    let report = throng("report").flags(&results).arg("--html", &page);
    report.arg("-s", "count(v) by v").exits(1);
    let shows = [HOSTILE, "{{ 7*7 }} \\u{202e}\\u{1b}[31m"];
    let told = json!({"page": page, "records": results, "allowed": 20, "period": 1, "exact": true, "hostile": true, "shows": shows});
    check(&place, &json!({"hostile": told}));
}

#[test]
fn a_page_that_can_t_be_written_is_refused_before_anything_is_sent() {
    let (place, mock) = (Place::new(), faulty(0.0));
    let input = place.file("rows.csv", &symbols(3));
    let asked = || {
        let run = run().quotes(&mock.url()).arg("--input", &input);
        run.arg("--output", &place.path("out.jsonl"))
    };
    for (page, why) in [
        (input.clone(), "the page and the input are the same file"),
        (place.path("out.jsonl"), "the page and the records are the same file"),
        (place.path("none/page.html"), "there is no such directory"),
    ] {
        asked().arg("--report", &page).exits(2).says(why);
    }
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn results_without_times_and_without_a_sidecar_have_a_page_that_says_so() {
    let place = Place::new();
    let record = json!({"id": 1, "price": 2.5, "_row": 0, "_ok": true, "_status": 200, "_error": null, "_detail": null, "_attempts": 1, "_ms": 3.0});
    let results = place.file("old.csv", "id,price,_row,_ok,_attempts,_ms\n1,2.5,0,true,1,3.0\n");
    let lines = place.file("old.jsonl", &format!("{record}\n"));
    for file in [results, lines] {
        let page = place.path("old.html");
        throng("report").flags(&file).arg("--html", &page).exits(0);
        let page = place.read("old.html");
        assert!(page.contains("tell when their requests were sent (_arrived)"), "{page}");
        assert!(page.contains("what the limits were, or which fields are values"));
        assert!(page.contains(">price</h3>") && !page.contains("Over time"));
    }
}

#[test]
fn two_runs_are_compared_as_text_and_as_a_page() {
    let place = Place::new();
    // B is a row longer, and one value and one failure of it differ.
    let results = |name: &str, price: f64, failed: u64, rows: u64| {
        let mut text = String::new();
        for row in 0..rows {
            let from = 1_800_000_000.0 + row as f64 / 4.0;
            let ok = row != failed;
            let price = if row == 3 { price } else { row as f64 };
            let record = json!({
                "symbol": format!("S{row}"), "price": if ok { json!(price) } else { Value::Null },
                "_row": row, "_ok": ok, "_status": if ok { 200 } else { 500 },
                "_error": if ok { Value::Null } else { json!("status 500") }, "_detail": null,
                "_attempts": 1, "_ms": 100.0 * price.min(2.0) + 10.0, "_arrived": [[from, from + 0.01]],
            });
            let _ = writeln!(text, "{record}");
        }
        sidecar(&place, name, "5/1s", &["price"]);
        place.file(name, &text)
    };
    let (a, b) = (results("a.jsonl", 3.0, 99, 20), results("b.jsonl", 4.5, 7, 21));
    let page = place.path("two.html");
    let compare = || throng("report").flags(&format!("{a} {b} -s sum(price)"));
    let ended = compare().arg("--html", &page).exits(0);
    let lines: Vec<String> = ended
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "rows 20 21 +5 %",
        "failed 0 1",
        "status 500 0 1",
        "sum(price) 190 204.5 +7.6 %",
        "by symbol: 20 rows in both, 2 of them changed; none only in A, 1 only in B",
        "S3 price 3 → 4.5",
        "S7 price 7 → none",
        "S7 _error none → status 500",
    ] {
        assert!(lines.iter().any(|it| it == line), "{line}: {}", ended.stdout);
    }
    let shows = ["Two runs side by side", "S3", "4.5", "204.5", "2 of them changed"];
    check(&place, &json!({"two": {"page": page, "shows": shows}}));
    compare()
        .arg("--key", "name")
        .exits(2)
        .says("both files need this field; they share symbol, price");
    compare().arg("--summary-json", "-").exits(2);
}
