//! What a program can tell of an error, and that its sentences name settings and not flags.

use std::error::Error as _;
use std::io;

use throng::limit::{AcquireError, LimitError};
use throng::{BoxError, Error, ErrorKind, FailureKind, Job, JobBuilder, Record, StopCause};
use throng_mock::Settings;

use crate::api::{Item, job, server};

/// The error of a job that can't be built. Its sentences have no flag.
fn unbuilt(job: JobBuilder) -> Error {
    told(job.build().err().unwrap(), ErrorKind::Plan)
}

/// The error of a run that had to stop.
fn stopped(job: JobBuilder) -> Error {
    let run = job.build().unwrap().run_to(|_: Vec<Record>| Ok(()));
    told(run.wait().unwrap_err(), ErrorKind::Stopped)
}

fn told(error: Error, kind: ErrorKind) -> Error {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(!error.to_string().contains("--"), "{error}");
    error
}

fn row() -> JobBuilder {
    Job::builder().rows([Item { id: 1 }]).set("limit.share", "none")
}

#[test]
fn a_text_names_its_line_and_a_setting_its_key() {
    let error = Job::parse("job.toml", "[limit]\n\nrate = 'soon'").unwrap_err();
    let Error::JobFile { name, line, .. } = &error else { panic!("{error:?}") };
    assert_eq!((name.as_str(), *line), ("job.toml", Some(3)));
    let error = Job::read("/no/such/job.toml").unwrap_err();
    assert!(matches!(&error, Error::JobFile { line: None, .. }), "{error:?}");
    assert_eq!(of_system(&error), io::ErrorKind::NotFound);
    for (builder, key) in [
        (row(), "request.url"),
        (row().url("http://h/{{ id"), "request.url"),
        (row().url("http://h/").set("request.method", "a b"), "request.method"),
        (row().url("http://h/").set("extract", serde_json::json!({"a": ".["})), "extract.a"),
        (row().url("http://h/").set("workers.count", 0), "workers.count"),
        (row().url("http://h/").set("workers.colour", 0), "workers.colour"),
    ] {
        let error = unbuilt(builder);
        let Error::Setting { setting, .. } = &error else { panic!("{error:?}") };
        assert_eq!(setting.as_deref(), Some(key), "{error}");
    }
    let error = unbuilt(row().url("http://h/").set("limit.in-flight", 0));
    let Error::Limit { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*source, LimitError::Zero { setting: "in-flight" });
    assert_eq!(error.source().unwrap().downcast_ref::<LimitError>(), Some(source));
    assert_eq!(error.to_string(), "limit.in-flight is 0: nothing would be sent; give at least 1");
    let error = unbuilt(row().url("http://h/{{ env.NO_SUCH_VARIABLE }}"));
    assert!(
        matches!(&error, Error::MissingVariable { name, .. } if name == "NO_SUCH_VARIABLE"),
        "{error:?}"
    );
}

/// The kind of the system's error below this one.
fn of_system(error: &Error) -> io::ErrorKind {
    error.source().unwrap().downcast_ref::<io::Error>().unwrap().kind()
}

#[test]
fn inputs_and_outputs_have_errors_of_their_own() {
    let server = server(Settings::default());
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.jsonl").display().to_string();
    let to_file = |rows| job(&server, rows).set("output.file", output.clone());
    to_file(2).build().unwrap().spawn().wait().unwrap();

    let error = unbuilt(to_file(2));
    assert!(matches!(&error, Error::OutputExists { path, .. } if path.ends_with("out.jsonl")));
    assert!(error.to_string().contains("output.existing = \"resume\" goes on with it"), "{error}");
    let resumed = to_file(2).set("output.existing", "resume");
    let error = unbuilt(resumed.url(format!("{}/other", server.url())));
    assert!(matches!(&error, Error::ResumeMismatch { .. }), "{error:?}");
    let error = unbuilt(job(&server, 1).set("output.file", "/no/such/folder/out.jsonl"));
    assert!(matches!(&error, Error::Output { path: Some(_), .. }), "{error:?}");

    let input = |name: &str| {
        Job::builder().url(server.url()).set("input.file", name).set("limit.share", "none")
    };
    let error = unbuilt(input("/no/such/rows.csv"));
    assert!(matches!(&error, Error::Input { row: None, .. }), "{error:?}");
    let rows = vec![Ok::<_, BoxError>(1), Err("the table is gone".into())];
    let error = stopped(row().url(server.url()).rows_from(Rows(rows.into_iter())));
    assert!(matches!(&error, Error::Input { row: Some(1), .. }), "{error:?}");

    let run = job(&server, 1).build().unwrap();
    let run = run.run_to(|_: Vec<Record>| Err(io::Error::from(io::ErrorKind::StorageFull).into()));
    let error = told(run.wait().unwrap_err(), ErrorKind::Stopped);
    assert!(matches!(&error, Error::Output { path: None, .. }), "{error:?}");
    assert_eq!(of_system(&error), io::ErrorKind::StorageFull);
}

struct Rows<I>(I);

impl<I: Iterator<Item = Result<u64, BoxError>> + Send> throng::RowSource for Rows<I> {
    fn next_row(&mut self) -> Option<Result<throng::Fields, BoxError>> {
        let of = |id: u64| throng::Fields::from_iter([("id".to_owned(), id.into())]);
        self.0.next().map(|row| row.map(of))
    }
}

#[test]
fn a_run_that_stops_says_what_has_stopped_it() {
    let server = server(Settings::default());
    let cause = |job: JobBuilder| match stopped(job) {
        Error::Stopped { cause, .. } => cause,
        error => panic!("{error:?}"),
    };
    let gone = cause(job(&server, 3).set("limit.rate", "2/run"));
    assert!(matches!(gone, StopCause::NoPermit(AcquireError::BudgetExhausted { .. })), "{gone:?}");
    let slow = job(&server, 30).set("limit.rate", "1/10s").set("workers.deadline", "300ms");
    assert_eq!(cause(slow), StopCause::Deadline);
    let wrong =
        || job(&server, 60).set("answer", serde_json::json!([{"status": 200, "then": "fail"}]));
    assert_eq!(cause(wrong()), StopCause::FailedAlike(FailureKind::Status(200)));
    let few = wrong().set("retry.brake", false).set("retry.max-failures", "1");
    assert_eq!(cause(few), StopCause::TooManyFailures);
    let nowhere = Job::builder().rows([Item { id: 1 }]).url("http://127.0.0.1:1/");
    let nowhere = nowhere.set("retry.retries", 0).set("retry.max-wait", "0s");
    assert_eq!(cause(nowhere.set("limit.share", "none")), StopCause::Unreachable);
}

#[test]
fn the_failure_of_a_row_names_settings_too() {
    let server = server(Settings { latency: "5s".parse().unwrap(), ..Settings::default() });
    let late = job(&server, 1).set("send.timeout", "50ms").set("retry.retries", 0);
    let records: Vec<_> = late.build().unwrap().into_stream().blocking().collect();
    let failure = records[0].as_ref().unwrap().outcome.as_ref().unwrap_err();
    assert_eq!(failure.detail, "no answer within 50ms (send.timeout)");
}
