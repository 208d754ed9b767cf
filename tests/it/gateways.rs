//! Gateways and middlewares that others wrote are the judges of the lines that
//! docs/limits.md names for them: behind a network that delays and reorders, they refuse
//! nothing, and a run takes at most 1.06 of its least possible time. `tests/servers/install`
//! brings them.

use std::ops::RangeInclusive;
use std::process::Command;
use std::thread;

use throng_mock::{ServerLimit, Settings};

use crate::delays::{Delays, Statuses};
use crate::harness::{Ended, Place, Server, free_port, mock, run, throng};

/// The largest part of its least possible time that a run may take.
const MOST: f64 = 1.06;
/// How often a run is tried: the machine may be busy with other things.
const TRIES: u64 = 5;

/// A run before a gateway, with what the gateway answered.
struct Judged {
    statuses: Statuses,
    ended: Ended,
    /// The part of its least possible time that the run took.
    ratio: f64,
}

fn judged(gateway: &Server, line: &str, rows: usize, seed: u64) -> Judged {
    let (place, network) = (Place::new(), Delays::before(gateway.port, seed));
    let numbers: String = (0..rows).map(|number| format!("{number}\n")).collect();
    let ended = run()
        .arg("--url", &format!("{}/page.json?n={{{{ line }}}}", network.url()))
        .arg("--input", &place.file("rows.txt", &numbers))
        .arg("--summary-json", &place.path("summary.json"))
        .flags(line)
        .flags("--retries 0")
        .ends();
    let summary = place.json("summary.json");
    let seconds = |name: &str| summary[name].as_f64().unwrap();
    let ratio = seconds("seconds") / seconds("best_possible_seconds");
    Judged { statuses: network.statuses(), ended, ratio }
}

/// Nothing is refused in any try, and one of them is fast.
#[track_caller]
fn assert_content(line: &str, rows: usize, gateway: impl Fn() -> Server) {
    let mut ratios = Vec::new();
    for seed in 1..=TRIES {
        let Judged { statuses, ended, ratio } = judged(&gateway(), line, rows, seed);
        assert_eq!(statuses, [(200, rows)].into(), "seed {seed}, {line}: {}", ended.stderr);
        ended.with_code(0);
        ratios.push(ratio);
        if ratio <= MOST {
            return;
        }
    }
    panic!("{line}: {ratios:.3?} of the bound");
}

/// nginx with these directives, before files or before a server that it asks.
fn nginx(zone: &str, directives: &str) -> Server {
    let (place, port) = (Place::new(), free_port());
    place.file("page.json", "{}");
    let here = place.path("");
    let here = here.trim_end_matches('/');
    let config = place.file(
        "nginx.conf",
        &format!(
            r#"
        daemon off; worker_processes 1; pid {here}/pid; error_log {here}/error.log;
        events {{ worker_connections 512; }}
        http {{
            access_log off;
            client_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f;
            uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;
            {zone}
            server {{
                listen 127.0.0.1:{port};
                location / {{ root {here}; {directives} }}
            }}
        }}
    "#
        ),
    );
    let mut command = Command::new("nginx");
    command.args(["-c", &config, "-p", here]);
    Server::start(command, port).with(place)
}

#[test]
fn nginx_refuses_nothing_of_a_rate_with_a_burst() {
    let zone = "limit_req_zone $server_port zone=all:64k rate=20r/s;";
    let line = "--rate gcra:20/1s --burst 20";
    thread::scope(|threads| {
        for directives in ["limit_req zone=all burst=20 nodelay;", "limit_req zone=all burst=20;"] {
            threads.spawn(|| assert_content(line, 100, || nginx(zone, directives)));
        }
    });
}

#[test]
fn nginx_refuses_nothing_of_a_rate_without_a_burst() {
    let zone = "limit_req_zone $server_port zone=all:64k rate=10r/s;";
    assert_content("--rate gcra:10/1s", 40, || nginx(zone, "limit_req zone=all;"));
}

#[test]
fn refusals_of_nginx_that_are_taken_for_failures_are_in_the_summary() {
    let zone = "limit_req_zone $server_port zone=all:64k rate=1r/s;";
    let gateway = nginx(zone, "limit_req zone=all;");
    let ended = judged(&gateway, "--rate 50/1s", 5, 1).ended;
    ended
        .says("warning: 503 was taken for a failure, and nginx gives it where limit_req or limit_conn refuses")
        .says(r#"[[refusal]] with status = [503] and pause = "1s" in the job file"#)
        .says(": 4, the first: server: nginx");
}

#[test]
fn nginx_refuses_nothing_of_what_is_in_flight() {
    let slow =
        mock(Settings { latency: "lognormal:100ms:0.4".parse().unwrap(), ..Settings::default() });
    let zone = "limit_conn_zone $server_port zone=all:64k;";
    let directives = format!("limit_conn all 5; proxy_pass {}/echo/;", slow.url());
    assert_content("--in-flight 5", 100, || nginx(zone, &directives));
}

/// HAProxy with a stick table that refuses more than 20 requests in 2 s.
fn haproxy() -> Server {
    haproxy_in("2s")
}

/// HAProxy with a stick table that refuses more than 20 requests in a period.
fn haproxy_in(period: &str) -> Server {
    let (place, port) = (Place::new(), free_port());
    let config = place.file(
        "haproxy.cfg",
        &format!(
            "
defaults
    mode http
    timeout client 1m
    timeout server 1m
    timeout connect 1m
frontend all
    bind 127.0.0.1:{port}
    stick-table type ip size 1k expire 1m store http_req_rate({period})
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 20 }}
    http-request return status 200
"
        ),
    );
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", &config]);
    Server::start(command, port).with(place)
}

#[test]
fn haproxy_refuses_nothing_of_a_counter() {
    assert_content("--rate counter:20/2s", 40, haproxy);
}

#[test]
fn haproxy_refuses_a_window_that_its_documentation_seems_to_name() {
    let statuses = judged(&haproxy(), "--rate 20/2s", 40, 1).statuses;
    assert!(statuses.contains_key(&429), "{statuses:?}");
}

/// The Python package `limits` with a strategy and a rate.
fn python(strategy: &str, rate: &str) -> Server {
    let port = free_port();
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(format!("{root}/target/servers/bin/python"));
    command.arg(format!("{root}/tests/servers/limits_app.py"));
    command.args([&port.to_string(), strategy, rate]);
    Server::start(command, port)
}

#[test]
fn the_python_package_limits_refuses_nothing() {
    thread::scope(|threads| {
        for (strategy, rate, line, rows) in [
            ("moving-window", "20/3 seconds", "--rate 20/3s", 60),
            ("fixed-window", "20/3 seconds", "--rate 20/3s", 60),
            ("fixed-window", "20/3 seconds", "--rate 20/3s@first", 60),
            ("sliding-window-counter", "20/2 seconds", "--rate counter:20/2s", 40),
        ] {
            threads.spawn(move || assert_content(line, rows, || python(strategy, rate)));
        }
    });
}

/// A rate limiter for Express with 20 requests in 3 s, and these headers.
fn express(package: &str, headers: &str) -> Server {
    express_in("3000", package, headers)
}

/// A rate limiter for Express with 20 requests in these milliseconds, and these headers.
fn express_in(millis: &str, package: &str, headers: &str) -> Server {
    let port = free_port();
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/limiters.js"));
    command.args([&port.to_string(), package, "20", millis, headers]);
    Server::start(command, port)
}

#[test]
fn the_limiters_of_express_refuse_nothing() {
    thread::scope(|threads| {
        for (package, headers) in [
            ("express-rate-limit", "draft-6"),
            ("express-rate-limit", "draft-7"),
            ("express-rate-limit", "draft-8"),
            ("rate-limiter-flexible", ""),
        ] {
            threads.spawn(move || {
                assert_content("--rate 20/3s", 60, || express(package, headers));
            });
        }
    });
}

/// A gateway whose limit is looked for: with its rate in a second, and the network before it.
struct Unknown {
    name: &'static str,
    start: fn() -> Server,
    per_second: f64,
    /// How long requests are on their way, in milliseconds.
    way: RangeInclusive<u64>,
    /// The part of the limit that is to be reached after 20 s, where the machine is busy.
    least: f64,
}

const JITTER: RangeInclusive<u64> = 5..=80;

fn nginx_with_burst() -> Server {
    let zone = "limit_req_zone $server_port zone=all:64k rate=20r/s;";
    nginx(zone, "limit_req zone=all burst=20 nodelay;")
}

fn nginx_without_burst() -> Server {
    let zone = "limit_req_zone $server_port zone=all:64k rate=10r/s;";
    nginx(zone, "limit_req zone=all;")
}

impl Unknown {
    /// In a run with `--rate auto`: whether no more than one request in fifty is refused, the
    /// part of the limit that is taken in after 20 s, and the rate for next time.
    fn search(&self, seed: u64) -> (bool, f64, f64) {
        const FOUND: f64 = 20.0;
        let (gateway, place) = ((self.start)(), Place::new());
        let network = Delays::of(self.way.clone(), gateway.port, seed);
        let numbers: String =
            (0..(self.per_second * 25.0) as u32).map(|number| format!("{number}\n")).collect();
        run()
            .arg("--url", &format!("{}/page.json?n={{{{ line }}}}", network.url()))
            .arg("--input", &place.file("rows.txt", &numbers))
            .arg("--summary-json", &place.path("summary.json"))
            .flags("--rate auto")
            .exits(0);
        let answers = network.answers();
        let is_refusal = |status: &u16| matches!(status, 429 | 503);
        let refused = answers.iter().filter(|(_, status)| is_refusal(status)).count();
        let accepted = answers.iter().filter(|(at, status)| *status == 200 && *at >= FOUND);
        let accepted: Vec<f64> = accepted.map(|(at, _)| *at).collect();
        let time = accepted.last().unwrap() - FOUND;
        let found = place.json("summary.json")["limits"][0]["found"]["per_second"].as_f64();
        (
            refused * 50 <= answers.len(),
            accepted.len() as f64 / time / self.per_second,
            found.unwrap() / self.per_second,
        )
    }
}

#[test]
fn a_search_is_seldom_refused_and_finds_nine_tenths_of_a_gateways_limit() {
    let gateways = [
        Unknown {
            name: "nginx with a burst",
            start: nginx_with_burst,
            per_second: 20.0,
            way: JITTER,
            least: 0.9,
        },
        Unknown {
            name: "nginx without a burst",
            start: nginx_without_burst,
            per_second: 10.0,
            way: 0..=1,
            least: 0.9,
        },
        // Each request that is early is refused: jitter leaves 73 % at best.
        Unknown {
            name: "nginx without a burst, over a way that varies",
            start: nginx_without_burst,
            per_second: 10.0,
            way: JITTER,
            least: 0.58,
        },
        // Its counter refuses a twentieth less than its limit, and jitter costs as much again.
        Unknown {
            name: "HAProxy",
            start: || haproxy_in("1s"),
            per_second: 20.0,
            way: JITTER,
            least: 0.85,
        },
        Unknown {
            name: "express-rate-limit",
            start: || express_in("1000", "express-rate-limit", "draft-7"),
            per_second: 20.0,
            way: JITTER,
            least: 0.9,
        },
    ];
    thread::scope(|threads| {
        for gateway in &gateways {
            threads.spawn(|| {
                let mut tries = Vec::new();
                for seed in 1..=TRIES {
                    let (is_seldom, share, found) = gateway.search(seed);
                    tries.push((is_seldom, share, found));
                    if is_seldom
                        && share >= gateway.least
                        && (0.75 * gateway.least..=1.02).contains(&found)
                    {
                        return;
                    }
                }
                panic!("{}: {tries:?}", gateway.name);
            });
        }
    });
}

#[test]
fn a_probe_of_a_gateway_proposes_no_rate_above_its_limit_nor_a_period_below_it() {
    let probed = |gateway: &Server, refusals: u32| {
        let network = Delays::of(0..=1, gateway.port, 1);
        let flags = format!("{}/page.json --refusals {refusals}", network.url());
        throng("probe").flags(&flags).start().ends()
    };
    let found = |probe: Ended| {
        let probe = probe.with_code(0);
        let line = probe.stdout.lines().find(|line| line.starts_with("--rate "));
        line.unwrap_or_else(|| panic!("{}", probe.stdout)).to_owned()
    };
    let line = |gateway: &Server| found(probed(gateway, 3));
    let express = |headers| line(&express_in("5000", "express-rate-limit", headers));
    thread::scope(|threads| {
        threads.spawn(|| assert_eq!(express("draft-7"), "--rate 20/5s"));
        threads.spawn(|| assert_eq!(express("draft-8"), "--rate 20/5s"));
        threads.spawn(|| {
            // Where the machine stands still while the bucket is emptied, more comes back meanwhile
            // than can be known, or so much that the probe says so: then it is looked at again.
            let probes = (0..TRIES).map(|_| probed(&nginx_with_burst(), 3));
            let mut lines = probes.filter(|probe| probe.code == Some(0)).map(found);
            let fits = |line: &String| {
                let burst = line.split_once("--burst ").and_then(|(_, it)| it.parse().ok());
                let is_slower = (0.4..=1.0).contains(&(rate_of(line) / 20.0));
                line.contains("bucket:")
                    && is_slower
                    && burst.is_some_and(|it: u64| (18..=21).contains(&it))
            };
            assert!(lines.any(|line| fits(&line)), "no bucket of 20, 20 a second");
        });
        threads.spawn(|| {
            let line = line(&nginx_without_burst());
            assert!(line.ends_with("--burst 1"), "{line}");
            assert!((0.6..=1.0).contains(&(rate_of(&line) / 10.0)), "{line}");
        });
        // It states no pause, so that each look costs a refusal.
        threads.spawn(|| {
            let line = found(probed(&haproxy(), 6));
            assert!(rate_of(&line) <= 10.0, "{line}");
        });
    });
}

/// The units in a second of a line with `--rate`.
fn rate_of(line: &str) -> f64 {
    let limit: ServerLimit = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    f64::from(limit.units) / limit.period.as_secs_f64()
}
