//! Lists that don't go as their servers say: pages that are smaller than asked for,
//! that repeat, or that lead back to where they came from. Each of them ends, loses
//! nothing, and says what was odd.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::{Ended, Place, Throng, each, run};
use crate::recorder::{Came, Recorder, answer, json};

/// The value of a parameter in the query of a request.
fn param(came: &Came, name: &str) -> Option<String> {
    let target = came.line.split(' ').nth(1)?;
    let query = target.split_once('?')?.1;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(value.to_owned())
}

fn number(came: &Came, name: &str) -> usize {
    param(came, name).map_or(0, |value| value.parse().unwrap())
}

/// Items with these ids.
fn items(ids: impl IntoIterator<Item = usize>) -> Vec<Value> {
    ids.into_iter().map(|id| json!({ "id": id })).collect()
}

/// A server of a list of so many items, of which a page has no more than `cap`,
/// whatever is asked for.
fn capped(total: usize, cap: usize) -> Recorder {
    Recorder::answering(move |came| {
        let from = number(came, "offset").min(total);
        let to = (from + cap).min(total);
        let pages = total.div_ceil(100);
        json(&json!({ "items": items(from..to), "pages": pages }).to_string())
    })
}

fn list(server: &Recorder, flags: &str) -> Throng {
    run().arg("--url", &server.url()).flags(flags)
}

fn ids(server: &Recorder, flags: &str) -> Ended {
    list(server, "--each .items[] --extract id=.id").flags(flags).ends()
}

#[track_caller]
fn assert_ids(ended: &Ended, expected: impl IntoIterator<Item = usize>) {
    let expected: Vec<Value> = expected.into_iter().map(Value::from).collect();
    let records = ended.records();
    let good: Vec<Value> = records.iter().filter(|record| record["_ok"] == true).cloned().collect();
    assert_eq!(each(&good, "id"), expected, "{}", ended.stderr);
    assert_eq!(records.last().unwrap()["_last"], true);
}

/// The warning of a record that is ok.
fn said(record: &Value) -> &str {
    assert_eq!((&record["_ok"], &record["_error"]), (&json!(true), &Value::Null), "{record}");
    record["_detail"].as_str().unwrap_or_default()
}

/// The raw bytes of an answer.
fn case(name: &str) -> String {
    std::fs::read_to_string(format!("tests/cases/answers/{name}.http")).unwrap()
}

#[test]
fn an_offset_goes_on_by_the_items_that_came() {
    for (cap, flags) in [
        // Fewer than asked for, more, and as many.
        (50, "--offset offset=100"),
        (150, "--offset offset=100"),
        (100, "--offset offset=100"),
        (50, "--offset offset=100 --page-count .pages"),
        (150, "--offset offset=100 --page-count .pages"),
        (100, "--offset offset=100 --page-count .pages"),
    ] {
        let server = capped(230, cap);
        let ended = ids(&server, flags).with_code(0);
        assert_ids(&ended, 0..230);
        assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
    }
    // One page by the count, of which the server gives a part.
    let server = capped(70, 50);
    let ended = ids(&server, "--offset offset=100 --page-count .pages").with_code(0);
    assert_ids(&ended, 0..70);
}

#[test]
fn an_offset_keeps_its_step_where_items_can_t_be_counted_and_says_so() {
    let server = capped(250, 100);
    for (flags, count) in [
        ("--each .items[]|select(.id%2==0) --extract id=.id", 125),
        ("--extract ids=[.items[].id] --until .items==[]", 1),
    ] {
        let ended = list(&server, "--offset offset=100").flags(flags).exits(0);
        assert_eq!(ended.records().len(), count);
        ended.says("by 100, however many items a page has");
    }
}

/// A server that hides items of a page, and counts them all the same.
#[test]
fn items_that_come_twice_since_pages_overlap_are_said() {
    let server = Recorder::answering(|came| {
        let from = number(came, "offset");
        let shown = (from..(from + 10).min(40)).filter(|id| id % 5 != 0);
        json(&json!({ "items": items(shown) }).to_string())
    });
    let ended = ids(&server, "--offset offset=10").with_code(0);
    let seen = each(&ended.records(), "id");
    let all = (0..40).filter(|id| id % 5 != 0);
    assert!(all.clone().all(|id| seen.contains(&json!(id))), "nothing is lost");
    let twice = seen.len() - all.count();
    assert!(twice > 0);
    ended.says(&format!("where pages overlap: {twice}, the first: row 0, offset=8"));
}

#[test]
fn a_last_page_that_repeats_ends_the_list_and_is_said() {
    let (page, last) = ("--page page", 9);
    for flags in [page, "--page page --max-pages 30", "--page page --until .never"] {
        let server = Recorder::answering(move |came| {
            let shown = number(came, "page").min(last);
            json(&json!({ "items": items([2 * shown, 2 * shown + 1]), "page": shown }).to_string())
        });
        let ended = ids(&server, flags).with_code(0);
        assert_ids(&ended, 2..20);
        assert_eq!(server.came().len(), last + 1);
        let requests: u64 = ended.records().iter().filter_map(|it| it["_attempts"].as_u64()).sum();
        assert_eq!(requests, last as u64 + 1, "the request for the page that repeats is told");
        ended.says("row 0, page=10");
        let last = ended.records().pop().unwrap();
        assert!(said(&last).contains("once more (page=10)"), "{last}");
    }
}

#[test]
fn a_page_that_repeats_is_said_in_the_summary_for_programs() {
    let server = Recorder::answering(|_| json(&json!({ "items": items([1]) }).to_string()));
    let place = Place::new();
    let ended = list(&server, "--each .items[] --extract id=.id --page page --summary-json -")
        .arg("--output", &place.path("out.jsonl"))
        .exits(0);
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(summary["warnings"][0]["count"], 1, "{summary}");
    assert_eq!(summary["warnings"][0]["example"], "row 0, page=2");
}

#[test]
fn a_repeated_page_among_counted_ones_is_not_recorded_twice() {
    let server = Recorder::answering(|came| {
        let shown = number(came, "page").min(3);
        json(&json!({ "items": items([shown]), "pages": 6 }).to_string())
    });
    let ended = ids(&server, "--page page --page-count .pages").with_code(0);
    assert_ids(&ended, 1..4);
    ended.says("page=4");
}

#[test]
fn without_items_a_repeated_page_ends_the_list_too() {
    let server = Recorder::answering(|came| {
        let shown = number(came, "page").min(3);
        json(&json!({ "items": items([shown]) }).to_string())
    });
    let ended = list(&server, "--page page --until .never --extract ids=[.items[].id]").exits(0);
    assert_eq!(ended.records()[0]["ids"], json!([1, 2, 3]));
    ended.says("row 0, page=4");
}

#[test]
fn pages_of_items_that_are_all_the_same_are_told_apart_by_their_bodies() {
    let server = Recorder::answering(|came| {
        let page = number(came, "page");
        let values = if page < 4 { vec![0; 3] } else { vec![] };
        json(&json!({ "values": values, "page": page }).to_string())
    });
    let ended = list(&server, "--page page --each .values[] --extract v=.").exits(0);
    assert_eq!(each(&ended.records(), "v"), vec![json!(0); 9]);
}

#[test]
fn numbered_pages_that_begin_again_end_the_list_with_a_warning() {
    let server = Recorder::answering(|came| {
        let shown = number(came, "page") % 4;
        json(&json!({ "items": items([shown]) }).to_string())
    });
    let ended = ids(&server, "--page page=0").with_code(0);
    let last = ended.records().pop().unwrap();
    assert!(said(&last).contains("circle"), "{last}");
    assert!(server.came().len() <= 6);
}

/// Plain, a, b, and a again; the first page may be that of one of the cursors.
#[test]
fn cursors_that_go_in_a_circle_end_the_list_with_a_warning() {
    for (first, ids_before) in
        [(json!([{"id": 9}]), vec![9, 2, 3, 0, 1]), (json!(items([0, 1])), vec![0, 1, 2, 3])]
    {
        let first = first.to_string();
        let server = Recorder::answering(move |came| {
            let body = match param(came, "cursor").as_deref() {
                None => format!(r#"{{"items": {first}, "cursor": "a"}}"#),
                Some("a") => json!({ "items": items([2, 3]), "cursor": "b" }).to_string(),
                _ => json!({ "items": items([0, 1]), "cursor": "a" }).to_string(),
            };
            json(&body)
        });
        let ended = ids(&server, "--cursor cursor=.cursor").with_code(0);
        assert_ids(&ended, ids_before);
        let last = ended.records().pop().unwrap();
        let detail = said(&last);
        assert!(detail.contains("circle") && detail.contains("cursor="), "{detail}");
        ended.says("lists that ended since their pages repeat: 1, the first: row 0, cursor=b");
        assert_eq!(server.came().len(), 3);
    }
}

#[test]
fn links_that_go_in_a_circle_end_however_they_are_written() {
    for next in ["link", ".next"] {
        let server = Recorder::answering(|came| {
            let at = number(came, "at");
            let next = ["/?at=1", "?at=2", "/x/../?at=0"][at];
            let link = format!("<{next}>; rel=\"next\"");
            let body = json!({ "items": items([at]), "next": next }).to_string();
            answer("200 OK", &[("link", &link)], &body)
        });
        let ended = ids(&server, &format!("--query at=0 --next {next}")).with_code(0);
        assert_ids(&ended, 0..3);
        assert!(said(&ended.records()[2]).contains("circle"));
        assert_eq!(server.came().len(), 3);
    }
}

/// Such as the scroll of a search engine: one id, and each time the next items.
#[test]
fn a_cursor_that_stays_the_same_goes_on_while_its_items_change() {
    for flags in ["--each .items[] --extract id=.id", "--extract ids=[.items[].id]"] {
        let count = AtomicUsize::new(0);
        let server = Recorder::answering(move |_| {
            let page = count.fetch_add(1, Ordering::SeqCst);
            let ids = if page < 5 { 2 * page..2 * page + 2 } else { 0..0 };
            json(&json!({ "items": items(ids), "id": "same" }).to_string())
        });
        let ended = list(&server, flags).flags("--cursor scroll=.id").exits(0);
        let all: Vec<Value> = (0..10).map(Value::from).collect();
        if flags.contains("--each") {
            assert_ids(&ended, 0..10)
        } else {
            assert_eq!(ended.records()[0]["ids"], json!(all))
        }
        assert_eq!(server.came().len(), 6);
    }
}

#[test]
fn a_cursor_that_changes_nothing_ends_the_list() {
    for is_fresh in [false, true] {
        let count = AtomicUsize::new(1);
        let server = Recorder::answering(move |_| {
            let number = count.fetch_add(usize::from(is_fresh), Ordering::SeqCst);
            json(&json!({ "items": items([1, 2]), "cursor": number }).to_string())
        });
        let ended = ids(&server, "--cursor cursor=.cursor").with_code(0);
        assert_ids(&ended, [1, 2]);
        assert!(said(&ended.records()[1]).contains("circle"));
        assert_eq!(server.came().len(), 2);
    }
}

#[test]
fn answers_that_were_seen_to_go_on_forever_end() {
    for (name, flags, requests) in [
        ("pg_samelast_page_9", "--page page", 2),
        ("pg_samelast_page_9", "--page page --until .never", 2),
        ("pg_samelast_page_9", "--offset offset=2", 2),
        ("pg_samelast_page_9", "--cursor at=.page", 2),
        ("pg_curloop_cursor_b", "--cursor cursor=.cursor", 2),
        ("pg_curloop_cursor_b", "--next .cursor", 2),
    ] {
        let server = Recorder::answering(move |_| case(name));
        let ended = ids(&server, flags).with_code(0);
        assert_eq!(ended.records().len(), 2, "{flags}");
        assert!(said(&ended.records()[1]).contains("the list ends here"), "{flags}");
        assert_eq!(server.came().len(), requests, "{flags}");
        ended.says("lists that ended since their pages repeat: 1");
    }
}

/// Some servers lead from page to page without an item, for ever.
#[test]
fn pages_that_stay_empty_end_the_list_with_a_warning() {
    for (flag, value) in [("--cursor", "after=.next"), ("--next", "\"/?p=\\(.next)\"")] {
        let count = AtomicUsize::new(0);
        let server = Recorder::answering(move |_| {
            let page = count.fetch_add(1, Ordering::SeqCst);
            let ids = if page < 2 || page == 40 { page..page + 1 } else { 0..0 };
            json(&json!({ "items": items(ids), "next": page + 1 }).to_string())
        });
        let ended = list(&server, "--each .items[] --extract id=.id").arg(flag, value).exits(0);
        assert_ids(&ended, [0, 1, 40]);
        let last = ended.records().pop().unwrap();
        assert!(said(&last).contains("1000 pages in a row were empty"), "{last}");
        assert_eq!(server.came().len(), 1_041);
    }
}

#[test]
fn links_are_followed_as_servers_write_them_and_end_where_they_say_so() {
    for link in [
        "/?page={}; rel=\"next\"",
        "</?page={}>; rel=\"next last\"; title=\"a, b\"",
        "</?page=1>; rel=\"previous\"; results=\"false\", </?page={}>; rel=\"next\"; results=\"{more}\"",
    ] {
        let server = Recorder::answering(move |came| {
            let page = number(came, "page").max(1);
            let link = link.replace("{}", &(page + 1).to_string());
            let link = link.replace("{more}", if page < 3 { "true" } else { "false" });
            let is_last = page == 3 && !link.contains("results");
            let headers = if is_last { vec![] } else { vec![("link", link.as_str())] };
            let body = json!({ "items": items([page]) }).to_string();
            answer("200 OK", &headers, &body)
        });
        assert_ids(&ids(&server, "--next link").with_code(0), 1..4);
        assert_eq!(server.came().len(), 3, "{link}");
    }
}

#[test]
fn a_program_that_gives_no_value_on_the_last_page_ends_the_list() {
    for flags in [
        ["--next", ".links[] | select(.rel == \"next\").href"],
        ["--cursor", "page=.at | select(. < 3) | . + 1"],
        ["--cursor", "page=.at | if . < 3 then . + 1 else null end | tojson"],
    ] {
        let server = Recorder::answering(|came| {
            let page = number(came, "page").max(1);
            let links = if page < 3 {
                json!([{"rel": "self"}, {"rel": "next", "href": format!("?page={}", page + 1)}])
            } else {
                json!([{"rel": "self"}])
            };
            json(&json!({ "items": items([page]), "at": page, "links": links }).to_string())
        });
        let ended = list(&server, "--each .items[] --extract id=.id").arg(flags[0], flags[1]);
        assert_ids(&ended.exits(0), 1..4);
        assert_eq!(server.came().len(), 3, "{flags:?}");
    }
}

/// Such as `search_after`, which is the `sort` of the hit before, and a list.
#[test]
fn a_cursor_in_a_body_may_be_a_list() {
    let hits = || {
        Recorder::answering(|came| {
            let asked: Value = serde_json::from_slice(&came.body).unwrap_or_default();
            let after = asked["search_after"][0].as_u64().map_or(0, |after| after + 1);
            let hits: Vec<Value> = (after..(after + 2).min(5))
                .map(|id| json!({ "id": id, "sort": [id, "x"] }))
                .collect();
            json(&json!({ "hits": hits }).to_string())
        })
    };
    let ask = |server: &Recorder, body: [&str; 2]| {
        list(server, "--each .hits[] --extract id=.id --cursor search_after=.hits[-1].sort")
            .arg(body[0], body[1])
            .ends()
    };
    let server = hits();
    let ended = ask(&server, ["--json", r#"{"search_after": "{{ search_after }}"}"#]);
    assert_ids(&ended.with_code(0), 0..5);
    assert_eq!(server.came()[1].text(), r#"{"search_after":[1,"x"]}"#);
    let ended = ask(&hits(), ["--json", "{}"]).with_code(1);
    let failed = ended.records().pop().unwrap();
    assert_eq!(failed["_error"], "missing next page");
    assert!(failed["_detail"].as_str().unwrap().contains("in a body it may be any value"));
}

/// As servers in Go write a list without items.
#[test]
fn a_list_that_is_null_on_a_later_page_has_no_items_there() {
    for (flags, last, code) in [
        ("--page page", "{\"items\": null}", 0),
        ("--cursor page=.next", "{\"items\": null, \"next\": null}", 0),
        ("--page page", "{\"error\": \"busy\"}", 1),
    ] {
        let server = Recorder::answering(move |came| match number(came, "page") {
            page @ 0..3 => {
                let next = page.max(1) + 1;
                let body =
                    json!({ "items": items([page.max(1)]), "next": next, "at": page.max(1) });
                json(&body.to_string())
            }
            _ => json(last),
        });
        let ended = ids(&server, flags).with_code(code);
        let good = ended.records().iter().filter(|record| record["_ok"] == true).count();
        assert_eq!(good, 2, "{flags} {last}: {}", ended.stdout);
    }
}

#[test]
fn a_list_that_is_null_or_an_answer_that_is_empty_says_what_helps() {
    for (body, said) in
        [("{\"items\": null}", ".items[]? takes null for no items"), ("", "the answer is empty")]
    {
        let server = Recorder::answering(move |_| json(body));
        let failed = ids(&server, "").with_code(1).records().pop().unwrap();
        let detail = failed["_detail"].as_str().unwrap();
        assert!(failed["_error"] == "missing items" && detail.ends_with(said), "{detail}");
    }
}

#[test]
fn the_number_of_pages_may_be_a_text() {
    let server = Recorder::answering(|came| {
        let body = json!({ "items": items([number(came, "page")]), "pages": " 3" });
        json(&body.to_string())
    });
    assert_ids(&ids(&server, "--page page --page-count .pages").with_code(0), 1..4);
}

/// Such as `/scroll?id=...`, which is the next page each time.
#[test]
fn a_url_that_stays_the_same_goes_on_while_its_items_change() {
    let count = AtomicUsize::new(0);
    let server = Recorder::answering(move |_| {
        let page = count.fetch_add(1, Ordering::SeqCst);
        let ids = if page < 5 { 2 * page..2 * page + 2 } else { 0..0 };
        json(&json!({ "items": items(ids), "id": "same" }).to_string())
    });
    let ended = ids(&server, r#"--next "/scroll?id="+.id"#).with_code(0);
    assert_ids(&ended, 0..10);
    assert_eq!(server.came().len(), 6);
}

fn three_pages_and_then(last: impl Fn() -> String + Send + Sync + 'static) -> Recorder {
    Recorder::answering(move |came| {
        let page = number(came, "page").max(number(came, "offset") / 2 + 1);
        if page > 3 {
            return last();
        }
        let body = json!({ "items": items([2 * page, 2 * page + 1]), "at": page });
        json(&body.to_string())
    })
}

#[test]
fn a_list_ends_where_the_server_has_no_page_more() {
    for flags in ["--page page", "--offset offset=2"] {
        for last in [
            case("pg_p404_page_9"),
            answer("416 Range Not Satisfiable", &[], ""),
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        ] {
            let server = three_pages_and_then(move || last.clone());
            let ended = ids(&server, flags).with_code(0);
            assert_ids(&ended, 2..8);
            assert_eq!(server.came().len(), 4);
            assert_eq!(ended.records()[5]["_detail"], Value::Null);
        }
    }
    let server = three_pages_and_then(|| "HTTP/1.1 204 No Content\r\n\r\n".to_owned());
    assert_ids(&ids(&server, "--cursor page=.at+1").with_code(0), 2..8);
    let server = three_pages_and_then(|| case("pg_p404_page_9"));
    let ended = list(&server, "--page page --until .never --extract ids=[.items[].id]").exits(0);
    assert_eq!(ended.records()[0]["ids"], json!([2, 3, 4, 5, 6, 7]));
}

#[test]
fn a_first_page_that_is_not_there_fails_and_so_does_what_the_job_calls_a_failure() {
    let server = Recorder::answering(|_| case("pg_p404_page_9"));
    let ended = ids(&server, "--page page").with_code(1);
    assert_eq!(ended.records()[0]["_error"], "status 404");
    for flags in ["--page page --answer 404=fail", "--cursor page=.at+1"] {
        let server = three_pages_and_then(|| case("pg_p404_page_9"));
        let ended = ids(&server, flags).with_code(1);
        assert_eq!(ended.records()[6]["_error"], "status 404", "{flags}");
    }
    let server = three_pages_and_then(|| answer("400 Bad Request", &[], r#"{"code": "no page"}"#));
    let rule = ["--answer", r#"400 .code == "no page" = end"#];
    let ended = list(&server, "--each .items[] --extract id=.id --page page");
    assert_ids(&ended.arg(rule[0], rule[1]).exits(0), 2..8);
}
