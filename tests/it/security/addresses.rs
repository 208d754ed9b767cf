//! Which addresses rows, redirects and pages may lead to.

use super::redirecting;
use crate::harness::{Place, each, run};
use crate::recorder::Recorder;

#[test]
fn row_14_rows_and_redirects_lead_to_no_private_address() {
    let (place, inside) = (Place::new(), Recorder::start());
    let port = inside.addr().port();
    let input =
        place.file("rows.csv", &format!("url\nhttp://evil.example:{port}/\n{}/\n", inside.url()));
    let ask = |flags: &str| {
        run()
            .arg("--url", "{{ url }}")
            .arg("--input", &input)
            .flags(&format!("--retries 0 --resolve evil.example:{port}:127.0.0.1 {flags}"))
            .ends()
    };
    let ended = ask("");
    assert!(inside.came().is_empty(), "{:?}", inside.came());
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("which is private") && said.contains("--allow-private"), "{said}");
    ask("--allow-private");
    assert_eq!(inside.came().len(), 2);
    // A redirect from a server that the job names.
    inside.forget();
    let here = redirecting("302 F", format!("http://evil.example:{port}/"));
    let ended = run()
        .arg("--url", &here.url())
        .arg("--input", &input)
        .flags(&format!("--follow 1 --retries 0 --resolve evil.example:{port}:127.0.0.1"))
        .exits(1);
    assert!(inside.came().is_empty());
    assert_eq!(each(&ended.records(), "_error")[0], "connect");
}

/// A name may mean another address each time it is looked up: what counts is the
/// address of the connection, and one private address among several is enough.
#[test]
fn row_14_a_name_that_flips_is_judged_by_what_it_means_now() {
    let (place, inside) = (Place::new(), Recorder::start());
    let port = inside.addr().port();
    let url = format!("http://flips.example:{port}/");
    let input = place.file("rows.csv", &format!("url\n{url}\n"));
    for addresses in ["127.0.0.1", "192.0.2.7,127.0.0.1", "127.0.0.1,192.0.2.7", "[::1]"] {
        for (way, flags) in
            [("{{ url }}", ""), (&*redirecting("302 F", url.clone()).url(), "--follow 1")]
        {
            let ended = run()
                .arg("--url", way)
                .arg("--input", &input)
                .flags("--retries 0 --connect-timeout 2s")
                .flags(&format!("--resolve flips.example:{port}:{addresses} {flags}"))
                .ends();
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(said.contains("which is private"), "{addresses}: {said}");
        }
    }
    assert!(inside.came().is_empty());
}

/// However a URL spells an address: what it means is looked at, not how it looks.
#[test]
fn row_14_an_address_is_private_in_every_spelling() {
    let (place, inside) = (Place::new(), Recorder::start());
    let port = inside.addr().port();
    let spellings = [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[::1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1%25lo]",
        "LOCALHOST",
        "localhost.",
        "１２７.0.0.1",
    ];
    let rows: String = spellings.iter().map(|host| format!("{host}\n")).collect();
    let input = place.file("rows.csv", &format!("host\n{rows}"));
    for url in ["{{ host }}", "{{ 'http://' ~ host ~ ':PORT/' }}"] {
        let url = if url.contains("PORT") {
            url.replace("PORT", &port.to_string())
        } else {
            format!("http://{url}:{port}/")
        };
        let ended = run()
            .arg("--url", &url)
            .arg("--input", &input)
            .flags("--retries 0 --connect-timeout 5s")
            .exits(1);
        let records = ended.records();
        assert_eq!(records.len(), spellings.len());
        for record in records {
            // A name that means nothing here is not looked at any further.
            let kind = record["_error"].as_str().unwrap();
            let is_name = record["host"].as_str().unwrap().ends_with('.');
            assert!(kind == "input" || (kind == "connect" && is_name), "{record}");
        }
    }
    assert!(inside.came().is_empty(), "{:?}", inside.came());
}
