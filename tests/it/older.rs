//! The older form of a job: its file, its defaults, and its flags in every spelling.

use serde_json::json;
use throng_mock::{Mock, Settings};

use crate::harness::{Place, Throng, each, mock, run};
use crate::jobs::{KEY, guarded, prices};

fn config(place: &Place, mock: &Mock) -> String {
    let all: Vec<String> = (0..30).map(|n| format!("S{n}")).collect();
    let text = json!({
        "base_url": format!("{}/v6/finance/quote/", mock.url()),
        "params_for_api_request": { "region": "US", "lang": "en" },
        "list_of_api_requests": all,
    });
    place.file("config.json", &text.to_string())
}

fn limited() -> Mock {
    mock(Settings {
        api_key: Some(KEY.into()),
        limits: vec!["10/500ms".parse().unwrap()],
        ..Settings::default()
    })
}

#[track_caller]
fn assert_does_twenty(throng: Throng, mock: &Mock) {
    let ended = throng.env("XAPIKEY", KEY).exits(0);
    let records = ended.records();
    assert_eq!(each(&records, "price"), prices(20));
    assert_eq!(records[7]["symbols"], "S7");
    assert_eq!(records[7]["name"], "S7 Inc.");
    ended.says("mean_price");
    let judgement = mock.judgement();
    assert_eq!((judgement.requests, judgement.refused), (20, 0));
    assert!(judgement.windows[0].most <= 10 && judgement.most_in_flight <= 2);
}

#[test]
fn its_flags_work_with_underscores() {
    let (place, mock) = (Place::new(), limited());
    let flags = "--mode sync --num_api_requests 20 --num_workers 2 \
                 --period_duration_sec 0.5 --max_requests_per_period 10";
    let job = config(&place, &mock);
    assert_does_twenty(run().flags(&job).flags(flags), &mock);
}

#[test]
fn its_flags_work_with_dashes_and_a_flag_names_the_file() {
    let (place, mock) = (Place::new(), limited());
    let flags = "--mode sync --num-api-requests 20 --num-workers 2 \
                 --period-duration-sec 0.5 --max-requests-per-period 10";
    for name in ["--config_json_file", "--config-json-file"] {
        mock.reset();
        let job = config(&place, &mock);
        assert_does_twenty(run().arg(name, &job).flags(flags), &mock);
    }
}

#[test]
fn its_defaults_are_ten_rows_one_at_a_time() {
    let (place, mock) = (Place::new(), guarded());
    let (job, summary) = (config(&place, &mock), place.path("summary.json"));
    run().flags(&job).arg("--summary-json", &summary).env("XAPIKEY", KEY).exits(0);
    let judgement = mock.judgement();
    assert_eq!((judgement.requests, judgement.most_in_flight), (10, 1));
    let limit = &place.json("summary.json")["limits"][0];
    assert_eq!(limit["rate"], "25/5s");
}

#[test]
fn a_rate_that_is_none_is_told_by_the_flags_that_make_it() {
    let (place, mock) = (Place::new(), limited());
    let job = config(&place, &mock);
    let ended = run().flags(&job).flags("--period_duration_sec 0").env("XAPIKEY", KEY).exits(2);
    ended.says("--period-duration-sec 0: a period lies between");
}
