//! Chains: the values of one step are the rows of the next.

use std::fs;

use serde_json::{Value, json};
use throng_mock::{Mock, Settings, price};

use crate::harness::{Place, Throng, each, mock, plain_mock, run, throng};

/// Lists so many items, and asks for the details of each.
fn job(place: &Place, mock: &Mock, total: u64, more: &str) -> String {
    let url = mock.url();
    place.file(
        "job.toml",
        &format!(
            "[input]\nlist = [{{shop = \"north\"}}]\n\
             [request]\nurl = \"{url}/list/{total}?size=20\"\n\
             [items]\neach = \".items[]\"\n[pages]\nnext = \"link\"\n\
             [extract]\nid = \".id\"\n{more}\
             [[step]]\n[step.request]\nurl = \"{url}/detail/{{{{ id }}}}\"\n\
             [step.extract]\nprice = \".price\"\n"
        ),
    )
}

fn go(job: &str) -> Throng {
    run().arg("--config-json-file", job)
}

#[track_caller]
fn assert_whole(records: &[Value], total: u64) {
    let mut numbers: Vec<u64> = records.iter().map(|it| it["_item"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..total).collect::<Vec<_>>());
    for record in records {
        let number = record["_item"].as_u64().unwrap();
        assert_eq!(record["id"], number.to_string());
        assert_eq!(record["price"], price(&number.to_string()));
        assert_eq!(record["shop"], "north");
        assert_eq!(record["_last"], number + 1 == total);
    }
}

#[test]
fn each_item_of_a_list_is_asked_for_once() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = go(&job(&place, &mock, 150, "")).exits(0);
    assert_whole(&ended.records(), 150);
    let judgement = mock.judgement();
    assert_eq!(judgement.requests, 8 + 150);
    assert!(judgement.symbols.values().all(|times| *times == 1));
}

#[test]
fn a_table_has_the_columns_of_all_steps() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = job(&place, &mock, 3, "");
    go(&job).arg("--output", &place.path("out.csv")).exits(0);
    let text = place.read("out.csv");
    assert!(text.starts_with("shop,id,price,_row,_item,_last,_ok,"), "{text}");
    assert_eq!(text.lines().count(), 4);
}

#[test]
fn what_fails_in_one_step_has_its_record_and_the_rest_goes_on() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = job(&place, &mock, 45, "[retry]\nretries = 0\n");
    let text = fs::read_to_string(&job).unwrap();
    let text = text
        .replace("?size=20", "?size=20&broken=40")
        .replace("id = \".id\"", "id = 'if .id == \"7\" then \"nope\" else .id end'");
    fs::write(&job, text).unwrap();
    let records = go(&job).exits(1).records();
    assert_eq!(records.len(), 41);
    let failed: Vec<&Value> = records.iter().filter(|record| record["_ok"] == false).collect();
    let errors: Vec<(&Value, &Value)> =
        failed.iter().map(|it| (&it["_item"], &it["_error"])).collect();
    assert!(errors.contains(&(&json!(7), &json!("status 404"))), "{errors:?}");
    assert!(errors.contains(&(&json!(40), &json!("status 500"))), "{errors:?}");
    assert_eq!(errors.len(), 2);
}

#[test]
fn all_at_once_every_attempt_passes_the_gate() {
    let settings = Settings {
        limits: vec!["25/300ms".parse().unwrap()],
        latency: "lognormal:10ms:1".parse().unwrap(),
        faults: "500=10%,429=1%".parse().unwrap(),
        ..Settings::default()
    };
    let (place, mock) = (Place::new(), mock(settings));
    let url = mock.url();
    // Pages, redirects in a second step, batches in a third one, and a token that
    // lasts for less than a second: one server counts them all.
    let job = place.file(
        "job.toml",
        &format!(
            "[request]\nurl = \"{url}/list/80?size=10\"\n\
             [items]\neach = \".items[]\"\n[pages]\npage = \"page\"\ncount = \".pages\"\n\
             [extract]\nid = \".id\"\n[limit]\nrate = \"25/300ms\"\n\
             [retry]\nretries = 9\n[send]\nfollow = 1\n\
             [auth]\nkind = \"oauth2\"\ntoken-url = \"{url}/token?expires_in=1\"\n\
             client-id = \"me\"\nclient-secret = \"{{{{ env.SECRET }}}}\"\n\
             [[step]]\n[step.request]\nurl = \"{url}/redirect/302\"\n\
             [step.request.query]\nto = \"/detail/{{{{ id }}}}\"\n\
             [step.extract]\nname = \".name\"\n\
             [[step]]\n[step.request]\nurl = \"{url}/batch?most=5\"\n\
             [step.request.query]\nids = \"{{{{ id | join(',') }}}}\"\n\
             [step.batch]\nsize = 8\n[step.items]\neach = \".found[]\"\nmatch = \"id=.id\"\n\
             [step.extract]\nprice = \".price\"\n"
        ),
    );
    let summary = place.path("summary.json");
    let records =
        go(&job).env("SECRET", "s3cret-enough").arg("--summary-json", &summary).exits(0).records();
    assert_eq!(records.len(), 80);
    for record in &records {
        let id = record["id"].as_str().unwrap();
        assert_eq!(
            (&record["price"], &record["name"]),
            (&price(id).into(), &format!("Item {id}").into())
        );
    }
    let judgement = mock.judgement();
    assert!(judgement.windows[0].most <= 25, "{judgement:?}");
    // 8 pages, 80 redirects and where they lead, batches of five, and tokens.
    assert!(judgement.requests > 8 + 160 + 16, "{judgement:?}");
    assert!(judgement.symbols["token"] >= 3, "{judgement:?}");
    assert!(judgement.answers["302"] >= 80);
    // Our own count is the server's.
    let summary = place.json("summary.json");
    assert_eq!(summary["requests"], judgement.requests);
    assert!(summary["limits"][0]["most_in_window"].as_u64() <= Some(25));
}

#[test]
fn a_step_may_have_limits_of_its_own() {
    let server = |limit: &str| {
        mock(Settings { limits: vec![limit.parse().unwrap()], ..Settings::default() })
    };
    // Each step has a server of its own, which is the judge of that step's limit.
    let (place, lists, details) = (Place::new(), server("2/300ms"), server("30/300ms"));
    let job = job(&place, &lists, 60, "[limit]\nrate = \"2/300ms\"\n");
    let text = fs::read_to_string(&job).unwrap() + "[step.limit]\nrate = \"30/300ms\"\n";
    let detail = |mock: &Mock| format!("{}/detail", mock.url());
    fs::write(&job, text.replace(&detail(&lists), &detail(&details))).unwrap();
    let summary = place.path("summary.json");
    let ended = go(&job).arg("--summary-json", &summary).exits(0);
    assert_whole(&ended.records(), 60);
    let limits = place.json("summary.json")["limits"].clone();
    assert_eq!(each(limits.as_array().unwrap(), "rate"), ["2/300ms", "30/300ms"]);
    for (mock, requests, most) in [(lists, 3, 2), (details, 60, 30)] {
        let judgement = mock.judgement();
        assert_eq!((judgement.requests, judgement.refused), (requests, 0));
        assert!(judgement.windows[0].most <= most, "{judgement:?}");
    }
}

#[test]
fn a_chain_that_was_cut_off_is_made_whole() {
    for (name, kept) in [("out.jsonl", 30), ("out.csv", 31)] {
        let (place, mock) = (Place::new(), plain_mock());
        let job = job(&place, &mock, 50, "");
        let ask = || go(&job).arg("--output", &place.path(name));
        ask().exits(0);
        let whole = place.read(name);
        let lines: Vec<&str> = whole.split_inclusive('\n').take(kept).collect();
        fs::write(place.path(name), lines.concat()).unwrap();
        ask().flags("--resume").exits(0);
        assert_eq!(place.read(name).lines().count(), whole.lines().count(), "{name}");
        if name.ends_with("jsonl") {
            let text = place.read(name);
            let records: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_whole(&records, 50);
        }
        mock.reset();
        ask().flags("--resume").exits(0);
        assert_eq!(mock.judgement().requests, 0, "a whole row is not asked again");
    }
}

#[test]
fn a_chain_stops_in_good_order() {
    let settings = Settings { latency: "20ms".parse().unwrap(), ..Settings::default() };
    let (place, mock) = (Place::new(), mock(settings));
    let job = job(&place, &mock, 100_000, "");
    let running = go(&job).arg("--output", &place.path("out.jsonl")).start();
    crate::harness::until("requests", || mock.judgement().requests > 50);
    let id = running.id().to_string();
    std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
    running.ends().with_code(130);
    let text = place.read("out.jsonl");
    assert!(text.lines().count() < 100_000 && text.ends_with('\n'));
}

#[test]
fn a_chain_that_can_not_hold_is_said_before_anything_is_sent() {
    let (place, mock) = (Place::new(), plain_mock());
    let good = fs::read_to_string(job(&place, &mock, 3, "")).unwrap();
    for (from, to, message) in [
        ("{{ id }}", "{{ idd }}", "step 2 uses {{ idd }}, but neither"),
        ("id = \".id\"", "", "step 1 extracts nothing"),
        ("price = ", "shop = ", "needs another name"),
        (
            "[step.extract]",
            "[step.items]\neach = \".x[]\"\n[step.extract]",
            "one step of a chain only",
        ),
        ("[step.extract]", "[step.extrakt]", "did you mean `extract`?"),
    ] {
        let job = place.file("bad.toml", &good.replace(from, to));
        go(&job).exits(2).says(message);
    }
    assert_eq!(mock.judgement().requests, 0);
}

#[test]
fn a_later_step_that_must_not_be_repeated_needs_a_word_on_it() {
    let (place, mock) = (Place::new(), plain_mock());
    let text = fs::read_to_string(job(&place, &mock, 3, "")).unwrap();
    let post = text.replace("[step.request]\n", "[step.request]\nmethod = \"POST\"\n");
    let ask = |more: &str| {
        let job = place.file("post.toml", &format!("{post}{more}"));
        go(&job)
    };
    let output = place.path("out.jsonl");
    ask("")
        .arg("--output", &output)
        .exits(2)
        .says("step 2: its POST must not be sent twice")
        .says("step.retry.unknown = \"resend\"");
    ask("[step.retry]\nidempotency-key = \"auto\"\n")
        .exits(2)
        .says("makes one key for all that comes of a row");
    assert_eq!(mock.judgement().requests, 0);
    ask("[step.retry]\nidempotency-key = \"{{ id }}\"\n").arg("--output", &output).exits(0);
    // Nothing is gone on with on stdout.
    ask("").exits(0);
}

#[test]
fn the_plan_shows_what_comes_then() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = job(&place, &mock, 3, "");
    let shown = throng("plan").arg("--config-json-file", &job).exits(0);
    assert!(shown.stdout.contains("/detail/{{ id }}, under the limits above"), "{}", shown.stdout);
}
