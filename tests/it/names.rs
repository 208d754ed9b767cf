//! Fields of any name in templates.

use serde_json::Value;

use crate::harness::{Place, Throng, each, plain_mock, run};

const SPACES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/spaces.csv");

/// A run that asks for what the server got.
fn echo(server: &str, input: &str) -> Throng {
    run().arg("--input", input).flags(&format!("--url {server}/echo -e path=.path -e query=.query"))
}

#[test]
fn any_column_can_be_used_in_any_template() {
    let mock = plain_mock();
    let server = mock.url();
    let ended = run()
        .arg("--input", SPACES)
        .arg("--url", &format!("{server}/echo/{{{{ row[\"Order ID\"] }}}}"))
        .arg("--query", "user={{ row['user-id'] }}")
        .arg("--header", "x-name: {{ row[\"customer.name\"] | upper }}")
        .arg("--json", r#"{"id": "{{ row['Order ID'] }}"}"#)
        .flags("-e path=.path -e query=.query -e body=.body -e name=.headers[\"x-name\"][0]")
        .exits(0);
    let records = ended.records();
    assert_eq!(each(&records, "path"), ["/echo/1", "/echo/2"]);
    assert_eq!(each(&records, "name"), ["A", "B"]);
    assert!(records[0]["query"].to_string().contains("u1"), "{}", records[0]);
    let body: Value = serde_json::from_str(records[1]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["id"].to_string().trim_matches('"'), "2");
}

#[test]
fn a_name_with_the_signs_of_a_url_is_a_name() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.jsonl", "{\"a?b/c\": 1, \"it's #1\": \"x\", \"}}\": 2}\n");
    let server = mock.url();
    let ended = run()
        .arg("--input", &input)
        .arg("--url", &format!("{server}/echo/{{{{ row[\"a?b/c\"] }}}}"))
        .arg("--query", "q={{ row[\"it's #1\"] }}{{ row[\"}}\"] }}")
        .flags("-e path=.path -e query=.query")
        .exits(0);
    let records = ended.records();
    assert_eq!(records[0]["path"], "/echo/1");
    assert!(records[0]["query"].to_string().contains("x2"), "{}", records[0]);
}

#[test]
fn a_value_replaces_the_field_of_its_name_where_the_job_says_so() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", "path,id\nold,1\n");
    let asks = || {
        let url = format!("{}/echo/{{{{ path }}}}", mock.url());
        run().arg("--input", &input).arg("--url", &url).flags("-e path=.path")
    };
    asks().exits(2).says("--replace-fields");
    let ended = asks().flags("--replace-fields").exits(0);
    assert!(ended.stdout.starts_with("{\"id\":\"1\",\"path\":\"/echo/old\","), "{}", ended.stdout);
}

/// A year, a truth value, a function of templates, and letters that are not ASCII.
#[test]
fn a_name_that_means_something_else_to_a_template_is_never_sent_as_that() {
    let (place, mock) = (Place::new(), plain_mock());
    let input = place.file("rows.csv", "2024,true,range,größe,id\u{a0}\nx,y,z,5,7\n");
    let asks = |template: &str| echo(&mock.url(), &input).arg("--query", &format!("q={template}"));
    for name in ["2024", "true"] {
        let said = format!("write {{{{ row[\"{name}\"] }}}}");
        asks(&format!("{{{{ {name} }}}}")).exits(2).says(&said);
    }
    asks("{{ id }}").exits(2).says("It is {{ row[\"id\\u00a0\"] }}");
    assert_eq!(mock.judgement().requests, 0);
    for (template, sent) in [
        ("{{ row[\"2024\"] }}{{ row['true'] }}", "xy"),
        ("{{ range }}", "z"),
        ("{{ größe }}", "5"),
        ("{{ row[\"id\\u00a0\"] }}", "7"),
        ("{% for n in range(3) %}{{ n }}{% endfor %}", "012"),
    ] {
        let records = asks(template).exits(0).records();
        assert_eq!(records[0]["query"], format!("q={sent}"), "{template}");
    }
}

#[test]
fn a_template_that_means_a_column_says_how_it_is_written() {
    let mock = plain_mock();
    let server = mock.url();
    for (template, said) in [
        ("{{ user-id }}", "write {{ row[\"user-id\"] }}"),
        ("{{ customer.name }}", "write {{ row[\"customer.name\"] }}"),
        ("{{ Order ID }}", "alone is {{ row[\"Order ID\"] }}"),
        ("{{ row[\"Order Id\"] }}", "did you mean \"Order ID\"? It is {{ row[\"Order ID\"] }}"),
        ("{{ Price ($) }}", "alone is {{ row[\"Price ($)\"] }}"),
    ] {
        let ended = echo(&server, SPACES).arg("--query", &format!("q={template}")).exits(2);
        ended.says(said);
    }
    let ended = echo(&server, "-").arg("--query", "q={{ user-id }}").flags("--format csv");
    let ended = ended.with_stdin("user-id\nu1\n").ends().with_code(1);
    let detail = ended.records()[0]["_detail"].to_string();
    assert!(detail.contains("row[\\\"user-id\\\"]"), "{detail}");
    assert_eq!(mock.judgement().requests, 0);
}
