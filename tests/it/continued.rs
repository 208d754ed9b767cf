//! Lists and chains that are killed, or that fail at a page, go on where they were.

use std::collections::BTreeMap;

use serde_json::Value;
use throng_mock::{Judgement, Mock, Settings};

use crate::forms::converted;
use crate::harness::{Ended, Place, Throng, mock, records, run, until};
use crate::recorder::{Came, Recorder, answer, json as json_answer};

/// Number of requests in flight at a time, in each step.
const IN_FLIGHT: u64 = 8;

fn server() -> Mock {
    mock(Settings { latency: "10ms".parse().unwrap(), ..Settings::default() })
}

/// A list of so many items in pages, one row for all of it.
fn list(place: &Place, mock: &Mock, path: &str, pages: &str) -> String {
    let url = mock.url();
    place.file(
        "job.toml",
        &format!(
            "[input]\nlist = [{{shop = \"north\"}}]\n[request]\nurl = \"{url}/list/{path}\"\n\
             [items]\neach = \".items[]\"\n[pages]\n{pages}\n[extract]\nid = \".id\"\n\
             [workers]\ncount = 1\nconcurrency = {IN_FLIGHT}\n[retry]\nretries = 0\n"
        ),
    )
}

/// A list, and a detail for each item.
fn chain(place: &Place, mock: &Mock, path: &str) -> String {
    let job = list(place, mock, path, "next = \"link\"");
    let detail = format!(
        "[[step]]\n[step.request]\nurl = \"{}/detail/{{{{ id }}}}\"\n[step.extract]\nprice = \".price\"\n",
        mock.url()
    );
    std::fs::write(&job, std::fs::read_to_string(&job).unwrap() + &detail).unwrap();
    job
}

fn go(job: &str, output: &str) -> Throng {
    run().arg("--config-json-file", job).arg("--output", output).flags("--progress none")
}

/// Runs a job that is killed whenever the server has had so many requests more, until it comes
/// to its end. `after_kill` looks at the server's counts.
fn killed(
    job: &str,
    output: &str,
    mock: &Mock,
    every: u64,
    mut after_kill: impl FnMut(&Judgement),
) -> (Ended, u64) {
    let mut kills = 0;
    loop {
        let before = mock.judgement().requests;
        let journal = format!("{output}.journal");
        let is_there = [output, &journal].map(|path| std::fs::exists(path).unwrap());
        let how = if is_there == [false; 2] { "" } else { "--resume" };
        let running = go(job, output).flags(how).start();
        let id = running.id();
        let mut is_there = true;
        until("a kill or the end", || {
            is_there = std::fs::read_to_string(format!("/proc/{id}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z "));
            !is_there || mock.judgement().requests >= before + every
        });
        if is_there {
            running.signal("-KILL");
        }
        let ended = running.ends();
        if ended.code.is_some() {
            return (ended, kills);
        }
        kills += 1;
        assert!(kills < 100, "it never ends");
        after_kill(&mock.judgement());
    }
}

#[track_caller]
fn assert_each_item_once(records: &[Value], total: u64) {
    let mut items: Vec<u64> = records.iter().map(|it| it["_item"].as_u64().unwrap()).collect();
    items.sort_unstable();
    assert_eq!(items, (0..total).collect::<Vec<_>>());
    for record in records {
        let item = record["_item"].as_u64().unwrap();
        assert_eq!(record["id"], item.to_string());
        assert_eq!(record["_last"], item + 1 == total, "{item}");
        assert_eq!(record["_ok"], true);
    }
}

#[test]
fn a_chain_under_kills_ends_and_keeps_its_details() {
    let (place, mock) = (Place::new(), server());
    let (job, output) = (chain(&place, &mock, "2000?size=20"), place.path("out.jsonl"));
    let mut in_file: BTreeMap<String, u64> = BTreeMap::new();
    let (ended, kills) = killed(&job, &output, &mock, 300, |judgement| {
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        for record in records(whole) {
            let id = record["id"].as_str().unwrap().to_owned();
            let asked = judgement.symbols[&id];
            in_file.entry(id).or_insert(asked);
        }
    });
    ended.with_code(0);
    assert!(kills >= 5, "{kills}");
    assert_each_item_once(&place.records("out.jsonl"), 2_000);
    let judgement = mock.judgement();
    for (id, asked) in in_file {
        assert_eq!(judgement.symbols[&id], asked, "{id} was asked for again");
    }
    let repeated = judgement.requests - 2_100;
    assert!(repeated <= kills * 3 * IN_FLIGHT, "{repeated} repeated in {kills} kills");
    assert!(!std::fs::exists(place.path("out.jsonl.pages")).unwrap());
}

#[test]
fn a_list_under_kills_ends_and_asks_for_few_pages_twice() {
    for (pages, output, number, at_once) in [
        ("next = \"link\"", "out.jsonl", 500, 1),
        ("next = \".next\"", "out.csv", 90, 1),
        ("cursor = \"cursor=.cursor\"", "out.jsonl.zst", 90, 1),
        ("page = \"page\"", "out.jsonl", 90, 1),
        ("offset = \"offset=10\"", "out.jsonl", 90, 1),
        ("page = \"page\"\ncount = \".pages\"", "out.jsonl", 200, IN_FLIGHT),
    ] {
        let (place, mock) = (Place::new(), server());
        let job = list(&place, &mock, &format!("{number}0?size=10"), pages);
        let (ended, kills) = killed(&job, &place.path(output), &mock, number / 4, |_| ());
        ended.with_code(0);
        assert!(kills >= 3, "{pages}: {kills}");
        let mut records = match output {
            "out.jsonl" => place.records(output),
            _ => converted(&place, output),
        };
        for record in &mut records {
            for name in ["_item", "_last", "_ok"] {
                // A table has texts.
                if let Some(text) = record[name].as_str() {
                    record[name] = serde_json::from_str(text).unwrap();
                }
            }
        }
        assert_each_item_once(&records, number * 10);
        let repeated = mock.judgement().requests.saturating_sub(number);
        // The page before the one in flight, whose last item waits for that one, and those that
        // a busy machine has not written yet.
        let most = kills * (at_once + 12);
        assert!(repeated <= most, "{pages}: {repeated} pages repeated in {kills} kills");
    }
}

#[test]
fn a_list_that_failed_at_a_page_goes_on_there() {
    let (place, mock) = (Place::new(), server());
    let (job, output) =
        (list(&place, &mock, "100?size=5&broken=60", "next = \"link\""), place.path("out.jsonl"));
    go(&job, &output).exits(1);
    assert_eq!(place.records("out.jsonl").len(), 61);
    mock.reset();
    // The same list at the next run, as its server has been mended.
    let pages = place.read("out.jsonl.pages");
    std::fs::write(place.path("out.jsonl.pages"), pages.replace("&broken=60", "")).unwrap();
    go(&job, &output).flags("--retry-failed").exits(0);
    assert_each_item_once(&place.records("out.jsonl"), 100);
    // The page before the failed one, and the rest.
    assert_eq!(mock.judgement().requests, 1 + 8);
    assert!(!std::fs::exists(place.path("out.jsonl.pages")).unwrap());
}

#[test]
fn a_list_that_has_become_shorter_says_so() {
    let (place, mock) = (Place::new(), server());
    let output = place.path("out.jsonl");
    let job = |total: u64| {
        list(&place, &mock, &format!("{{{{ total }}}}?size=5&x={total}"), "next = \"link\"")
    };
    let text = std::fs::read_to_string(job(1)).unwrap().replace("shop = \"north\"", "total = 20");
    std::fs::write(place.path("job.toml"), text.replace("&x=1", "")).unwrap();
    let job = place.path("job.toml");
    go(&job, &output).exits(0);
    // Without its last items, and as if they had been more.
    let text = place.read("out.jsonl");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let more = lines[18].replace("\"_item\":18", "\"_item\":30");
    std::fs::write(&output, lines[..10].concat() + &more).unwrap();
    let ended = go(&job, &output).flags("--resume").exits(1);
    assert!(ended.stderr.contains("1 row is not whole"), "{}", ended.stderr);
    let records = place.records("out.jsonl");
    let last = records.last().unwrap();
    assert_eq!((&last["_error"], &last["_item"]), (&"missing items".into(), &Value::Null));
    assert!(last["_detail"].as_str().unwrap().contains("the list has 20 items now"), "{last}");
    // It is whole then, and --retry-failed asks for what is missing.
    mock.reset();
    go(&job, &output).flags("--resume").exits(1);
    assert_eq!(mock.judgement().requests, 0);
    go(&job, &output).flags("--retry-failed").exits(1);
    assert_eq!(place.records("out.jsonl").len(), records.len());
}

#[test]
fn a_list_that_is_not_whole_is_not_dropped_for_a_changed_job() {
    let (place, mock) = (Place::new(), server());
    let output = place.path("out.jsonl");
    let job = list(&place, &mock, "20?size=5", "next = \"link\"");
    go(&job, &output).exits(0);
    let text = place.read("out.jsonl");
    let begun = text.split_inclusive('\n').take(10).collect::<String>();
    std::fs::write(&output, &begun).unwrap();
    let changed = || go(&job, &output).flags("--query lang=en");
    for how in ["--resume", "--retry-failed"] {
        let ended = changed().flags(how).exits(2);
        ended.says("10 records of 1 row not whole").says("request.query changed since");
        assert_eq!(place.read("out.jsonl"), begun);
    }
    changed().flags("--resume=changed").exits(0);
    assert_each_item_once(&place.records("out.jsonl"), 20);
}

/// A list of 50 items on 5 pages, and a detail for each; what fails is told by the header
/// `x-fails`: numbers of details, and of pages with a `p`.
fn failing() -> Recorder {
    Recorder::answering(|came| {
        let path = came.line.split(' ').nth(1).unwrap();
        let fails = came.header("x-fails").unwrap_or("").split(' ');
        let is_among = |what: &str| fails.clone().any(|it| it == what);
        if let Some(id) = path.strip_prefix("/detail/") {
            if is_among(id) {
                return answer("404 Not Found", &[], "gone");
            }
            return json_answer(&format!("{{\"price\": {id}.5}}"));
        }
        let page: u32 = path.rsplit_once("page=").map_or(0, |(_, page)| page.parse().unwrap());
        if is_among(&format!("p{page}")) {
            return answer("404 Not Found", &[], "gone");
        }
        let items: Vec<String> =
            (page * 10..page * 10 + 10).map(|id| format!("{{\"id\": {id}}}")).collect();
        let next = if page < 4 { format!("\"?page={}\"", page + 1) } else { "null".to_owned() };
        json_answer(&format!("{{\"items\": [{}], \"next\": {next}}}", items.join(",")))
    })
}

/// Asks for the list, or goes on, while this fails. Gives the paths that were asked for.
fn ask_while_failing(
    place: &Place,
    server: &Recorder,
    output: &str,
    flags: &str,
    fails: &str,
    code: i32,
) -> Vec<String> {
    let url = server.url();
    let job = place.file(
        "job.toml",
        &format!(
            "[input]\nlist = [{{shop = \"north\"}}]\n[request]\nurl = \"{url}/list\"\n\
             headers = {{x-fails = \"{{{{ env.FAILS }}}}\"}}\n\
             [items]\neach = \".items[]\"\n[pages]\nnext = \".next\"\n[extract]\nid = \".id\"\n\
             [retry]\nbrake = false\n[workers]\ncount = 1\n\
             [[step]]\n[step.request]\nurl = \"{url}/detail/{{{{ id }}}}\"\n\
             headers = {{x-fails = \"{{{{ env.FAILS }}}}\"}}\n[step.extract]\nprice = \".price\"\n"
        ),
    );
    server.forget();
    go(&job, &place.path(output)).flags(flags).env("FAILS", fails).exits(code);
    let path = |came: &Came| came.line.split(' ').nth(1).unwrap().to_owned();
    let mut paths: Vec<String> = server.came().iter().map(path).collect();
    paths.sort_unstable();
    paths
}

#[track_caller]
fn assert_all_are_there(place: &Place, output: &str) {
    let mut records = match output {
        "out.jsonl" => place.records(output),
        _ => converted(place, output),
    };
    records.sort_by_key(|it| it["_item"].to_string().trim_matches('"').parse::<u64>().unwrap());
    assert_eq!(records.len(), 50);
    for (item, record) in records.iter().enumerate() {
        let text = |name: &str| record[name].to_string().trim_matches('"').to_owned();
        assert_eq!([text("id"), text("_item")], [item.to_string(), item.to_string()]);
        assert_eq!([text("shop"), text("price")], ["north".to_owned(), format!("{item}.5")]);
        assert_eq!([text("_ok"), text("_last")], ["true".to_owned(), (item == 49).to_string()]);
    }
}

#[test]
fn retry_failed_asks_for_the_failed_details_alone() {
    for output in ["out.jsonl", "out.csv", "out.parquet", "out.db"] {
        let (place, server) = (Place::new(), failing());
        let ask = |flags: &str, fails: &str, code| {
            ask_while_failing(&place, &server, output, flags, fails, code)
        };
        assert_eq!(ask("", "13 27 49", 1).len(), 55);
        assert_eq!(ask("--retry-failed=500", "", 1), [""; 0]);
        let again = ask("--retry-failed", "27 49", 1);
        assert_eq!(again, ["/detail/13", "/detail/27", "/detail/49"], "{output}");
        assert_eq!(ask("--retry-failed=404", "49", 1), ["/detail/27", "/detail/49"], "{output}");
        assert_eq!(ask("--retry-failed", "", 0), ["/detail/49"], "{output}");
        assert_all_are_there(&place, output);
        assert!(!std::fs::exists(place.path(&format!("{output}.pages"))).unwrap());
    }
}

#[test]
fn retry_failed_goes_on_at_the_failed_page_beside_the_failed_details() {
    let (place, server) = (Place::new(), failing());
    let ask = |flags: &str, fails: &str, code| {
        ask_while_failing(&place, &server, "out.jsonl", flags, fails, code)
    };
    assert_eq!(ask("", "3 p3 25", 1).len(), 34);
    let again = ask("--retry-failed", "25", 1);
    // The last page before which nothing is missing, and all after it.
    let pages: Vec<&String> = again.iter().filter(|it| it.starts_with("/list")).collect();
    assert_eq!(pages, ["/list?page=2", "/list?page=3", "/list?page=4"]);
    assert_eq!(again.len(), pages.len() + 2 + 20);
    assert_eq!(ask("--retry-failed", "", 0), ["/detail/25"]);
    assert_all_are_there(&place, "out.jsonl");
}

#[test]
fn without_its_log_a_failed_detail_is_asked_for_by_way_of_its_list() {
    let (place, server) = (Place::new(), failing());
    let ask = |flags: &str, fails: &str, code| {
        ask_while_failing(&place, &server, "out.jsonl", flags, fails, code)
    };
    ask("", "13", 1);
    std::fs::remove_file(place.path("out.jsonl.pages")).unwrap();
    assert_eq!(ask("--retry-failed", "", 0), ["/detail/13", "/list", "/list?page=1"]);
    assert_all_are_there(&place, "out.jsonl");
}

#[test]
fn retry_failed_repeats_no_step_before_the_one_that_failed() {
    let server = Recorder::answering(|came| match came.line.split(['/', ' ']).nth(2) {
        Some("find") => json_answer("{\"id\": \"007\"}"),
        _ if came.header("x-fails") == Some("yes") => answer("404 Not Found", &[], "gone"),
        _ => json_answer("{\"price\": 1}"),
    });
    let (place, url) = (Place::new(), server.url());
    let job = place.file(
        "job.toml",
        &format!(
            "[input]\nlist = [{{name = \"a\"}}, {{name = \"b\"}}]\n\
             [request]\nurl = \"{url}/find/{{{{ name }}}}\"\n[extract]\nid = \".id\"\n\
             [[step]]\n[step.request]\nurl = \"{url}/detail/{{{{ id }}}}\"\n\
             headers = {{x-fails = \"{{{{ env.FAILS }}}}\"}}\n[step.extract]\nprice = \".price\"\n"
        ),
    );
    let output = place.path("out.csv");
    go(&job, &output).env("FAILS", "yes").exits(1);
    server.forget();
    go(&job, &output).env("FAILS", "no").flags("--retry-failed").exits(0);
    let came = server.came();
    assert!(came.len() == 2 && came.iter().all(|it| it.line.starts_with("GET /detail/007 ")));
    assert_eq!(converted(&place, "out.csv").len(), 2);
}
