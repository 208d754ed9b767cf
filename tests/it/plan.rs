//! `throng plan`: checks everything, shows the first requests, sends nothing.

use crate::harness::{Place, Throng, plain_mock, symbols, throng};

const KEY: &str = "a-very-secret-key";

fn plan(place: &Place, server: &str) -> Throng {
    let input = place.file("rows.csv", &symbols(500));
    throng("plan")
        .quotes(server)
        .arg("--input", &input)
        .arg("--header", "x-api-key: {{ env.XAPIKEY }}")
        .env("XAPIKEY", KEY)
}

#[test]
fn it_shows_the_first_request_and_sends_nothing() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = plan(&place, &mock.url()).exits(0);
    for said in [
        "500 rows with symbol",
        "row 0:\nGET http://127.0.0.1:",
        "/v6/finance/quote/?symbols=S0\n",
        "x-api-key: ***\n",
        "symbols=S2\n",
        "stdout",
    ] {
        assert!(ended.stdout.contains(said), "no {said:?} in {}", ended.stdout);
    }
    assert_eq!((ended.stderr.as_str(), mock.judgement().requests), ("", 0));
}

#[test]
fn it_tells_the_least_time() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = plan(&place, &mock.url()).flags("--rate 22/5s").exits(0);
    // 500 rows are 22 full windows and a rest, which goes after the 22nd.
    assert!(ended.stdout.contains("22/5s (strict)"), "{}", ended.stdout);
    assert!(ended.stdout.contains("at least 110 s"), "{}", ended.stdout);
    let ended = plan(&place, &mock.url()).exits(0);
    assert!(ended.stdout.contains("no limit"), "{}", ended.stdout);
}

#[test]
fn a_host_that_is_not_local_and_has_no_limit_or_a_profile_is_named_once() {
    let notes = |url: &str, flags: &str| -> Vec<String> {
        let ended = throng("plan").arg("--url", url).flags(flags).exits(0);
        let notes = ended.stdout.lines().filter_map(|line| line.strip_prefix("note"));
        notes.map(|note| note.trim().to_owned()).collect()
    };
    let github = "https://api.github.com/rate_limit";
    let unlimited =
        "no limit is set (limit.rate or --rate): api.example is asked as fast as it answers";
    for (url, flags, expected) in [
        ("https://api.example/1", "", &[unlimited][..]),
        ("https://api.example/1", "--rate 5/1s", &[]),
        ("http://127.0.0.1:1/", "", &[]),
        (
            github,
            "",
            &[
                "no limit is set, and there is a profile with those of api.github.com: --api github (throng profiles shows it)",
            ],
        ),
        (
            github,
            "--rate 5/1s",
            &[
                "there is a profile with the limits and refusals of api.github.com: --api github (throng profiles shows it)",
            ],
        ),
        (github, "--api github", &[]),
        (
            "https://a.myshopify.com/",
            "",
            &[
                "no limit is set, and there is a profile with those of a.myshopify.com: --api shopify or --api shopify-graphql (throng profiles shows it)",
            ],
        ),
    ] {
        assert_eq!(notes(url, flags), expected, "{url} {flags}");
    }
}

#[test]
fn it_never_shows_a_secret_wherever_it_stands() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = plan(&place, &mock.url())
        .arg("--query", "key={{ env.XAPIKEY }}")
        .arg("--header", "x-both: {{ symbol }} {{ env.XAPIKEY }}")
        .arg("--data", "key={{ env.XAPIKEY }}")
        .exits(0);
    assert!(!ended.stdout.contains(KEY), "{}", ended.stdout);
    for said in ["&key=***", "x-both: S0 ***", "\nkey=***"] {
        assert!(ended.stdout.contains(said), "no {said:?} in {}", ended.stdout);
    }
}

#[test]
fn it_finds_what_a_run_would_and_makes_no_file() {
    let (place, mock) = (Place::new(), plain_mock());
    let output = place.path("out.jsonl");
    plan(&place, &mock.url()).arg("--output", &output).exits(0);
    assert!(!std::fs::exists(&output).unwrap());
    std::fs::write(&output, "{\"_row\":0,\"_ok\":true}\n").unwrap();
    let ended = plan(&place, &mock.url()).arg("--output", &output).exits(2);
    ended.says("has 1 row already");
    assert_eq!(ended.stdout, "");
}

#[test]
fn it_leaves_a_pipe_unread() {
    let mock = plain_mock();
    let throng = throng("plan").quotes(&mock.url()).flags("--input -");
    let ended = throng.with_stdin("symbol\nA\n").ends().with_code(0);
    assert!(ended.stdout.contains("rows are counted as they come"), "{}", ended.stdout);
}

#[test]
fn it_hides_a_secret_in_every_form_that_it_takes() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = plan(&place, &mock.url())
        .arg("--query", "key={{ env.XAPIKEY }}")
        .arg("--json", r#"{"key": "{{ env.XAPIKEY }}"}"#)
        .env("XAPIKEY", r#"s3cr_t/x"y"#)
        .exits(0);
    assert!(!ended.stdout.contains("s3cr_t"), "{}", ended.stdout);
    assert!(ended.stdout.contains("&key=***"), "{}", ended.stdout);
    assert!(ended.stdout.contains(r#"{"key":"***"}"#), "{}", ended.stdout);
}

#[test]
fn it_counts_in_words() {
    let (place, mock) = (Place::new(), plain_mock());
    let says = |throng: Throng, what: &str| {
        let said = throng.exits(0).stdout;
        assert!(said.contains(what), "no {what:?} in {said}");
    };
    let url = format!("{}/echo/{{{{ symbol }}}}", mock.url());
    let one = place.file("one.csv", &symbols(1));
    let ask = || throng("plan").arg("--url", &url).arg("--input", &one);
    says(ask(), "one.csv: 1 row with symbol\n");
    says(ask().flags("--rate 1/1s"), "at least 0 s for 1 row; ");
    let once = throng("plan").arg("--url", &format!("{}/list/9", mock.url()));
    says(once, "input     none: the request is the same for all, and sent once\n");
}

#[test]
fn it_shows_the_cost_of_the_rows_and_how_far_a_total_goes() {
    let (place, mock) = (Place::new(), plain_mock());
    let rows: String =
        (0..20).map(|n| format!("{{\"id\": {n}, \"p\": {{\"a\": {n}}}}}\n")).collect();
    let input = place.file("rows.jsonl", &rows);
    let plan = |flags: &[&str]| -> Throng {
        let url = format!("{}/echo/{{{{ id }}}}", mock.url());
        let throng = throng("plan").arg("--url", &url).arg("--input", &input);
        flags.chunks(2).fold(throng, |throng, words| throng.arg(words[0], words[1]))
    };
    let said = plan(&["--rate", "100 usd/run", "--cost", "usd=30"]).exits(0).stdout;
    for line in [
        "time      no limit on the rate, no bound\n",
        "cost      600 usd for 20 rows: 30 per row\n",
        "total     100 usd/run allows 3 of 20 rows; 600 usd wanted, 100 allowed\n",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    let said =
        plan(&["--rate", "1000 tokens/1m", "--cost", "tokens=p | length + id", "-r", "20/run"])
            .exits(0)
            .stdout;
    for line in [
        "cost      210 tokens for 20 rows: 1 to 20 per row, 10.5 on average\n",
        "total     20/run allows all of 20 rows: 20 of 20 requests\n",
        "limit.cost.tokens (--cost): p is an object, so its length is a number of entries, 1 in row 0",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    // Rows that are done cost nothing any more.
    let record = |n: u64| format!("{{\"id\":{n},\"p\":{{\"a\":{n}}},\"_row\":{n},\"_ok\":true}}\n");
    let output = place.file("out.jsonl", &[record(0), record(7)].concat());
    let flags = ["--rate", "100 usd/run", "--cost", "usd=30", "--output", &output];
    let done = plan(&flags).flags("--resume").exits(0).stdout;
    assert!(done.contains("540 usd for 18 rows that are left"), "{done}");
}

#[test]
fn it_shows_no_more_of_a_long_body_than_can_be_looked_at() {
    let (place, mock) = (Place::new(), plain_mock());
    let long = place.file("long.csv", &format!("x\n{}\n", "y".repeat(100_000)));
    let said = throng("plan")
        .arg("--url", &mock.url())
        .arg("--data", "{{ x }}")
        .arg("--input", &long)
        .exits(0)
        .stdout;
    assert!(said.contains("yyy… (98000 bytes more)\n"), "{}", said.len());
}

#[test]
fn it_names_the_limits_of_a_later_step() {
    let (place, mock) = (Place::new(), plain_mock());
    let job = format!(
        "[request]\nurl = \"{0}/list/9\"\n[items]\neach = \".items[]\"\n[extract]\nid = \".id\"\n\
         [[step]]\nrequest.url = \"{0}/detail/{{{{ id }}}}\"\nlimit.rate = \"20/1s\"\n",
        mock.url()
    );
    let job = place.file("job.toml", &job);
    let said = throng("plan").flags(&job).exits(0).stdout;
    assert!(said.contains("/detail/{{ id }}, under 20/1s\n"), "{said}");
}

/// The least time for a row more than ten windows of a profile that spreads its requests.
fn least_time(job: &str, flags: &str) -> String {
    let place = Place::new();
    let input = place.file("rows.csv", &symbols(101));
    let job = place.file("job.toml", job);
    let ended = throng("plan")
        .flags(&job)
        .arg("--url", "https://efts.sec.gov/{{ symbol }}")
        .arg("--header", "User-Agent: Me me@example.com")
        .arg("--input", &input)
        .flags(flags)
        .exits(0);
    let line = ended.stdout.lines().find(|line| line.starts_with("time"));
    line.unwrap().to_owned()
}

#[test]
fn what_is_written_goes_before_the_profile_also_where_it_is_the_default() {
    for (job, flags, time) in [
        ("api = \"edgar\"", "", "at least 12.5 s"),
        ("api = \"edgar\"", "--shape auto", "at least 10 s"),
        ("api = \"edgar\"\nlimit.shape = \"auto\"", "", "at least 10 s"),
        ("limit.shape = \"auto\"", "--api edgar", "at least 10 s"),
        ("limit.shape = \"auto\"", "--api edgar --shape spread", "at least 12.5 s"),
    ] {
        let said = least_time(job, flags);
        assert!(said.contains(time), "{job} {flags}: {said}");
    }
}
