//! OAuth 2 tokens that do not live, servers that grant none, and refresh tokens that
//! are replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Place, Throng, each, run};
use crate::recorder::{Came, Recorder, answer, json};

/// A job of this number of rows for this API, with tokens from that server.
fn ask(place: &Place, servers: (&str, &str), rows: usize) -> Throng {
    job(place, servers, rows).flags("--workers 2 --concurrency 8")
}

fn job(place: &Place, (api, login): (&str, &str), rows: usize) -> Throng {
    let rows: String = (0..rows).map(|n| format!("{n}\n")).collect();
    run()
        .arg("--url", &format!("{api}/{{{{ line }}}}"))
        .arg("--input", &place.file("rows.txt", &rows))
        .flags("--auth kind=oauth2 --auth client-id=me")
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
    Recorder::answering(move |came| if is_token(came) { json(granted) } else { json("{}") })
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
        assert!(rows.clone().all(|came| came.header("authorization") == bearer));
        assert_eq!(rows.count(), 20);
    }
}

#[test]
fn tokens_that_expire_while_a_row_waits_for_its_turn_end_the_run() {
    // Each request, also for a token, takes the only place for two seconds.
    let server = granting(r#"{"access_token": "t", "expires_in": 1}"#);
    let ended = ask_one(&Place::new(), &server, 5).flags("--rate 1/2s").exits(3);
    ended.says("its last 3 tokens had expired before a request had its turn");
    assert_eq!(tokens(&server), 3);
    assert_eq!(server.came().len(), 3);
}

/// A server of tokens that first refuses so many times.
fn refusing(times: usize, token: &'static str) -> Recorder {
    let left = Arc::new(AtomicUsize::new(times));
    Recorder::answering(move |came| {
        let refuses = |left: usize| left.checked_sub(1);
        if is_token(came) && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuses).is_ok()
        {
            answer("429 Too Many Requests", &[("retry-after", "1")], "")
        } else {
            json(&format!(r#"{{"access_token": "{token}"}}"#))
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
    assert!(!causes.contains("pause") && causes.contains("retries"), "{causes}");

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
    job.exits(3).says("no token can be had: the server asks for a pause of 1s");
    assert_eq!((tokens(&login), api.came().len()), (1, 0));
}

/// A server that takes each refresh token once and gives the next: `r1`, `r2`, ...
/// Each access token lasts for so many requests.
fn rotating(lasts: usize) -> Recorder {
    let given = Arc::new(AtomicUsize::new(0));
    let used = AtomicUsize::new(0);
    Recorder::answering(move |came| {
        let now = given.load(Ordering::SeqCst);
        if !is_token(came) {
            let fits = came.header("authorization") == Some(&format!("Bearer access-token-{now}"));
            return if fits && used.fetch_add(1, Ordering::SeqCst) < lasts {
                json("{}")
            } else {
                answer("401 Unauthorized", &[], "expired")
            };
        }
        if !came.text().contains(&format!("refresh_token=s3cret-refresh-{now}&")) {
            return answer("400 Bad Request", &[], r#"{"error": "invalid_grant"}"#);
        }
        given.store(now + 1, Ordering::SeqCst);
        used.store(0, Ordering::SeqCst);
        json(&format!(
            r#"{{"access_token": "access-token-{0}", "refresh_token": "s3cret-refresh-{0}"}}"#,
            now + 1
        ))
    })
}

fn refreshing(place: &Place, server: &Recorder, rows: usize, token: &str) -> Throng {
    job(place, (&server.url(), &server.url()), rows)
        .arg("--auth", &format!("refresh-token={token}"))
        .flags("--workers 1 --concurrency 1")
}

const LOST: &str = "the server gave a new refresh token, which is lost now that the run has ended";

#[test]
fn a_new_refresh_token_is_kept_for_the_next_run() {
    let (place, server) = (Place::new(), rotating(10));
    place.file("real", "s3cret-refresh-0\n");
    std::os::unix::fs::symlink(place.path("real"), place.path("token")).unwrap();
    let token = format!("file:{}", place.path("token"));
    let mut renewed = 0;
    for _ in 0..3 {
        let ended = refreshing(&place, &server, 25, &token).exits(0);
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!shown.contains("s3cret") && !shown.contains("lost"), "{shown}");
        assert!(!shown.contains("looks like a key"), "{shown}");
        assert!(tokens(&server) >= renewed + 3);
        renewed = tokens(&server);
        assert_eq!(place.read("real"), format!("s3cret-refresh-{renewed}\n"));
    }
    assert!(std::path::Path::new(&place.path("token")).is_symlink());
}

#[test]
fn two_runs_share_a_refresh_token() {
    let (place, server) = (Place::new(), rotating(usize::MAX));
    let token = format!("file:{}", place.file("token", "s3cret-refresh-0"));
    // Each token ends the one before: both runs fetch again and again.
    let job = || refreshing(&place, &server, 40, &token).flags("--rate 50/1s");
    let both = [job().start(), job().start()];
    for running in both {
        let ended = running.ends();
        let refused = ended.stderr.contains("invalid_grant") || ended.stderr.contains("lost");
        assert!(!refused, "{}", ended.stderr);
    }
    let last = tokens(&server);
    assert!(last >= 2);
    assert_eq!(place.read("token"), format!("s3cret-refresh-{last}\n"));
}

#[test]
fn a_new_refresh_token_that_can_not_be_kept_is_said() {
    let (place, server) = (Place::new(), rotating(usize::MAX));
    let before = "if the server gives a new refresh token with each access token, it is lost";
    let ended =
        refreshing(&place, &server, 5, "{{ env.TOKEN }}").env("TOKEN", "s3cret-refresh-0").exits(0);
    ended.says(before).says(LOST).says("file:PATH");
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);

    // A server that gives no new one has nothing to lose.
    let same = granting(r#"{"access_token": "t", "refresh_token": "s3cret-refresh-0"}"#);
    let ended =
        refreshing(&place, &same, 5, "{{ env.TOKEN }}").env("TOKEN", "s3cret-refresh-0").exits(0);
    assert!(!ended.stderr.contains(LOST), "{}", ended.stderr);

    // A directory lies where the new file would.
    let server = rotating(usize::MAX);
    let token = format!("file:{}", place.file("token", "s3cret-refresh-0"));
    std::fs::create_dir(place.path("token.new")).unwrap();
    let ended = refreshing(&place, &server, 5, &token).exits(0);
    ended.says(LOST).says("token can't be replaced: ");
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);

    let none = refreshing(&place, &server, 5, "file:/no/such");
    none.exits(2).says("auth.refresh-token (--auth): /no/such can't be read");
}

#[test]
fn a_token_that_is_dead_on_arrival_loses_no_refresh_token() {
    let place = Place::new();
    let server =
        granting(r#"{"access_token": "t", "expires_in": 0, "refresh_token": "s3cret-refresh-1"}"#);
    let token = format!("file:{}", place.file("token", "s3cret-refresh-0"));
    refreshing(&place, &server, 5, &token).exits(3).says("dead on arrival");
    assert_eq!(place.read("token"), "s3cret-refresh-1\n");
}
