//! OAuth 2 tokens that do not live, servers that grant none, and refresh tokens that
//! are replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Place, Throng, each, run};
use crate::recorder::{Came, Recorder, answer, json};

/// A job of so many rows for this API, with tokens from that server.
fn ask(place: &Place, (api, login): (&str, &str), rows: usize) -> Throng {
    let rows: String = (0..rows).map(|n| format!("{n}\n")).collect();
    run()
        .arg("--url", &format!("{api}/{{{{ line }}}}"))
        .arg("--input", &place.file("rows.txt", &rows))
        .flags("--auth kind=oauth2 --auth client-id=me --workers 2 --concurrency 8")
        .arg("--auth", &format!("token-url={login}/token"))
}

fn is_token(came: &Came) -> bool {
    came.line.starts_with("POST /token")
}

fn tokens(recorder: &Recorder) -> usize {
    recorder.came().iter().filter(|came| is_token(came)).count()
}

/// An API that gives tokens by this answer, and `{}` for all else.
fn granting(granted: &'static str) -> Recorder {
    Recorder::answering(move |came| match is_token(came) {
        true => json(granted),
        false => json("{}"),
    })
}

fn ask_one(place: &Place, server: &Recorder, rows: usize) -> Throng {
    ask(place, (&server.url(), &server.url()), rows)
}

#[test]
fn a_token_that_is_dead_on_arrival_ends_the_run_by_name() {
    for expires_in in ["0", "\"0\"", "-1"] {
        let place = Place::new();
        let granted = format!(r#"{{"access_token": "s3cret-token", "expires_in": {expires_in}}}"#);
        let server = Recorder::answering(move |_| json(&granted));
        let ended = ask_one(&place, &server, 50).exits(3);
        ended
            .says("its token is dead on arrival: expires_in is")
            .says("have the server give tokens that live longer");
        assert_eq!(server.came().len(), 1);
        assert!(!ended.stderr.contains("s3cret-token"));
    }
}

#[test]
fn an_error_in_a_good_answer_is_shown() {
    let server = granting(r#"{"error": "invalid_scope", "error_description": "No such scope."}"#);
    let ended = ask_one(&Place::new(), &server, 5).exits(3);
    ended.says("it says invalid_scope (No such scope.): check auth.scope (--auth)");
    assert!(!ended.stderr.contains("client-id"), "{}", ended.stderr);
}

#[test]
fn a_form_and_a_token_that_outlives_the_clock_are_taken() {
    for granted in [
        "access_token=t1795748214733&token_type=bearer&expires_in=3600",
        r#"{"access_token": "t1795748214733", "expires_in": 1e18}"#,
        r#"{"access_token": "t1795748214733", "expires_in": "3600"}"#,
        r#"{"access_token": "t1795748214733", "expires_in": 5}"#,
    ] {
        let server = granting(granted);
        ask_one(&Place::new(), &server, 20).exits(0);
        assert_eq!(tokens(&server), 1, "{granted}");
        let came = server.came();
        let rows = came.iter().filter(|came| !is_token(came));
        let bearer = Some("Bearer t1795748214733");
        assert!(
            rows.clone()
                .all(|came| came.header("authorization") == bearer)
        );
        assert_eq!(rows.count(), 20);
    }
}

#[test]
fn tokens_that_expire_while_a_row_waits_for_its_turn_end_the_run() {
    // Each request, also for a token, takes the only place for two seconds.
    let server = granting(r#"{"access_token": "t", "expires_in": 1}"#);
    let ended = ask_one(&Place::new(), &server, 5)
        .flags("--rate 1/2s")
        .exits(3);
    ended.says("its last 3 tokens had expired before a request had its turn");
    assert_eq!(tokens(&server), 3);
    assert_eq!(server.came().len(), 3);
}

/// A server of tokens that first refuses so many times.
fn refusing(times: usize, token: &'static str) -> Recorder {
    let left = Arc::new(AtomicUsize::new(times));
    Recorder::answering(move |came| {
        let refuses = |left: usize| left.checked_sub(1);
        match is_token(came)
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuses)
                .is_ok()
        {
            true => answer("429 Too Many Requests", &[("retry-after", "1")], ""),
            false => json(&format!(r#"{{"access_token": "{token}"}}"#)),
        }
    })
}

#[test]
fn a_refusal_by_another_host_for_tokens_does_not_close_the_api_s_gate() {
    let (place, api) = (Place::new(), granting("{}"));
    let login = refusing(2, "t");
    let summary = place.path("summary.json");
    let job = ask(&place, (&api.url(), &login.url()), 5).arg("--summary-json", &summary);
    let ended = job.exits(0);
    assert_eq!(each(&ended.records(), "_ok").len(), 5);
    assert_eq!((tokens(&login), api.came().len()), (3, 5));
    let causes = place.json("summary.json")["causes"].to_string();
    assert!(
        !causes.contains("pause") && causes.contains("retries"),
        "{causes}"
    );

    // Where the API gives the tokens itself, it is the one that refuses.
    let one = refusing(1, "t");
    let job = ask_one(&place, &one, 5).arg("--summary-json", &summary);
    job.exits(0);
    let causes = place.json("summary.json")["causes"].to_string();
    assert!(causes.contains("pause"), "{causes}");
}

#[test]
fn a_pause_for_tokens_that_is_too_long_ends_the_run() {
    let (place, api) = (Place::new(), granting("{}"));
    let login = refusing(usize::MAX, "t");
    let job = ask(&place, (&api.url(), &login.url()), 5).flags("--max-wait 100ms");
    job.exits(3)
        .says("no token can be had: the server asks to be left alone for 1s");
    assert_eq!((tokens(&login), api.came().len()), (1, 0));
}
