//! Limiters of programs that share a limit through a store on the network, by the API's count.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use throng::limit::{AcquireError, LimitError, RateLimiter};
use throng_mock::Settings;

use crate::harness::{Place, assert_they_hold, mock, run};
use crate::queued::redis::Redis;

/// The example, as a program on a machine of its own.
fn program(api: &str, store: &str) -> Child {
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_throng"));
    program.set_file_name("examples");
    let mut program = Command::new(program.join("shared_limiter"));
    let child = program.args([api, store]).stdout(Stdio::piped()).spawn();
    child.unwrap_or_else(|error| panic!("cargo test --examples builds it: {error}"))
}

fn limiter(store: &str) -> Result<RateLimiter, LimitError> {
    let limits = RateLimiter::builder().limit("20/500ms".parse()?).account("items");
    limits.linger(Duration::from_millis(100)).share(throng::shared_store(store)?).build()
}

#[test]
fn programs_and_a_run_on_several_machines_keep_a_limit_together() {
    let (redis, limit, place) = (Redis::start(), "20/500ms".parse().unwrap(), Place::new());
    let api = mock(Settings { limits: vec![limit], anything: true, ..Settings::default() });
    let url = format!("{}/items/{{{{ symbol }}}}", api.url());
    let run = run().arg("--url", &url).files(&place, 40, "out.jsonl");
    let run = run.env("XDG_STATE_HOME", &place.path("state")).arg("--share", &redis.url());
    let run = run.flags("--account items --rate 20/500ms --linger 5s").start();
    let programs = [(); 2].map(|()| program(&api.url(), &redis.url()));
    for program in programs {
        let ended = program.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.starts_with("10 by hand, 30 by the job"), "{said}");
    }
    assert_they_hold(&api, vec![run]);
    assert_eq!(api.judgement().requests, 120);
}

/// The lease of the last permits goes on for a while.
async fn refused(limiter: &RateLimiter) -> AcquireError {
    loop {
        let deadline = Instant::now() + Duration::from_millis(100);
        match limiter.acquire_until(1, deadline).await {
            Ok(mut permit) => permit.answered(),
            Err(AcquireError::NotInTime { .. }) => {}
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_limiter_whose_store_is_gone_gives_no_permit_and_says_why_until_it_is_back() {
    let mut redis = Redis::start();
    let limiter = limiter(&redis.url()).unwrap();
    limiter.acquire(1).await.unwrap().answered();
    assert_eq!(limiter.snapshot().outage, None);
    redis.kill();
    let AcquireError::Store { problem } = refused(&limiter).await else { panic!() };
    assert!(problem.contains(&redis.url()), "{problem}");
    assert_eq!(limiter.snapshot().outage, Some(problem.clone()));
    assert_eq!(limiter.try_acquire(1).unwrap_err(), AcquireError::Store { problem });
    redis.restart();
    limiter.acquire(1).await.unwrap().answered();
    limiter.close();
    let after = limiter.acquire(1).await.unwrap_err();
    assert!(after.to_string().contains("the limiter was closed"), "{after}");
}

#[test]
fn a_store_that_is_none_is_told_before_anything_is_sent() {
    let gone = limiter("redis://127.0.0.1:1").unwrap_err().to_string();
    assert!(gone.contains("redis://127.0.0.1:1"), "{gone}");
    for (url, why) in [
        ("redis://:hush@h", "set THRONG_REDIS_PASSWORD"),
        ("postgres://me:hush@h/d", "set THRONG_POSTGRES_PASSWORD"),
        ("http://limits.example", "throng limit serve --tls-cert"),
        ("machine", "is no URL of a store"),
        ("limits.example", "is no URL of a store"),
    ] {
        let error = throng::shared_store(url).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("hush"), "{error}");
    }
    let store = || throng::shared_store("redis://127.0.0.1:1").unwrap();
    let nameless = RateLimiter::builder().share(store()).build().unwrap_err().to_string();
    assert!(nameless.ends_with("they are those of an account: name one"), "{nameless}");
}
