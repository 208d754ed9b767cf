//! The brake: a run whose first answers all fail alike ends before it has asked much, says
//! what the server said, and goes on with all rows once the mistake is mended.

use serde_json::{Value, json};

use crate::harness::{Ended, Place, Throng, assert_one_record_per_row, each, run, throng};
use crate::recorder::{Came, Recorder, answer, json as json_answer};

const ROWS: usize = 300;
/// Maximum number of requests of a run that the brake ends.
const MOST: usize = 60;

/// A server with quotes, which wants a key.
fn guarded() -> Recorder {
    Recorder::answering(|came| match came.header("x-key") {
        Some("right") => quote(came),
        _ => answer(
            "401 Unauthorized",
            &[],
            "{\"error\": {\"message\": \"Incorrect API key\u{1b}[31m provided\"}}",
        ),
    })
}

fn quotes() -> Recorder {
    Recorder::answering(quote)
}

fn quote(_: &Came) -> String {
    json_answer(r#"{"quote": {"price": 17.5, "name": "x"}, "time": 1}"#)
}

fn ask(place: &Place, server: &Recorder, rows: usize, output: &str) -> Throng {
    run()
        .arg("--url", &format!("{}/{{{{ symbol }}}}", server.url()))
        .files(place, rows, output)
        .flags("--concurrency 400 --progress none --header x-key:{{env.KEY}}")
        .env("KEY", "right")
}

/// The records of an output of any format.
fn records(place: &Place, output: &str) -> Vec<Value> {
    if output.ends_with(".jsonl") {
        return place.records(output);
    }
    let copy = place.path("copy.jsonl");
    let results = place.path(output);
    throng("convert").flags(&format!("{results} {copy} --overwrite")).exits(0);
    let mut records: Vec<Value> =
        place.read("copy.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for record in &mut records {
        // Values of a table are texts.
        if let Some(row) = record["_row"].as_str() {
            record["_row"] = row.parse::<u64>().unwrap().into();
        }
    }
    records.sort_by_key(|record| record["_row"].as_u64());
    records
}

/// The run was ended by the brake: few requests, and no result.
#[track_caller]
fn assert_braked(ended: &Ended, server: &Recorder, why: &str) {
    let came = server.came().len();
    assert!((30..=MOST).contains(&came), "{came} requests: {}", ended.stderr);
    ended.says("stopped: the first ").says(why).says("--resume").says("--no-brake");
}

#[track_caller]
fn assert_whole(records: &[Value], rows: usize) {
    assert_one_record_per_row(records, rows);
    assert!(records.iter().all(|it| it["_ok"] == true || it["_ok"] == "true"), "{records:?}");
}

#[test]
fn a_wrong_key_costs_few_requests_and_with_the_right_one_all_rows_are_asked_for() {
    for output in ["out.jsonl", "out.csv", "out.parquet", "out.db", "out.jsonl.gz"] {
        let (place, server) = (Place::new(), guarded());
        let ask = || ask(&place, &server, ROWS, output).flags("--extract price=.quote.price");
        let ended = ask().env("KEY", "wrong").exits(3);
        assert_braked(&ended, &server, "all failed alike, as status 401: check the key");
        ended.says("the server said (row ").says(r"Incorrect API key\u{1b}[31m provided");
        server.forget();
        let ended = ask().flags("--resume").exits(0);
        ended.says("asked for again");
        assert_eq!(server.came().len(), ROWS, "{output}");
        assert_whole(&records(&place, output), ROWS);
    }
}

#[test]
fn a_page_for_people_costs_few_requests() {
    let (place, server) = (
        Place::new(),
        Recorder::answering(|_| {
            answer(
                "200 OK",
                &[("content-type", "text/html")],
                "<html>\n<h1>Please log in</h1>\n</html>",
            )
        }),
    );
    let ask = || ask(&place, &server, ROWS, "out.jsonl");
    let ended = ask().flags("--extract price=.quote.price").exits(3);
    assert_braked(&ended, &server, "as not json: check whether the answer is a page for people");
    ended.says("\n  <html>\n  <h1>Please log in</h1>\n  </html>\n");
    assert_eq!(place.records("out.jsonl")[0]["_body"], "<html>\n<h1>Please log in</h1>\n</html>");
}

#[test]
fn a_wrong_path_costs_few_requests_and_with_another_one_all_rows_are_asked_for() {
    for output in ["out.jsonl", "out.csv", "out.parquet", "out.db"] {
        let (place, server) = (Place::new(), quotes());
        let ask = || ask(&place, &server, ROWS, output);
        let ended = ask().flags("--extract prize=.quote.prize").exits(3);
        assert_braked(&ended, &server, "as missing prize: check the path extract.prize");
        ended.says(".quote has the keys price, name");
        server.forget();
        ask().flags("--extract price=.quote.price --resume").exits(0);
        assert_eq!(server.came().len(), ROWS, "{output}");
        let records = records(&place, output);
        assert_whole(&records, ROWS);
        assert!(records.iter().all(|it| it.get("prize").is_none()), "{}", records[0]);
    }
}

#[test]
fn gaps_among_the_ids_hide_no_wrong_path() {
    let server = Recorder::answering(|came| {
        if came.line.contains("0 HTTP") {
            answer("404 Not Found", &[], "gone")
        } else {
            quote(came)
        }
    });
    let place = Place::new();
    let ask = || {
        ask(&place, &server, ROWS, "out.jsonl")
            .arg("--answer", "404 = missing")
            .flags("--workers 1")
    };
    let ended = ask().flags("--extract prize=.quote.prize").exits(3);
    ended.says("answers failed alike, as missing prize, and none is of use");
    assert!(server.came().len() <= MOST, "{} requests", server.came().len());
    ask().flags("--extract price=.quote.price --resume").exits(0).says("(30 missing)");
}

#[test]
fn rows_that_are_all_missing_are_no_failure() {
    let server = Recorder::answering(|_| answer("404 Not Found", &[], "gone"));
    let place = Place::new();
    let ended = ask(&place, &server, 600, "out.jsonl").arg("--answer", "404 = missing").exits(0);
    ended.says("600 ok (600 missing)");
}

#[test]
fn failures_that_differ_are_failures_of_their_rows() {
    let server = Recorder::answering(|came| {
        let even = came.line.contains("0 HTTP") || came.line.contains("4 HTTP");
        answer(if even { "404 Not Found" } else { "422 Unprocessable" }, &[], "{}")
    });
    let place = Place::new();
    let rows: String = (0..100).map(|row| format!("{}\n", row * 2)).collect();
    let input = place.file("ids.csv", &format!("symbol\n{rows}"));
    let ended = run()
        .arg("--url", &format!("{}/{{{{ symbol }}}}", server.url()))
        .arg("--input", &input)
        .flags("--workers 1 --mode sync --progress none")
        .exits(1);
    assert_one_record_per_row(&ended.records(), 100);
}

#[test]
fn one_result_is_enough_and_what_is_short_ends_by_itself() {
    let server = Recorder::answering(|came| {
        if came.line.contains("/S7 ") {
            json_answer("{}")
        } else {
            answer("404 Not Found", &[], "gone")
        }
    });
    for (rows, flags) in [(100, "--mode sync --workers 1"), (29, "--retries 0"), (300, "--take 20")]
    {
        let place = Place::new();
        ask(&place, &server, rows, "out.jsonl").flags(flags).exits(1);
    }
    // Those who mean it are not held up.
    let (place, gone) = (Place::new(), Recorder::answering(|_| answer("404 Not Found", &[], "")));
    ask(&place, &gone, 100, "out.jsonl").flags("--no-brake").exits(1);
    assert_eq!(gone.came().len(), 100);
}

#[test]
fn rows_that_failed_for_good_do_not_stop_others_that_are_asked_for_again() {
    let (place, server) = (Place::new(), Recorder::answering(|_| answer("404 Not Found", &[], "")));
    let ask = |flags: &str| ask(&place, &server, 100, "out.jsonl").flags(flags);
    ask("--no-brake").exits(1);
    server.forget();
    ask("--retry-failed").exits(1);
    assert_eq!(server.came().len(), 100);
}

#[test]
fn a_later_step_that_fails_for_all_costs_few_requests() {
    let server = Recorder::answering(|came| {
        if came.line.contains("/detail/") {
            answer("403 Forbidden", &[], "not yours")
        } else {
            json_answer(r#"{"id": 7}"#)
        }
    });
    let place = Place::new();
    let input = place.file("rows.csv", &crate::harness::symbols(ROWS));
    let url = server.url();
    let job = place.file(
        "job.toml",
        &format!(
            "request.url = \"{url}/list/{{{{ symbol }}}}\"\nextract.id = \".id\"\n\
             [[step]]\nrequest.url = \"{url}/detail/{{{{ id }}}}\"\nextract.name = \".name\"\n"
        ),
    );
    let output = place.path("out.jsonl");
    let ask = || {
        run().flags(&job).arg("--input", &input).arg("--output", &output).flags("--progress none")
    };
    let ended = ask().exits(3);
    ended.says("as status 403 of step 1");
    let came = server.came();
    let details = came.iter().filter(|came| came.line.contains("/detail/")).count();
    assert!((30..=MOST).contains(&details), "{details}");
    assert!(came.len() - details <= 2 * MOST, "{} of the first step", came.len() - details);
    assert_eq!(place.records("out.jsonl")[0]["_body"], "not yours");
}

/// Asks for a list for each row, and for each of its items.
fn lists(place: &Place, server: &Recorder) -> Throng {
    let url = server.url();
    let job = place.file(
        "job.toml",
        &format!(
            "request.url = \"{url}/list/{{{{ symbol }}}}\"\nitems.each = \".[]\"\nextract.id = \".id\"\n\
             [[step]]\nrequest.url = \"{url}/detail/{{{{ id }}}}\"\n\
             request.headers = {{ x-key = \"{{{{ env.KEY }}}}\" }}\n"
        ),
    );
    run().flags(&job).files(place, ROWS, "out.jsonl").flags("--progress none").env("KEY", "right")
}

#[test]
fn a_chain_with_a_wrong_path_in_its_later_step_goes_on_with_the_right_one() {
    let server = Recorder::answering(|came| {
        if came.line.contains("/detail/") {
            return quote(came);
        }
        let items: Vec<String> = (0..100).map(|id| format!("{{\"id\": {id}}}")).collect();
        json_answer(&format!("[{}]", items.join(",")))
    });
    let (place, url) = (Place::new(), server.url());
    let ask = |path: &str| {
        let job = place.file(
            "job.toml",
            &format!(
                "input.list = [{{shop = \"north\"}}]\nrequest.url = \"{url}/list\"\n\
                 items.each = \".[]\"\nextract.id = \".id\"\n\
                 [[step]]\nrequest.url = \"{url}/detail/{{{{ id }}}}\"\nextract.price = \"{path}\"\n"
            ),
        );
        run().flags(&job).arg("--output", &place.path("out.jsonl")).flags("--progress none")
    };
    ask(".quote.prise").exits(3).says("as missing price of step 1");
    ask(".quote.price").flags("--resume").exits(0);
    let records = place.records("out.jsonl");
    let mut items: Vec<u64> = records.iter().map(|it| it["_item"].as_u64().unwrap()).collect();
    items.sort_unstable();
    assert_eq!(items, (0..100).collect::<Vec<_>>());
    assert_eq!(each(&records, "price"), [17.5; 100]);
}

#[test]
fn lists_without_an_item_wait_for_no_later_step() {
    let server = Recorder::answering(|came| {
        json_answer(if came.line.contains("/S299 ") { r#"[{"id": 7}]"# } else { "[]" })
    });
    let place = Place::new();
    lists(&place, &server).exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
    assert_eq!(server.came().len(), ROWS + 1);
}

#[test]
fn lists_without_an_item_keep_no_row_from_being_asked_for_again() {
    let server = Recorder::answering(|came| {
        let has_item = came.line.contains("1 HTTP") || came.line.contains("6 HTTP");
        match came.header("x-key") {
            Some("wrong") => answer("401 Unauthorized", &[], "{}"),
            Some(_) => quote(came),
            None => json_answer(if has_item { r#"[{"id": 7}]"# } else { "[]" }),
        }
    });
    let place = Place::new();
    lists(&place, &server).env("KEY", "wrong").exits(3).says("as status 401 of step 1");
    lists(&place, &server).flags("--resume").exits(0);
    assert_whole(&place.records("out.jsonl"), ROWS);
}

#[test]
fn batches_that_all_fail_are_fewer() {
    let (place, server) =
        (Place::new(), Recorder::answering(|_| answer("400 Bad Request", &[], "no")));
    let ended = run()
        .arg("--url", &server.url())
        .arg("--query", "ids={{ symbol | join(',') }}")
        .files(&place, 2_000, "out.jsonl")
        .flags("--batch 50 --each .[] --match symbol=.id --extract price=.price --progress none")
        .exits(3);
    ended.says("the first 5 answers to batches all failed alike, as status 400");
    assert!(server.came().len() <= 7, "{} requests", server.came().len());
    let bodies = each(&place.records("out.jsonl"), "_body");
    let said = bodies.iter().filter(|body| **body == "no").count();
    assert_eq!(said, server.came().len(), "the first row of each batch has what was said");
}

#[test]
fn more_failures_than_are_allowed_end_the_run() {
    let server = Recorder::answering(|came| {
        if came.line.contains("0 HTTP") {
            answer("404 Not Found", &[], "gone")
        } else {
            json_answer("{}")
        }
    });
    // A row in ten fails. The sixth failure is at the 51st row, and no run ends before its record;
    // of a share, 100 rows are needed.
    for (max, records) in [("5", 51..=500), ("9%", 100..=500)] {
        let place = Place::new();
        let ended = ask(&place, &server, 1_000, "out.jsonl")
            .flags("--workers 1 --mode sync")
            .arg("--max-failures", max)
            .exits(3);
        ended.says(&format!("(--max-failures) allows {max}")).says("--resume goes on");
        let done = place.records("out.jsonl").len();
        assert!(records.contains(&done), "{done} with {max}");
        // It goes on with the others.
        let again = ask(&place, &server, 1_000, "out.jsonl").flags("--resume").exits(1);
        again.says("100 failed");
    }
}

#[test]
fn a_summary_tells_what_the_server_said() {
    let (place, server) = (Place::new(), guarded());
    ask(&place, &server, ROWS, "out.jsonl")
        .env("KEY", "wrong")
        .arg("--summary-json", &place.path("summary.json"))
        .exits(3);
    let summary = place.json("summary.json");
    assert_eq!(
        (&summary["brake"]["kind"], &summary["brake"]["status"]),
        (&json!("status 401"), &json!(401))
    );
    assert!(summary["brake"]["said"].as_str().unwrap().contains("Incorrect API key"));
    let kinds = each(&place.records("out.jsonl"), "_error");
    assert!(kinds.iter().all(|kind| kind == "status 401"));
}
