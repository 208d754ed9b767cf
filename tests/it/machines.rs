//! Runs on several machines, which have nothing in common but a limit server, by the API's count:
//! no window over the limit, and nothing refused.

use std::io::{Read, Write, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use throng_mock::{Mock, ServerCertificate, Settings};

use crate::harness::{
    Place, Running, Throng, assert_never_over, free_port, mock, repetitions, run, symbols, throng,
    until,
};

/// Machines that share an account, the server of their limits, and an API that counts.
struct Machines {
    place: Place,
    mock: Mock,
    server: Option<Running>,
}

impl Machines {
    fn new(limit: &str) -> Machines {
        let settings = Settings {
            limits: vec![limit.parse().unwrap()],
            latency: "20ms".parse().unwrap(),
            ..Settings::default()
        };
        let mut machines = Machines { place: Place::new(), mock: mock(settings), server: None };
        machines.place.file("rows.csv", &symbols(100_000));
        machines.begin_server();
        machines
    }

    fn socket(&self) -> String {
        self.place.path("limits.sock")
    }

    fn begin_server(&mut self) {
        let state = self.place.path("limits");
        let server = throng("limit").flags("serve").arg("--state", &state);
        let server = server.arg("--listen", &format!("unix:{}", self.socket())).start();
        until("the limit server listens", || {
            std::os::unix::net::UnixStream::connect(self.socket()).is_ok()
        });
        self.server = Some(server);
    }

    fn kill_server(&mut self) {
        let server = self.server.take().unwrap();
        server.signal("-KILL");
        server.ends();
    }

    /// A run on the machine with this number.
    fn run(&self, rate: &str, machine: usize, rows: usize) -> Throng {
        self.run_for(rate, machine, rows).flags("--timeout 3s --linger 1s")
    }

    /// A run that says nothing of how long a request may be under way.
    fn run_for(&self, rate: &str, machine: usize, rows: usize) -> Throng {
        run()
            .env("XDG_STATE_HOME", &self.place.path(&format!("state{machine}")))
            .quotes(&self.mock.url())
            .arg("--input", &self.place.path("rows.csv"))
            .arg("--output", &self.place.path(&format!("{machine}.jsonl")))
            .arg("--rate", rate)
            .arg("--take", &rows.to_string())
            .arg("--share", &format!("unix:{}", self.socket()))
            .flags("--workers 1 --concurrency 64")
    }

    #[track_caller]
    fn held(&self, requests: u64) {
        assert_never_over(&self.mock);
        assert_eq!(self.mock.judgement().requests, requests);
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.signal("-TERM");
            server.ends();
        }
    }
}

#[test]
fn four_machines_keep_one_limit_and_each_has_a_part_of_it() {
    // None is through before the others have begun: a run has more rows than a period has units.
    for (rate, rows) in [("22/1s", 30), ("1000/1s", 1_100)] {
        let machines = Machines::new(rate);
        let runs: Vec<Running> =
            (0..4).map(|machine| machines.run(rate, machine, rows).start()).collect();
        for ended in runs.into_iter().map(Running::ends) {
            ended.with_code(0).says("shared with 3 other runs");
        }
        machines.held(4 * rows as u64);
        let shown = throng("limit").flags("show").operand(&format!("unix:{}", machines.socket()));
        let shown = shown.exits(0).stdout;
        assert!(shown.contains(rate), "{shown}");
    }
}

#[test]
fn shards_that_share_a_limit_are_not_held_to_a_part_of_it() {
    // Three units can't be divided among four shards.
    let machines = Machines::new("3/300ms");
    let shard = |index| machines.run("3/300ms", index, 12).arg("--shard", &format!("{index}/4"));
    let runs: Vec<Running> = (1..=4).map(|index| shard(index).start()).collect();
    for ended in runs.into_iter().map(Running::ends) {
        ended.with_code(0);
    }
    machines.held(12);
}

#[test]
fn a_server_that_is_killed_and_a_run_that_is_killed_or_stopped_break_no_limit() {
    let mut machines = Machines::new("40/1s");
    let rows = repetitions(120, 1_000);
    let runs: Vec<Running> =
        (0..3).map(|machine| machines.run("40/1s", machine, rows).start()).collect();
    let requests = |machines: &Machines| machines.mock.judgement().requests;
    for step in 1..=repetitions(3, 12) as u64 {
        until("some more requests", || requests(&machines) >= 60 * step);
        machines.kill_server();
        let beside = machines.run("40/1s", 3 + step as usize, 1_000).start();
        machines.begin_server();
        // It has begun, and is stopped for longer than its lease lasts.
        let before = requests(&machines);
        until("some more requests", || requests(&machines) >= before + 20);
        beside.signal("-STOP");
        until("some more requests", || requests(&machines) >= before + 50);
        beside.signal("-CONT");
        beside.signal("-KILL");
        beside.ends();
    }
    for run in runs {
        run.ends().with_code(0);
    }
    let judged = machines.mock.judgement();
    assert!(judged.requests >= 3 * rows as u64, "{judged:?}");
    machines.held(judged.requests);
}

/// What becomes of the third connection through a proxy.
#[derive(Clone, Default)]
struct ThirdConnection(Arc<AtomicUsize>);

const BEGUN: usize = 1;
const LET_GO: usize = 2;

impl ThirdConnection {
    fn becomes(&self, state: usize) {
        self.0.store(state, Ordering::SeqCst);
    }

    fn until(&self, state: usize) {
        until("the third connection", || self.0.load(Ordering::SeqCst) == state);
    }
}

/// A SOCKS 5 proxy. It closes its first two connections once the first one has had an answer; the
/// third one waits for leave, and those that follow are as any other.
fn holding_proxy(third: ThirdConnection) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let open = |client: &mut TcpStream| {
        client.read_exact(&mut [0; 3]).ok()?;
        client.write_all(&[5, 0]).ok()?;
        let mut asked = [0; 10];
        client.read_exact(&mut asked).ok()?;
        client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).ok()?;
        TcpStream::connect(("127.0.0.1", u16::from_be_bytes([asked[8], asked[9]]))).ok()
    };
    let pass_on = |client: TcpStream, server: TcpStream| {
        let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
        thread::spawn(move || copy(&mut from, &mut to));
        copy(&mut &client, &mut &server).ok()
    };
    thread::spawn(move || -> Option<()> {
        // The first row has a connection and a permit at once, the second one a connection.
        let mut first = listener.accept().ok()?.0;
        let mut server = open(&mut first)?;
        let mut second = listener.accept().ok()?.0;
        let idle = open(&mut second)?;
        let mut bytes = vec![0; 65_536];
        let request = first.read(&mut bytes).ok()?;
        server.write_all(&bytes[..request]).ok()?;
        let answer = server.read(&mut bytes).ok()?;
        first.write_all(&bytes[..answer]).ok()?;
        drop((first, server, second, idle));
        let mut held = listener.accept().ok()?.0;
        third.becomes(BEGUN);
        third.until(LET_GO);
        loop {
            let server = open(&mut held)?;
            thread::spawn(move || pass_on(held, server));
            held = listener.accept().ok()?.0;
        }
    });
    addr
}

/// A run has a permit and waits for its connection, when it is stopped for so long that the server
/// of the limits takes it for dead, and gives its unit to another run.
#[test]
fn a_permit_from_before_a_long_stop_is_not_used_after_it() {
    let rate = "1/500ms";
    let machines = Machines::new(rate);
    let run = |machine, rows| {
        machines.run_for(rate, machine, rows).flags("--timeout 700ms --linger 100ms")
    };
    let third = ThirdConnection::default();
    let proxy = holding_proxy(third.clone());
    let stopped = run(0, 2).arg("--proxy", &format!("socks5://{proxy}"));
    let stopped = stopped.flags("--connect-timeout 60s --retries 0").start();
    third.until(BEGUN);
    stopped.signal("-STOP");
    let other = run(1, 1).start();
    until("the unit is another run's", || machines.mock.judgement().requests > 1);
    third.becomes(LET_GO);
    stopped.signal("-CONT");
    other.ends().with_code(0);
    stopped.ends().with_code(0);
    machines.held(3);
    let records = machines.place.records("0.jsonl");
    assert!(records.iter().all(|record| record["_attempts"] == 1), "{records:?}");
}

#[test]
fn a_run_whose_server_is_gone_sends_nothing_until_it_is_back_and_says_so() {
    let mut machines = Machines::new("1000/1s");
    let run = machines.run("20/1s", 0, 60).start();
    until("its first window", || machines.mock.judgement().requests >= 20);
    machines.kill_server();
    // Its units were leased before: at most those of its window are sent.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let before = machines.mock.judgement().requests;
    assert!(before <= 40, "{before}");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(machines.mock.judgement().requests, before);
    machines.begin_server();
    run.ends().with_code(0).says("the store of the shared limits did not answer");
}

#[test]
fn a_server_that_refuses_or_is_none_is_told_before_anything_is_sent() {
    let (place, api) = (Place::new(), mock(Settings::default()));
    place.file("rows.csv", &symbols(1));
    let shared = |url: &str| {
        let run = run().quotes(&api.url()).arg("--input", &place.path("rows.csv"));
        run.flags("--rate 5/1s").arg("--share", url)
    };
    let port = free_port();
    shared(&format!("http://127.0.0.1:{port}")).exits(2).says("does not answer");
    shared(&api.url()).exits(2).says("is no limit server of throng");
    shared("http://limits.example:8098").exits(2).says("--tls-cert");
    shared("https://user:pass@limits.example").exits(2).says("--share-token");
    shared("somewhere").exits(2).says("machine, none, the URL of a limit server");
    throng("limit").flags("serve --listen 0.0.0.0:0").exits(2).says("--token env:NAME");
    throng("limit").flags("serve --listen 127.0.0.1:0 --token secret").exits(2).says("env:NAME");

    let tls = ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let (cert, key) = (place.file("cert.pem", &tls.certificate), place.file("key.pem", &tls.key));
    let server = throng("limit")
        .flags("serve --state none --token env:TOKEN")
        .arg("--listen", &format!("127.0.0.1:{port}"))
        .arg("--tls-cert", &cert)
        .arg("--tls-key", &key)
        .env("TOKEN", "right")
        .start();
    until("the limit server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let url = format!("https://127.0.0.1:{port}");
    shared(&url).exits(2).says("self-signed");
    let trusting = |token: &str| {
        let run = shared(&url).arg("--share-cacert", &cert).env("THRONG_LIMIT_TOKEN", token);
        run.flags("--linger 100ms --timeout 1s")
    };
    trusting("wrong").exits(2).says("the token is not that of this server");
    let ended = trusting("right").exits(0);
    assert!(!ended.stderr.contains("right"), "{}", ended.stderr);
    server.signal("-TERM");
    server.ends();
}

/// The example of the page, which another program could send.
#[test]
fn the_example_of_the_page_leases_units_by_curl() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limit-server.md");
    let page = std::fs::read_to_string(page).unwrap();
    let command = page.split("```bash\n").nth(1).unwrap().split("```").next().unwrap();
    let machines = Machines::new("22/5s");
    let socket = machines.socket();
    let command = command.replace("curl ", &format!("curl --unix-socket {socket} "));
    let ask = |command: &str| -> Value {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let first = ask(&command);
    assert_eq!(first["answers"][0]["units"], 5, "{first}");
    assert_eq!(ask(&command), first, "the same exchange has the same answer");
    let later = command.replace("\"sequence\": 1", "\"sequence\": 2");
    let later = later.replace("\"wanted\": 5", "\"wanted\": 30, \"least\": 20, \"kept\": 5");
    assert_eq!(ask(&later)["answers"][0]["later"], json!(true));
    assert!(ask(&command)["error"].as_str().unwrap().contains("later exchange"));
}

#[test]
fn requests_that_are_wrong_are_refused_by_name() {
    let machines = Machines::new("22/5s");
    let ask = |method: &str, path: &str, body: &str| -> (String, Value) {
        let mut stream = std::os::unix::net::UnixStream::connect(machines.socket()).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].to_owned(), serde_json::from_str(body).unwrap())
    };
    let request = |request: Value| json!({"run": "a", "sequence": 1, "requests": [request]});
    for (body, said) in [
        (json!({}), "missing field"),
        (request(json!({"account": "a", "limit": "fast"})), "limit \"fast\""),
        (request(json!({"limit": "5/1s"})), "account is a name"),
        (request(json!({"account": "a", "limit": "5/1s", "want": 1})), "unknown field"),
    ] {
        let (status, answer) = ask("POST", "/v1/lease", &body.to_string());
        assert_eq!(status, "400");
        assert!(answer["error"].as_str().unwrap().contains(said), "{answer}");
    }
    assert_eq!(ask("GET", "/v2/lease", "").0, "404");
    assert_eq!(ask("GET", "/v1/lease", "").0, "405");
}
