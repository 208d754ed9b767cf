//! Secrets: what comes from the environment is in no output, whatever the server echoes.

use throng_mock::Mock;

use crate::harness::{Ended, Place, Throng, plain_mock, run};

const KEY: &str = "a-very-secret-key";

struct Scene {
    place: Place,
    mock: Mock,
}

impl Scene {
    fn new() -> Scene {
        Scene { place: Place::new(), mock: plain_mock() }
    }

    /// One row, asked for with the secret in a header.
    fn ask(&self, path: &str) -> Throng {
        self.ask_at(&format!("{}{path}", self.mock.url()))
    }

    fn ask_at(&self, url: &str) -> Throng {
        let input = self.place.file("rows.csv", "id\nonly\n");
        run()
            .arg("--url", url)
            .arg("--header", "x-api-key: {{ env.XAPIKEY }}")
            .arg("--input", &input)
            .arg("--summary-json", &self.place.path("summary.json"))
            .flags("--verbose")
            .env("XAPIKEY", KEY)
    }

    /// Neither the terminal nor a file has it.
    #[track_caller]
    fn assert_hidden(&self, ended: &Ended) {
        // A run that could not begin has none.
        let summary = std::fs::read_to_string(self.place.path("summary.json"));
        let summary = summary.unwrap_or_default();
        for text in [&ended.stdout, &ended.stderr, &summary] {
            assert!(!text.contains(KEY), "{text}");
        }
    }
}

#[test]
fn a_body_that_echoes_it_is_kept_without_it() {
    let scene = Scene::new();
    let ended = scene.ask("/echo").exits(0);
    let body = ended.records()[0]["_body"].clone();
    assert!(body.as_str().unwrap().contains("\"x-api-key\":[\"***\"]"), "{body}");
    scene.assert_hidden(&ended);
}

#[test]
fn a_failure_tells_of_the_answer_without_it() {
    let scene = Scene::new();
    for (path, flags, code) in [
        ("/status/400?body=bad+key+{{ env.XAPIKEY }}", "", 1),
        ("/status/200?body={{ env.XAPIKEY }}", "--extract a=.a", 1),
        ("/redirect/302?to=/login?{{ env.XAPIKEY }}", "", 1),
        ("/echo", "--extract a=.headers|error(tostring)", 1),
    ] {
        let ended = scene.ask(path).flags(flags).exits(code);
        let detail = ended.records()[0]["_detail"].clone();
        assert!(detail.as_str().unwrap().contains("***"), "{detail}");
        scene.assert_hidden(&ended);
    }
}

#[test]
fn a_value_that_is_extracted_is_without_it() {
    let scene = Scene::new();
    let key = "key=.headers[\"x-api-key\"][0]";
    let ended = scene
        .ask("/echo")
        .arg("--extract", key)
        .arg("--extract", "all=.headers")
        .arg("--summarize", "count(id) by key")
        .exits(0);
    assert_eq!(ended.records()[0]["key"], "***");
    scene.assert_hidden(&ended);
}

#[test]
fn a_detail_that_is_cut_has_no_part_of_it() {
    let scene = Scene::new();
    // A failed answer's body is shown up to its 200th letter, one that isn't JSON to its 80th.
    for (letters, path, flags) in [(190, "/status/400", ""), (70, "/status/200", "--extract a=.a")]
    {
        let padding = "x".repeat(letters);
        let path = format!("{path}?body={padding}{{{{ env.XAPIKEY }}}}");
        let ended = scene.ask(&path).flags(flags).exits(1);
        let start = &KEY[..5];
        assert!(!ended.stdout.contains(start), "{}", ended.stdout);
        scene.assert_hidden(&ended);
    }
}

#[test]
fn a_secret_that_json_must_escape_is_hidden_as_well() {
    let scene = Scene::new();
    let odd = r#"pass"word\with"quotes"#;
    let ended = scene.ask("/echo").env("XAPIKEY", odd).exits(0);
    assert!(!ended.stdout.contains("word"), "{}", ended.stdout);
}

#[test]
fn a_server_that_is_not_there_does_not_bring_it_to_light() {
    let scene = Scene::new();
    let ask = scene.ask_at("http://127.0.0.1:1/{{ env.XAPIKEY }}");
    let ended = ask.flags("--retries 0 --max-wait 1s").exits(3);
    scene.assert_hidden(&ended);
}
