//! Only what is new, changed, failed or old, by what an earlier results file or the store knows.

use serde_json::{Value, json};
use throng_mock::Mock;

use crate::harness::{Place, Throng, each, plain_mock, run, throng};

/// The earlier input: ids 0 to 9, of which 3 fails.
fn earlier(place: &Place) -> String {
    let rows = (0..10).map(|id| format!("{id},name {id},{}\n", if id == 3 { 404 } else { 200 }));
    place.file("earlier.csv", &("id,name,code\n".to_owned() + &rows.collect::<String>()))
}

/// The input of later: 0 is gone, 1 and 2 have another name, 10 and 11 are new, and the order is
/// another one.
fn later(place: &Place) -> String {
    let name = |id: u64| if id == 1 || id == 2 { "other".into() } else { format!("name {id}") };
    let code = |id: u64| if id == 3 { 404 } else { 200 };
    let rows = (1..12).rev().map(|id| format!("{id},{},{}\n", name(id), code(id)));
    place.file("later.csv", &("id,name,code\n".to_owned() + &rows.collect::<String>()))
}

fn ask(command: Throng, mock: &Mock) -> Throng {
    command
        .arg("--url", &format!("{}/status/{{{{ code }}}}?{{{{ id }}}}={{{{ name }}}}", mock.url()))
        .flags("--extract status?=.status --key id --progress none")
}

fn ids(place: &Place, output: &str) -> Vec<u64> {
    let ids = each(&place.records(output), "id");
    let mut ids: Vec<u64> = ids.iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn rows_are_chosen_by_an_earlier_file_of_any_format() {
    let (place, mock) = (Place::new(), plain_mock());
    let (before, now) = (earlier(&place), later(&place));
    for earlier in ["earlier.jsonl", "earlier-results.csv", "earlier.db"] {
        let output = place.path(earlier);
        ask(run(), &mock).arg("--input", &before).arg("--output", &output).exits(1);
        for (only, expected) in [
            ("new", vec![10, 11]),
            ("changed", vec![1, 2]),
            ("failed", vec![3]),
            ("new,changed,failed", vec![1, 2, 3, 10, 11]),
            ("older-than 1h", vec![]),
            ("older-than=0s,new", vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ] {
            let asked = mock.judgement().requests;
            let with = |command: &str| {
                ask(throng(command), &mock)
                    .arg("--input", &now)
                    .arg("--against", &output)
                    .arg("--only", only)
                    .arg("--output", &place.path("now.jsonl"))
                    .flags("--overwrite --no-brake")
            };
            let count = expected.len();
            let says = format!("of 11 rows {count} are asked for, against {output}: ");
            let planned = with("plan").exits(0);
            assert!(planned.stdout.contains(&says), "{}", planned.stdout);
            assert!(planned.stdout.contains("1 record of "), "{}", planned.stdout);
            with("run").ends().says(&says);
            assert_eq!(ids(&place, "now.jsonl"), expected, "{earlier} {only}");
            let more = mock.judgement().requests - asked;
            assert_eq!(more as usize, count, "{earlier} {only}");
        }
    }
}

#[test]
fn an_export_that_was_cut_off_goes_on() {
    let (place, mock) = (Place::new(), plain_mock());
    let (before, now) = (earlier(&place), later(&place));
    let output = place.path("earlier.jsonl");
    ask(run(), &mock).arg("--input", &before).arg("--output", &output).exits(1);
    let with = |flags: &str| {
        ask(run(), &mock)
            .arg("--input", &now)
            .arg("--against", &output)
            .arg("--only", "new,changed")
            .arg("--output", &place.path("now.jsonl"))
            .flags(flags)
    };
    with("--take 10").exits(0);
    assert_eq!(ids(&place, "now.jsonl"), [2, 10, 11]);
    with("--resume").ends();
    let whole = place.read("now.jsonl");
    let first = whole.lines().next().unwrap().len() + 1;
    place.file("now.jsonl", &whole[..first]);
    with("--resume=changed").exits(0);
    assert_eq!(ids(&place, "now.jsonl"), [1, 2, 10, 11]);
}

#[test]
fn a_store_knows_what_is_new_and_what_is_old() {
    let (place, mock) = (Place::new(), plain_mock());
    let (before, now) = (earlier(&place), later(&place));
    let with = |input: &str, only: &str, output: &str| {
        let asked = ask(run(), &mock)
            .arg("--input", input)
            .arg("--store", &place.path("store"))
            .arg("--output", &place.path(output))
            .flags("--no-brake");
        if only.is_empty() { asked } else { asked.arg("--only", only) }
    };
    with(&before, "", "all.jsonl").exits(1);
    with(&now, "new", "new.jsonl").exits(1);
    assert_eq!(ids(&place, "new.jsonl"), [1, 2, 3, 10, 11]);
    let asked = mock.judgement().requests;
    with(&now, "new", "new.jsonl").flags("--resume").exits(1);
    assert_eq!(mock.judgement().requests, asked, "its own rows stay, and are done");
    with(&now, "new", "again.jsonl").exits(1);
    assert_eq!(ids(&place, "again.jsonl"), [3], "failures are not kept");
    with(&now, "older-than 0s", "old.jsonl").flags("--store-age 1ms").exits(0);
    assert_eq!(ids(&place, "old.jsonl").len(), 10);
    let records = place.records("old.jsonl");
    assert!(records.iter().all(|it: &Value| it["_stored"] == json!(false)), "{records:?}");
}

#[test]
fn what_can_t_be_compared_says_why() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = earlier(&place);
    let results = place.path("results.jsonl");
    ask(run(), &mock).arg("--input", &input).arg("--output", &results).exits(1);
    let plain = place.file("plain.jsonl", "{\"id\": 1}\n");
    let base = || run().arg("--url", &format!("{}/echo/{{{{ id }}}}", mock.url()));
    for (flags, why) in [
        (format!("--only new -i {input} --key id"), "compares rows with what is known"),
        (
            format!("--only new -i {input} --against {results}"),
            "finds the record of a row by a field",
        ),
        (format!("--against {results} -i {input}"), "nothing says which rows to ask for"),
        (format!("--only old -i {input}"), "is no reason to ask for a row"),
        (
            format!("--only new -i {input} --key id --against {plain}"),
            "is no results file with the key",
        ),
        (
            format!("--only new -i {input} --key id --against {input}"),
            "is no results file with the key",
        ),
        (format!("--only new -i - --format csv --key id --against {results}"), "give a file"),
        (
            format!("--only changed -i {input} --store {}", place.path("s")),
            "a changed request is a new one",
        ),
        (
            format!("--only new -i {input} --key id --against {results} -o {results} --overwrite"),
            "are the same file",
        ),
        (format!("--only new -i {input} --key nothing --against {results}"), "nothing"),
    ] {
        base().flags(&flags).exits(2).says(why);
    }
}
