//! What a run leaves behind holds no secret.

use super::CANARY;
use crate::harness::{Ended, Place, Throng, plain_mock, run, throng, until};
use crate::recorder::{Recorder, answer, json};

/// What must be nowhere: the canary, and what it looks like encoded.
fn forms() -> [String; 4] {
    use base64::Engine;
    let encode = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
    [CANARY.to_owned(), CANARY.replace('-', "%2D"), encode(CANARY), encode(&format!("me:{CANARY}"))]
}

/// Asks with the canary in the URL and as a password.
fn ask(command: &str, place: &Place, server: &str) -> Throng {
    let input = place.file("rows.csv", "id\n1\n");
    throng(command)
        .arg("--url", &format!("{server}/?k={{{{ env.CANARY }}}}"))
        .arg("--input", &input)
        .arg("--auth", "kind=basic")
        .arg("--auth", "user=me")
        .arg("--auth", "password={{ env.CANARY }}")
        .env("CANARY", CANARY)
}

/// A server that says all it knows.
fn echoing(status: &'static str) -> Recorder {
    let body = forms().join(" ");
    let location = format!("/login?key={CANARY}");
    Recorder::answering(move |_| answer(status, &[("location", &location)], &body))
}

#[test]
fn row_7_secrets_are_in_nothing_that_is_left_behind() {
    let (place, ok) = (Place::new(), echoing("200 OK"));
    let slow = Recorder::answering(|_| {
        std::thread::sleep(std::time::Duration::from_millis(500));
        json("{}")
    });
    let closing = Recorder::answering(|_| String::new());
    let statuses = [
        "400 Bad", "401 No", "403 No", "404 No", "418 No", "429 Wait", "500 No", "503 No", "302 F",
    ];
    let refusing = statuses.map(|status| (echoing(status).url(), ""));
    let kinds = [
        (ok.url(), ""),
        (ok.url(), "--extract a=.a"),
        (ok.url(), "--max-body 10B"),
        (slow.url(), "--timeout 100ms"),
        (closing.url(), ""),
        ("http://127.0.0.1:1".to_owned(), ""),
    ];
    for (number, (server, flags)) in refusing.into_iter().chain(kinds).enumerate() {
        let output = place.path(&format!("{number}.jsonl"));
        let ended = ask("run", &place, &server)
            .flags("--retries 0 --max-wait 1s --max-refusals 1 --verbose --keep-body")
            .flags(flags)
            .arg("--output", &output)
            .arg("--summary-json", &place.path(&format!("{number}.json")))
            .ends();
        assert_hidden(&ended);
        assert_hidden(&ask("plan", &place, &server).flags(flags).ends());
        assert_hidden(&throng("report").flags(&output).ends());
    }
    assert_none_in_files(&place);
}

/// As the shell gives it to throng, `$CANARY` is a name and nothing more.
#[test]
fn row_7_a_pasted_command_keeps_its_secrets_in_the_environment() {
    let (place, server) = (Place::new(), echoing("200 OK"));
    let command = place.file(
        "command.sh",
        &format!("curl -u \"me:$CANARY\" -H \"x-key: $CANARY\" {}/?k=$CANARY", server.url()),
    );
    let at = format!("@{command}");
    let ended = run()
        .arg("--curl", &at)
        .arg("--output", &place.path("out.jsonl"))
        .arg("--summary-json", &place.path("summary.json"))
        .env("CANARY", CANARY)
        .flags("--keep-body --verbose")
        .ends();
    assert_hidden(&ended);
    assert!(format!("{:?}", server.only()).contains(CANARY));
    throng("init").flags(&place.path("job.toml")).arg("--curl", &at).env("CANARY", CANARY).exits(0);
    assert_none_in_files(&place);
}

#[cfg(target_os = "linux")]
#[test]
fn row_7_secrets_are_in_no_command_line() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", "id\n1\n");
    let key = place.file("key", "canary-of-a-file");
    let running = run()
        .arg("--url", &format!("{}/slow/60000", mock.url()))
        .arg("--input", &input)
        .arg("--header", "x-a: {{ env.CANARY }}")
        .arg("--header", "x-b: {{ secret.key }}")
        .arg("--header", "x-c: {{ secret.said }}")
        .arg("--secret", &format!("key=file:{key}"))
        .arg("--secret", "said=command:printf %s canary-$((6*7))-said")
        .env("CANARY", CANARY)
        .start();
    until("the request", || mock.judgement().requests == 1);
    let lines = std::fs::read(format!("/proc/{}/cmdline", running.id())).unwrap();
    let lines = String::from_utf8_lossy(&lines).into_owned();
    running.signal("-KILL");
    running.ends();
    assert!(lines.contains("--header"), "{lines}");
    for secret in [CANARY, "canary-of-a-file", "canary-42-said"] {
        assert!(!lines.contains(secret), "{lines}");
    }
}

#[track_caller]
fn assert_none_in_files(place: &Place) {
    for entry in std::fs::read_dir(place.path("")).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for form in forms() {
            assert!(!text.contains(&form), "{form} in {}: {text}", path.display());
        }
    }
}

#[track_caller]
fn assert_hidden(ended: &Ended) {
    for form in forms() {
        for text in [&ended.stdout, &ended.stderr] {
            assert!(!text.contains(&form), "{form} in {text}");
        }
    }
}

#[test]
fn row_7_a_key_in_the_job_is_warned_of_and_hidden() {
    let (place, recorder) = (Place::new(), Recorder::answering(|_| json("\"literal-key-0815\"")));
    let input = place.file("rows.csv", "id\n1\n");
    let ended = run()
        .arg("--url", &recorder.url())
        .arg("--header", "X-Api-Key: literal-key-0815")
        .arg("--input", &input)
        .exits(0);
    ended.says("request.headers.X-Api-Key holds what looks like a key");
    assert!(!ended.stdout.contains("literal-key") && !ended.stderr.contains("literal-key"));
    assert_eq!(recorder.only().header("x-api-key"), Some("literal-key-0815"));
}
