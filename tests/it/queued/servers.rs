//! Stores with TLS and users, clusters, and services of sentinels.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use throng_mock::ServerCertificate;

use super::redis::Redis;
use super::{Machines, end};
use crate::harness::{Place, Throng, free_port, repetitions, throng, until};

/// What the documentation says a user of the store needs.
const USER: [&str; 8] =
    ["SETUSER", "lab", "on", ">hush", "~throng:*", "+@all", "-@dangerous", "+info"];

#[test]
fn a_store_is_reached_by_tls_as_a_user_of_few_rights() {
    let place = Place::new();
    let own = ServerCertificate::self_signed(["127.0.0.1"]).unwrap();
    let (certificate, key) =
        (place.file("tls.pem", &own.certificate), place.file("key.pem", &own.key));
    let port = free_port().to_string();
    let mut machines = Machines::new(40, "100/1s", "0");
    let tls = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let more = ["--tls-auth-clients", "no", "--appendonly", "yes"];
    machines.redis = Redis::with(&[&tls[..], &more].concat());
    machines.redis.ask(&[&["ACL"], &USER[..]].concat());
    let url = format!("rediss://lab@127.0.0.1:{port}");
    let with = |command: Throng| {
        command.env("SSL_CERT_FILE", &certificate).env("THRONG_REDIS_PASSWORD", "hush")
    };
    let worker = || throng("worker").operand(&url).flags("--workers 1");
    let untrusted = worker().env("THRONG_REDIS_PASSWORD", "hush").exits(3);
    untrusted.says("certificate");
    let workers = vec![with(worker()).start()];
    with(machines.collector_on(&url)).exits(0);
    machines.is_whole();
    let jobs = with(throng("jobs").operand(&url)).exits(0).stdout;
    assert!(jobs.contains("done, 40 of 40 rows"), "{jobs}");
    end(workers);
}

/// Two servers, each with half of the slots.
fn cluster() -> [Redis; 2] {
    // The usual port between servers is that for clients and 10,000, where another program may listen.
    let ports = [free_port(), free_port()].map(|port| port.to_string());
    let node = |port: &str| {
        Redis::with(&["--cluster-enabled", "yes", "--cluster-port", port, "--appendonly", "yes"])
    };
    let nodes = [node(&ports[0]), node(&ports[1])];
    nodes[0].ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    nodes[1].ask(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    nodes[1].ask(&["CLUSTER", "SET-CONFIG-EPOCH", "2"]);
    nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port().to_string(), &ports[1]]);
    for node in &nodes {
        until("a cluster", || node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
        until("its nodes", || node.ask(&["CLUSTER", "INFO"]).contains("cluster_slots_ok:16384"));
    }
    nodes
}

#[test]
fn the_keys_of_a_job_are_on_one_server_of_a_cluster_which_is_found_from_any() {
    let [one, other] = cluster();
    let slots = |job: &str| -> BTreeSet<String> {
        let keys = throng_redis::JobKeys::of(job);
        keys.all().iter().map(|key| one.ask(&["CLUSTER", "KEYSLOT", key])).collect()
    };
    let slot = |job: &str| slots(job).into_iter().next().unwrap().parse::<u16>().unwrap();
    let mut names = (0..99).map(|number| format!("job-{number}"));
    assert!(names.clone().all(|name| slots(&name).len() == 1));
    // A job whose server is the other one than that of its name in the list of jobs.
    let list: u16 = one.ask(&["CLUSTER", "KEYSLOT", "throng:jobs"]).parse().unwrap();
    let name = names.find(|name| (slot(name) < 8_192) != (list < 8_192)).unwrap();
    let mut machines = Machines::new(200, "400/1s", "0");
    let urls = [one.url(), other.url()];
    machines.redis = one;
    let workers: Vec<_> = urls.iter().map(|url| throng("worker").operand(url).start()).collect();
    machines.collector_on(&urls[0]).arg("--name", &name).exits(0);
    machines.is_whole();
    for url in &urls {
        let jobs = throng("jobs").operand(url).exits(0).stdout;
        assert!(jobs.contains(&format!("{name}: done, 200 of 200 rows")), "{jobs}");
    }
    end(workers);
}

/// A sentinel that goes with its test, of the service `main`.
struct Sentinel {
    child: Child,
    port: u16,
    _place: Place,
}

impl Sentinel {
    /// With more settings, each a line.
    fn of(primary: &Redis, more: &str) -> Sentinel {
        let (place, port) = (Place::new(), free_port());
        let settings = format!("sentinel monitor main 127.0.0.1 {} 1\n{more}", primary.port());
        let settings = place.file("sentinel.conf", &settings);
        let mut sentinel = Command::new("redis-server");
        sentinel.args([&settings, "--sentinel", "--port", &port.to_string()]);
        sentinel.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Sentinel { child: sentinel.spawn().unwrap(), port, _place: place }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_primary_of_a_service_is_the_one_that_sentinels_name() {
    let machines = Machines::new(40, "100/1s", "0");
    let sentinel = Sentinel::of(&machines.redis, "");
    let port = sentinel.port;
    let url = |service: &str| format!("redis+sentinel://localhost,127.0.0.1:{port}/{service}");
    let jobs = |service: &str| throng("jobs").operand(&url(service)).ends();
    until("a sentinel", || jobs("main").code == Some(0));
    jobs("other").with_code(2).says("no sentinel knows a service of this name");
    let workers = vec![throng("worker").operand(&url("main")).start()];
    machines.collector_on(&url("main")).exits(0);
    machines.is_whole();
    end(workers);
}

#[test]
fn a_replica_takes_the_place_of_a_primary_that_is_killed() {
    if repetitions(0, 1) == 0 {
        return;
    }
    let machines = Machines::new(3_000, "300/1s", "20ms");
    let port = machines.redis.port().to_string();
    let replica = Redis::with(&["--appendonly", "yes", "--replicaof", "127.0.0.1", &port]);
    until("a replica", || replica.ask(&["INFO", "replication"]).contains("master_link_status:up"));
    let times = "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n";
    let sentinel = Sentinel::of(&machines.redis, times);
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port);
    until("a sentinel", || throng("jobs").operand(&url).ends().code == Some(0));
    let ask = |command: &[&str]| {
        let mut cli = Command::new("redis-cli");
        let cli = cli.args(["-p", &sentinel.port.to_string()]).args(command);
        String::from_utf8_lossy(&cli.output().unwrap().stdout).into_owned()
    };
    until("the replica", || {
        ask(&["SENTINEL", "REPLICAS", "main"]).contains("master-link-status\nok")
    });
    let worker = || throng("worker").operand(&url).flags("--workers 1").start();
    let mut workers = vec![worker(), worker()];
    let collector = machines.collector_on(&url).flags("--lease 2s --chunk 50").start();
    machines.until_requests(900);
    machines.redis.signal("-KILL");
    machines.until_requests(1_800);
    workers.push(worker());
    collector.ends().with_code(0);
    machines.is_whole();
    let primary = ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
    assert!(primary.contains(&replica.port().to_string()), "{primary}");
    end(workers);
}
