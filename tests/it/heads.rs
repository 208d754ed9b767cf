//! Heads of answers: large ones are read, and those that are too large or can't be
//! read fail their row alone, by their name, and are not asked for again.

use serde_json::Value;

use crate::harness::{Place, Throng, each, run};
use crate::recorder::{Recorder, answer};
use crate::streams::{Streams, early, fine, whole};

/// Headers that the path of a request names: `/3x1000` for three of 1,000 bytes each.
fn wanted(path: &str) -> Vec<(String, String)> {
    let Some((count, length)) = path.trim_matches('/').split_once('x') else {
        return Vec::new();
    };
    let value = "v".repeat(length.parse().unwrap());
    let count: usize = count.parse().unwrap();
    let header = |n| (format!("x-{n}"), value.clone());
    (0..count).map(header).collect()
}

/// Each row is a path.
fn ask(method: &str, place: &Place, url: &str, rows: &[&str]) -> Throng {
    let input = place.file("rows.txt", &(rows.join("\n") + "\n"));
    run()
        .arg("--url", &format!("{url}/{{{{ line }}}}"))
        .arg("--input", &input)
        .flags(&format!("--method {method} --workers 1 --concurrency 20"))
}

/// Rows of which one in ten asks for each of these, and the others for nothing odd.
fn among_others<'a>(odd: &[&'a str]) -> Vec<&'a str> {
    let ten = |path: &&'a str| std::iter::once(*path).chain(["fine"; 9]).collect::<Vec<_>>();
    odd.iter().flat_map(ten).collect()
}

#[track_caller]
fn assert_too_large(records: &[Value], rows: &[&str], too_large: &[&str]) {
    for (record, row) in records.iter().zip(rows) {
        let kind = if too_large.contains(row) { "headers too large".into() } else { Value::Null };
        assert_eq!(record["_error"], kind, "{row}: {record}");
        assert_eq!(record["_attempts"], 1, "{row}");
    }
}

const LARGE: [&str; 5] = ["1x48000", "12x4000", "150x10", "1000x100", "1x250000"];
const TOO_LARGE: [&str; 4] = ["1x300000", "100x3000", "1x1000000", "20x100000"];

#[test]
fn with_http2_large_headers_cost_no_other_row() {
    let (place, server) = (
        Place::new(),
        Streams::answering(|request, reply| {
            fine(reply, &wanted(request.uri().path()));
        }),
    );
    let rows = among_others(&[LARGE.as_slice(), &TOO_LARGE].concat());
    let ended = ask("POST", &place, &server.url(), &rows).flags("--http 2").exits(1);
    assert_too_large(&ended.records(), &rows, &TOO_LARGE);
    assert_eq!(server.connections(), 1);
}

#[test]
fn with_http1_many_and_large_headers_are_read() {
    let (place, server) = (
        Place::new(),
        Recorder::answering(|came| {
            let headers = wanted(came.line.split(' ').nth(1).unwrap());
            let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            answer("200 OK", &headers, "{}")
        }),
    );
    let too_many = ["2001x1"];
    let too_large = [TOO_LARGE.as_slice(), &too_many].concat();
    let rows = among_others(&[LARGE.as_slice(), &too_large].concat());
    let ended = ask("POST", &place, &server.url(), &rows).exits(1);
    assert_too_large(&ended.records(), &rows, &too_large);
}

/// Sends each of these instead of an answer to the path of its number, and a good
/// answer to any other.
fn saying(odd: &'static [&'static str]) -> Recorder {
    Recorder::answering(|came| {
        let path = came.line.split(' ').nth(1).unwrap().trim_matches('/');
        let number: Option<usize> = path.parse().ok();
        number.map_or_else(|| answer("200 OK", &[], "{}"), |number| odd[number].to_owned())
    })
}

const UNREADABLE: [&str; 9] = [
    "SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTTP/1.1 twohundred OK\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 99 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/3.7 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nx-nul: a\0b\r\ncontent-length: 2\r\n\r\n{}",
    "HTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a length\r\n{}",
];

#[test]
fn what_cannot_be_read_is_a_bad_answer_and_not_asked_for_again() {
    let (place, server) = (Place::new(), saying(&UNREADABLE));
    let numbers: Vec<String> = (0..UNREADABLE.len()).map(|n| n.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let rows = among_others(&numbers);
    for method in ["POST", "GET"] {
        server.forget();
        let ended = ask(method, &place, &server.url(), &rows).exits(1);
        for (record, row) in ended.records().iter().zip(&rows) {
            let kind = if *row == "fine" { Value::Null } else { "bad answer".into() };
            assert_eq!(record["_error"], kind, "{method} {row}: {record}");
        }
        assert_eq!(server.came().len(), rows.len(), "{method}");
    }
}

#[test]
fn a_header_in_several_lines_is_read() {
    let folded = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Long: a\r\n b\r\n\
                  Content-Length: 14\r\n\r\n{\"price\": 1.5}";
    let (place, server) = (Place::new(), Recorder::answering(move |_| folded.to_owned()));
    let ended = ask("POST", &place, &server.url(), &["a", "b"]).flags("--extract price=.price");
    assert_eq!(each(&ended.exits(0).records(), "price"), [1.5, 1.5]);
}

/// A server may say `103 Early Hints` before its answer, but not for ever.
#[test]
fn ten_interim_answers_are_read_past_and_more_are_a_bad_answer() {
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let http1 = Recorder::answering(move |came| {
        let count = came.line.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        hint.repeat(count) + &answer("200 OK", &[], "{}")
    });
    let http2 = Streams::answering(|request, mut reply| {
        early(&mut reply, request.uri().path()[1..].parse().unwrap());
        fine(reply, &[]);
    });
    let place = Place::new();
    let rows = among_others(&["10", "9", "13", "3000"]);
    let rows: Vec<&str> =
        rows.into_iter().map(|row| row.replace("fine", "0").leak() as &str).collect();
    for (url, flags) in [(http1.url(), ""), (http2.url(), "--http 2")] {
        let ended = ask("POST", &place, &url, &rows).flags(flags).exits(1);
        for (record, row) in ended.records().iter().zip(&rows) {
            let kind = match *row {
                "13" | "3000" => "bad answer".into(),
                _ => Value::Null,
            };
            assert_eq!(record["_error"], kind, "{row} {flags}: {record}");
            assert_eq!(record["_attempts"], 1, "{row} {flags}");
        }
    }
    assert_eq!(http2.connections(), 1);
}

/// Servers that others wrote tell `X-API-KEY` from `x-api-key`, although they should not.
#[test]
fn names_of_headers_are_sent_as_a_job_or_a_command_writes_them() {
    let (place, server) = (Place::new(), Recorder::start());
    let names = |throng: Throng| {
        server.forget();
        throng.exits(0);
        let mut came = server.came();
        // The second request is one of a connection that was used before.
        assert_eq!(came[0].names, came[1].names);
        came.pop().unwrap().names
    };
    let has = |names: &[String], name: &str| {
        let as_it_is = names.iter().filter(|it| *it == name).count();
        let in_any_case = names.iter().filter(|it| it.eq_ignore_ascii_case(name)).count();
        assert_eq!((as_it_is, in_any_case), (1, 1), "{name} in {names:?}");
    };
    let paths = place.file("paths.csv", "path\na\nb\n");
    let one = || run().arg("--input", &paths).flags("--workers 1 --concurrency 1");
    let job = one()
        .arg("--url", &format!("{}/{{{{ path }}}}", server.url()))
        .arg("--header", "X-API-KEY: 7")
        .arg("--header", "soapAction: {{ path }}")
        .arg("--header", "x-lower: 1")
        .flags("--auth kind=header --auth name=X-Auth-TOKEN --auth value=k")
        .arg("--data", "x");
    let sent = names(job);
    for name in ["X-API-KEY", "soapAction", "x-lower", "X-Auth-TOKEN", "content-length", "host"] {
        has(&sent, name);
    }
    let command = format!("curl -H 'X-Trace-ID: 1' -A agent {}/{{{{ path }}}}", server.url());
    let sent = names(one().arg("--curl", &command));
    has(&sent, "X-Trace-ID");
    has(&sent, "User-Agent");
}

/// The host that a job names goes where its HTTP names hosts, and there alone.
#[test]
fn a_host_of_the_job_s_is_the_authority_with_http2() {
    let http2 = Streams::answering(|request, reply| {
        let authority = request.uri().authority().unwrap().as_str();
        let host = request.headers().get("host").map(|host| host.to_str().unwrap());
        let seen = serde_json::json!({"authority": authority, "host": host});
        whole(reply, &[], seen.to_string());
    });
    let (place, http1) = (Place::new(), Recorder::start());
    let with_host =
        |url: &str| ask("GET", &place, url, &["a"]).arg("--header", "host: api.example");
    let ended = with_host(&http2.url())
        .flags("--http 2 --extract authority=.authority --extract host?=.host")
        .exits(0);
    let records = ended.records();
    assert_eq!(each(&records, "authority"), ["api.example"]);
    assert_eq!(each(&records, "host"), [Value::Null]);
    with_host(&http1.url()).exits(0);
    assert_eq!(http1.only().header("host"), Some("api.example"));
}
