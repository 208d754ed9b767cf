//! Hosts that rows name: one that can't be reached, or may not be, is its rows' trouble.

use serde_json::{Value, json};

use crate::harness::{Ended, Place, Throng, each, run};
use crate::recorder::Recorder;

/// A server that answers, and hosts that don't.
struct Hosts {
    good: Recorder,
    /// A URL and what its row fails with.
    bad: Vec<(String, &'static str)>,
    flags: String,
}

fn hosts() -> Hosts {
    let good = Recorder::start();
    let (addr, port) = (good.addr(), good.addr().port());
    let tls = throng_mock::ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let stranger = crate::terminator::http1_only(&tls, addr);
    Hosts {
        bad: vec![
            (format!("http://private.example:{port}/"), "input"),
            ("http://dead.invalid:81/".to_owned(), "connect"),
            ("http://127.0.0.1:1/".to_owned(), "connect"),
            (format!("https://{stranger}/"), "tls"),
        ],
        flags: format!(
            "--allow-host {addr} --allow-host private.example:{port} --allow-host dead.invalid:81 \
             --allow-host 127.0.0.1:1 --allow-host {stranger} --retries 0 --connect-timeout 5s \
             --resolve private.example:{port}:127.0.0.1 --workers 1 --concurrency 1 --mode sync"
        ),
        good,
    }
}

impl Hosts {
    fn ask(&self, place: &Place, urls: &[&str]) -> Throng {
        let rows: String = urls.iter().map(|url| format!("{url}\n")).collect();
        run()
            .arg("--url", "{{ url }}")
            .arg("--input", &place.file("rows.csv", &format!("url\n{rows}")))
            .arg("--output", &place.path("out.jsonl"))
            .flags(&self.flags)
    }

    fn bad_urls(&self) -> Vec<&str> {
        self.bad.iter().map(|(url, _)| url.as_str()).collect()
    }

    /// Checks the rows that must have failed, from this one on.
    #[track_caller]
    fn assert_bad(&self, records: &[Value], ended: &Ended) {
        for (record, (url, kind)) in records.iter().zip(&self.bad) {
            assert_eq!(record["_error"], *kind, "{url}: {record} {}", ended.stderr);
        }
    }
}

#[test]
fn a_host_that_can_not_be_reached_fails_its_rows_wherever_they_stand() {
    let (place, hosts) = (Place::new(), hosts());
    let fine = hosts.good.url();
    let bad = hosts.bad_urls();
    let good = vec![fine.as_str(); 20];
    let urls = [&bad[..], &good, &bad, &good, &bad].concat();
    let ended = hosts.ask(&place, &urls).exits(1);
    let records = place.records("out.jsonl");
    assert_eq!(records.len(), urls.len(), "{}", ended.stderr);
    for start in [0, 24, 48] {
        hosts.assert_bad(&records[start..start + 4], &ended);
    }
    let detail = records[0]["_detail"].as_str().unwrap();
    assert!(detail.contains("which is private"), "{detail}");
    let failed = records.iter().filter(|record| record["_ok"] == false);
    assert_eq!(failed.count(), 12);
    assert_eq!(hosts.good.came().len(), 40);
}

#[test]
fn where_no_host_can_be_reached_all_rows_fail() {
    let (place, hosts) = (Place::new(), hosts());
    let ended = hosts.ask(&place, &hosts.bad_urls()).exits(1);
    let records = place.records("out.jsonl");
    assert_eq!(records.len(), 4);
    hosts.assert_bad(&records, &ended);
}

#[test]
fn ready_made_requests_to_other_hosts_are_rows_of_that_kind() {
    let (place, hosts) = (Place::new(), hosts());
    let urls = hosts.bad_urls().into_iter().chain(["/fine"]);
    let rows: String = urls.map(|url| format!("{}\n", json!({ "url": url }))).collect();
    let ask = |base: &str| {
        run()
            .arg("--url", base)
            .arg("--input", &place.file("rows.jsonl", &rows))
            .flags("--format requests")
            .flags(&hosts.flags)
    };
    let ended = ask(&hosts.good.url()).exits(1);
    hosts.assert_bad(&ended.records(), &ended);
    assert_eq!(each(&ended.records(), "_ok")[4], true);
    // The job's own host is not a row's.
    ask("http://127.0.0.1:2").flags("--max-wait 1s").exits(3).says("can't be reached");
}

#[test]
fn what_all_hosts_are_reached_by_stops_the_run_as_ever() {
    let (place, hosts) = (Place::new(), hosts());
    let fine = hosts.good.url();
    let ask = || hosts.ask(&place, &[&fine, &fine]);
    for flags in [
        "--proxy http://127.0.0.1:1".to_owned(),
        "--proxy socks5://127.0.0.1:1".to_owned(),
        format!("--unix-socket {}", place.path("none.sock")),
    ] {
        ask().flags(&flags).exits(3).says("can't be reached");
    }
    ask()
        .flags("--interface 192.0.2.1")
        .exits(2)
        .says("network.interface (--interface) 192.0.2.1: ");
    let mut ask = ask();
    for (key, value) in [
        ("kind", "oauth2"),
        ("token-url", "http://127.0.0.1:1/"),
        ("client-id", "me"),
        ("client-secret", "{{ env.S }}"),
    ] {
        ask = ask.arg("--auth", &format!("{key}={value}"));
    }
    ask.env("S", "secret").flags("--max-wait 1s").exits(3).says("can't be reached");
    assert!(hosts.good.came().is_empty());
}
