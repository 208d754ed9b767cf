//! Servers that are away for a while: rows wait for them, unasked and unfailed.

use std::fs;
use std::process::Command;
use std::time::Duration;

use throng_mock::{Judgement, Mock, Settings};

use crate::gateway::{Gateway, Way};
use crate::harness::{
    Ended, Place, Running, Throng, assert_one_record_per_row, each, free_port, mock, plain_mock,
    run, until,
};
use crate::recorder::{Recorder, answer, json};

const ROWS: usize = 60;
const LIMIT: &str = "10/500ms";

/// An outage is seen soon, and no row is tried again for its own sake.
const SOON: &str = "--retries 0 --outage-after 200ms --outage-failures 3 --timeout 300ms \
                    --connect-timeout 300ms --linger 100ms --workers 2 --concurrency 10";

fn limited() -> Mock {
    mock(Settings { limits: vec![LIMIT.parse().unwrap()], ..Settings::default() })
}

fn ask(place: &Place, server: &str) -> Throng {
    run()
        .quotes(server)
        .files(place, ROWS, "out.jsonl")
        .flags(SOON)
        .flags("--rate")
        .flags(LIMIT)
        .arg("--summary-json", &place.path("summary.json"))
}

fn written(place: &Place) -> usize {
    let text = fs::read_to_string(place.path("out.jsonl"));
    text.unwrap_or_default().matches('\n').count()
}

/// Takes the server away in mid-run, for as long as two probes take.
fn goes_away(way: Way) {
    let (place, mock) = (Place::new(), limited());
    let gateway = Gateway::before(mock.addr());
    let running = ask(&place, &gateway.url()).start();
    until("some records", || written(&place) >= 12);
    gateway.turn(way);
    until("probes in vain", || gateway.age() > Duration::from_millis(3_500));
    let (done, in_vain) = (written(&place), gateway.connections_since_turn());
    gateway.turn(Way::Through);
    let ended = running.ends().with_code(0);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, ROWS);
    assert!(records.iter().all(|record| record["_ok"] == true), "{way:?} {}", ended.stderr);
    assert!(done < ROWS, "{way:?}: it was to go away in mid-run");
    // Those that were on their way, and probes after about 1 and 3 s. An attempt whose
    // connection has ended before anything was written takes others, up to four in all. One more
    // may be on its way where the machine is busy.
    let most = if way == Way::Reset { 4 * (20 + 4) } else { 20 + 4 };
    assert!(in_vain <= most, "{way:?}: {in_vain}");
    let Judgement { refused, .. } = mock.judgement();
    assert_eq!(refused, 0, "{way:?}: the limit is kept when it comes back");
    let summary = place.json("summary.json");
    let causes = summary["causes"].as_array().unwrap();
    let outage = causes.iter().find(|it| it["cause"] == "outage").unwrap();
    assert_eq!(outage["name"], gateway.addr().to_string(), "{way:?}");
}

#[test]
fn rows_wait_for_a_server_that_goes_away_in_one_way_or_another() {
    let ways = [Way::Refuse, Way::Reset, Way::Silence, Way::BadGateway];
    std::thread::scope(|threads| {
        for way in ways {
            threads.spawn(move || goes_away(way));
        }
    });
}

#[test]
fn a_run_without_a_record_does_not_promise_to_be_resumed() {
    let (place, recorder) =
        (Place::new(), Recorder::answering(|_| answer("502 Bad Gateway", &[], "{}")));
    let ended = ask(&place, &recorder.url()).flags("--max-wait 1s").exits(3);
    ended
        .says("status 502 for longer than 1s")
        .says("give the same command again once the server is back");
    assert!(!ended.stderr.contains("--resume"), "{}", ended.stderr);
    assert!(!std::path::Path::new(&place.path("out.jsonl")).exists());
}

#[test]
fn a_server_that_stays_away_stops_the_run_and_resume_goes_on() {
    let (place, mock) = (Place::new(), limited());
    let gateway = Gateway::before(mock.addr());
    let ask = || ask(&place, &gateway.url()).flags("--max-wait 1s");
    let running = ask().start();
    until("some records", || written(&place) >= 12);
    gateway.turn(Way::Refuse);
    let ended = running.ends().with_code(3);
    ended
        .says(&format!("{}: connection refused for longer than 1s", gateway.addr()))
        .says("the same command with --resume goes on");
    let done = place.records("out.jsonl");
    assert!(done.len() < ROWS && done.iter().all(|record| record["_ok"] == true));
    gateway.turn(Way::Through);
    ask().flags("--resume").exits(0);
    let records = place.records("out.jsonl");
    assert_one_record_per_row(&records, ROWS);
    assert_eq!(mock.judgement().symbols.len(), ROWS);
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    let place = Place::new();
    let port = free_port();
    let running = ask(&place, &format!("http://127.0.0.1:{port}")).start();
    std::thread::sleep(Duration::from_millis(700));
    let mock = Mock::start(Settings::default(), ("127.0.0.1", port)).unwrap();
    running.ends().with_code(0);
    let records = place.records("out.jsonl");
    assert_eq!(each(&records, "_attempts"), [1; ROWS], "attempts without a byte do not count");
    assert_eq!(mock.judgement().requests, ROWS as u64);
}

#[test]
fn failures_beside_successes_are_those_of_their_rows() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = (0..ROWS).fold("symbol\n".to_owned(), |text, n| text + &format!("S{n}\n"));
    let ended = run()
        .with_two_statuses(&mock.url(), "502")
        .arg("--input", &place.file("rows.csv", &input))
        .flags(SOON)
        .exits(1);
    let failed: Vec<_> = ended.records().into_iter().filter(|it| it["_ok"] == false).collect();
    assert_eq!(each(&failed, "symbol"), ["S3", "S9"]);
    assert_eq!(mock.judgement().requests, ROWS as u64);
}

#[test]
fn a_run_without_a_breaker_fails_its_rows_as_ever() {
    let recorder = Recorder::answering(|_| answer("502 Bad Gateway", &[], "{}"));
    let place = Place::new();
    run()
        .quotes(&recorder.url())
        .files(&place, ROWS, "out.jsonl")
        .flags("--retries 0 --outage-failures 0")
        .exits(1);
    assert_eq!(each(&place.records("out.jsonl"), "_error"), ["status 502"; ROWS]);
}

#[test]
fn a_name_that_does_not_exist_is_told_at_once_and_looked_up_once() {
    let place = Place::new();
    let trace = place.path("trace");
    let throng = run()
        .arg("--url", "http://nothing.invalid/{{ symbol }}")
        .files(&place, ROWS, "out.jsonl")
        .flags("--workers 2")
        .command();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=openat", "-o", &trace]).arg(throng.get_program());
    traced.args(throng.get_args()).env_clear();
    traced.envs(throng.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = traced.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(
        said.contains("can't be reached: connect: nothing.invalid:80: the name was not found"),
        "{said}"
    );
    assert!(!said.contains("--concurrency"), "{said}");
    assert_eq!(fs::read_to_string(trace).unwrap().matches("\"/etc/hosts\"").count(), 1);
}

/// Names that are in a file of the test, in a mount namespace of its own.
fn with_hosts(throng: Throng, hosts: &str) -> Command {
    let throng = throng.command();
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    command.args(["-rm", "sh", "-c", script, hosts]).arg(throng.get_program());
    command.args(throng.get_args()).env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command.envs(throng.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn a_name_that_goes_in_mid_run_is_waited_for() {
    let (place, mock) = (Place::new(), limited());
    let gateway = Gateway::before(mock.addr());
    let hosts = place.file("hosts", "127.0.0.1 shop.test\n");
    let throng = ask(&place, &format!("http://shop.test:{}", gateway.addr().port()));
    let mut running = with_hosts(throng, &hosts).spawn().unwrap();
    until("some records", || written(&place) >= 12);
    fs::write(&hosts, "").unwrap();
    gateway.turn(Way::Refuse);
    std::thread::sleep(Duration::from_millis(900));
    gateway.turn(Way::Through);
    // It listens again, and its name is still away.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(gateway.connections_since_turn(), 0);
    fs::write(&hosts, "127.0.0.1 shop.test\n").unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert_eq!(each(&place.records("out.jsonl"), "_ok"), [true; ROWS]);
}

#[test]
fn a_server_whose_tls_breaks_in_mid_run_is_waited_for() {
    let tls = throng_mock::ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let (place, mock) =
        (Place::new(), mock(Settings { tls: Some(tls.clone()), ..Settings::default() }));
    let gateway = Gateway::before(mock.addr());
    let url = gateway.url().replace("http:", "https:");
    let running =
        ask(&place, &url).arg("--cacert", &place.file("ca.pem", &tls.certificate)).start();
    until("some records", || written(&place) >= 12);
    gateway.turn(Way::Garbage);
    until("a probe in vain", || gateway.age() > Duration::from_millis(1_700));
    assert!(gateway.connections_since_turn() <= 20 + 1);
    gateway.turn(Way::Through);
    running.ends().with_code(0);
    assert_eq!(each(&place.records("out.jsonl"), "_ok"), [true; ROWS]);
}

fn in_an_outage(place: &Place, gateway: &Gateway, flags: &str) -> Running {
    let running = ask(place, &gateway.url()).flags(flags).start();
    until("some records", || written(place) >= 12);
    gateway.turn(Way::Refuse);
    running
}

#[test]
fn an_outage_ends_with_the_run() {
    let (place, mock) = (Place::new(), limited());
    let gateway = Gateway::before(mock.addr());
    let running = in_an_outage(&place, &gateway, "");
    std::thread::sleep(Duration::from_millis(600));
    running.signal("-INT");
    running.ends().with_code(130).says("--resume");
    let other = Place::new();
    gateway.turn(Way::Through);
    let running = in_an_outage(&other, &gateway, "--deadline 3s");
    running.ends().with_code(3).says("the deadline");
    for place in [place, other] {
        assert!(place.records("out.jsonl").iter().all(|record| record["_ok"] == true));
    }
}

#[test]
fn one_server_of_a_chain_goes_away_and_the_rest_waits_for_it() {
    let (place, mock) = (Place::new(), plain_mock());
    let gateway = Gateway::before(mock.addr());
    gateway.turn(Way::Refuse);
    let job = format!(
        "[request]\nurl = \"{}/echo/{{{{ symbol }}}}\"\n[extract]\npath = \".path\"\n\
         [[step]]\n[step.request]\nurl = \"{}/echo/{{{{ symbol }}}}/more\"\n[step.extract]\nmore = \".path\"\n",
        mock.url(),
        gateway.url(),
    );
    let job = place.file("job.toml", &job);
    let running = run().flags(&job).files(&place, ROWS, "out.jsonl").flags(SOON).start();
    until("the first step's requests", || mock.judgement().requests >= 10);
    std::thread::sleep(Duration::from_millis(300));
    gateway.turn(Way::Through);
    running.ends().with_code(0);
    assert_eq!(each(&place.records("out.jsonl"), "_ok"), [true; ROWS]);
    assert_eq!(mock.judgement().requests, 2 * ROWS as u64);
}

/// Takes a server away in mid-run from rows of several requests, or requests of several rows.
fn goes_away_from(place: &Place, mock: &Mock, path: &str, input: &str, flags: &str) {
    let gateway = Gateway::before(mock.addr());
    let running = run()
        .arg("--url", &format!("{}/{path}", gateway.url()))
        .arg("--input", &place.file("input.csv", input))
        .arg("--output", &place.path("out.jsonl"))
        .flags(&SOON.replace("--retries 0", "--retries 2"))
        .flags("--rate")
        .flags(LIMIT)
        .flags(flags)
        .start();
    until("some records", || written(place) >= 12);
    gateway.turn(Way::Refuse);
    until("a probe in vain", || gateway.age() > Duration::from_millis(1_500));
    gateway.turn(Way::Through);
    let ended = running.ends().with_code(0);
    let records = place.records("out.jsonl");
    assert!(records.iter().all(|record| record["_ok"] == true), "{}", ended.stderr);
    assert_eq!(mock.judgement().refused, 0);
}

#[test]
fn pages_wait_for_a_server_as_well() {
    let (place, mock) = (Place::new(), limited());
    let flags = "--each .items[] --extract id=.id --page page --page-count .pages";
    let input = "total\n".to_owned() + &"50\n".repeat(6);
    goes_away_from(&place, &mock, "list/{{ total }}?size=10", &input, flags);
    let records = place.records("out.jsonl");
    let items = |row: u64| {
        let of_row = records.iter().filter(|it| it["_row"] == row);
        let mut items: Vec<u64> = of_row.map(|it| it["_item"].as_u64().unwrap()).collect();
        items.sort_unstable();
        items
    };
    for row in 0..6 {
        assert_eq!(items(row), (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn batches_wait_for_a_server_as_well() {
    let (place, mock) = (Place::new(), limited());
    let flags = "--query ids={{id|join(',')}} --each .found[] --match id=.id --batch 4";
    let ids: Vec<String> = (0..100).map(|id| format!("A{id}\n")).collect();
    goes_away_from(&place, &mock, "batch", &("id\n".to_owned() + &ids.concat()), flags);
    assert_one_record_per_row(&place.records("out.jsonl"), 100);
}

fn post(place: &Place, server: &str) -> Throng {
    run()
        .arg("--url", &format!("{server}/{{{{ symbol }}}}"))
        .flags("--method POST --data x --extract ok=.ok --retries 3")
        .files(place, 5, "out.jsonl")
}

#[test]
fn a_post_waits_as_well_unless_it_may_have_been_done() {
    let (place, port) = (Place::new(), free_port());
    let running =
        post(&place, &format!("http://127.0.0.1:{port}")).flags("--outage-after 0s").start();
    std::thread::sleep(Duration::from_millis(500));
    let recorder = Recorder::at(&format!("127.0.0.1:{port}"), |_| json("{\"ok\": 1}"));
    running.ends().with_code(0);
    assert_eq!(recorder.came().len(), 5);
    let recorder = Recorder::answering(|_| answer("502 Bad Gateway", &[], "{}"));
    let place = Place::new();
    let ended: Ended = post(&place, &recorder.url()).flags("--outage-failures 2").exits(1);
    assert_eq!(recorder.came().len(), 5, "{}", ended.stderr);
    assert_eq!(each(&place.records("out.jsonl"), "_error"), ["status 502"; 5]);
}

#[test]
fn rows_that_go_one_at_a_time_wait_for_a_server_as_well() {
    let (place, mock) = (Place::new(), plain_mock());
    let gateway = Gateway::before(mock.addr());
    let flags = "--mode sync --workers 1 --rate 20/500ms --retries 1 --outage-failures 5 --outage-after 500ms --linger 0s";
    let running =
        run().quotes(&gateway.url()).files(&place, ROWS, "out.jsonl").flags(flags).start();
    until("some records", || written(&place) >= 12);
    gateway.turn(Way::BadGateway);
    until("a probe in vain", || gateway.age() > Duration::from_millis(2_500));
    let in_vain = gateway.requests_since_turn();
    gateway.turn(Way::Through);
    running.ends().with_code(0);
    assert_eq!(each(&place.records("out.jsonl"), "_ok"), [true; ROWS]);
    // Two of the first row, one of each of the next four, and probes.
    assert!((6..=10).contains(&in_vain), "{in_vain}");
}

#[test]
fn a_row_that_fails_for_ever_delays_no_other_that_goes_one_at_a_time() {
    let (place, mock) = (Place::new(), plain_mock());
    let ended = run()
        .with_two_statuses(&mock.url(), "500")
        .files(&place, ROWS, "out.jsonl")
        .flags("--mode sync --workers 1 --retries 0 --outage-failures 2")
        .exits(1);
    let records = place.records("out.jsonl");
    let failed: Vec<_> = records.into_iter().filter(|it| it["_ok"] == false).collect();
    assert_eq!(each(&failed, "symbol"), ["S3", "S9"], "{}", ended.stderr);
    assert_eq!(mock.judgement().requests, ROWS as u64);
}

#[test]
fn a_run_that_connects_ends_within_its_grace() {
    let tls = throng_mock::ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let settings = Settings { tls: Some(tls.clone()), ..Settings::default() };
    let (place, mock) = (Place::new(), mock(settings));
    let gateway = Gateway::before(mock.addr());
    let running = run()
        .quotes(&gateway.url().replace("http:", "https:"))
        .files(&place, ROWS, "out.jsonl")
        .arg("--cacert", &place.file("ca.pem", &tls.certificate))
        .flags("--rate 10/1s --workers 1 --concurrency 30 --connect-timeout 10m --grace 300ms")
        .start();
    until("some records", || written(&place) >= 10);
    // Rows that wait for the limit lose their connection, and connect anew in its next window.
    gateway.turn(Way::Silence);
    until("a new connection", || gateway.connections_since_turn() >= 1);
    running.signal("-INT");
    running.ends().with_code(130);
}

/// The units of requests that may still arrive come back after the linger: it is the outage that
/// ends the run, and not the limit.
#[test]
fn a_run_that_ends_as_lost_requests_hold_its_limit_names_the_outage() {
    let (place, count) = (Place::new(), std::sync::atomic::AtomicUsize::new(0));
    let server = Recorder::answering(move |_| {
        match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0..5 => json("{}"),
            _ => answer("502 Bad Gateway", &[], "{}"),
        }
    });
    let rows = place.file("rows.csv", &crate::harness::symbols(40));
    let ended = run()
        .arg("--url", &format!("{}/{{{{ symbol }}}}", server.url()))
        .arg("--input", &rows)
        .flags("--rate 5/300ms --max-wait 2s --linger 20s")
        .exits(3);
    let origin = server.addr();
    ended.says(&format!(
        "{origin}: status 502, and the next request would have to wait for 5/300ms"
    ));
    ended.says("hold units of the limit for limit.linger (--linger)");
}
