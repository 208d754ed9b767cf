//! Answers of every format, as servers send them: each gives its values, or fails its row by its
//! name. The answers of `tests/cases/answers/` are replayed byte by byte.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::{Place, Throng, raw_server, run};

/// The answer with this name: head and body.
fn answer(name: &str) -> Vec<u8> {
    let of = |head: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    match name {
        "one_line" => of("200 OK\r\nContent-Type: application/x-ndjson", b"{\"id\": 7}"),
        "no_lines" => of("200 OK\r\nContent-Type: application/jsonl", b""),
        "typeless" => of("200 OK", b"{\"id\": 1}\n{\"id\": 2}\n"),
        "sequence" => {
            of("200 OK\r\nContent-Type: application/json-seq", b"\x1e{\"id\": 1}\n\x1e{\"id\": 2}\n")
        }
        "cut" => of("200 OK\r\nContent-Type: application/x-ndjson", b"{\"id\": 1}\n{\"id\""),
        "junk" => of("200 OK\r\nContent-Type: application/json", b"{\"id\": 1} oops"),
        "tab" => of("200 OK\r\nContent-Type: application/json", b"{\"id\": \"a\tb\"}"),
        "claude" => of(
            "200 OK\r\nContent-Type: text/event-stream; charset=utf-8",
            b": ping\r\n\r\nevent: delta\r\ndata: {\"text\":\r\ndata: \"a\"}\r\n\r\nevent: delta\r\ndata: {\"text\": \"b\"}\r\n\r\n",
        ),
        "one_after_the_other" => of(
            "200 OK\r\nContent-Type: text/event-stream",
            b"data: {\"id\": 1}\ndata: {\"id\": 2}\ndata: [DONE]\n",
        ),
        "cut_event" => of(
            "200 OK\r\nContent-Type: text/event-stream",
            b"data: {\"id\": 1}\n\ndata: {\"id\":",
        ),
        "error_event" => of(
            "200 OK\r\nContent-Type: text/event-stream",
            b"event: delta\ndata: {\"id\": 1}\n\nevent: error\ndata: {\"type\": \"overloaded\"}\n\n",
        ),
        "crashed" => of(
            "200 OK\r\nContent-Type: application/x-ndjson",
            b"{\"response\": \"The\"}\n{\"error\": \"the model has crashed\"}\n",
        ),
        "no_events" => of("200 OK\r\nContent-Type: text/event-stream", b"gateway is down\n"),
        "error_for_events" => of("200 OK\r\nContent-Type: text/event-stream", b"{\"error\": \"x\"}"),
        "csv_error" => of("200 OK\r\nContent-Type: text/csv", b"Error: quota exceeded\n"),
        "no_names" => of("200 OK\r\nContent-Type: text/csv; header=absent", b"1,2\r\n3,4\r\n"),
        "excel" => of("200 OK\r\nContent-Type: application/vnd.ms-excel", b"id\tn\r\n7\t8\r\n\x1a"),
        "short" => of("200 OK\r\nContent-Type: text/csv", b"a,b\r\n1,2\r\n3\r\n"),
        "login_for_table" => of("200 OK\r\nContent-Type: text/csv", b"<html>\n<body>Log in\n"),
        "xml_as_json" => of("200 OK\r\nContent-Type: application/json", b"<?xml version=\"1.0\"?><r/>"),
        "no_rows" => of("200 OK\r\nContent-Type: text/csv", b"id,name\n"),
        "one_event" => of("200 OK\r\nContent-Type: text/event-stream", b"data: {\"error\": \"busy\"}\n\n"),
        "csv_pages?page=1" => of("200 OK\r\nContent-Type: text/csv", b"id\n1\n2\n"),
        "csv_pages?page=2" => of("200 OK\r\nContent-Type: text/csv", b"id\n3\n"),
        "csv_pages?page=3" => of("200 OK\r\nContent-Type: text/csv", b"id,name\n"),
        "lines" => of("200 OK\r\nContent-Type: application/x-ndjson", b"{\"id\": 1}\n{\"id\": 2}\n"),
        "lines?after=2" => of("200 OK\r\nContent-Type: application/x-ndjson", b"{\"id\": 3}\n"),
        "lines?after=3" => of("200 OK\r\nContent-Type: application/x-ndjson", b""),
        "ragged" => of("200 OK\r\nContent-Type: text/csv", b"a,b\n1,2\n1,2,3\n"),
        "cp1251" => of(
            "200 OK\r\nContent-Type: text/csv; charset=windows-1251",
            b"\xe8\xec\xff,n\n\xcc\xe8\xf0,1\n",
        ),
        "utf16" => {
            let text = "\u{feff}{\"id\": \"é\"}".encode_utf16().flat_map(u16::to_le_bytes);
            of("200 OK\r\nContent-Type: application/json", &text.collect::<Vec<_>>())
        }
        "unmarked" => {
            let text = "{\"id\": \"é\"}".encode_utf16().flat_map(u16::to_le_bytes);
            of("200 OK\r\nContent-Type: application/json", &text.collect::<Vec<_>>())
        }
        "unmarked_table" => {
            let text = "id,n\né,1\n".encode_utf16().flat_map(u16::to_be_bytes);
            of("200 OK\r\nContent-Type: text/csv", &text.collect::<Vec<_>>())
        }
        "two_charsets" => of(
            "200 OK\r\nContent-Type: text/xml; charset=utf-8",
            b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><r>Z\xfcrich</r>",
        ),
        "old_table" => of("200 OK\r\nContent-Type: text/csv", b"m\xecsto\nPlze\xf2\n"),
        "old_page" => of("200 OK\r\nContent-Type: text/html", b"<html><h1>Caf\xe9 5 \x80</h1></html>"),
        "old_header" => {
            let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-City: Z\xfcrich\r\n\r\n";
            [&head[..], b"{\"id\": 5}"].concat()
        }
        "unnamed" => of("200 OK\r\nContent-Type: application/json", b"{\"id\": \"Caf\xe9\"}"),
        "range" => of(
            "200 OK\r\nContent-Type: application/json",
            b"{\"id\": 1, \"high\": 1e999, \"half\": \"\\ud83dx\"}",
        ),
        "long" => of(
            "200 OK\r\nContent-Type: application/json",
            b"{\"id\": 12345678901234567890123, \"all\": [{\"id\": -12345678901234567890123}]}",
        ),
        "plain" => of("200 OK\r\nContent-Type: text/plain", b"OK 17.5"),
        "number" => of("200 OK\r\nContent-Type: text/plain", b"17.5"),
        "page" => of("200 OK\r\nContent-Type: text/html", b"<html>Log in</html>"),
        "nothing" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "empty" => of("200 OK\r\nContent-Type: application/json", b""),
        "gzipped" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            gzip.write_all(b"{\"id\": 3}").unwrap();
            of("200 OK\r\nContent-Type: application/json", &gzip.finish().unwrap())
        }
        "padded" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            gzip.write_all(b"{\"id\": 3}").unwrap();
            let body = [gzip.finish().unwrap(), vec![0; 512]].concat();
            of("200 OK\r\nContent-Encoding: gzip", &body)
        }
        "unzipped" => of("200 OK\r\nContent-Encoding: gzip", b"{\"id\": 3}"),
        "aws" => of("200 OK\r\nContent-Encoding: aws-chunked", b"{\"id\": 4}"),
        "odd" => of("200 OK\r\nno header\r\nX-Spaced : 5", b"{\"id\": 5}"),
        "many" => {
            let headers: String = (0..300).map(|n| format!("X-{n}: v\r\n")).collect();
            of(&format!("200 OK\r\n{}", headers.trim_end()), b"{\"id\": 6}")
        }
        "not_http" => b"NONSENSE\r\n\r\n{}".to_vec(),
        "linked" => of(
            "200 OK\r\nLink: </linked?page=2>; rel=\"next\", </x>; rel=\"last\"\r\nX-Request-Id: r1",
            b"{\"items\": [{\"v\": 1}, {\"v\": 2}]}",
        ),
        "linked?page=2" => of("200 OK\r\nX-Request-Id: r2", b"{\"items\": [{\"v\": 3}]}"),
        name => {
            let path = format!("{}/tests/cases/answers/{name}.http", env!("CARGO_MANIFEST_DIR"));
            std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        }
    }
}

fn converse(path: &str, mut stream: TcpStream) -> Option<()> {
    stream.write_all(&answer(path)).ok()
}

/// A run that asks for one answer.
fn asks(name: &str) -> Throng {
    let addr = raw_server(converse);
    run().arg("--url", &format!("http://{addr}/{name}")).flags("--retries 0 --progress none")
}

/// The value of a program, by its spelling, of one answer.
fn value(name: &str, program: &str) -> Value {
    let ended = asks(name).arg("--extract", &format!("v={program}")).exits(0);
    ended.records()[0]["v"].clone()
}

/// The failure of a row with this answer, and its detail.
fn failure(name: &str, program: &str) -> (String, String) {
    let ended = asks(name).arg("--extract", &format!("v={program}")).exits(1);
    let record = &ended.records()[0];
    let text = |field: &str| record[field].as_str().unwrap().to_owned();
    (text("_error"), text("_detail"))
}

#[test]
fn several_documents_are_a_list() {
    for (name, program, expected) in [
        ("ollama", "[.[].response] | join(\"\")", json!("The sky is blue")),
        ("ollama", ".[-1].done", json!(true)),
        ("ndjson", ".[2].price", json!(4)),
        ("ndjson", ". | map(.price) | add", json!(6)),
        ("one_line", ".[0].id", json!(7)),
        ("one_line", ". | .[0].id", json!(7)),
        ("no_lines", "length", json!(0)),
        ("no_rows", "length", json!(0)),
        ("typeless", ".[1].id", json!(2)),
        ("sequence", "map(.id)", json!([1, 2])),
        ("sse", "[.[].choices[]?.delta.content] | add", json!("Hello you")),
        ("sse", ".[-1].usage.total_tokens", json!(7)),
        ("claude", "map(.text) | add", json!("ab")),
        ("error_for_events", ".error", json!("x")),
        ("csv", "map(.price)", json!(["2,5", "3,5"])),
        ("csv", ".[1].id", json!("2")),
        ("one_after_the_other", "map(.id)", json!([1, 2])),
        (
            "no_names",
            ".",
            json!([{"column_1": "1", "column_2": "2"}, {"column_1": "3", "column_2": "4"}]),
        ),
        ("excel", ".", json!([{"id": "7", "n": "8"}])),
        ("xml", ".r.item", json!({"@id": "1", "price": "2.5"})),
        ("xml", ".r.item[0].price | tonumber", json!(2.5)),
        ("cp1251", ".[0][\"имя\"]", json!("Мир")),
    ] {
        assert_eq!(value(name, program), expected, "{name} {program}");
    }
    for (name, count) in [("ollama", 5), ("ndjson", 3), ("sse", 4), ("csv", 2)] {
        let records = asks(name).flags("--each .[] --extract id?=.id").exits(0).records();
        assert_eq!(records.len(), count, "{name}");
    }
}

#[test]
fn pages_are_made_of_lines_and_of_tables() {
    let ids = |run: Throng| -> Vec<Value> {
        let records = run.flags("--each .[] --extract id=.id").exits(0).records();
        records.iter().map(|record| record["id"].clone()).collect()
    };
    assert_eq!(ids(asks("csv_pages").flags("--page page")), ["1", "2", "3"]);
    assert_eq!(ids(asks("lines").flags("--cursor after=.[-1].id")), [1, 2, 3]);
}

#[test]
fn a_rule_reads_the_events_of_a_stream() {
    let rule = "200 any(.[]; .error?) = fail overloaded";
    let failed = asks("one_event").arg("--answer", rule).flags("--extract v=.id").exits(1);
    assert_eq!(failed.records()[0]["_error"], "rule overloaded");
}

#[test]
fn a_stream_that_ends_in_an_error_fails_its_row_unless_a_rule_says_otherwise() {
    let (kind, detail) = failure("error_event", "[.[].id?]");
    assert_eq!(kind, "rule stream error");
    assert!(detail.ends_with("ended its stream by {\"type\": \"overloaded\"}"), "{detail}");
    let (kind, detail) = failure("crashed", "[.[].response] | join(\"\")");
    assert!(kind == "rule stream error" && detail.contains("has crashed"), "{kind} {detail}");
    let items = asks("error_event").flags("--each .[] -e id?=.id").exits(1).records();
    assert_eq!((items.len(), &items[0]["_error"]), (1, &json!("rule stream error")));
    let rule = "200 any(.[]; .type? == \"overloaded\") = fail busy";
    let busy = asks("error_event").arg("--answer", rule).flags("-e v=length").exits(1);
    assert_eq!(busy.records()[0]["_error"], "rule busy");
    let taken = asks("error_event").flags("--answer 200=ok -e v=length").exits(0);
    assert_eq!(taken.records()[0]["v"], 2);
}

#[test]
fn an_answer_that_is_not_what_it_says_fails_by_name() {
    for (name, kind, why) in [
        ("ollama", "missing v", "the answer is a list of 5 documents"),
        ("cut", "not json", "after a whole document comes text that is no JSON"),
        ("junk", "not json", "after a whole document comes text that is no JSON, \"oops\""),
        ("tab", "not json", "raw control character U+0009 (tab) at line 1"),
        ("no_events", "not sse", "no line of the answer is one of an event"),
        ("csv_error", "not csv", "one line without columns, \"Error: quota exceeded\""),
        ("one_event", "rule stream error", "ended its stream by {\"error\": \"busy\"}"),
        ("ragged", "not csv", "line 3 of the answer has 3 cells, and the first line 2 names"),
        (
            "cut_event",
            "not sse",
            "ends in the middle of an event, whose data begins \"{\\\"id\\\":\"",
        ),
        ("short", "not csv", "line 3 of the answer has 1 cell, and the first line 2 names"),
        ("login_for_table", "not csv", "a page in HTML"),
        ("xml_as_json", "not json", "answer = \"xml\" (--answer-format xml)"),
        ("unzipped", "bad encoding", "says that its body is gzip, but it begins"),
        ("dl_1", "not text", "\"application/octet-stream\"; answer = \"bytes\""),
        ("unnamed", "not text", "byte 11 is 0xe9"),
        ("old_table", "not text", "--answer-encoding cp1252, or another name"),
        ("page", "not json", "<html>Log in</html>"),
        ("empty", "missing v", "the answer is empty"),
        ("nothing", "missing v", "the answer is empty"),
        ("not_http", "bad answer", "its head can't be read"),
    ] {
        for program in [".id", ". | .id"] {
            let (found, detail) = failure(name, program);
            assert_eq!(found, kind, "{name} {program}: {detail}");
            assert!(detail.contains(why), "{name} {program}: {detail}");
        }
    }
}

#[test]
fn what_can_be_read_is_read() {
    for (name, program, expected) in [
        ("latin1", ".name", json!("Café Zoë")),
        ("utf16", ".id", json!("é")),
        ("unmarked", ".id", json!("é")),
        ("unmarked_table", ".[0].id", json!("é")),
        ("two_charsets", ".r", json!("Zürich")),
        ("old_page", "css:h1", json!("Café 5 €")),
        ("old_header", "$headers[\"x-city\"]", json!("Zürich")),
        ("padded", ".id", json!(3)),
        ("bom", ".price", json!(1.5)),
        ("ceutf8", ".price", json!(1.5)),
        ("aws", ".id", json!(4)),
        ("fold", ".price", json!(1.5)),
        ("odd", ".id", json!(5)),
        ("odd", "$headers[\"x-spaced\"]", json!("5")),
        ("many", ".id", json!(6)),
        ("many", "$headers[\"x-299\"]", json!("v")),
        ("gzipped", ".id", json!(3)),
        ("nan", ".name", json!("x")),
        ("nan", ". | .name", json!("x")),
        ("nan", "[.price, .inf]", json!([null, null])),
        ("range", ".id", json!(1)),
        ("range", "[.high, .half]", json!([null, "\u{fffd}x"])),
        ("long", ".id", json!("12345678901234567890123")),
        ("long", ". | .id", json!("12345678901234567890123")),
        ("long", "(.id | tonumber) - 1", json!("12345678901234567890122")),
        ("long", ".all[-1]", json!({"id": "-12345678901234567890123"})),
        ("plain", ".", json!("OK 17.5")),
        ("plain", "split(\" \")[1] | tonumber", json!(17.5)),
        ("number", ".", json!(17.5)),
    ] {
        assert_eq!(value(name, program), expected, "{name} {program}");
    }
    for each in [".all[]", ".all[] | .id |= tonumber"] {
        let records = asks("long").arg("--each", each).flags("--extract v=.id").exits(0).records();
        assert_eq!(records[0]["v"], "-12345678901234567890123", "{each}");
    }
    assert_eq!(failure("nan", ".price").0, "missing v");
    for name in ["nothing", "empty"] {
        let records = asks(name).flags("--extract v?=.id --extract w?=(.id|tonumber)").exits(0);
        assert_eq!(records.records()[0]["v"], Value::Null, "{name}");
    }
    let none = asks("nothing").flags("--each .items[] --extract v=.id").exits(0).records();
    assert_eq!((none.len(), &none[0]["_ok"]), (1, &json!(true)));
}

#[test]
fn a_job_says_what_an_answer_is() {
    for (name, format, program, expected) in [
        ("dl_1", "bytes", "length", json!(1368)),
        ("number", "text", ".", json!("17.5")),
        ("page", "text", "test(\"Log in\")", json!(true)),
        ("plain", "csv", "length", json!(0)),
        ("typeless", "ndjson", "length", json!(2)),
        ("bom", "ndjson", ".[0].price", json!(1.5)),
    ] {
        let ended = asks(name).arg("--answer-format", format);
        let ended = ended.arg("--extract", &format!("v={program}")).exits(0);
        assert_eq!(ended.records()[0]["v"], expected, "{name} {format}");
    }
    for (name, encoding, program, expected) in [
        ("unnamed", "cp1252", ".id", "Café"),
        ("old_table", "windows-1250", ".[0][\"město\"]", "Plzeň"),
        ("utf16", "cp1252", ".id", "é"),
    ] {
        let ended = asks(name).arg("--answer-encoding", encoding);
        let ended = ended.arg("--extract", &format!("v={program}")).exits(0);
        assert_eq!(ended.records()[0]["v"], expected, "{name}");
    }
    let wrong = asks("old_table").flags("--answer-encoding utf-8 --extract v=.").exits(1);
    assert_eq!(wrong.records()[0]["_error"], "not text");
    asks("old_table")
        .flags("--answer-encoding cp437")
        .exits(2)
        .says("there is no encoding \"cp437\"");
    let several = asks("ndjson").flags("--answer-format json --extract v=.id").exits(1);
    assert_eq!(several.records()[0]["_error"], "several documents");
    let kept = asks("dl_1").flags("--answer-format bytes").exits(0).records();
    assert_eq!(kept[0]["_body"].as_str().map(str::len), Some(1368));
    let place = Place::new();
    let addr = raw_server(converse);
    let job = format!(
        "answer = \"csv\"\n[request]\nurl = \"http://{addr}/plain\"\n[extract]\nv = \"length\"\n[[answers]]\nstatus = 404\nthen = \"missing\"\n"
    );
    let ended = run().flags(&place.file("job.toml", &job)).exits(0);
    assert_eq!(ended.records()[0]["v"], 0);
}

#[test]
fn programs_read_the_head_the_url_and_the_row() {
    let pages = asks("pg_hdrtotal").flags("--each .[]").arg(
        "--extract",
        "v=\"\\($headers[\"x-total-pages\"]) \\($status) \\($url | test(\"hdrtotal\")) \\(.v)\"",
    );
    let records = pages.exits(0).records();
    assert_eq!(records.len(), 4);
    assert_eq!(records[3]["v"], "3 200 true 30");
    let linked = asks("linked").flags("--each .items[]").arg(
        "--next",
        "$headers.link // \"\" | capture(\"<(?<url>[^>]+)>; rel=\\\"next\\\"\").url? // null",
    );
    let linked = linked.arg("--extract", "v=\"\\(.v) \\($headers[\"x-request-id\"])\"");
    let values: Vec<Value> =
        linked.exits(0).records().iter().map(|record| record["v"].clone()).collect();
    assert_eq!(values, ["1 r1", "2 r1", "3 r2"]);
    let (place, addr) = (Place::new(), raw_server(converse));
    let input = place.file("rows.csv", "name,factor\nnumber,2\n");
    let ended = run().arg("--input", &input).arg("--url", &format!("http://{addr}/{{{{ name }}}}"));
    let ended = ended.arg("--extract", "v=. * ($row.factor | tonumber)").exits(0);
    assert_eq!(ended.records()[0]["v"], 35.0);
}
