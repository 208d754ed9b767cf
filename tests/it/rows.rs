//! What a row may not decide: where a request goes, where it ends, which cookies,
//! parameters and elements it has, and which files are read.

use serde_json::json;

use crate::harness::{Place, each, run};
use crate::recorder::Recorder;

/// Ready-made requests, of which each sets a header or a method that is not a row's.
#[test]
fn a_ready_made_request_names_no_other_host_and_no_other_end() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let headers = [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "proxy-connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "HTTP2-Settings",
        ":authority",
        ":path",
    ];
    let mut rows: Vec<_> = headers
        .iter()
        .map(|name| json!({"url": "/a", "headers": {*name: "evil.example"}}))
        .collect();
    let methods = ["CONNECT", "trace"];
    rows.extend(methods.map(|method| json!({"url": "/a", "method": method})));
    rows.push(json!({"url": "/fine", "headers": {"x-host": "h"}}));
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let ended = run()
        .arg("--url", &recorder.url())
        .arg("--input", &place.file("rows.jsonl", &rows))
        .flags("--format requests --workers 1")
        .arg("--auth", "kind=bearer")
        .arg("--auth", "token={{ env.TOKEN }}")
        .env("TOKEN", "the-job-s-own")
        .exits(1);
    let records = ended.records();
    for (record, name) in records.iter().zip(headers.iter().chain(&methods)) {
        assert_eq!(record["_error"], "input", "{name}: {record}");
        let detail = record["_detail"].as_str().unwrap();
        assert!(detail.contains(name), "{name}: {detail}");
    }
    let came = recorder.only();
    assert!(came.line.starts_with("GET /fine "));
    assert_eq!(came.header("host"), Some(&*recorder.addr().to_string()));
}

#[test]
fn the_job_s_host_is_the_job_s() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let input = place.file("rows.csv", "host\nevil.example\n");
    let ask = |header: &str| {
        run().arg("--url", &recorder.url()).arg("--input", &input).arg("--header", header)
    };
    ask("Host: virtual.example").exits(0);
    assert_eq!(recorder.only().header("host"), Some("virtual.example"));
    for header in [
        "Host: {{ host }}",
        "content-length: {{ host }}",
        "connection: {{ host }}",
        "proxy-authorization: {{ host }}",
    ] {
        ask(header).exits(2).says("can't hold a value of a row");
    }
    // A length that is not the body's would make a part of it another request.
    for flags in ["", "--data x=1"] {
        let length = ask("content-length: 100").flags(flags).exits(2);
        length.says("throng counts each body itself");
    }
    assert_eq!(recorder.came().len(), 1);
    recorder.forget();
    ask("content-length: 0").flags("--method POST").exits(0);
    assert_eq!(recorder.only().header("content-length"), Some("0"));
}

/// A job's body or header, a row's value, and what arrives: nothing for a row that fails.
struct Case {
    header: &'static str,
    data: Option<&'static str>,
    value: &'static str,
    arrives: Option<&'static str>,
}

fn header(header: &'static str, value: &'static str, arrives: Option<&'static str>) -> Case {
    Case { header, data: None, value, arrives }
}

fn body(
    kind: &'static str,
    data: &'static str,
    value: &'static str,
    arrives: Option<&'static str>,
) -> Case {
    Case { header: kind, data: Some(data), value, arrives }
}

#[track_caller]
fn assert_arrive(cases: &[Case]) {
    let (place, recorder) = (Place::new(), Recorder::start());
    for case in cases {
        recorder.forget();
        let row = json!({ "x": case.value }).to_string();
        let mut ask = run()
            .arg("--url", &recorder.url())
            .arg("--input", &place.file("rows.jsonl", &row))
            .arg("--header", case.header);
        if let Some(data) = case.data {
            ask = ask.arg("--data", data);
        }
        let ended = ask.ends();
        let (name, _) = case.header.split_once(':').unwrap();
        let came = recorder.came();
        let arrived = came.first().map(|came| match case.data {
            Some(_) => came.text(),
            None => came.header(name).unwrap().to_owned(),
        });
        let what = format!("{:?} in {} {:?}", case.value, case.header, case.data);
        assert_eq!(arrived.as_deref(), case.arrives, "{what}: {}", ended.stderr);
        if case.arrives.is_none() {
            assert_eq!(ended.records()[0]["_error"], "input", "{what}");
        }
    }
}

#[test]
fn a_value_in_a_cookie_is_one_value() {
    let among = "cookie: a={{ x }}; b=1";
    let mut cases = vec![
        header(among, "x=y%20é", Some("a=x=y%20é; b=1")),
        // The whole header is the row's, and so is one that the job lets pass.
        header("cookie: {{ x }}", "a=1; b=2", Some("a=1; b=2")),
        header("cookie: a={{ x | safe }}", "1; b=2", Some("a=1; b=2")),
        header("cookie: a={{ x | urlencode }}", "1; b", Some("a=1%3B%20b")),
    ];
    let bad = ["1; admin=1", "1,2", "a b", "\"1\"", "a\\", "a\tb", "a\nb"];
    cases.extend(bad.map(|value| header(among, value, None)));
    assert_arrive(&cases);
}

#[test]
fn a_value_in_a_header_s_quotes_or_parameters_stays_there() {
    let quoted = "content-disposition: attachment; filename=\"{{ x }}\"";
    let parameter = "accept: text/{{ x }}; q=1";
    assert_arrive(&[
        header(quoted, "a; b.txt", Some("attachment; filename=\"a; b.txt\"")),
        header(quoted, "a\"; b=\"c", None),
        header(quoted, "a\\", None),
        header(parameter, "csv", Some("text/csv; q=1")),
        header(parameter, "csv; v=2", None),
        header("x-list: {{ x }}", "a; \"b\"", Some("a; \"b\"")),
    ]);
}

#[test]
fn a_value_in_markup_is_text() {
    let (xml, soap) =
        ("content-type: text/xml", "content-type: application/soap+xml; charset=utf-8");
    let (data, value) = ("<a b='{{ x }}'>{{ x }}</a>", "</a><c d=\"'\">&");
    let escaped = "<a b='&lt;/a&gt;&lt;c d=&quot;&#39;&quot;&gt;&amp;'>&lt;/a&gt;&lt;c d=&quot;&#39;&quot;&gt;&amp;</a>";
    assert_arrive(&[
        body(xml, data, value, Some(escaped)),
        body(soap, data, value, Some(escaped)),
        body("content-type: text/html", data, value, Some(escaped)),
        body(xml, "<a>{{ x }}</a>", "a\r\n\tb", Some("<a>a&#13;\n\tb</a>")),
        body(xml, "<a>{{ x }}</a>", "a\u{1}b", None),
        body(xml, "<a>{{ x | safe }}</a>", "<b/>", Some("<a><b/></a>")),
        body("content-type: text/plain", "{{ x }}", "<&>", Some("<&>")),
    ]);
}

#[test]
fn a_value_in_a_json_or_graphql_text_is_one_value() {
    let json = "content-type: application/json";
    let graphql = "content-type: application/graphql";
    let data = "{\"a\": \"{{ x }}\"}";
    let bare = "{\"a\": {{ x }}}";
    let query = "{ user(id: \"{{ x }}\") { name } }";
    assert_arrive(&[
        body(json, data, "\"}, {\"", Some("{\"a\": \"\\\"}, {\\\"\"}")),
        body(json, bare, "-7.50", Some("{\"a\": -7.50}")),
        body(json, bare, "true", Some("{\"a\": true}")),
        body(json, bare, "1, 2", None),
        body(json, bare, "1}, {2", None),
        body(json, bare, "[1]", None),
        body(json, bare, "word", None),
        body(json, bare, "", None),
        body(json, "[{{ x | safe }}]", "1, 2", Some("[1, 2]")),
        body(
            graphql,
            query,
            "1\") { secret } #",
            Some("{ user(id: \"1\\\") { secret } #\") { name } }"),
        ),
        body(graphql, "{ user(id: {{ x }}) { name } }", "1) { secret", None),
    ]);
}

/// A link in the folder that leads out of it, also by way of another folder.
#[cfg(unix)]
#[test]
fn a_link_leads_no_way_out_of_the_folder() {
    use std::os::unix::fs::symlink;
    let (place, recorder) = (Place::new(), Recorder::start());
    for folder in ["in", "in/sub", "out"] {
        std::fs::create_dir(place.path(folder)).unwrap();
    }
    place.file("out/secret.txt", "do not send");
    place.file("in/real.txt", "fine");
    symlink("../out/secret.txt", place.path("in/relative.txt")).unwrap();
    symlink(place.path("out/secret.txt"), place.path("in/absolute.txt")).unwrap();
    symlink(place.path("out"), place.path("in/folder")).unwrap();
    symlink("../real.txt", place.path("in/sub/inside.txt")).unwrap();
    // The job itself may well name a link.
    symlink(place.path("in"), place.path("link")).unwrap();
    let rows = "id\nrelative\nabsolute\nfolder/secret\nsub/inside\nreal\n";
    let input = place.file("rows.csv", rows);
    for folder in ["in", "link"] {
        let file = place.path(&format!("{folder}/{{{{ id }}}}.txt"));
        for (flag, value) in
            [("--body-file", file.clone()), ("--multipart", format!("file=@{file}"))]
        {
            recorder.forget();
            let ended = run()
                .arg("--url", &recorder.url())
                .arg("--input", &input)
                .arg(flag, &value)
                .exits(1);
            let (input, null) = (json!("input"), json!(null));
            assert_eq!(
                each(&ended.records(), "_error"),
                [&input, &input, &input, &null, &null].map(Clone::clone)
            );
            let detail = ended.records()[0]["_detail"].to_string();
            assert!(detail.contains("can't lead out of the folder"), "{detail}");
            assert_eq!(recorder.came().len(), 2);
            assert!(recorder.came().iter().all(|came| came.text().contains("fine")));
        }
    }
    // A path without values is the job's, wherever it leads.
    recorder.forget();
    run()
        .arg("--url", &format!("{}/{{{{ id }}}}", recorder.url()))
        .arg("--input", &place.file("one.csv", "id\n1\n"))
        .arg("--body-file", &place.path("in/absolute.txt"))
        .exits(0);
    assert_eq!(recorder.only().text(), "do not send");
}
