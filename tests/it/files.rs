//! Input files as other programs write them: each is read as it was meant, or refused.

use serde_json::{Value, json};

use crate::harness::{Ended, Place, plain_mock, run, throng};

fn case(name: &str) -> String {
    format!("{}/tests/cases/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The rows of a file, as `convert` with these flags reads them.
fn rows(file: &str, flags: &str) -> Vec<Value> {
    let place = Place::new();
    let out = place.path("rows.jsonl");
    throng("convert").flags(flags).flags(file).flags(&out).exits(0);
    let text = place.read("rows.jsonl");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn rows_of(text: &[u8], name: &str, flags: &str) -> Vec<Value> {
    let place = Place::new();
    let file = place.path(name);
    std::fs::write(&file, text).unwrap();
    rows(&file, flags)
}

fn refused(file: &str, flags: &str) -> Ended {
    let place = Place::new();
    throng("convert").flags(flags).flags(file).flags(&place.path("rows.jsonl")).exits(2)
}

#[test]
fn a_delimiter_shows_in_the_first_lines() {
    let two = [json!({"id": "1", "name": "a"}), json!({"id": "2", "name": "b"})];
    for name in ["semi_nocomma.csv", "sepline.csv", "pipe.csv"] {
        assert_eq!(rows(&case(name), ""), two, "{name}");
    }
    let semi = rows(&case("semi.csv"), "");
    assert_eq!(semi[0], json!({"id": "1", "name": "Müller, A"}));
    assert_eq!(semi[1], two[1]);
    let decimal = rows_of(b"Price, net;City\n1,5;Ulm\n2,5;Bonn\n", "a.csv", "");
    assert_eq!(decimal[1], json!({"Price, net": "2,5", "City": "Bonn"}));
    let tabs = rows_of(b"id\tname\n1\ta,b\n", "a.csv", "");
    assert_eq!(tabs, [json!({"id": "1", "name": "a,b"})]);
}

#[test]
fn a_delimiter_that_is_told_wins() {
    let read = rows_of(b"a:b,c\n1:2,3\n", "a.csv", "--delimiter :");
    assert_eq!(read, [json!({"a": "1", "b,c": "2,3"})]);
    let read = rows_of(b"a^b\n1^2\n", "a.txt", "--delimiter ^");
    assert_eq!(read, [json!({"a": "1", "b": "2"})]);
    refused(&case("pipe.csv"), "--delimiter ||").says("must be one letter");
    refused(&case("nan.jsonl"), "--delimiter ;").says("--format csv");
}

#[test]
fn columns_without_a_name_are_called_by_their_place() {
    let index = rows(&case("pdindex.csv"), "");
    assert_eq!(index[0], json!({"column_1": "0", "id": "1", "name": "a"}));
    let trailing = rows(&case("trailcomma.csv"), "");
    assert_eq!(trailing[1], json!({"id": "2", "name": "b", "column_3": ""}));
    let quoted = rows_of(b"\"\",\"x\"\n\"r1\",\"1\"\n", "r.csv", "");
    assert_eq!(quoted, [json!({"column_1": "r1", "x": "1"})]);
}

#[test]
fn a_text_is_decoded_by_its_mark_or_as_told() {
    let utf16 = rows(&case("utf16.csv"), "");
    assert_eq!(utf16[0], json!({"id": "1", "name": "Müller"}));
    let latin = rows(&case("latin1.csv"), "--encoding cp1252");
    assert_eq!(latin[0], json!({"id": "1", "name": "Müller"}));
    refused(&case("latin1.csv"), "").says("line 2").says("--encoding cp1252");
    let lines = rows_of(b"\xE4\n\xF6\n", "a.txt", "--encoding latin1");
    assert_eq!(lines, [json!({"line": "ä"}), json!({"line": "ö"})]);
    let big = rows_of(b"\xFE\xFF\0{\0\"\0a\0\"\0:\x001\0}", "a.jsonl", "");
    assert_eq!(big, [json!({"a": 1})]);
    refused(&case("latin1.csv"), "--encoding cp437").says("no encoding \"cp437\"");
    refused(&case("types.parquet"), "--encoding cp1252").says("leave them out");
}

#[test]
fn lines_that_are_no_rows_are_left_out() {
    for flags in ["--skip-lines 3", "--skip-lines 2"] {
        let read = rows(&case("preamble.csv"), flags);
        assert_eq!(read, [json!({"id": "1", "name": "a"}), json!({"id": "2", "name": "b"})]);
    }
    let commented = rows_of(b"# x,y,z\nid,n\n#1,2\n3,4\n", "a.csv", "--comment #");
    assert_eq!(commented, [json!({"id": "3", "n": "4"})]);
    let lines = rows_of(b"head\n;x\na\n", "a.txt", "--skip-lines 1 --comment ;");
    assert_eq!(lines, [json!({"line": "a"})]);
    let place = Place::new();
    let bad = place.file("a.csv", "x\ny\n\nid,n\n1\n");
    refused(&bad, "--skip-lines 2").says("line 5: 1 field, but the header has 2");
}

#[test]
fn quotes_are_those_of_the_job() {
    let read = rows(&case("backslash.csv"), "--escape \\");
    assert_eq!(read[0], json!({"id": "1", "name": "say \"hi\""}));
    refused(&case("backslash.csv"), "").says("--escape '\\'");
    let single = rows_of(b"a,b\n'x,\"y','it''s'\n", "a.csv", "--quote '");
    assert_eq!(single, [json!({"a": "x,\"y", "b": "it's"})]);
    let none = rows_of(b"a,b\n\"x,5\" pipe\n", "a.csv", "--quote none");
    assert_eq!(none, [json!({"a": "\"x", "b": "5\" pipe"})]);
}

#[test]
fn rows_are_found_within_json_documents() {
    let wrapped = rows(&case("wrapper.json"), "--rows .data[]");
    assert_eq!(wrapped, [json!({"id": 1}), json!({"id": 2})]);
    refused(&case("wrapper.json"), "").says("--rows '.data[]'");
    let split = rows(&case("split.json"), "");
    assert_eq!(split, [json!({"id": 1, "name": "a"}), json!({"id": 2, "name": "b"})]);
    let geo = rows(&case("geo.geojson"), "");
    assert_eq!(geo[0]["properties"]["id"], 1);
    let properties = rows(&case("geo.geojson"), "--rows .features[].properties");
    assert_eq!(properties, [json!({"id": 1})]);
    let columns = rows_of(br#"{"id": {"0": 1, "1": 2}, "n": {"0": "a", "1": null}}"#, "a.json", "");
    assert_eq!(columns, [json!({"id": 1, "n": "a"}), json!({"id": 2, "n": null})]);
    let pages = rows_of(
        b"{\"a\": [{\"b\": 1}]}\n{\"a\": []}\n{\"a\": [{\"b\": 2}]}",
        "a.jsonl",
        "--rows .a[]",
    );
    assert_eq!(pages, [json!({"b": 1}), json!({"b": 2})]);
    refused(&case("wrapper.json"), "--rows .dta[]").says("this object has no \"dta\"");
    refused(&case("wrapper.json"), "--rows .data[").says("input.rows (--rows)");
    refused(&case("pipe.csv"), "--rows .data[]").says("gives the rows of JSON");
}

#[test]
fn objects_and_columns_are_rows_however_they_are_written() {
    let two = [json!({"id": 1, "n": "a"}), json!({"id": 2, "n": "b"})];
    for (name, text) in [
        ("a.json", "{\"id\": [1, 2], \"n\": [\"a\", \"b\"]}"),
        ("a.json", "{\"id\": 1, \"n\": \"a\"}\r\n\r\n{\"id\": 2, \"n\": \"b\"}\r\n"),
        ("a.json", "{\n \"id\": 1, \"n\": \"a\"\n}{\"id\": 2,\n \"n\": \"b\"}"),
        ("a.geojsons", "\u{1e}{\"id\": 1, \"n\": \"a\"}\n\u{1e}{\"id\": 2, \"n\": \"b\"}\n"),
        ("a.ldjson", "{\"id\": 1, \"n\": \"a\"}\n{\"id\": 2, \"n\": \"b\"}\n\u{1a}"),
    ] {
        assert_eq!(rows_of(text.as_bytes(), name, ""), two, "{text}");
    }
    let place = Place::new();
    let spread = place.file("a.jsonl", "{\n \"id\": 1\n}\n");
    refused(&spread, "").says("line 1").says("--format json reads objects");
    let texts = place.file("a.json", "[\"x\", \"y\"]");
    refused(&texts, "").says("--rows '.[]'");
    assert_eq!(rows(&texts, "--rows .[]"), [json!({"line": "x"}), json!({"line": "y"})]);
}

#[test]
fn a_file_is_read_by_what_it_is_and_not_by_its_name_alone() {
    use std::io::Write as _;
    let table = b"id,n\r\n1,a\r\n\x1a";
    let expected = [json!({"id": "1", "n": "a"})];
    assert_eq!(rows_of(table, "a.csv", ""), expected);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    gzip.write_all(table).unwrap();
    assert_eq!(rows_of(&gzip.finish().unwrap(), "a.csv", ""), expected);
    assert_eq!(rows_of(b"id\tn\n1\ta\n", "a.tab", ""), expected);
    let place = Place::new();
    let list = place.file("a.csv", "[{\"id\": 1}, {\"id\": 2}]");
    refused(&list, "").says("begins as JSON does").says("--format json");
    let book = place.path("b.csv");
    std::fs::copy(case("orders.xlsx"), &book).unwrap();
    refused(&book, "").says("is a zip archive, or a workbook of Excel").says("--format xlsx");
}

#[test]
fn numbers_that_json_has_not_are_null() {
    let nan = rows(&case("nan.jsonl"), "");
    assert_eq!(nan, [json!({"id": 1, "x": null}), json!({"id": 2, "x": null})]);
    let array = rows_of(b"[{\"id\": \"NaN\", \"x\": -Infinity},\n{\"id\": 1e400}]", "a.json", "");
    assert_eq!(array, [json!({"id": "NaN", "x": null}), json!({"id": null})]);
    let mock = plain_mock();
    let ended = run()
        .arg("--url", &format!("{}/echo/{{{{ x }}}}", mock.url()))
        .arg("--input", &case("nan.jsonl"))
        .exits(1);
    assert!(ended.records()[0]["_detail"].to_string().contains("null"), "{}", ended.stdout);
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn batches_of_other_apis_are_rows() {
    let mock = plain_mock();
    let server = mock.url();
    for (name, request) in [
        ("anthropic_batch.jsonl", "--jq .params"),
        ("gemini_batch.jsonl", "--jq .request"),
        ("cookbook.jsonl", "--jq del(.metadata)"),
    ] {
        let asks = run().arg("--input", &case(name)).flags(request);
        let asks = asks.flags(&format!("--url {server}/echo -e body=.body"));
        let sent = asks.exits(0).records();
        let body: Value = serde_json::from_str(sent[2]["body"].as_str().unwrap()).unwrap();
        assert!(body.is_object() && body.to_string().contains('2'), "{name}: {body}");
    }
    let ready = run().arg("--input", &case("openai_batch.jsonl"));
    let ready = ready.flags(&format!("--format requests --url {server} -e body=.body"));
    let ready = ready.exits(0).records();
    assert_eq!(ready[2]["custom_id"], "r-2");
    assert!(ready[2]["body"].as_str().unwrap().contains("hi 2 \u{1f600}"), "{}", ready[2]);
}

#[test]
fn a_conversion_has_the_columns_and_types_that_are_asked_for() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", "id,n,code\n1,1.5,007\n2,,8\n");
    let results = place.path("results.csv");
    run()
        .arg("--input", &input)
        .arg("--url", &format!("{}/echo/{{{{ id }}}}", mock.url()))
        .arg("-e", "path=.path")
        .arg("-e", "at=\"=1\"")
        .flags(&format!("-w 1 -c 1 -o {results}"))
        .exits(0);
    let typed = rows(&results, "");
    assert_eq!((&typed[0]["_row"], &typed[0]["_ok"]), (&json!(0), &json!(true)));
    assert_eq!((&typed[0]["_status"], &typed[0]["_error"]), (&json!(200), &Value::Null));
    assert_eq!(typed[0]["id"], "1");
    let chosen = rows(&results, "--types --columns n,code,id");
    assert_eq!(
        Value::from(chosen).to_string(),
        "[{\"n\":1.5,\"code\":\"007\",\"id\":1},{\"n\":null,\"code\":\"8\",\"id\":2}]"
    );
    let plain = rows(&results, "--no-meta");
    let names: Vec<&String> = plain[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "n", "code", "path", "at"]);
    refused(&results, "--columns id,nme").says("no column \"nme\"");
    // Values that a server may have written keep their guard in a table for people.
    let table = place.path("table.csv");
    throng("convert").flags(&format!("{results} {table} --no-meta")).exits(0);
    assert!(place.read("table.csv").contains("'=1"), "{}", place.read("table.csv"));
}

#[test]
fn ids_that_look_like_floats_are_warned_of() {
    let mock = plain_mock();
    let plan = |file: &str, field: &str| {
        let url = format!("{}/echo/{{{{ {field} }}}}", mock.url());
        let ended = throng("plan").arg("--input", file).arg("--url", &url).ends();
        ended.stdout + &ended.stderr
    };
    let floats = plan(&case("float.csv"), "id");
    for said in ["in row 0 id is \"1.0\"", "in row 3 id is \"nan\""] {
        assert!(floats.contains(said), "{floats}");
    }
    let place = Place::new();
    let short = place.file("a.csv", "id,price\n4.01E+12,1.0\n4.02E+12,2.5\n");
    let ids = plan(&short, "id");
    assert!(ids.contains("in row 0 id is \"4.01E+12\""), "{ids}");
    let prices = plan(&short, "price");
    assert!(!prices.contains("in row 0"), "{prices}");
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn a_list_of_urls_stays_a_list_of_lines() {
    let read = rows(&case("wildurls.txt"), "");
    let lines = std::fs::read_to_string(case("wildurls.txt")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| json!({ "line": line })).collect();
    assert_eq!(read, lines);
}

#[test]
fn a_run_and_its_pipe_read_tables_as_convert_does() {
    let mock = plain_mock();
    let url = format!("{}/echo/{{{{ id }}}}", mock.url());
    let asks = || run().arg("--url", &url).flags("-e path=.path");
    let ended = asks().arg("--input", &case("semi.csv")).exits(0);
    assert_eq!(ended.records()[1]["path"], "/echo/2");
    for text in ["id;name\n7;x\n", "sep=|\nid|name\n7|x\n"] {
        let ended = asks().flags("--input -").with_stdin(text).ends().with_code(0);
        assert_eq!(ended.records()[0]["path"], "/echo/7", "{text}");
    }
    let pipe = asks().flags("--input - --rows .data[]");
    let ended = pipe.with_stdin("{\n\"data\": [{\"id\": 8}]}\n").ends().with_code(0);
    assert_eq!(ended.records()[0]["path"], "/echo/8");
    let asks = asks().flags("--input - --delimiter : --skip-lines 1");
    let ended = asks.with_stdin("x\nid:a b\n7:1\n").ends().with_code(0);
    assert_eq!(ended.records()[0]["a b"], "1");
}

#[test]
fn a_sheet_of_a_workbook_is_a_table_with_types() {
    let found = rows(&case("orders.xlsx"), "");
    assert_eq!(
        found,
        [
            json!({
                "Order ID": 1001, "code": "007", "day": "2026-11-27",
                "at": "2026-11-27T12:30:05", "time": "08:15:00", "took": "30:05:00",
                "paid": true, "price": 1.5, "column_9": "x", "formula": null, "note": "a\nb"
            }),
            json!({
                "Order ID": 123_456_789_012_345_u64, "code": "é ü", "day": null, "at": null,
                "time": null, "took": null, "paid": false, "price": -2, "column_9": null,
                "formula": null, "note": null
            }),
        ]
    );
    let two = case("two_sheets.xlsx");
    refused(&two, "").says("has the sheets Orders, Notes & more: say which one");
    refused(&two, "--table Order").says("and none called Order: say which one");
    assert_eq!(rows(&two, "--table Orders"), found);
    let place = Place::new();
    let text = place.file("no.xlsx", "a,b\n1,2\n");
    refused(&text, "").says("is no workbook of Excel");
}

#[test]
fn a_sheet_may_have_a_title_and_a_row_of_formulas_without_values_is_no_blank_one() {
    let titled = case("titled.xlsx");
    refused(&titled, "").says("row 3").says("--skip-lines N");
    let found = rows(&titled, "--skip-lines 2");
    assert_eq!(
        found,
        [
            json!({"Order ID": 1, "day": "2023-03-15", "n": "007"}),
            json!({"Order ID": 2, "day": "2023-03-15T12:00:00", "n": "x"}),
        ]
    );
    refused(&titled, "--comment #").says("leave them out");
    let formulas = case("formula.xlsx");
    let found = rows(&formulas, "");
    assert_eq!(found, [json!({"id": 1, "double": 2}), json!({"id": null, "double": null})]);
    let mock = plain_mock();
    let asks = run().arg("--url", &format!("{}/echo/{{{{ id }}}}", mock.url()));
    let ended = asks.arg("--input", &formulas).flags("-e path=.path").exits(1);
    assert!(ended.records()[1]["_detail"].to_string().contains("null"), "{}", ended.stdout);
}
