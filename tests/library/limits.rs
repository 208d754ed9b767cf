//! One limiter for several jobs, and the costs that hooks name.

use http::Request;
use throng::limit::RateLimiter;
use throng::{RowError, RowRequest};
use throng_mock::Settings;

use crate::api::{Item, failure, job, records, server};

fn limiter(limits: &[&str]) -> RateLimiter {
    let builder = RateLimiter::builder();
    let limits = limits.iter().map(|limit| limit.parse().unwrap());
    limits.fold(builder, throng::limit::RateLimiterBuilder::limit).build().unwrap()
}

#[test]
fn jobs_with_one_limiter_keep_its_limits_together() {
    let limits = vec!["sliding:10/300ms".parse().unwrap()];
    let server = server(Settings { limits, ..Settings::default() });
    let limiter = limiter(&["10/300ms"]);
    let of = |rows| {
        let url = format!("{}/{{{{ id }}}}", server.url());
        job(&server, rows).url(url).limiter(&limiter).build().unwrap().run_to(|_| Ok(()))
    };
    let runs = [of(15), of(15)];
    for run in runs {
        assert_eq!(run.wait().unwrap().rows.ok, 15);
    }
    // The first run has not closed what the next one needs.
    assert_eq!(of(5).wait().unwrap().rows.ok, 5);
    let judgement = server.judgement();
    assert_eq!((judgement.requests, judgement.refused), (35, 0));
    assert!(judgement.windows[0].most <= 10, "{judgement:?}");
    assert!(limiter.snapshot().limits[0].most > 5, "both take from it");
}

#[test]
fn what_an_answer_says_holds_for_all_that_use_the_limiter() {
    let limits = vec!["sliding:1/1m".parse().unwrap()];
    let server = server(Settings { limits, ..Settings::default() });
    let limiter = limiter(&["100/1s"]);
    let url = format!("{}/{{{{ id }}}}", server.url());
    let run = job(&server, 2).url(url).limiter(&limiter).build().unwrap().run_to(|_| Ok(()));
    while limiter.snapshot().paused.is_none() {
        assert!(!run.is_over());
        std::thread::yield_now();
    }
    assert!(limiter.try_acquire(1).is_err(), "other code waits too");
    run.abort();
    run.wait().unwrap();
}

#[test]
fn a_hook_names_the_cost_of_its_request_and_a_missing_cost_is_an_error() {
    let server = server(Settings::default());
    let limiter = limiter(&["100/1m", "1000 tokens/1m"]);
    let get = |item: &Item| Request::get(format!("/items/{}", item.id)).body("");
    let job = job(&server, 3).limiter(&limiter).request(move |item: &Item| {
        let request = RowRequest::from(get(item)?);
        Ok::<_, RowError>(match item.id {
            0 => request.with_cost("tokens", 250),
            1 => request.with_cost("points", 1).with_cost("tokens", 1),
            _ => request,
        })
    });
    let records = records(job);
    assert!(records[&0].is_ok());
    assert_eq!(failure(&records[&1]).1, "no limit counts \"points\", which the hook names");
    assert_eq!(
        failure(&records[&2]).1,
        "a limit counts tokens, and the hook names no cost in them"
    );
    let snapshot = limiter.snapshot();
    assert_eq!(snapshot.limits.iter().map(|it| it.most).collect::<Vec<_>>(), [1, 250]);
    assert_eq!(server.judgement().requests, 1);
}

#[test]
fn a_job_has_its_own_limits_or_a_limiter() {
    let server = server(Settings::default());
    let limiter = limiter(&["1/1s"]);
    let error = job(&server, 1).rate("1/1s").limiter(&limiter).build().err().unwrap();
    assert!(error.to_string().contains("leave one of them out"), "{error}");
}
