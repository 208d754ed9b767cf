//! Signals: an interrupted run ends in good order, and the next one completes it.

use std::process::Command;

use throng_mock::{Mock, Settings};

use crate::harness::{
    Ended, Place, Running, Throng, assert_attempts_are_the_server_s, assert_one_record_per_row,
    mock, records, run, symbols, until,
};

const ROWS: usize = 120;

fn slow() -> Mock {
    mock(Settings { latency: "20ms".parse().unwrap(), ..Settings::default() })
}

fn ask(place: &Place, server: &str) -> Throng {
    with_files(place, run().quotes(server))
}

fn with_files(place: &Place, throng: Throng) -> Throng {
    throng.files(place, ROWS, "out.jsonl").arg("--summary-json", &place.path("summary.json"))
}

/// The whole records that the file has so far.
fn written(place: &Place) -> usize {
    let text = std::fs::read_to_string(place.path("out.jsonl"));
    text.unwrap_or_default().matches('\n').count()
}

fn interrupted_after_some(place: &Place, throng: Throng, signal: &str) -> Ended {
    let running = throng.start();
    until("the first records", || written(place) > 5);
    running.signal(signal);
    running.ends()
}

#[test]
fn an_interrupted_run_keeps_whole_lines_and_says_how_to_go_on() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let (place, mock) = (Place::new(), slow());
        let throng = ask(&place, &mock.url()).flags("--mode sync --workers 2");
        let ended = interrupted_after_some(&place, throng, signal).with_code(code);
        let text = place.read("out.jsonl");
        assert!(text.ends_with('\n'), "{text}");
        let done = records(&text).len();
        assert!(done < ROWS, "it was to be interrupted");
        // What was in flight was waited for: nothing that was sent is lost.
        assert_eq!(mock.judgement().requests as usize, done);
        ended.says("interrupted").says("--resume goes on with");
        let summary = place.json("summary.json");
        assert_eq!(summary["rows"], done);
        assert!(summary["resume"].as_str().unwrap().contains("--resume"));
    }
}

#[test]
fn resuming_completes_it_and_asks_nothing_twice() {
    let (place, mock) = (Place::new(), slow());
    let throng = ask(&place, &mock.url()).flags("--workers 2 --concurrency 2");
    interrupted_after_some(&place, throng, "-INT").with_code(130);
    let throng = ask(&place, &mock.url()).flags("--workers 2 --resume");
    interrupted_after_some(&place, throng, "-INT");
    ask(&place, &mock.url()).flags("--resume").exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
    let judgement = mock.judgement();
    assert_eq!((judgement.requests as usize, judgement.symbols.len()), (ROWS, ROWS));
}

#[test]
fn rows_that_wait_at_the_gate_are_let_go() {
    let (place, mock) = (Place::new(), slow());
    let throng = ask(&place, &mock.url()).flags("--rate 10/1h");
    let ended = interrupted_after_some(&place, throng, "-INT").with_code(130);
    ended.says("interrupted");
    assert_eq!(place.records("out.jsonl").len() as u64, mock.judgement().requests);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (place, mock) = (Place::new(), slow());
    // The server would take a minute for the answers that are waited for.
    let url = format!("{}/slow/60000?{{{{ symbol }}}}", mock.url());
    let running = with_files(&place, run().arg("--url", &url)).start();
    until("a request in flight", || mock.judgement().requests > 0);
    running.signal("-INT");
    until("its end", || {
        send_if_there("-INT", &running);
        has_ended(&running)
    });
    let ended = running.ends().with_code(130);
    ended.says("ends the run at once");
}

/// A signal to one that has ended says so, which is fine here.
fn send_if_there(signal: &str, to: &Running) {
    let kill = Command::new("kill").args([signal, &to.id().to_string()]).output();
    assert!(kill.is_ok());
}

/// A zombie has ended, but its parent has not looked yet.
pub fn has_ended(running: &Running) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.id()));
    stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn a_killed_run_is_resumed_as_well() {
    let (place, mock) = (Place::new(), slow());
    let throng = ask(&place, &mock.url()).flags("--mode sync --workers 2");
    let ended = interrupted_after_some(&place, throng, "-KILL");
    assert_eq!(ended.code, None);
    let text = place.read("out.jsonl");
    let whole = &text[..text.rfind('\n').unwrap() + 1];
    let done = records(whole);
    assert!(done.len() < ROWS);
    ask(&place, &mock.url()).flags("--resume").exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), ROWS);
    // What was on the disk is not asked for again; what was in flight is.
    assert_attempts_are_the_server_s(&done, &mock);
}

#[test]
fn rows_that_were_read_ahead_are_not_sent_any_more() {
    let (place, mock) = (Place::new(), slow());
    // All of them are read ahead when the first one is sent; to send them takes a second.
    let throng = ask(&place, &mock.url()).flags("--mode sync --workers 1 --take 60");
    interrupted_after_some(&place, throng, "-INT").with_code(130);
    let requests = mock.judgement().requests;
    assert!(requests < 50, "{requests} of 60 were sent");
}

#[test]
fn an_input_that_never_ends_does_not_keep_it_from_ending() {
    let (place, mock) = (Place::new(), slow());
    let throng = run().quotes(&mock.url()).arg("--output", &place.path("out.jsonl"));
    let mut running = throng.flags("--input - --format csv").with_open_stdin();
    running.feed(&symbols(10));
    until("the first records", || written(&place) == 10);
    running.signal("-INT");
    running.ends().with_code(130);
    assert_eq!(place.records("out.jsonl").len(), 10);
}

#[test]
fn a_thousand_answers_in_flight_come_in_and_no_row_is_asked_for_twice() {
    const MANY: usize = 1500;
    let (place, mock) = (
        Place::new(),
        mock(Settings { latency: "4s".parse().unwrap(), there: 0.0, ..Settings::default() }),
    );
    let ask = |flags: &str| {
        run()
            .quotes(&mock.url())
            .files(&place, MANY, "out.jsonl")
            .flags("--workers 2 --concurrency 500")
            .flags(flags)
    };
    let running = ask("").start();
    until("a thousand in flight", || mock.judgement().requests >= 1000);
    running.signal("-INT");
    running.ends().with_code(130);
    let judgement = mock.judgement();
    assert_eq!(place.records("out.jsonl").len() as u64, judgement.requests);
    assert!(judgement.most_in_flight >= 900, "{}", judgement.most_in_flight);
    ask("--resume").exits(0);
    assert_one_record_per_row(&place.records("out.jsonl"), MANY);
    assert_eq!(mock.judgement().requests as usize, MANY);
}

#[test]
fn what_is_cut_off_has_no_record_unless_it_may_have_been_done() {
    for (flags, records) in [("", 0), ("--method POST", 4), ("--method POST --resend-unknown", 0)] {
        let (place, mock) = (Place::new(), slow());
        let url = format!("{}/slow/60000?{{{{ symbol }}}}", mock.url());
        let throng = with_files(&place, run().arg("--url", &url));
        let running = throng.flags("--take 4 --grace 10ms").flags(flags).start();
        until("four requests", || mock.judgement().requests == 4);
        running.signal("-TERM");
        running.ends().with_code(143);
        let text = std::fs::read_to_string(place.path("out.jsonl")).unwrap_or_default();
        let kinds = crate::harness::each(&crate::harness::records(&text), "_error");
        assert_eq!(kinds, vec!["outcome unknown"; records], "{flags}");
    }
}
