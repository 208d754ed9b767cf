//! What a run leaves behind holds no secret.

use super::CANARY;
use crate::harness::{Ended, Place, run, throng};
use crate::recorder::{Recorder, answer, json};

#[test]
fn row_7_secrets_are_in_nothing_that_is_left_behind() {
    use base64::Engine;
    let place = Place::new();
    let forms = [
        CANARY.to_owned(),
        base64::prelude::BASE64_STANDARD.encode(CANARY),
        base64::prelude::BASE64_STANDARD.encode(format!("me:{CANARY}")),
    ];
    let echo = forms.join(" ");
    let statuses = [
        "200 OK", "400 Bad", "401 No", "403 No", "404 No", "418 No", "500 No", "503 No", "302 F",
    ];
    for (number, status) in statuses.into_iter().enumerate() {
        let body = echo.clone();
        let location = format!("/login?key={CANARY}");
        let recorder =
            Recorder::answering(move |_| answer(status, &[("location", &location)], &body));
        let url = format!("{}/?k={{{{ env.CANARY }}}}", recorder.url());
        for command in ["run", "plan"] {
            let input = place.file("rows.csv", "id\n1\n");
            let show = if command == "run" {
                "--retries 0 --max-wait 1s -v --keep-body -o OUT --summary-json SUM"
            } else {
                ""
            };
            let show = show
                .replace("OUT", &place.path(&format!("{number}.jsonl")))
                .replace("SUM", &place.path(&format!("{number}.json")));
            let ended = throng(command)
                .arg("--url", &url)
                .arg("--input", &input)
                .arg("--auth", "kind=basic")
                .arg("--auth", "user=me")
                .arg("--auth", "password={{ env.CANARY }}")
                .flags(&show)
                .env("CANARY", CANARY)
                .ends();
            assert_hidden(&ended, &forms);
        }
    }
    for entry in std::fs::read_dir(place.path("")).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for form in &forms {
            assert!(!text.contains(form.as_str()), "{}: {text}", path.display());
        }
    }
}

#[track_caller]
fn assert_hidden(ended: &Ended, forms: &[String]) {
    for form in forms {
        for text in [&ended.stdout, &ended.stderr] {
            assert!(!text.contains(form.as_str()), "{form} in {text}");
        }
    }
}

#[test]
fn row_7_a_key_in_the_job_is_warned_of_and_hidden() {
    let (place, recorder) = (
        Place::new(),
        Recorder::answering(|_| json("\"literal-key-0815\"")),
    );
    let input = place.file("rows.csv", "id\n1\n");
    let ended = run()
        .arg("--url", &recorder.url())
        .arg("--header", "X-Api-Key: literal-key-0815")
        .arg("--input", &input)
        .exits(0);
    ended.says("request.headers.X-Api-Key holds what looks like a key");
    assert!(!ended.stdout.contains("literal-key") && !ended.stderr.contains("literal-key"));
    assert_eq!(
        recorder.only().header("x-api-key"),
        Some("literal-key-0815")
    );
}
