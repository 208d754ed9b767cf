//! What is on the screen of a terminal while a run goes on: the two lines, the full view, and
//! the view of another process.

use std::thread;

use serde_json::Value;
use throng_mock::{Mock, Settings};

use crate::harness::{Place, Running, Terminal, Throng, mock, run, throng};

/// Five requests a second, each of which takes 20 ms. S3 and S9 fail.
struct Job {
    place: Place,
    mock: Mock,
}

impl Job {
    fn new() -> Job {
        let settings = Settings { latency: "20ms".parse().unwrap(), ..Settings::default() };
        Job { place: Place::new(), mock: mock(settings) }
    }

    fn run(&self, rows: usize) -> Throng {
        self.run_to(rows, "out.jsonl")
    }

    fn run_to(&self, rows: usize, output: &str) -> Throng {
        let throng = run().with_two_statuses(&self.mock.url(), "404");
        self.here(throng.files(&self.place, rows, output).flags("--rate 5/1s"))
    }

    /// With the state directory of this job, whose path is short enough for sockets.
    fn here(&self, throng: Throng) -> Throng {
        throng.env("XDG_STATE_HOME", &self.place.path("state"))
    }

    /// A run in the background that `throng top` sees.
    fn in_background(&self, rows: usize) -> Running {
        let running = self.run(rows).start();
        crate::harness::until("its socket", || !self.runs().is_empty());
        running
    }

    fn runs(&self) -> String {
        self.here(throng("top").flags("--list")).exits(0).stdout
    }

    /// The run as another process is told of it.
    fn snapshot(&self) -> Value {
        let ended = self.here(throng("top").flags("--json")).exits(0);
        serde_json::from_str(&ended.stdout).unwrap()
    }
}

/// The place of the first live line among the lines of the screen.
fn first_live(lines: &[String]) -> Option<usize> {
    lines.iter().position(|line| line.contains(" of 60 rows (") || line.contains("/60"))
}

fn has_bar(lines: &[String]) -> bool {
    lines.iter().any(|line| line.contains(['━', '╌']))
}

#[test]
fn two_lines_are_cut_by_what_matters_and_leave_nothing_behind() {
    // Each run goes on for some seconds, so that a busy machine shows a failure before its end.
    thread::scope(|threads| {
        for (columns, rows) in [(80, 24), (120, 40), (200, 50)] {
            threads.spawn(move || two_lines(columns, rows));
        }
    });
}

fn two_lines(columns: u16, rows: u16) {
    let job = Job::new();
    let throng = job.run(22).flags("--rate 100/1h");
    let terminal = Terminal::start(throng, columns, rows);
    let lines = terminal.shows("a failure", |lines| {
        // Of one row, or already of two.
        lines.iter().any(|line| line.contains(" status 404)"))
    });
    let first = lines.iter().position(|line| line.contains(" left · ")).unwrap();
    assert!(lines[first].contains(" failed ("), "{lines:?}");
    assert!(lines[first + 1].contains(" of 100 in 1h"), "{lines:?}");
    assert!(lines[first + 2..].iter().all(String::is_empty), "{lines:?}");
    let (code, lines) = terminal.ends();
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(lines[0].starts_with("22 rows: 20 ok, 2 failed"), "{lines:?}");
    assert!(!has_bar(&lines), "{lines:?}");
}

#[test]
fn the_lines_follow_the_width_of_the_terminal() {
    let job = Job::new();
    let terminal = Terminal::start(job.run(60), 120, 40);
    terminal.shows("the long form", |lines| lines.iter().any(|it| it.contains(" of 60 rows (")));
    for (columns, form) in [(40, "/60 · "), (80, "status 404"), (200, " of 60 rows (")] {
        terminal.resize(columns, 24);
        let lines = terminal.shows(form, |lines| {
            let live: Vec<&String> = lines.iter().filter(|it| it.contains(" left")).collect();
            live.len() == 1 && live[0].contains(form)
        });
        let all = lines.iter().filter(|line| line.contains(" in 1s") || line.contains(" left"));
        assert!(all.count() <= 2, "{columns}: {lines:?}");
    }
}

#[test]
fn ctrl_c_ends_a_run_below_a_clean_screen() {
    let job = Job::new();
    let mut terminal = Terminal::start(job.run(60), 80, 24);
    terminal.shows("rows", |lines| first_live(lines).is_some());
    terminal.keys("\u{3}");
    let (code, lines) = terminal.ends();
    assert_eq!(code, Some(130));
    assert!(lines[0].starts_with("throng: stopping: waiting"), "{lines:?}");
    assert!(lines.iter().any(|line| line == "stopped: interrupted"), "{lines:?}");
    assert!(!has_bar(&lines), "{lines:?}");
}

#[test]
fn ctrl_z_leaves_the_screen_to_the_shell_and_fg_goes_on() {
    let job = Job::new();
    let throng = job.run(12);
    let after = "echo the shell is back; read -r _; fg > /dev/null; echo code $?";
    let mut terminal = Terminal::in_shell(throng, after, 80, 24);
    terminal.shows("rows", has_bar);
    terminal.keys("\u{1a}");
    let lines = terminal.says("the shell is back");
    assert!(!has_bar(&lines), "{lines:?}");
    terminal.keys("\r");
    let lines = terminal.says("code 1");
    assert!(lines.iter().any(|line| line.starts_with("12 rows: 10 ok")), "{lines:?}");
}

#[test]
fn colours_follow_the_flag_and_the_environment() {
    for (flags, environment, has_colors) in [
        ("", ("NONE", "1"), true),
        ("", ("NO_COLOR", "1"), false),
        ("--color never", ("CLICOLOR_FORCE", "1"), false),
        ("--color always", ("NO_COLOR", "1"), true),
    ] {
        let job = Job::new();
        let throng = job.run(4).flags(flags).env(environment.0, environment.1);
        let (_, lines) = {
            let terminal = Terminal::start(throng, 80, 24);
            terminal.says("4 rows: 3 ok, 1 failed");
            assert_eq!(terminal.has_colors(), has_colors, "{flags} {environment:?}");
            terminal.ends()
        };
        assert!(!lines.is_empty());
    }
}

#[test]
fn a_pipe_gets_no_escape_sequence_unless_it_is_asked_for() {
    for (flags, environment, has_colors) in [
        ("--progress bar", "NONE", false),
        ("", "CLICOLOR_FORCE", true),
        ("--color always", "NONE", true),
    ] {
        let job = Job::new();
        let ended = job.run(3).flags(flags).env(environment, "1").exits(0);
        assert_eq!(ended.stderr.contains('\u{1b}'), has_colors, "{flags}: {}", ended.stderr);
    }
}

#[test]
fn the_full_view_shows_a_run_and_its_keys_steer_it() {
    for (columns, rows) in [(80, 24), (120, 40), (200, 50)] {
        let job = Job::new();
        let throng = job.run(60).flags("--progress full --workers 2");
        let mut terminal = Terminal::start(throng, columns, rows);
        let lines = terminal.says("row 3 (S3)  status 404");
        let name = job.place.path("out.jsonl");
        assert_eq!(lines[0], format!("throng  {name}  (process {})", terminal.id()));
        for text in [
            // Of one row, or already of two.
            "status 404)",
            " sent in the last 1s: ",
            " latency in ms: p50 ",
            " limits and workers ",
            "5/1s  at most 5 of 5 in 1s",
            "worker 2  ",
            "status 200  ",
            "requests  ",
            "p pause   -/+ rate (100 % of the limit)   s stop   q close the view",
        ] {
            terminal.says(text);
        }
        terminal.keys("p");
        terminal.says("paused by hand");
        terminal.says("p resume");
        terminal.keys("p");
        terminal.says("p pause");
        terminal.keys("-");
        terminal.says("(90 % of the limit)");
        terminal.keys("+");
        terminal.says("(100 % of the limit)");
        terminal.keys("+");
        terminal.keys("q");
        terminal.shows("the two lines", |lines| first_live(lines) == Some(0));
        assert!(!terminal.is_taken());
        terminal.keys("\u{3}");
        let (code, lines) = terminal.ends();
        assert_eq!(code, Some(130), "{lines:?}");
    }
}

#[test]
fn the_screen_is_given_back_however_the_view_ends() {
    for (key, signal, code) in
        [("s", "", 130), ("\u{3}", "", 130), ("", "-TERM", 143), ("", "-HUP", 129)]
    {
        let job = Job::new();
        let mut terminal = Terminal::start(job.run(60).flags("--progress full"), 80, 24);
        terminal.says("limits and workers");
        assert!(terminal.is_taken());
        terminal.keys(key);
        if !signal.is_empty() {
            let id = terminal.id().to_string();
            let kill = std::process::Command::new("kill").args([signal, &id]).status();
            assert!(kill.unwrap().success());
        }
        terminal.says("stopped: interrupted");
        assert!(!terminal.is_taken(), "{key} {signal}");
        let (ended, lines) = terminal.ends();
        assert_eq!(ended, Some(code), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("limits and workers")), "{lines:?}");
    }
}

#[test]
fn a_view_needs_a_terminal() {
    let job = Job::new();
    job.run(3).flags("--progress full").exits(2).says("needs a terminal on standard error");
    let ended = job.here(throng("top")).exits(2);
    ended.says("no run of this user goes on here");
}

#[test]
fn top_shows_and_steers_a_run_in_the_background() {
    let job = Job::new();
    let running = job.in_background(60);
    assert!(job.runs().starts_with(&format!("{}  ", running.id())), "{}", job.runs());
    let mut terminal = Terminal::start(job.here(throng("top")), 80, 24);
    let lines = terminal.says("limits and workers");
    assert!(lines[0].ends_with(&format!("(process {})", running.id())), "{lines:?}");
    terminal.keys("p");
    terminal.says("paused by hand");
    assert_eq!(job.snapshot()["snapshot"]["paused"], true);
    let before = job.mock.judgement().requests;
    terminal.keys("-");
    terminal.says("(90 % of the limit)");
    assert_eq!(job.mock.judgement().requests, before, "it is paused");
    terminal.keys("p");
    terminal.says("p pause");
    crate::harness::until("requests", || job.mock.judgement().requests > before);
    terminal.keys("s");
    let (code, lines) = terminal.ends();
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.iter().any(|line| line == "throng: the run has ended"), "{lines:?}");
    running.ends().with_code(130);
    assert_eq!(job.runs(), "", "its socket is removed");
}

#[test]
fn top_asks_which_run_is_meant_and_removes_what_a_killed_one_left() {
    let job = Job::new();
    let first = job.in_background(60);
    let second = job.run_to(60, "other.jsonl").start();
    crate::harness::until("both", || job.runs().lines().count() == 2);
    let ended = job.here(throng("top")).exits(2);
    ended.says("2 runs go on: name one").says("out.jsonl").says("other.jsonl");
    let id = second.id().to_string();
    let one = job.here(throng("top").flags(&format!("{id} --json"))).exits(0);
    let one: Value = serde_json::from_str(&one.stdout).unwrap();
    assert_eq!(one["started"]["pid"].to_string(), id);
    second.signal("-KILL");
    second.ends();
    let runs = job.runs();
    assert!(runs.lines().count() == 1 && runs.contains("out.jsonl"), "{runs}");
    first.signal("-INT");
    first.ends();
}
