//! JSON that nests too deep ends its row, and nothing else.

use crate::harness::{Place, each, run};
use crate::recorder::{Recorder, json};

/// So many brackets open.
const DEEP: usize = 1_000_000;

#[test]
fn row_22_an_answer_that_nests_a_million_times_fails_its_row_alone() {
    let server = Recorder::answering(|came| match came.line.contains("/fine") {
        true => json("{\"items\": [1], \"a\": 1}"),
        false if came.line.contains("/objects") => json(&"{\"a\":".repeat(DEEP)),
        false if came.line.contains("/whole") => {
            json(&format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP)))
        }
        false => json(&"[".repeat(DEEP)),
    });
    let place = Place::new();
    let input = place.file("rows.csv", "path\nopen\nwhole\nobjects\nfine\n");
    for flags in [
        "--extract a=.a",
        "--extract a=.a|tostring",
        "--extract a=[..]|length",
        "--each .items[] --extract a=.",
        "--next .next --max-pages 2 --extract a=.a",
    ] {
        let ended = run()
            .arg("--url", &format!("{}/{{{{ path }}}}", server.url()))
            .arg("--input", &input)
            .flags("--workers 1")
            .flags(flags)
            .exits(1);
        let ok: Vec<bool> =
            each(&ended.records(), "_ok").into_iter().map(|ok| ok == true).collect();
        assert_eq!(ok, [false, false, false, true], "{flags}");
        assert_eq!(each(&ended.records(), "_error")[..3], ["not json"; 3]);
    }
}

#[test]
fn row_22_rows_that_nest_a_million_times_are_told() {
    let (place, server) = (Place::new(), Recorder::start());
    let deep = format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let line = format!("{{\"id\": 1, \"x\": {deep}}}\n");
    for name in ["rows.jsonl", "rows.json"] {
        let input = place.file(name, &line);
        let ended = run()
            .arg("--url", &format!("{}/{{{{ id }}}}", server.url()))
            .arg("--input", &input)
            .ends();
        assert!(matches!(ended.code, Some(2 | 3)), "{:?}", ended.code);
        ended.says(name);
    }
    assert!(server.came().is_empty());
}
