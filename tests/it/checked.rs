//! Answers that are checked before they count, and rows that are asked again.

use serde_json::json;
use throng_mock::Settings;

use crate::harness::{Place, Throng, each, mock, plain_mock, run};

/// Asks for a completion of this text, which the mock repeats.
fn ask(server: &str, text: &str) -> Throng {
    let body = json!({
        "max_tokens": 20,
        "messages": [{"role": "user", "content": text}],
    });
    run()
        .arg("--url", &format!("{server}/v1/chat/completions"))
        .arg("--json", &body.to_string())
        .arg("--extract", "text=.choices[0].message.content")
        .flags("--resend-unknown --workers 1")
}

#[test]
fn a_row_is_asked_again_with_what_was_wrong_and_each_ask_is_billed() {
    let (place, mock) = (Place::new(), plain_mock());
    let text = "{% if last.error %}right, since {{ last.error }}; not {{ last.answer.choices[0].message.content }}{% else %}wrong {{ line }}{% endif %}";
    let ended = ask(&mock.url(), text)
        .arg("--input", &place.file("rows.txt", "a\nb\nc\n"))
        .arg("--check", ".text | contains(\"right\")")
        .arg("--summary-json", &place.path("summary.json"))
        .flags("--reask 2 --price requests=0.01 --rate 100/1s")
        .exits(0);
    let records = ended.records();
    let said =
        "You asked: right, since .text | contains(\"right\") gives false; not You asked: wrong a";
    assert_eq!(records[0]["text"], said);
    assert_eq!(each(&records, "_attempts"), [json!(2), json!(2), json!(2)]);
    assert!(records[0].get("last").is_none());
    assert_eq!(mock.judgement().usage.answers, 6);
    let summary = place.json("summary.json");
    assert_eq!((&summary["retries"], &summary["bill"]["usd"]), (&json!(3), &json!(0.06)));
    let again = || {
        ask(&mock.url(), text)
            .arg("--input", &place.path("rows.txt"))
            .arg("--check", ".text | contains(\"right\")")
            .arg("--store", &place.path("answers"))
            .flags("--reask 2 --rate 100/1s")
    };
    again().exits(0).says("6 requests").says(" 3 retries");
    again().flags("--offline").exits(0).says("0 requests").says(" 0 retries");
}

#[test]
fn an_answer_that_fails_a_schema_to_the_end_is_kept() {
    let (place, mock) = (Place::new(), plain_mock());
    let schema = json!({"properties": {"text": {"maxLength": 20}}}).to_string();
    let ended = ask(&mock.url(), "{{ line }}")
        .arg("--input", &place.file("rows.txt", "short\nfar too long to be right\n"))
        .arg("--check", &place.file("schema.json", &schema))
        .flags("--reask 1")
        .exits(1);
    let records = ended.records();
    assert_eq!(each(&records, "_error"), [json!(null), json!("schema")]);
    assert_eq!(records[1]["_attempts"], 2);
    let detail = records[1]["_detail"].as_str().unwrap();
    assert!(detail.starts_with("/text: ") && detail.contains("20"), "{detail}");
    assert!(records[1]["_body"].as_str().unwrap().contains("far too long to be right"));
    assert_eq!(mock.judgement().usage.answers, 3);
}

#[test]
fn a_check_that_can_not_be_made_is_an_error() {
    let place = Place::new();
    let broken = place.file("broken.json", "{\"type\": \"nothing\"}");
    for (flags, said) in [
        ("--reask 2".to_owned(), "there is none: give check (--check)"),
        ("--check .price>".to_owned(), "check"),
        ("--check none.json".to_owned(), "none.json can't be read"),
        (format!("--check {broken}"), "is no JSON Schema"),
        (
            "--check .a --each .items[]".to_owned(),
            "check (--check) goes by the one answer of a row",
        ),
    ] {
        run().flags("--url http://127.0.0.1:9/ -e a=.a").flags(&flags).exits(2).says(said);
    }
    let rows = place.file("rows.jsonl", "{\"last\": 1}\n");
    run()
        .arg("--input", &rows)
        .flags("--url http://127.0.0.1:9/{{last}} -e a=.a --check .a --reask 1")
        .exits(2)
        .says("give the field another name");
}

#[test]
fn tokens_that_are_estimated_by_length_keep_a_limit_of_the_server() {
    let limits = vec!["3000 tokens/1s".parse().unwrap()];
    let (place, mock) = (Place::new(), mock(Settings { limits, ..Settings::default() }));
    let rows: String = (0..150).map(|n| format!("What is {n}? {}\n", "x".repeat(n))).collect();
    let ended = ask(&mock.url(), "{{ line }}")
        .arg("--input", &place.file("rows.txt", &rows))
        .flags("--cost tokens=auto --settle tokens=.usage.total_tokens")
        .arg("--rate", "3000 tokens/1s")
        .exits(0);
    assert_eq!(mock.judgement().refused, 0, "{}", ended.stderr);
    assert_eq!(ended.records().len(), 150);
    ended
        .says("estimates of tokens by length (auto): multiplied by 0.")
        .says("150 answers have told");
}
