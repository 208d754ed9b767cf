//! What a server says in its own way: rules for refusals, and its count in headers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::counted::{Counted, Left, go, serve};
use crate::harness::{Place, assert_one_record_per_row, throng};
use crate::recorder::{answer, json};

/// A fifth too much: without the headers a window would see four refusals.
fn assert_believed(names: [&'static str; 3], job: &str) {
    let counted = Arc::new(Counted::new(20, Duration::from_secs(2)));
    let (place, count) = (Place::new(), counted.clone());
    let server = serve(move |_| match count.count() {
        Left(Some(left), rest) => {
            let [limit, remaining, reset] = names;
            let (left, rest) = (left.to_string(), rest.as_secs_f64().to_string());
            let headers = [(limit, "20"), (remaining, &*left), (reset, &*rest)];
            answer("200 OK", &headers, "{}")
        }
        Left(None, _) => answer("429 Too Many Requests", &[], "{}"),
    });
    let job = format!("{job}\n[limit]\nrate = \"24/2s\"");
    let ended = go(&place, &server, 60, &job, 0);
    assert_one_record_per_row(&ended.records(), 60);
    assert_eq!(counted.refused(), 0);
}

#[test]
fn what_the_server_says_is_left_is_believed_where_the_job_believes_more() {
    let names = ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];
    assert_believed(names, "");
}

#[test]
fn a_job_says_what_an_api_s_own_headers_mean() {
    let job = "[[signal]]\nlimit = \"X-Most\"\nremaining = \"X-Left\"\nreset = \"X-Ends\"";
    assert_believed(["X-Most", "X-Left", "X-Ends"], job);
}

#[test]
fn a_200_with_a_note_is_a_refusal_if_the_job_says_so() {
    let counted = Arc::new(Counted::new(3, Duration::from_secs(1)));
    let (place, count) = (Place::new(), counted.clone());
    let server = serve(move |_| match count.count() {
        Left(Some(_), _) => json("{\"price\": 1}"),
        Left(None, _) => json("{\"Note\": \"slow down\"}"),
    });
    let job = "[[refusal]]\nstatus = [200]\nwhen = \".Note\"\npause = \"1s\"\n[extract]\nprice = \".price\"";
    let ended = go(&place, &server, 9, job, 0);
    assert_one_record_per_row(&ended.records(), 9);
    assert!(counted.refused() > 0);
    assert_eq!(place.json("summary.json")["refused"], counted.refused());
}

#[test]
fn a_ban_ends_the_run_at_once_and_a_quota_that_is_gone_says_until_when() {
    let banned = serve(|_| answer("418 I'm a teapot", &[("retry-after", "3")], "{}"));
    let place = Place::new();
    let job = "[[refusal]]\nstatus = [418]\nmeans = \"banned\"";
    let ended = go(&place, &banned, 50, job, 3);
    ended.says("wants nothing more of us").says("resume after 2");
    assert!(banned.came().len() <= 8, "only what was in flight");

    let gone = serve(|_| json("{\"Information\": \"25 requests per day\"}"));
    let job = "[[refusal]]\nwhen = '.Information'\nmeans = \"quota-gone\"\npause = \"1d\"";
    let ended = go(&place, &gone, 50, job, 3);
    ended.says("quota is used up").says("resume after 2");
}

#[test]
fn a_header_that_says_what_cannot_be_is_named_once() {
    let server = serve(|_| {
        let headers = [("X-RateLimit-Remaining", "-1"), ("X-RateLimit-Reset", "soon")];
        answer("200 OK", &headers, "{}")
    });
    let place = Place::new();
    let ended = go(&place, &server, 20, "", 0);
    ended.says("ignored header: x-ratelimit-remaining: \"-1\" is no count");
    let times = ended.stderr.matches("ignored header: x-ratelimit-reset").count();
    assert_eq!(times, 1);
}

#[test]
fn a_profile_brings_its_limit_its_refusals_and_its_demands() {
    let notes = Arc::new(Mutex::new(0));
    let (place, asked) = (Place::new(), notes.clone());
    let server = serve(move |_| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        match *asked {
            3 => json("{\"Information\": \"our standard API rate limit is 25 requests per day\"}"),
            _ => json("{\"price\": 1}"),
        }
    });
    let ended = go(&place, &server, 9, "api = \"alphavantage\"", 3);
    ended.says("the quota is used up");
    // Five a minute, and nothing more once the quota is gone.
    assert!(*notes.lock().unwrap() <= 5);
    let place = Place::new();
    let ended = go(&place, &server, 9, "api = \"edgar\"", 2);
    ended.says("User-Agent: Your Company you@example.com");
}

#[test]
fn profiles_are_listed_and_shown() {
    let all = throng("profiles").exits(0);
    for name in ["github", "stripe", "openai", "edgar", "x"] {
        assert!(all.stdout.contains(&format!("{name} ")), "{}", all.stdout);
    }
    let one = throng("profiles").flags("github").exits(0).stdout;
    assert!(one.contains("--api github:anonymous") && one.contains("docs.github.com"), "{one}");
    throng("profiles").flags("gitlab").exits(2).says("the profiles are");
}
