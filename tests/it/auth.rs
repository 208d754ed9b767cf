//! Who asks: each kind of authentication as it arrives, tokens that expire, secrets
//! that are read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Place, Throng, each, run, until};
use crate::recorder::{Came, Recorder, answer, json};

fn ask(place: &Place, recorder: &Recorder, rows: usize) -> Throng {
    ask_at(place, &recorder.url(), rows)
}

fn ask_at(place: &Place, server: &str, rows: usize) -> Throng {
    let rows: String = (0..rows).map(|n| format!("{n}\n")).collect();
    let input = place.file("rows.txt", &rows);
    run()
        .arg("--url", &format!("{server}/{{{{ line }}}}?b=1"))
        .arg("--input", &input)
        .env("SECRET", "s3cret-enough")
}

fn auth(throng: Throng, keys: &str) -> Throng {
    keys.split('|').fold(throng, |throng, key| throng.arg("--auth", key))
}

#[test]
fn each_kind_arrives_and_is_not_shown() {
    let (place, recorder) = (Place::new(), Recorder::start());
    for (keys, name, value) in [
        ("kind=header|name=x-key|value={{ env.SECRET }}", "x-key", "s3cret-enough"),
        ("kind=bearer|token={{ env.SECRET }}", "authorization", "Bearer s3cret-enough"),
        (
            "kind=basic|user=me|password={{ env.SECRET }}",
            "authorization",
            "Basic bWU6czNjcmV0LWVub3VnaA==",
        ),
        (
            "kind=sigv4|service=s|region=r|access-key=AKID|secret-key={{ env.SECRET }}",
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKID/",
        ),
    ] {
        recorder.forget();
        let ended = auth(ask(&place, &recorder, 1), keys).exits(0);
        let came = recorder.only();
        assert!(came.header(name).unwrap().starts_with(value), "{came:?}");
        assert!(!ended.stdout.contains("s3cret") && !ended.stderr.contains("s3cret"));
    }
    recorder.forget();
    let job = place.file(
        "job.toml",
        r#"
        [auth]
        kind = "hmac"
        key = "{{ env.SECRET }}"
        message = "{{ method }}\n{{ path_and_query }}"
        headers = { x-signature = "sha256={{ signature }}" }
    "#,
    );
    let ended = ask(&place, &recorder, 1).flags(&job).exits(0);
    let expected = "sha256=";
    let signature = recorder.only().header("x-signature").unwrap().to_owned();
    assert!(signature.starts_with(expected) && signature.len() == 7 + 64, "{}", ended.stderr);
}

/// A server with tokens that each last for so many requests.
fn server(lasts: usize, expires_in: &'static str) -> (Recorder, Arc<AtomicUsize>) {
    let fetched = Arc::new(AtomicUsize::new(0));
    let (count, used) = (fetched.clone(), AtomicUsize::new(0));
    let recorder = Recorder::answering(move |came| {
        if came.line.starts_with("POST /token") {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            used.store(0, Ordering::SeqCst);
            return json(&format!(
                r#"{{"access_token": "token-{number}", "expires_in": {expires_in}}}"#
            ));
        }
        let current = format!("Bearer token-{}", count.load(Ordering::SeqCst));
        let fits = came.header("authorization") == Some(&current);
        if fits && used.fetch_add(1, Ordering::SeqCst) < lasts {
            json("{}")
        } else {
            answer("401 Unauthorized", &[], "expired")
        }
    });
    (recorder, fetched)
}

fn oauth2(throng: Throng, recorder: &Recorder) -> Throng {
    auth(throng, "kind=oauth2|client-id=me|client-secret={{ env.SECRET }}")
        .arg("--auth", &format!("token-url={}/token", recorder.url()))
}

fn of_rows(came: &[Came]) -> usize {
    came.iter().filter(|came| came.line.starts_with("GET")).count()
}

#[test]
fn a_hundred_at_once_fetch_one_token() {
    let (place, (recorder, fetched)) = (Place::new(), server(usize::MAX, "3600"));
    let ended = oauth2(ask(&place, &recorder, 300), &recorder)
        .flags("--workers 2 --concurrency 50")
        .exits(0);
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
    assert_eq!(of_rows(&recorder.came()), 300);
    assert!(!ended.stdout.contains("token-1"));
}

#[test]
fn a_token_that_expires_under_a_hundred_is_renewed_once() {
    let (place, (recorder, fetched)) = (Place::new(), server(150, "3600"));
    let ended = oauth2(ask(&place, &recorder, 280), &recorder)
        .flags("--workers 2 --concurrency 50")
        .exits(0);
    assert_eq!(fetched.load(Ordering::SeqCst), 2);
    let refused = of_rows(&recorder.came()) - 280;
    assert!((1..=100).contains(&refused), "{refused}");
    assert_eq!(each(&ended.records(), "_ok").len(), 280);
}

#[test]
fn a_token_is_renewed_before_it_expires_and_all_of_it_passes_the_gate() {
    let limited =
        throng_mock::Settings { limits: vec!["6/1s".parse().unwrap()], ..Default::default() };
    let (place, (recorder, fetched), mock) =
        (Place::new(), server(0, "1"), crate::harness::mock(limited));
    let ended = oauth2(ask_at(&place, &format!("{}/echo", mock.url()), 20), &recorder)
        .flags("--rate 6/1s --summary-json")
        .flags(&place.path("summary.json"))
        .exits(0);
    let tokens = fetched.load(Ordering::SeqCst);
    assert!(tokens >= 2, "a second each over three seconds and more: {tokens}");
    assert_eq!(mock.judgement().refused, 0);
    assert_eq!(mock.judgement().requests, 20);
    // The gate counts what went to both servers.
    assert_eq!(place.json("summary.json")["requests"], 20 + tokens);
    assert_eq!(ended.records().len(), 20);
}

#[test]
fn a_refused_fetch_stops_the_run_and_says_why() {
    let place = Place::new();
    let recorder =
        Recorder::answering(|_| answer("400 Bad Request", &[], r#"{"error": "invalid_client"}"#));
    let ended = oauth2(ask(&place, &recorder, 50), &recorder).exits(3);
    ended.says("no token could be had from").says("invalid_client").says("check auth.client-id");
    assert_eq!(recorder.came().len(), 1);
    assert!(!ended.stderr.contains("s3cret"));
}

#[test]
fn a_token_that_never_works_is_not_fetched_for_each_row() {
    let (place, (recorder, fetched)) = (Place::new(), server(0, "3600"));
    let ended = oauth2(ask(&place, &recorder, 10), &recorder).exits(1);
    assert_eq!(each(&ended.records(), "_error"), ["status 401"; 10]);
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}

#[test]
fn a_secret_is_read_again_when_the_server_refuses_it() {
    let place = Place::new();
    let recorder = Recorder::answering(|came| match came.header("authorization") {
        Some("Bearer second-token") => json("{}"),
        _ => answer("401 Unauthorized", &[], ""),
    });
    place.file("token", "first-token");
    let path = place.path("token");
    // The command gives what is in the file, and puts the next token there.
    let command = format!("cat {path}; printf second-token > {path}");
    let ended = ask(&place, &recorder, 5)
        .arg("--secret", &format!("token=command:{command}"))
        .arg("--header", "authorization: Bearer {{ secret.token }}")
        .flags("--workers 1 --mode sync")
        .exits(0);
    assert_eq!(each(&ended.records(), "_attempts"), [2, 1, 1, 1, 1]);
    run()
        .flags("--url http://127.0.0.1:1/{{secret.none}} --input")
        .flags(&place.path("rows.txt"))
        .exits(2)
        .says("has no secrets.none");
}

#[test]
fn a_secret_s_command_that_hangs_does_not_keep_a_run_from_ending() {
    let place = Place::new();
    let recorder = Recorder::answering(|_| answer("401 Unauthorized", &[], ""));
    let (read, pid) = (place.path("read"), place.path("pid"));
    // It gives a token once.
    let command = format!(
        "if [ -e {read} ]; then echo $$ > {pid}; sleep 1000; fi; touch {read}; echo a-token"
    );
    let running = ask(&place, &recorder, 5)
        .arg("--secret", &format!("token=command:{command}"))
        .arg("--header", "authorization: Bearer {{ secret.token }}")
        .start();
    until("the second reading", || {
        std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'))
    });
    running.signal("-INT");
    running.ends().with_code(130);
    let process = format!("/proc/{}", place.read("pid").trim());
    assert!(!std::path::Path::new(&process).exists());
    ask(&place, &recorder, 5)
        .arg("--secret", "token=file:/dev/zero")
        .arg("--header", "authorization: Bearer {{ secret.token }}")
        .exits(2)
        .says("secrets.token (--secret): /dev/zero gives more than 64 KiB");
}
