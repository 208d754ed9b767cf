//! `throng try`: one row, with everything shown.

use throng_mock::{Mock, Settings};

use crate::harness::{Ended, Place, mock, plain_mock, symbols, throng};

/// Tries one of three quotes.
fn quote(mock: &Mock, flags: &str) -> Ended {
    let place = Place::new();
    let input = place.file("rows.csv", &symbols(3));
    throng("try").quotes(&mock.url()).arg("--input", &input).flags(flags).ends()
}

/// Tries the first of three rows at this path.
fn path(mock: &Mock, path: &str, flags: &str) -> Ended {
    path_at_rate(mock, path, "1000/1s", flags)
}

fn path_at_rate(mock: &Mock, path: &str, rate: &str, flags: &str) -> Ended {
    let place = Place::new();
    let input = place.file("rows.csv", &symbols(3));
    throng("try")
        .arg("--url", &format!("{}{path}", mock.url()))
        .arg("--input", &input)
        .arg("--rate", rate)
        .flags(flags)
        .ends()
}

#[track_caller]
fn shows(ended: &Ended, all: &[&str]) {
    for what in all {
        assert!(ended.stdout.contains(what), "no {what:?} in:\n{}", ended.stdout);
    }
    let longest = ended.stdout.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(longest <= 80, "{longest} columns:\n{}", ended.stdout);
}

#[test]
fn one_row_is_sent_and_all_of_it_shown() {
    let mock = mock(Settings { limits: vec!["20/5s".parse().unwrap()], ..Settings::default() });
    let ended = quote(&mock, "--rate 20/5s --row 1 -H x-note:seen").with_code(0);
    shows(
        &ended,
        &[
            "row 1 of ",
            "  symbol: S1\n",
            "  GET http://127.0.0.1:",
            "quote/?symbols=S1\n",
            "  x-note: seen\n",
            "  200 OK\n",
            "  content-type: application/json\n",
            "meaning\n  ok, by built in: 2xx = ok\n",
            "values\n  price: ",
            "keys of the answer\n",
            ".quoteResponse.result[0].symbol",
            "\"S1\"",
            "cost\n  requests: 1\n  under 20/5s\n",
            "limits that the server names\n",
            "the row is ok\n",
        ],
    );
    assert_eq!(mock.judgement().requests, 1);
    assert!(ended.stderr.is_empty(), "{}", ended.stderr);
}

#[test]
fn what_is_missing_is_named_beside_the_keys_there_are() {
    let mock = plain_mock();
    let ended = path(&mock, "/echo/1", "-e wrong=.pathh -e maybe?=.none -e path=.path");
    shows(
        &ended.with_code(1),
        &[
            "  wrong: MISSING, the value is null or not there\n",
            "  maybe: null, the value is null or not there\n",
            "  path: \"/echo/1\"\n",
            "  .path ",
            "the row fails, missing wrong: the value is null or not there\n",
        ],
    );
}

#[test]
fn secrets_are_hidden_wherever_they_would_show() {
    let mock = plain_mock();
    let ended = throng("try")
        .arg("--url", &format!("{}/echo/1?api_key={{{{ env.KEY }}}}", mock.url()))
        .arg("--auth", "kind=bearer")
        .arg("--auth", "token={{ env.TOKEN }}")
        .arg("-H", "x-api-key: {{ env.KEY }}")
        .env("KEY", "key-0123456789abcdef")
        .env("TOKEN", "token-0123456789abcdef")
        .exits(0);
    shows(&ended, &["  authorization: ***\n", "  x-api-key: ***\n", "api_key=***"]);
    for secret in ["key-0123456789abcdef", "token-0123456789abcdef"] {
        assert!(!ended.stdout.contains(secret), "{}", ended.stdout);
    }
}

#[test]
fn the_exit_code_is_the_row_s() {
    let mock = plain_mock();
    for (status, rule, code, says) in [
        (404, "500=fail", 1, "the row fails, status 404"),
        (404, "404=missing", 0, "the row is done without values, missing: status 404"),
        (404, "404=stop", 3, "a run stops here, status 404"),
        (500, "404=fail", 1, "a run sends the request again within 500 ms"),
        (429, "404=fail", 1, "the server refuses, and does not say for how long"),
        (200, "404=fail", 0, "the row is ok"),
    ] {
        mock.reset();
        let ended = path(&mock, &format!("/status/{status}"), &format!("--answer {rule}"));
        shows(&ended.with_code(code), &[says]);
        assert_eq!(mock.judgement().requests, 1, "{status} {rule}");
    }
    let ended = path(&mock, "/status/429?retry_after=7", "").with_code(1);
    shows(&ended, &["the server refuses: a run waits for 7 s and sends the request again"]);
    let nowhere = throng("try").arg("--url", "http://127.0.0.1:1/").exits(1);
    shows(&nowhere, &["  GET http://127.0.0.1:1/\n", "the row fails, connect: "]);
    path(&mock, "/echo/1", "--row 3").with_code(2).says("has 3 rows, which are counted from 0");
}

#[test]
fn a_tried_row_counts_against_the_account_and_leaves_results_alone() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", &symbols(2));
    let output = place.path("out.jsonl");
    let job = |command: &str| {
        throng(command)
            .quotes(&mock.url())
            .arg("--input", &input)
            .arg("--output", &output)
            .flags("--rate 3/1h --max-wait 1s")
    };
    job("run").exits(0);
    let before = place.read("out.jsonl");
    job("try").exits(0);
    assert_eq!(place.read("out.jsonl"), before);
    // Two rows and the tried one have used the limit up.
    job("try").exits(3).says("the next request would have to wait for 3/1h");
    assert_eq!(mock.judgement().requests, 3);
}

#[test]
fn items_pages_and_steps_are_shown_as_far_as_the_row_goes() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = path(&mock, "/list/30?size=10", "--each .items[] --page page -e id=.id");
    shows(
        &ended.with_code(0),
        &["10 on this page; the first one:", "  id: \"0\"\n", "keys of the first item\n  .id "],
    );
    let job = place.file(
        "job.toml",
        &format!(
            r#"
            [input]
            list = [{{ id = "7" }}, {{ id = "nothing" }}]
            [request]
            url = "{url}/echo/{{{{ id }}}}"
            [extract]
            path = ".path"
            [[step]]
            request.url = "{url}/detail/{{{{ id }}}}"
            extract.price = ".price"
            "#,
            url = mock.url()
        ),
    );
    let first = throng("try").flags(&job).exits(0);
    shows(&first, &["step 1 of 2\n", "step 2 of 2\n", "/detail/7\n", "  price: "]);
    let second = throng("try").flags(&job).flags("--row 1").exits(1);
    shows(&second, &["/detail/nothing\n", "the row fails, status 404"]);
}

#[test]
fn tokens_are_reserved_and_settled_and_a_long_body_is_cut() {
    let mock = plain_mock();
    let flags = "--cost tokens=20 --settle tokens=.n";
    let body = format!("%7B%22n%22:7,%22long%22:%22{}%22%7D", "x".repeat(500));
    let path_ = format!("/status/200?body={body}");
    let ended = path_at_rate(&mock, &path_, "900 tokens/1m", flags).with_code(0);
    shows(&ended, &["  tokens: 20, 7 by the answer\n", "…\n"]);
    let lines = format!("%5B{}0%5D", "1,".repeat(50));
    let ended = path(&mock, &format!("/status/200?body={lines}"), "").with_code(0);
    shows(&ended, &["more lines (--verbose shows all)"]);
    let whole = path(&mock, &format!("/status/200?body={lines}"), "--verbose").with_code(0);
    assert!(!whole.stdout.contains("--verbose"));
}

#[test]
fn what_a_server_says_can_not_move_the_cursor() {
    let mock = plain_mock();
    let ended = path(&mock, "/status/200?body=a%1B%5B2Jb%C2%9B", "").with_code(0);
    assert!(!ended.stdout.contains(['\u{1b}', '\u{9b}']), "{}", ended.stdout);
}
