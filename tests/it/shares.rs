//! What the time went to, in virtual time: there the shares are exact.

use serde_json::{Value, json};
use throng::Job;
use throng::Plan;
use throng_mock::Settings;

use throng::internals::simulate::ModelRun;

/// With this job and server, most of the time went to this, and this would help.
#[track_caller]
fn assert_binds(mut job: Value, server: Settings, cause: (&str, Option<&str>), help: &str) {
    let rows: Vec<Value> = (0..40).map(|id| json!({ "id": id })).collect();
    job["input"] = json!({ "list": rows });
    job["request"] = json!({"url": "http://model/{{ id }}"});
    let job = Job::parse("job.json", &job.to_string()).unwrap();
    let plan = Plan::new(&job, &|_| None).unwrap();
    let simulation = ModelRun::new(plan, &[server], 1.0).unwrap();
    let first = &simulation.run.causes[0];
    assert_eq!((first.cause, first.name.as_deref()), cause);
    assert!(first.share > 0.6, "{:?}", simulation.run.causes);
    let sum: f64 = simulation.run.causes.iter().map(|it| it.seconds).sum();
    assert!((sum - simulation.run.took.as_secs_f64()).abs() < 0.001);
    let advice = simulation.run.advice.unwrap();
    assert!(advice.contains(help), "{advice}");
}

fn slow(latency: &str) -> Settings {
    Settings { latency: latency.parse().unwrap(), ..Settings::default() }
}

#[test]
fn a_limit_that_binds_has_most_of_it() {
    let help = "more workers will not help; a second key would halve it";
    let both = json!({"limit": {"rate": ["5/500ms", "1000/1m"]}});
    assert_binds(both, slow("5ms"), ("limit", Some("5/500ms")), help);
    let keys = json!({"limit": {"rate": "2/500ms", "per": "{{ request.host }}"}});
    let help = "rows of more keys";
    assert_binds(keys, slow("100ms"), ("limit", Some("2/500ms")), help);
    // Two workers would be at the server half of the time each.
    let one = json!({"limit": {"rate": "1000/1s", "in-flight": 1}, "workers": {"count": 1}});
    let help = "more requests in flight, if";
    assert_binds(one, slow("100ms"), ("limit", Some("1 in flight")), help);
}

#[test]
fn a_slow_server_has_most_of_it() {
    let job = json!({"limit": {"rate": "100/1s"}, "workers": {"count": 1, "mode": "sync"}});
    assert_binds(job, slow("250ms"), ("server", None), "workers.mode");
}

#[test]
fn pauses_and_retries_have_most_of_it() {
    let stricter = Settings { limits: vec!["8/5s".parse().unwrap()], ..slow("5ms") };
    let job = json!({"limit": {"rate": "100/1s"}});
    assert_binds(job, stricter, ("pause", None), "a lower rate");
    let clumsy = Settings { faults: "500=90%".parse().unwrap(), ..slow("5ms") };
    let job = json!({"limit": {"rate": "100/1s"}, "retry": {"retries": 5, "outage-failures": 0}});
    assert_binds(job, clumsy, ("retries", None), "fewer failed attempts");
}
