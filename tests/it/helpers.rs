//! Programs in any language that process answers and make requests.

use serde_json::{Value, json};
use throng_mock::Mock;

use crate::harness::{Place, Throng, each, plain_mock, run, symbols, until};

/// Rows, a server, and a helper that is a script in Python.
struct Helped {
    place: Place,
    mock: Mock,
}

impl Helped {
    fn new(rows: usize, script: &str) -> Helped {
        let helped = Helped { place: Place::new(), mock: plain_mock() };
        helped.place.file("rows.csv", &symbols(rows));
        let start =
            "import json, os, sys, time\nfor line in sys.stdin:\n    it = json.loads(line)\n";
        let end = "    print(json.dumps(out), flush=True)\n";
        helped.place.file("helper.py", &format!("{start}{script}{end}"));
        helped
    }

    fn command(&self) -> String {
        format!("python3 '{}'", self.place.path("helper.py"))
    }

    fn run(&self, flag: &str) -> Throng {
        run()
            .env("PATH", &std::env::var("PATH").unwrap())
            .arg("--input", &self.place.path("rows.csv"))
            .arg("--output", &self.place.path("out.jsonl"))
            .arg(flag, &self.command())
            .flags("--workers 1")
    }

    fn processed(&self) -> Throng {
        let url = format!("{}/v6/finance/quote/?symbols={{{{ symbol }}}}", self.mock.url());
        self.run("--process").arg("--url", &url)
    }

    fn records(&self) -> Vec<Value> {
        self.place.records("out.jsonl")
    }
}

/// A helper that takes the price of a quote.
const PRICE: &str = "    quote = json.loads(it['body'])['quoteResponse']['result'][0]
    out = {'values': {'price': quote['regularMarketPreviousClose'], 'seen': it['status']}}
";

#[test]
fn a_helper_makes_the_values_of_each_answer() {
    let helped = Helped::new(50, PRICE);
    helped.processed().flags("--summarize mean(price)").exits(0).says("mean(price)");
    let records = helped.records();
    assert_eq!(each(&records, "seen"), vec![json!(200); 50]);
    assert!(each(&records, "price").iter().all(Value::is_f64), "{records:?}");
    // Another helper would give other values.
    let url = format!("{}/v6/finance/quote/?symbols={{{{ symbol }}}}", helped.mock.url());
    let other = run()
        .arg("--url", &url)
        .arg("--input", &helped.place.path("rows.csv"))
        .arg("--output", &helped.place.path("out.jsonl"))
        .flags("--process cat --resume");
    other.exits(2).says("the response hook changed since");
}

#[test]
fn a_helper_may_fail_a_row_try_it_again_or_give_several_records() {
    let script = "    n = it['number']
    out = {'records': [{'k': 0}, {'k': 1}]} if n == 0 else {'records': []} if n == 1 else \\
        {'error': 'no good'} if n == 2 else {'retry': 'later', 'after': 0.01}
";
    let helped = Helped::new(4, script);
    helped.processed().flags("--process-records --retries 2 --no-brake").exits(1);
    let records = helped.records();
    let of = |row: u64| -> Vec<&Value> {
        records.iter().filter(|record| record["_row"] == row).collect()
    };
    assert_eq!(of(0).iter().map(|it| it["k"].clone()).collect::<Vec<_>>(), [json!(0), json!(1)]);
    assert_eq!((of(1).len(), &of(1)[0]["_ok"]), (1, &json!(true)));
    assert_eq!((&of(2)[0]["_detail"], &of(2)[0]["_attempts"]), (&json!("no good"), &json!(1)));
    assert_eq!((&of(3)[0]["_detail"], &of(3)[0]["_attempts"]), (&json!("later"), &json!(3)));
}

#[test]
fn a_helper_that_crashes_hangs_or_errs_fails_its_row_alone() {
    let script = "    n = it['number']
    if n == 7: sys.exit('out of luck')
    if n == 11: time.sleep(600)
    if n == 13: print('no JSON', flush=True)
    if n == 17: print(json.dumps({'number': 16, 'values': {}}), flush=True)
    out = {'values': {'n': n, 'pid': os.getpid()}}
";
    let helped = Helped::new(20, script);
    let flags = "--helpers 1 --helper-timeout 2s --no-brake";
    helped.processed().flags(flags).exits(1);
    let records = helped.records();
    let failed: Vec<&Value> = records.iter().filter(|record| record["_ok"] == false).collect();
    assert_eq!((records.len(), failed.len()), (20, 4));
    let detail = |row: u64| failed.iter().find(|it| it["_row"] == row).unwrap()["_detail"].as_str();
    let last_words = "ended (exit status: 1); its last line of stderr: out of luck";
    assert!(detail(7).unwrap().contains(last_words), "{:?}", detail(7));
    assert!(detail(11).unwrap().contains("gave no line within 2s"), "{:?}", detail(11));
    assert!(detail(13).unwrap().contains(r#"the helper gave "no JSON"#), "{:?}", detail(13));
    assert!(detail(17).unwrap().contains("the line of number 16 where"), "{:?}", detail(17));
    // No row has the line of the row before it.
    let ok = records.iter().filter(|record| record["_ok"] == true);
    assert!(ok.clone().all(|record| record["n"] == record["_row"]), "{records:?}");
    let pids: std::collections::BTreeSet<_> =
        records.iter().filter_map(|record| record["pid"].as_u64()).collect();
    assert_eq!(pids.len(), 5, "a new helper after each: {pids:?}");
}

#[test]
fn a_helper_makes_requests_and_fails_rows_before_they_are_sent() {
    let script = "    if it['number'] == 2: out = {'error': 'nothing to ask'}
    else: out = {'url': os.environ['BASE'] + '/v6/finance/quote/?symbols=' + it['row']['symbol']}
";
    let helped = Helped::new(5, script);
    let host = helped.mock.url();
    helped
        .run("--render")
        .env("BASE", &host)
        .arg("--allow-host", host.trim_start_matches("http://"))
        .flags("--extract price=.quoteResponse.result[0].regularMarketPreviousClose --no-brake")
        .exits(1);
    let records = helped.records();
    let third = records.iter().find(|record| record["_row"] == 2).unwrap();
    assert_eq!((&third["_error"], &third["_detail"]), (&json!("input"), &json!("nothing to ask")));
    assert_eq!(records.iter().filter(|record| record["price"].is_f64()).count(), 4);
    assert_eq!(helped.mock.judgement().requests, 4);
}

#[test]
fn no_secret_reaches_a_helper_unless_the_job_says_so() {
    let script = "    out = {'values': {'env': sorted(os.environ), 'all': json.dumps(it)}}
";
    let helped = Helped::new(1, script);
    let with_secrets = |throng: Throng| {
        throng
            .env("API_TOKEN", "T0KEN-T0KEN")
            .env("OTHER", "T0KEN-T0KEN")
            .env("PLAIN", "plain")
            .arg("--header", "x-api-key: {{ env.API_TOKEN }}")
            .flags("--query key={{env.API_TOKEN}} --overwrite")
    };
    let seen = |record: &Value| -> Vec<String> {
        let names = record["env"].as_array().unwrap().iter();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    with_secrets(helped.processed()).exits(0);
    let record = &helped.records()[0];
    let names = seen(record);
    assert!(names.contains(&"PLAIN".into()) && !names.contains(&"API_TOKEN".into()), "{names:?}");
    assert!(!names.contains(&"OTHER".into()), "{names:?}");
    assert!(!record["all"].as_str().unwrap().contains("T0KEN"), "{record}");
    with_secrets(helped.processed()).flags("--helper-env API_TOKEN").exits(0);
    assert!(seen(&helped.records()[0]).contains(&"API_TOKEN".into()));
}

#[test]
fn helpers_end_with_their_run_and_not_by_a_ctrl_c_of_their_own() {
    let script = "    open(it['row']['symbol'] + '.pid', 'w').write(str(os.getpid()))
    time.sleep(0.2)
    out = {'values': {'n': 1}}
";
    let helped = Helped::new(30, script);
    let directory = helped.place.path("");
    let running = helped.processed().in_directory(&directory).flags("--helpers 2").start();
    let pids = || -> Vec<String> {
        let files = std::fs::read_dir(&directory).unwrap().flatten();
        let pids = files.filter(|it| it.file_name().to_string_lossy().ends_with(".pid"));
        pids.filter_map(|it| std::fs::read_to_string(it.path()).ok()).collect()
    };
    until("helpers at work", || pids().len() >= 4);
    running.signal("-INT");
    running.ends().with_code(130);
    let failed = helped.records().iter().filter(|record| record["_ok"] == false).count();
    assert_eq!(failed, 0);
    let lives = |pid: &String| std::path::Path::new(&format!("/proc/{pid}")).exists();
    until("no helper left", || !pids().iter().any(lives));
    helped.processed().in_directory(&directory).flags("--resume --helpers 2").exits(0);
    assert_eq!(helped.records().len(), 30);
}
