//! Answers in XML, as feeds, repositories, buckets and SOAP services send them: elements are fields
//! to jq, and lists of pages go on by what the XML says.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::harness::{Throng, each, raw_server, run};

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

const RSS: &str = r#"<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel>
  <title>News &amp; more</title>
  <item><title><![CDATA[One <b>bold</b>]]></title><guid isPermaLink="false">g1</guid><dc:creator>A</dc:creator></item>
  <item><title>Two</title><guid>g2</guid></item>
</channel></rss>"#;

const ATOM: &str = r#"<feed xmlns="http://www.w3.org/2005/Atom">
  <entry><id>1</id><link rel="alternate" href="/1"/><link rel="edit" href="/e1"/><category term="x"/></entry>
  <entry><id>2</id><link rel="alternate" href="/2"/></entry>
</feed>"#;

const FAULT: &str = r#"<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><soap:Fault><faultcode>soap:Server</faultcode><faultstring>Busy</faultstring></soap:Fault></soap:Body></soap:Envelope>"#;

const ENTITIES: &str = "<!DOCTYPE r [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><r>&b;</r>";

/// Pages of a repository (OAI-PMH): the token is an attribute's neighbour, and empty in the end.
fn repository(query: &str) -> String {
    let (record, token) = match query {
        "verb=ListRecords&metadataPrefix=oai_dc" => (
            "<record><id>1</id></record><record><id>2</id></record>",
            "<resumptionToken cursor=\"0\">t/2 x</resumptionToken>",
        ),
        "verb=ListRecords&resumptionToken=t%2F2%20x" => {
            ("<record><id>3</id></record>", "<resumptionToken cursor=\"2\"/>")
        }
        query => panic!("{query}"),
    };
    format!("<OAI-PMH><ListRecords>{record}{token}</ListRecords></OAI-PMH>")
}

/// Pages of a bucket: two keys, one, and none.
fn bucket(query: &str) -> String {
    let inside = match query {
        "list-type=2" => {
            "<NextContinuationToken>a/+=</NextContinuationToken><Contents><Key>a&amp;b</Key><Size>7</Size></Contents><Contents><Key>c</Key><Size>8</Size></Contents>"
        }
        "list-type=2&continuation-token=a%2F%2B%3D" => {
            "<NextContinuationToken>b</NextContinuationToken><Contents><Key>d</Key><Size>9</Size></Contents>"
        }
        "list-type=2&continuation-token=b" => "<IsTruncated>false</IsTruncated>",
        query => panic!("{query}"),
    };
    format!(
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inside}</ListBucketResult>"
    )
}

/// The status, the type and the body of an answer.
fn answer(path: &str) -> (u16, &'static str, Vec<u8>) {
    let (name, query) = path.split_once('?').unwrap_or((path, ""));
    let of = |kind, body: &str| (200, kind, format!("{XML}{body}").into_bytes());
    match name {
        "rss" => of("application/rss+xml; charset=utf-8", RSS),
        "atom" => of("application/atom+xml", ATOM),
        "repository" => of("text/xml", &repository(query)),
        "bucket" => of("application/xml", &bucket(query)),
        "fault" => (500, "text/xml", format!("{XML}{FAULT}").into_bytes()),
        "undeclared" => of("text/plain", "<r><a>1</a></r>"),
        "latin1" => (
            200,
            "text/xml",
            b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><r>Zo\xeb</r>".into(),
        ),
        "utf16" => {
            let text = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-16\"?><r>é</r>".encode_utf16();
            (200, "application/xml", text.flat_map(u16::to_be_bytes).collect())
        }
        "json" => (200, "application/xml", b"{\"a\": 1}".into()),
        "empty" => (200, "application/xml", b"".into()),
        "cut" => of("application/xml", "<r>\n<a>1</a>\n<b>"),
        "entities" => of("application/xml", ENTITIES),
        "deep" => (200, "application/xml", "<a>".repeat(1_000_000).into_bytes()),
        "login" => of(
            "text/html",
            "<!DOCTYPE html><html xmlns=\"http://www.w3.org/1999/xhtml\"><body>Log in</body></html>",
        ),
        "login_as_xml" => of("application/xhtml+xml", "<html><body>Log in</body></html>"),
        "broken_json" => of("application/json", "<Error><Code>Busy</Code></Error>"),
        name => panic!("{name}"),
    }
}

fn converse(path: &str, mut stream: TcpStream) -> Option<()> {
    let (status, kind, body) = answer(path);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()
}

/// A run that asks for one answer.
fn asks(path: &str) -> Throng {
    let addr = raw_server(converse);
    run().arg("--url", &format!("http://{addr}/{path}")).flags("--retries 0 --progress none")
}

/// The value of a program of one answer.
fn value(path: &str, program: &str) -> Value {
    let ended = asks(path).arg("--extract", &format!("v={program}")).exits(0);
    ended.records()[0]["v"].clone()
}

#[test]
fn elements_are_fields_and_attributes_have_an_at() {
    for (path, program, expected) in [
        ("rss", ".rss.channel.title", json!("News & more")),
        ("rss", ".rss[\"@version\"]", json!("2.0")),
        ("rss", ".rss.channel.item | map(.guid | text)", json!(["g1", "g2"])),
        ("rss", ".rss.channel.item[0].title", json!("One <b>bold</b>")),
        ("rss", ".rss.channel.item[0][\"dc:creator\"]", json!("A")),
        ("undeclared", ".r.a | tonumber", json!(1)),
        // One element is a list where a program reads it as one.
        ("undeclared", ".r.a[0]", json!("1")),
        ("undeclared", ".r.a | list | length", json!(1)),
        ("undeclared", ".r.b | list | length", json!(0)),
        ("latin1", ".r", json!("Zoë")),
        ("utf16", ".r", json!("é")),
        ("json", ".a", json!(1)),
    ] {
        assert_eq!(value(path, program), expected, "{path} {program}");
    }
    let ended =
        asks("rss").arg("--answer-format", "text").flags("--extract v=startswith(\"<?xml\")");
    assert_eq!(ended.exits(0).records()[0]["v"], true);
    let kept = asks("undeclared").exits(0).records();
    assert_eq!(kept[0]["_body"], format!("{XML}<r><a>1</a></r>"));
    let none = asks("empty").flags("--extract v?=.r.a").exits(0).records();
    assert_eq!(none[0]["v"], Value::Null);
}

#[test]
fn items_and_pages_are_those_of_the_xml() {
    let ids = |ended: Throng| each(&ended.exits(0).records(), "id");
    let rss = asks("rss").arg("--each", ".rss.channel.item[]").arg("--extract", "id=.guid | text");
    assert_eq!(ids(rss), ["g1", "g2"]);
    // An entry with one link has a list of it, as one with two.
    let href = "id=.link[] | select(.[\"@rel\"] == \"alternate\")[\"@href\"]";
    let atom = asks("atom").arg("--each", ".feed.entry[]").arg("--extract", href);
    assert_eq!(ids(atom), ["/1", "/2"]);
    let repository = asks("repository?verb=ListRecords&metadataPrefix=oai_dc")
        .arg("--each", ".[\"OAI-PMH\"].ListRecords.record[]")
        .arg("--next", ".[\"OAI-PMH\"].ListRecords.resumptionToken | text | if . then \"?verb=ListRecords&resumptionToken=\\(@uri)\" end")
        .arg("--extract", "id=.id");
    assert_eq!(ids(repository), ["1", "2", "3"]);
    let bucket = asks("bucket?list-type=2")
        .arg("--each", ".ListBucketResult.Contents[]?")
        .arg("--cursor", "continuation-token=.ListBucketResult.NextContinuationToken")
        .arg("--extract", "id=\"\\(.Key) \\(.Size | tonumber + 1)\"");
    assert_eq!(ids(bucket), ["a&b 8", "c 9", "d 10"]);
}

#[test]
fn rules_read_the_xml_of_a_fault_or_its_text() {
    for rule in [
        "500 .[\"soap:Envelope\"][\"soap:Body\"][\"soap:Fault\"].faultstring == \"Busy\" = fail fault",
        "500 test(\"<faultstring>Busy\") = fail fault",
    ] {
        let failed = asks("fault").arg("--answer", rule).flags("--extract v=.a").exits(1).records();
        assert_eq!(failed[0]["_error"], "rule fault", "{rule}");
    }
}

#[test]
fn what_is_no_xml_fails_by_name() {
    for (path, kind, why) in [
        ("cut", "not xml", "it ends within <b>, in line 4"),
        ("entities", "not xml", "it declares entities of its own"),
        ("deep", "not xml", "its elements nest deeper than 100"),
        ("login", "not json", "<!DOCTYPE html>"),
        ("login_as_xml", "not json", "Log in"),
        ("broken_json", "not json", "<Error>"),
        ("rss", "missing v", "the answer is XML"),
        ("empty", "missing v", "the answer is empty"),
    ] {
        for program in [".id", ". | .id"] {
            let failed = asks(path).arg("--extract", &format!("v={program}")).exits(1).records();
            assert_eq!(failed[0]["_error"], kind, "{path} {program}: {}", failed[0]["_detail"]);
            let detail = failed[0]["_detail"].as_str().unwrap();
            assert!(detail.contains(why), "{path} {program}: {detail}");
        }
    }
    let said = asks("json").flags("--answer-format xml --extract v=.a").exits(1).records();
    assert_eq!(said[0]["_error"], "not xml");
}
