//! Every family and every spelling, valid and invalid.

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use std::time::Duration;

use super::*;
use crate::extract::AnswerContext;
use crate::limit::RateLimitInfo;

/// Sun, 06 Nov 2033 08:49:37 GMT
const NOW: u64 = 2_014_879_777;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn read(headers: &[(&str, &str)]) -> LimitSignals {
    read_by(&HeaderRules::default(), headers)
}

fn read_by(rules: &HeaderRules, headers: &[(&str, &str)]) -> LimitSignals {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    read_headers(rules.heard(&map), now())
}

/// Unit, limit, remaining, milliseconds until the reset.
type Expected = (&'static str, Option<u64>, Option<u64>, Option<u64>);
type Headers = &'static [(&'static str, &'static str)];

fn all(found: &LimitSignals) -> Vec<(String, [Option<u64>; 3])> {
    let values = |signal: &LimitSignal| {
        (
            signal.unit.to_string(),
            [
                signal.info.limit,
                signal.info.remaining,
                signal.info.reset.map(|reset| reset.as_millis() as u64),
            ],
        )
    };
    found.signals.iter().map(values).collect()
}

#[track_caller]
fn assert_read(headers: &[(&str, &str)], expected: &[Expected]) {
    let found = read(headers);
    let expected: Vec<_> = expected
        .iter()
        .map(|(unit, limit, left, reset)| ((*unit).to_owned(), [*limit, *left, *reset]))
        .collect();
    assert_eq!(all(&found), expected, "{headers:?}");
    assert_eq!(found.invalid, [], "{headers:?}");
}

#[test]
fn every_family_is_parsed() {
    let requests = |limit, left, reset| ("requests", limit, left, reset);
    let some = |limit, left, reset| requests(Some(limit), Some(left), Some(reset));
    #[rustfmt::skip]
    let table: &[(Headers, &[Expected])] = &[
        // the draft: its tenth version, several policies, another unit, no policy
        (&[("RateLimit-Policy", "\"minute\";q=100;w=60"), ("RateLimit", "\"minute\";r=50;t=30")],
         &[some(100, 50, 30_000)]),
        (&[("RateLimit-Policy", "\"a;b,c\";q=10;w=1,\"day\";q=1000;w=86400"),
           ("RateLimit", "\"a;b,c\";r=9;t=1, \"day\";r=999;t=80000")],
         &[some(10, 9, 1_000), some(1_000, 999, 80_000_000)]),
        (&[("RateLimit-Policy", "\"x\";q=65535;qu=\"content-bytes\";w=10"), ("RateLimit", "\"x\";r=4;t=1")],
         &[("content-bytes", Some(65_535), Some(4), Some(1_000))]),
        (&[("RateLimit", "\"x\";r=4")], &[requests(None, Some(4), None)]),
        // ... and before that
        (&[("RateLimit", "limit=100, remaining=50, reset=30"), ("RateLimit-Policy", "100;w=60")],
         &[some(100, 50, 30_000)]),
        (&[("RateLimit-Limit", "100"), ("RateLimit-Remaining", "50"), ("RateLimit-Reset", "30")],
         &[some(100, 50, 30_000)]),
        (&[("RateLimit-Limit", "100, 100;w=60;burst=5"), ("RateLimit-Remaining", "50"), ("RateLimit-Reset", "30")],
         &[some(100, 50, 30_000)]),
        // GitHub: epoch seconds; HTTP/2 has names in small letters
        (&[("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "4999"), ("x-ratelimit-used", "1"),
           ("x-ratelimit-reset", "2014879807"), ("x-ratelimit-resource", "core")],
         &[some(5_000, 4_999, 30_000)]),
        // Reddit: decimals, delta, and no limit but what is used and left
        (&[("X-Ratelimit-Used", "3"), ("X-Ratelimit-Remaining", "597.0"), ("X-Ratelimit-Reset", "300")],
         &[some(600, 597, 300_000)]),
        // Discord: the time from now goes before its epoch
        (&[("X-RateLimit-Limit", "5"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1470173023.123"),
           ("X-RateLimit-Reset-After", "64.57"), ("X-RateLimit-Bucket", "abcd1234")],
         &[some(5, 0, 64_570)]),
        // X
        (&[("x-rate-limit-limit", "900"), ("x-rate-limit-remaining", "899"), ("x-rate-limit-reset", "2014880677")],
         &[some(900, 899, 900_000)]),
        // OpenAI
        (&[("x-ratelimit-limit-requests", "60"), ("x-ratelimit-remaining-requests", "59"), ("x-ratelimit-reset-requests", "1s"),
           ("x-ratelimit-limit-tokens", "150000"), ("x-ratelimit-remaining-tokens", "149984"), ("x-ratelimit-reset-tokens", "6m0s")],
         &[some(60, 59, 1_000), ("tokens", Some(150_000), Some(149_984), Some(360_000))]),
        // Anthropic
        (&[("anthropic-ratelimit-requests-limit", "50"), ("anthropic-ratelimit-requests-remaining", "49"),
           ("anthropic-ratelimit-requests-reset", "2033-11-06T08:49:40Z"),
           ("anthropic-ratelimit-input-tokens-limit", "30000"), ("anthropic-ratelimit-input-tokens-remaining", "29000"),
           ("anthropic-ratelimit-input-tokens-reset", "2033-11-06T09:49:37+01:00")],
         &[some(50, 49, 3_000), ("input-tokens", Some(30_000), Some(29_000), Some(0))]),
        // a/b, and k=a/b
        (&[("X-Shopify-Shop-Api-Call-Limit", "32/40")], &[requests(Some(40), Some(8), None)]),
        (&[("Sforce-Limit-Info", "api-usage=18/5000")], &[requests(Some(5_000), Some(4_982), None)]),
        (&[("Sforce-Limit-Info", "api-usage=25/5000; per-app-api-usage=17/250(appName=sample)")],
         &[requests(Some(5_000), Some(4_975), None)]),
        // over its limit already; nothing of interest
        (&[("X-Shopify-Shop-Api-Call-Limit", "41/40")], &[requests(Some(40), Some(0), None)]),
        (&[("content-length", "7"), ("x-rate-limiter", "on")], &[]),
        (&[("x-ratelimit-reset", "30")], &[]),
    ];
    for (headers, expected) in table {
        assert_read(headers, expected);
    }
}

#[test]
fn windows_are_named_by_policies_also_where_the_answer_names_no_remaining_units() {
    let remaining = ("RateLimit-Remaining", "9");
    for (headers, expected) in [
        (
            &[("RateLimit", "\"a\";r=9"), ("RateLimit-Policy", "\"a\";q=20;w=5")][..],
            &[(20, Some(5))][..],
        ),
        (&[("RateLimit-Policy", "\"a\";q=20;w=1")], &[(20, Some(1))]),
        (
            &[("RateLimit", "limit=20, remaining=9"), ("RateLimit-Policy", "20;w=5")],
            &[(20, Some(5))],
        ),
        (&[("RateLimit-Limit", "20"), remaining, ("RateLimit-Policy", "20;w=5")], &[(20, Some(5))]),
        (
            &[("RateLimit-Limit", "20, 20;w=5, 300;w=60"), remaining],
            &[(20, Some(5)), (300, Some(60))],
        ),
        (&[("RateLimit-Limit", "20"), remaining], &[(20, None)]),
        (&[("RateLimit-Policy", "\"a\";q=20")], &[]),
    ] {
        let window =
            |info: &RateLimitInfo| (info.limit.unwrap(), info.window.map(|it| it.as_secs()));
        let found: Vec<_> = read(headers).signals.iter().map(|it| window(&it.info)).collect();
        assert_eq!(found, expected, "{headers:?}");
    }
}

#[test]
fn every_spelling_of_a_time_is_parsed() {
    for (text, millis) in [
        ("30", 30_000),
        ("0.25", 250),
        ("0", 0),
        ("2014879807", 30_000),
        ("2014879777.5", 500),
        ("2014879777250", 250),
        ("2014879000", 0),
        ("6m0s", 360_000),
        ("20ms", 20),
        ("1h30m", 5_400_000),
        ("1m2.5s", 62_500),
        ("8.64s", 8_640),
        ("1.5ms", 1),
        ("2033-11-06T08:50:07Z", 30_000),
        ("2033-11-06T08:49:37.750Z", 750),
        ("2033-11-06T09:50:07+01:00", 30_000),
        ("Sun, 06 Nov 2033 08:50:07 GMT", 30_000),
        ("Sun, 06 Nov 1994 08:50:07 GMT", 0),
    ] {
        let said = [("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", text)];
        assert_read(&said, &[("requests", None, Some(1), Some(millis))]);
    }
}

#[test]
fn times_refer_to_the_server_s_clock_where_it_differs() {
    let reset = |date| {
        let said =
            [("date", date), ("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "2014879807")];
        read(&said).signals[0].info.reset.unwrap().as_secs()
    };
    assert_eq!(reset("Sun, 06 Nov 2033 08:49:36 GMT"), 30);
    assert_eq!(reset("Sun, 06 Nov 2033 08:49:17 GMT"), 51);
    assert_eq!(reset("yesterday"), 30);
}

#[test]
fn an_implausible_value_has_no_effect() {
    for (headers, why) in [
        (&[("x-ratelimit-remaining", "-1")][..], "\"-1\" is no count"),
        (&[("x-ratelimit-remaining", "many")], "\"many\" is no count"),
        (&[("x-ratelimit-remaining", "")], "\"\" is no count"),
        (&[("x-ratelimit-remaining", "NaN")], "\"NaN\" is no count"),
        (&[("x-ratelimit-remaining", "1e99")], "\"1e99\" is no count"),
        (&[("x-ratelimit-remaining", "\u{e9}")], "it is no text"),
        (&[("x-ratelimit-limit", "5"), ("x-ratelimit-remaining", "6")], "6 left of 5"),
        (&[("x-ratelimit-limit", "0")], "a limit of 0"),
        (&[("X-Shopify-Shop-Api-Call-Limit", "32")], "is not used/limit"),
        (&[("X-Shopify-Shop-Api-Call-Limit", "/")], "is no count"),
        (&[("Sforce-Limit-Info", "nothing")], "names no api-usage"),
        (&[("RateLimit", "\"x\";r=many;t=1")], "\"many\" is no count"),
        (&[("RateLimit", "\"x\";r=1;t=99999999")], "up to 32 days"),
        (&[("RateLimit", "limit=x")], "\"x\" is no count"),
    ] {
        let found = read(headers);
        assert_eq!(found.signals, [], "{headers:?}");
        assert!(found.invalid[0].why.contains(why), "{:?}", found.invalid);
    }
}

#[test]
fn an_implausible_reset_leaves_the_other_values() {
    for text in ["-5", "99999999", "9014879807", "soon", "", "1e400", "6m0q"] {
        let found = read(&[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", text)]);
        let expected = ("requests".to_owned(), [None, Some(1), None]);
        assert_eq!(all(&found), [expected], "{text}");
        assert_eq!(found.invalid[0].header, "x-ratelimit-reset", "{text}");
    }
}

#[test]
fn a_job_may_name_headers_of_its_own() {
    let said = SignalSource {
        unit: "weight".into(),
        limit: "X-Weight-Most".into(),
        used: "X-Weight-Used".into(),
        reset: "X-Weight-Ends".into(),
        ..SignalSource::default()
    };
    let headers = [("x-weight-most", "1200"), ("x-weight-used", "200"), ("x-weight-ends", "20s")];
    let found = read_by(&HeaderRules::new(&[said], &[]).unwrap(), &headers);
    let expected = ("weight".to_owned(), [Some(1_200), Some(1_000), Some(20_000)]);
    assert_eq!(all(&found), [expected]);
}

/// The rules of a job that ignores these headers.
fn ignoring(names: &[&str]) -> HeaderRules {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    HeaderRules::new(&[], &names).unwrap()
}

#[test]
fn a_header_that_a_job_ignores_is_as_if_no_answer_had_it() {
    let headers = [
        ("RateLimit", r#""a";r=3;t=9"#),
        ("RateLimit-Policy", r#""a";q=10;w=9"#),
        ("x-ratelimit-limit", "100"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "3600000"),
        ("sforce-limit-info", "api-usage=18/5000"),
    ];
    let read = |names: &[&str]| -> Vec<[Option<u64>; 3]> {
        let found = read_by(&ignoring(names), &headers);
        assert_eq!(found.invalid, []);
        all(&found).into_iter().map(|(_, values)| values).collect()
    };
    let draft = [Some(10), Some(3), Some(9_000)];
    let usage = [Some(5_000), Some(4_982), None];
    let unreadable = read_by(&HeaderRules::default(), &headers);
    assert_eq!(unreadable.invalid[0].header, "x-ratelimit-reset", "40 days are no reset");
    assert_eq!(read(&["X-RateLimit-Reset"]), [draft, [Some(100), Some(0), None], usage]);
    let two = ["x-ratelimit-remaining", "x-ratelimit-reset"];
    assert_eq!(read(&two), [draft, [Some(100), None, None], usage]);
    let three = [&two[..], &["ratelimit", "ratelimit-policy", "sforce-limit-info"]].concat();
    assert_eq!(read(&three), [[Some(100), None, None]]);
    assert_eq!(read(&["all"]), [[None; 3]; 0]);
}

#[test]
fn a_job_reads_a_common_header_in_its_own_way_and_rescales_a_reset() {
    let own = SignalSource {
        remaining: "X-RateLimit-Remaining".into(),
        limit: "X-RateLimit-Limit".into(),
        reset: "X-RateLimit-Reset".into(),
        reset_unit: Some(Duration::from_millis(1)),
        ..SignalSource::default()
    };
    let rules = HeaderRules::new(std::slice::from_ref(&own), &[]).unwrap();
    for (reset, millis) in
        [("1500", 1_500), ("3600000", 3_600_000), ("2014879787000", 10_000), ("6m0s", 360_000)]
    {
        let headers = [("x-ratelimit-limit", "9"), ("x-ratelimit-remaining", "0")];
        let headers = [headers[0], headers[1], ("x-ratelimit-reset", reset)];
        let found = read_by(&rules, &headers);
        let expected = ("requests".to_owned(), [Some(9), Some(0), Some(millis)]);
        assert_eq!((all(&found), found.invalid), (vec![expected], vec![]), "{reset}");
    }
    // The other families are still read, unless the job ignores them.
    let other = [("x-ratelimit-remaining", "5"), ("ratelimit-remaining", "7")];
    assert_eq!(read_by(&rules, &other).signals.len(), 2);
    let alone = HeaderRules::new(&[own], &["all".to_owned()]).unwrap();
    assert_eq!(all(&read_by(&alone, &other)), [("requests".to_owned(), [None, Some(5), None])]);
}

#[test]
fn a_name_that_is_of_no_header_is_an_error() {
    let names = ["x-ratelimt-reset".to_owned()];
    let error = HeaderRules::new(&[], &names).unwrap_err().to_string();
    assert!(error.contains("reads no header \"x-ratelimt-reset\""), "{error}");
    for name in ["Retry-After", "date", "RateLimit-Policy", "x-ratelimit-reset-tokens", "ALL"] {
        assert!(HeaderRules::new(&[], &[name.to_owned()]).is_ok(), "{name}");
    }
}

#[test]
fn several_families_at_once_are_all_parsed() {
    let found = read(&[
        ("ratelimit-remaining", "3"),
        ("X-RateLimit-Remaining", "2"),
        ("Sforce-Limit-Info", "api-usage=18/5000"),
    ]);
    let left: Vec<_> = found.signals.iter().map(|s| s.info.remaining).collect();
    assert_eq!(left, [Some(3), Some(2), Some(4_982)]);
}

/// Random sequences of pieces of such headers.
#[test]
fn no_header_makes_the_parser_panic() {
    const NAMES: [&str; 9] = [
        "ratelimit",
        "ratelimit-policy",
        "ratelimit-limit",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-used",
        "x-ratelimit-reset",
        "x-shopify-shop-api-call-limit",
        "sforce-limit-info",
    ];
    const PIECES: [&str; 22] = [
        "1",
        "0",
        "-",
        "99999999999999999999",
        "1e308",
        "NaN",
        "inf",
        ".",
        ",",
        ";",
        "=",
        "\"",
        "/",
        " ",
        "m",
        "s",
        "ms",
        "T",
        "Z",
        ":",
        "api-usage=",
        "r=",
    ];
    let mut random = SmallRng::seed_from_u64(6);
    for _ in 0..20_000 {
        let mut map = HeaderMap::new();
        for _ in 0..random.random_range(1..4) {
            let name = NAMES[random.random_range(0..NAMES.len())];
            let pieces = random.random_range(0..6);
            let text: String =
                (0..pieces).map(|_| PIECES[random.random_range(0..PIECES.len())]).collect();
            map.append(name, HeaderValue::try_from(text).unwrap());
        }
        let found = read_headers(HeaderRules::default().heard(&map), now());
        for signal in &found.signals {
            assert!(signal.info.reset.is_none_or(|reset| reset <= MAX_WAIT));
            assert_ne!(signal.info.limit, Some(0));
        }
    }
}

#[test]
fn a_pause_is_obeyed_in_full_and_a_date_refers_to_the_server_s_clock() {
    let date = "Sun, 06 Nov 2033 08:49:47 GMT";
    let said = |text, headers: &HeaderMap, rules: &HeaderRules| {
        parse_pause(text, rules.heard(headers), now()).map(|pause| pause.as_millis())
    };
    let rules = HeaderRules::default();
    for (text, millis) in [
        ("3", Some(3_000)),
        (" 0.25 ", Some(250)),
        ("99999999", Some(99_999_999_000)),
        (date, Some(11_000)),
        ("2014879787", Some(11_000)),
        ("Sun, 06 Nov 2033 08:00:00 GMT", Some(1_000)),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("1e400", None),
    ] {
        assert_eq!(said(text, &HeaderMap::new(), &rules), millis, "{text}");
    }
    let mut skewed = HeaderMap::new();
    let value = HeaderValue::from_static("Sun, 06 Nov 2033 08:49:45 GMT");
    skewed.insert("date", value);
    assert_eq!(said(date, &skewed, &rules), Some(3_000));
    assert_eq!(said(date, &skewed, &ignoring(&["date"])), Some(11_000));
}

#[test]
fn a_time_of_any_letters_is_parsed_or_refused() {
    let headers = HeaderMap::new();
    for (text, expected) in [
        ("1m2.5s", Some(Duration::from_millis(62_500))),
        // A body can tell a time too, and holds any letter.
        ("1ʏ.5ns", None),
        ("é.5s", None),
        (".5s", Some(Duration::from_millis(500))),
    ] {
        let rules = HeaderRules::default();
        assert_eq!(parse_pause(text, rules.heard(&headers), now()), expected, "{text}");
    }
}

fn body_source() -> SignalSource {
    SignalSource {
        unit: "points".into(),
        limit: ".throttle.most".into(),
        remaining: ".throttle.left".into(),
        reset: "x-ends".into(),
        ..SignalSource::default()
    }
}

#[test]
fn values_of_the_body_are_parsed_like_headers() {
    let bodies = BodySignals::new(&[body_source()]).unwrap().unwrap();
    let headers: HeaderMap =
        [("x-ends".parse().unwrap(), "20s".parse().unwrap())].into_iter().collect();
    let now = SystemTime::UNIX_EPOCH;
    let rules = HeaderRules::default();
    let context = AnswerContext::default();
    let heard = rules.heard(&headers);
    let read = |body: &str| bodies.signals(heard, body.as_bytes(), &context, now).unwrap();
    let found = read(r#"{"throttle": {"most": 2000.0, "left": "1980"}}"#);
    let info = RateLimitInfo {
        limit: Some(2_000),
        remaining: Some(1_980),
        reset: Some(Duration::from_secs(20)),
        window: None,
    };
    let expected = LimitSignal::new("points", info);
    assert_eq!((found.signals, found.invalid), (vec![expected], vec![]));
    for other in ["no json", "{}", r#"{"throttle": null}"#] {
        assert_eq!(read(other), LimitSignals::default(), "{other}");
    }
    let invalid = read(r#"{"throttle": {"most": 10, "left": -1}}"#).invalid;
    assert_eq!((&*invalid[0].header, &*invalid[0].why), (".throttle.left", "\"-1\" is no count"));
}

#[test]
fn a_wrong_program_of_a_body_is_an_error() {
    let wrong = SignalSource { limit: ".a[".into(), ..body_source() };
    let error = BodySignals::new(&[SignalSource::default(), wrong]).err().unwrap();
    assert!(error.to_string().contains("signal 2: "), "{error}");
}

#[test]
fn policies_are_read_in_both_forms() {
    for (text, policies) in [
        ("20;w=5", vec![(20, 5)]),
        ("\"burst\";q=10;w=1, \"day\";q=1000;w=86400", vec![(10, 1), (1_000, 86_400)]),
        ("\"x\";q=65535;qu=\"content-bytes\";w=10", vec![]),
        ("100", vec![]),
    ] {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("ratelimit-policy"),
            text.parse().unwrap(),
        )]);
        let named = super::named_policies(&headers);
        let named: Vec<_> = named.iter().map(|it| (it.units, it.period.as_secs())).collect();
        assert_eq!(named, policies, "{text}");
    }
}
