//! Cookies of answers: kept for the run or for each row, sent back to their origin alone, and
//! shown nowhere.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Place, Throng, each, run, throng};
use crate::recorder::{Came, Recorder, answer, json};

/// Rows that are numbers from 0, at this server's `/LINE`.
fn ask(place: &Place, server: &str, rows: usize) -> Throng {
    let rows: String = (0..rows).map(|n| format!("{n}\n")).collect();
    run()
        .arg("--url", &format!("{server}/{{{{ line }}}}"))
        .arg("--input", &place.file("rows.txt", &rows))
        .flags("--workers 1 --mode sync")
}

/// A server that gives each client without a cookie one of its own: `sid=s3cret-session-N`.
fn sessions() -> Recorder {
    let given = AtomicUsize::new(0);
    Recorder::answering(move |came| match came.header("cookie") {
        Some(cookie) => json(&format!("{{\"said\": \"{cookie}\"}}")),
        None => {
            let number = given.fetch_add(1, Ordering::SeqCst);
            let cookie = format!("sid=s3cret-session-{number}; Path=/; HttpOnly");
            answer("200 OK", &[("set-cookie", &cookie)], "{\"said\": \"new\"}")
        }
    })
}

fn cookies(came: &[Came]) -> Vec<Option<&str>> {
    came.iter().map(|came| came.header("cookie")).collect()
}

#[test]
fn without_the_flag_no_cookie_goes_back() {
    let (place, server) = (Place::new(), sessions());
    ask(&place, &server.url(), 3).exits(0);
    assert_eq!(cookies(&server.came()), [None; 3]);
}

#[test]
fn the_rows_of_a_run_share_the_cookies_and_no_record_shows_them() {
    let (place, server) = (Place::new(), sessions());
    let job = ask(&place, &server.url(), 3).flags("--cookies run").arg("--extract", "said=.said");
    let ended = job.exits(0);
    let session = Some("sid=s3cret-session-0");
    assert_eq!(cookies(&server.came()), [None, session, session]);
    assert_eq!(each(&ended.records(), "said"), ["new", "sid=***", "sid=***"]);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
}

#[test]
fn the_steps_and_redirects_of_one_row_share_its_cookies_and_no_other_row_does() {
    let place = Place::new();
    let server = Recorder::answering(|came| {
        let path = came.line.split(' ').nth(1).unwrap();
        let cookie = came.header("cookie").unwrap_or_default();
        match path.split_at(1).1.split_once('/') {
            Some(("start", row)) => {
                let cookie = format!("a=s3cret-of-{row}; Path=/");
                let to = format!("/moved/{row}");
                answer("302 Found", &[("set-cookie", &cookie), ("location", &to)], "")
            }
            Some(("moved", row)) => {
                let set = format!("b=s3cret-too-{row}; Path=/");
                answer("200 OK", &[("set-cookie", &set)], &format!("{{\"id\": \"{row}\"}}"))
            }
            _ => json(&format!("{{\"said\": \"{cookie}\"}}")),
        }
    });
    let job = place.file(
        "job.toml",
        &format!(
            r#"
            cookies = "row"
            [request]
            url = "{0}/start/{{{{ line }}}}"
            [send]
            follow = 3
            [extract]
            id = ".id"
            [[step]]
            request = {{ url = "{0}/last/{{{{ id }}}}" }}
            extract = {{ said = ".said" }}
        "#,
            server.url()
        ),
    );
    let input = place.file("rows.txt", "0\n1\n2\n");
    let ended = run().flags(&job).arg("--input", &input).flags("--concurrency 3").exits(0);
    assert_eq!(each(&ended.records(), "_ok"), [true; 3]);
    for record in ended.records() {
        let said = record["said"].as_str().unwrap();
        assert!(said == "a=***; b=***" || said == "b=***; a=***", "{said}");
    }
    let came = server.came();
    for row in 0..3 {
        let of_row = came.iter().filter(|it| it.line.contains(&format!("/{row} ")));
        let all: Vec<String> = of_row
            .map(|came| {
                let mut pairs: Vec<&str> =
                    came.header("cookie").unwrap_or_default().split("; ").collect();
                pairs.sort_unstable();
                pairs.join("; ")
            })
            .collect();
        let (a, b) = (format!("a=s3cret-of-{row}"), format!("b=s3cret-too-{row}"));
        assert_eq!(all, [String::new(), a.clone(), format!("{a}; {b}")]);
    }
    assert!(!ended.stdout.contains("s3cret") && !ended.stderr.contains("s3cret"));
}

#[test]
fn a_cookie_goes_to_no_other_origin() {
    for scope in ["run", "row"] {
        let place = Place::new();
        let other = sessions();
        let to = other.url();
        let server = Recorder::answering(move |came| {
            let cookie = "canary=s3cret-canary; Path=/; Domain=127.0.0.1";
            let away = format!("{to}/away");
            if came.line.contains("/0") {
                return answer("302 Found", &[("set-cookie", cookie), ("location", &away)], "");
            }
            json("{}")
        });
        let job = ask(&place, &server.url(), 2).arg("--cookies", scope);
        job.flags("--follow 1 --allow-private --allow-host 127.0.0.1").exits(0);
        assert_eq!(cookies(&other.came()), [None], "another port is another origin");
        let sent = server.came()[1].header("cookie").map(str::to_owned);
        let expected = (scope == "run").then(|| "canary=s3cret-canary".to_owned());
        assert_eq!(sent, expected, "{scope}");
    }
}

#[test]
fn a_cookie_that_expires_or_is_of_another_domain_or_of_tls_stays_here() {
    let place = Place::new();
    let server = Recorder::answering(|_| {
        let set = [
            ("set-cookie", "kept=yes-it-is; Path=/; Max-Age=100"),
            ("set-cookie", "gone=x; Path=/; Max-Age=0"),
            ("set-cookie", "tls=x; Path=/; Secure"),
            ("set-cookie", "far=x; Path=/; Domain=example.com"),
            ("set-cookie", "deep=x; Path=/elsewhere"),
        ];
        answer("200 OK", &set, "{}")
    });
    ask(&place, &server.url(), 2).flags("--cookies run").exits(0);
    assert_eq!(cookies(&server.came()), [None, Some("kept=yes-it-is")]);
}

#[test]
fn a_row_that_is_tried_shows_no_cookie() {
    for scope in ["run", "row"] {
        let (place, server) = (Place::new(), sessions());
        let row = place.file("rows.txt", "0\n");
        let tried = throng("try")
            .arg("--url", &format!("{}/{{{{ line }}}}", server.url()))
            .arg("--input", &row)
            .arg("--cookies", scope)
            .arg("--extract", "set=$headers[\"set-cookie\"]")
            .exits(0);
        assert!(tried.stdout.contains("sid=***"), "{}", tried.stdout);
        assert!(!tried.stdout.contains("s3cret"), "{}", tried.stdout);
    }
}

#[test]
fn cookies_of_rows_and_batches_exclude_each_other() {
    let place = Place::new();
    let job = ask(&place, "http://127.0.0.1:9", 2).flags("--cookies row --batch 2 --match id=.id");
    job.flags("--each .[]")
        .exits(2)
        .says("cookies = \"row\" (--cookies) keeps cookies for each row");
    ask(&place, "http://127.0.0.1:9", 1)
        .flags("--cookies all")
        .exits(2)
        .says("[possible values: run, row]");
}
