//! The examples run as they are, against a mock at another place.

use crate::harness::{each, plain_mock, run};

#[test]
fn graphql() {
    let mock = plain_mock();
    let ended = run()
        .flags("examples/graphql.toml --take 3")
        .arg("--url", &format!("{}/echo/graphql", mock.url()))
        .exits(0);
    assert_eq!(each(&ended.records(), "asked").len(), 3);
    assert_eq!(
        each(&ended.records(), "asked"),
        each(&ended.records(), "symbol")
    );
}
