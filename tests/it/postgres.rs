//! Runs on several machines that share a limit through PostgreSQL, by the API's count.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use throng_mock::{Mock, ServerCertificate, Settings};

use crate::harness::{
    Ended, Place, Running, Throng, assert_they_hold, free_port, mock, repetitions, run, throng,
    until, until_requests,
};

/// The superuser's password.
const PASSWORD: &str = "hush-hush";

/// A server of a test's own.
struct Postgres {
    child: Child,
    port: u16,
    place: Place,
    settings: Vec<String>,
}

impl Postgres {
    /// Starts a server with these settings.
    fn with(settings: &[&str], place: Place) -> Postgres {
        let port = free_port();
        let password = place.file("password", PASSWORD);
        if is_root() {
            // It refuses to run as root.
            succeeds(Command::new("chown").args(["-R", "postgres", &place.path("")]));
        }
        let mut init = as_server("initdb");
        init.args(["--no-sync", "--username=throng", "--auth=scram-sha-256", "--locale=C"]);
        succeeds(init.arg(format!("--pwfile={password}")).arg("-D").arg(place.path("data")));
        let settings: Vec<String> = settings.iter().map(|it| (*it).to_owned()).collect();
        let child = spawn(&place, port, &settings);
        let postgres = Postgres { child, port, place, settings };
        postgres.is_ready();
        postgres
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    fn is_ready(&self) {
        let port = self.port.to_string();
        until("the server", || {
            let mut ready = Command::new(program("pg_isready"));
            let ready = ready.args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            ready.unwrap().success()
        });
    }

    /// The server's answer to a statement.
    fn ask(&self, statement: &str) -> String {
        let mut psql = Command::new(program("psql"));
        psql.args([&self.url("throng", "postgres"), "-AtXc", statement]);
        let answer = psql.env("PGPASSWORD", PASSWORD).output().unwrap();
        assert!(answer.status.success(), "{answer:?}");
        String::from_utf8_lossy(&answer.stdout).trim().to_owned()
    }

    /// Ends the server as a crash does.
    fn kill(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.child.wait();
    }

    fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.place, self.port, &self.settings);
        self.is_ready();
    }

    /// The server goes on as a replica that has become the primary.
    fn is_promoted(&mut self) {
        self.kill();
        let signal = self.place.file("data/standby.signal", "");
        if is_root() {
            succeeds(Command::new("chown").args(["postgres", &signal]));
        }
        self.child = spawn(&self.place, self.port, &self.settings);
        self.is_ready();
        assert_eq!(self.ask("SELECT pg_promote()"), "t");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(place: &Place, port: u16, settings: &[String]) -> Child {
    let mut server = as_server("postgres");
    server.args(["-D", &place.path("data"), "-p", &port.to_string(), "-h", "127.0.0.1"]);
    server.args(["-c", "unix_socket_directories=", "-c", "shared_buffers=16MB"]);
    for setting in settings {
        server.args(["-c", setting]);
    }
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().unwrap()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// A program that runs as the user of the server.
fn as_server(name: &str) -> Command {
    let program = program(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// Debian has the server's programs apart from others, by version.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut paths: Vec<PathBuf> =
        versions.flatten().map(|it| it.path().join("bin").join(name)).collect();
    paths.retain(|path| path.exists());
    paths.sort();
    paths.pop().unwrap_or_else(|| Path::new(name).to_owned())
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let ended = command.output();
    let ended = ended.unwrap_or_else(|error| panic!("see tests/servers/install: {error}"));
    assert!(ended.status.success(), "{command:?}: {ended:?}");
}

/// Machines that share an account, and an API that counts.
struct Machines {
    place: Place,
    mock: Mock,
    postgres: Postgres,
}

impl Machines {
    fn new(settings: &[&str]) -> Machines {
        let limits = vec!["40/1s".parse().unwrap()];
        let counted = Settings { limits, latency: "20ms".parse().unwrap(), ..Settings::default() };
        let (place, mock) = (Place::new(), mock(counted));
        Machines { place, mock, postgres: Postgres::with(settings, Place::new()) }
    }

    /// A run of its own machine that shares the limit through the store at this URL.
    fn run(&self, machine: usize, rows: usize, url: &str) -> Throng {
        run()
            .quotes(&self.mock.url())
            .files(&self.place, rows, &format!("{machine}.jsonl"))
            .env("XDG_STATE_HOME", &self.place.path(&format!("state{machine}")))
            .arg("--share", url)
            .flags("--rate 40/1s --workers 1 --concurrency 64 --timeout 500ms --linger 100ms")
    }

    fn start(&self, machine: usize, rows: usize) -> Running {
        let url = self.postgres.url("throng", "postgres");
        self.run(machine, rows, &url).env("THRONG_POSTGRES_PASSWORD", PASSWORD).start()
    }
}

#[test]
fn four_machines_keep_one_limit_through_postgres_which_is_killed_and_forgets_nothing() {
    let mut machines = Machines::new(&[]);
    let runs: Vec<_> = (0..4).map(|machine| machines.start(machine, 30)).collect();
    // One that starts while the server is away is an error.
    let has_begun = |machine: usize| {
        let results = machines.place.path(&format!("{machine}.jsonl"));
        std::fs::metadata(results).is_ok_and(|it| it.len() > 0)
    };
    until("a record of each machine", || (0..4).all(has_begun));
    until_requests(&machines.mock, 40);
    let memory =
        |it: &Machines| it.postgres.ask("SELECT version FROM throng_limits WHERE account = ''");
    let before = memory(&machines);
    machines.postgres.restart();
    until_requests(&machines.mock, 100);
    assert_eq!(memory(&machines), before);
    let url = machines.postgres.url("throng", "postgres");
    let show = throng("limit").flags("show").operand(&url);
    let shown = show.env("PGPASSWORD", PASSWORD).exits(0).stdout;
    assert!(shown.contains("40/1s") && shown.contains("leased by "), "{shown}");
    assert_they_hold(&machines.mock, runs);
    assert_eq!(machines.mock.judgement().requests, 120);
}

#[test]
fn what_a_server_may_have_forgotten_counts_as_used() {
    let mut machines = Machines::new(&["fsync=off"]);
    let rows = repetitions(25, 60);
    let mut runs: Vec<_> = (0..2).map(|machine| machines.start(machine, rows)).collect();
    until_requests(&machines.mock, 20);
    machines.postgres.ask("TRUNCATE throng_limits");
    runs.push(machines.start(2, 10));
    if rows > 25 {
        until_requests(&machines.mock, 70);
        machines.postgres.is_promoted();
        runs.push(machines.start(3, 10));
    }
    assert_they_hold(&machines.mock, runs);
}

#[test]
fn a_store_in_postgres_that_can_t_be_used_says_why_without_its_password() {
    let (place, own) = (Place::new(), ServerCertificate::self_signed(["127.0.0.1"]).unwrap());
    let (certificate, key) =
        (place.file("tls.pem", &own.certificate), place.file("key.pem", &own.key));
    succeeds(Command::new("chmod").args(["600", &key]));
    let tls = [format!("ssl_cert_file={certificate}"), format!("ssl_key_file={key}")];
    let mut machines = Machines::new(&[]);
    machines.postgres = Postgres::with(&["ssl=on", &tls[0], &tls[1]], place);
    machines.postgres.ask("CREATE ROLE lab LOGIN PASSWORD 'hush-lab'");
    let url = machines.postgres.url("throng", "postgres");
    let with = |url: &str, password: &str| {
        machines.run(0, 1, url).env("THRONG_POSTGRES_PASSWORD", password)
    };
    let refused = |url: &str, password: &str, why: &str| {
        let ended: Ended = with(url, password).exits(2);
        ended.says(why);
        assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
    };
    refused(&url, "hush-wrong", "it refuses the user or the password");
    refused(&machines.postgres.url("throng:hush", "postgres"), "", "set THRONG_POSTGRES_PASSWORD");
    refused(&machines.postgres.url("throng", "none"), PASSWORD, "database \"none\" does not exist");
    let lab = machines.postgres.url("lab", "postgres");
    refused(&lab, "hush-lab", "GRANT USAGE, CREATE ON SCHEMA public TO lab");
    refused("postgres://me@127.0.0.1:1/lab", PASSWORD, "the store postgres://me@127.0.0.1:1/lab: ");
    let checked = format!("{url}?sslmode=verify-full");
    refused(&checked, PASSWORD, "--share-cacert FILE");
    assert_eq!(machines.mock.judgement().requests, 0);
    with(&checked, PASSWORD).arg("--share-cacert", &certificate).exits(0);
}
