//! How clients of this kind have leaked, and that this one doesn't: a test for each.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::harness::{Ended, Place, Throng, each, run, throng};
use crate::proxy::Proxy;
use crate::recorder::{Recorder, answer, json};

const CANARY: &str = "canary-7f3a9c-secret";

/// One row, with the canary in a header whose name is in no list.
fn ask(place: &Place, url: &str) -> Throng {
    let input = place.file("rows.csv", "id\n1\n");
    run()
        .arg("--url", url)
        .arg("--input", &input)
        .arg("--header", "x-zq81: {{ env.CANARY }}")
        .env("CANARY", CANARY)
}

fn carries_canary(recorder: &Recorder) -> bool {
    format!("{:?}", recorder.came()).contains(CANARY)
}

/// A server that redirects everything to this URL.
fn redirecting(status: &'static str, to: String) -> Recorder {
    Recorder::answering(move |_| answer(status, &[("location", &to)], ""))
}

#[test]
fn row_1_and_2_credentials_reach_only_the_first_origin() {
    let (place, there) = (Place::new(), Recorder::start());
    let port = there.addr().port();
    let tls = there.url().replace("http", "https");
    for status in ["301 M", "302 F", "303 S", "307 T", "308 P"] {
        for (to, arrives) in [
            (there.url(), true),                         // another port
            (format!("http://localhost:{port}/"), true), // another host
            (format!("http://me:pw@127.0.0.1:{port}/"), false),
            (tls.clone(), false), // another scheme, and no TLS there
        ] {
            there.forget();
            let here = redirecting(status, to.clone());
            ask(&place, &here.url())
                .flags("--follow 3 --retries 0 --allow-private")
                .ends();
            assert!(carries_canary(&here));
            assert_eq!(
                !there.came().is_empty() && !to.starts_with("https"),
                arrives,
                "{status} {to}"
            );
            assert!(!carries_canary(&there), "{status} {to}");
        }
    }
}

#[test]
fn row_1_a_redirect_from_tls_to_plain_is_not_gone() {
    let (place, there) = (Place::new(), Recorder::start());
    let here = redirecting("302 F", there.url());
    let tls = throng_mock::Tls::self_signed(["127.0.0.1"]).unwrap();
    let addr = crate::terminator::http1_only(&tls, here.addr());
    let roots = place.file("roots.pem", &tls.certificate);
    let ended = ask(&place, &format!("https://{addr}/"))
        .flags("--follow 3 --allow-private --cacert")
        .flags(&roots)
        .exits(1);
    assert_eq!(each(&ended.records(), "_error"), ["status 302"]);
    assert!(there.came().is_empty());
}

#[test]
fn row_3_no_referer_is_sent() {
    let place = Place::new();
    let recorder = Recorder::answering(|came| match came.line.contains("/first") {
        true => answer("302 F", &[("location", "/second")], ""),
        false => json("{}"),
    });
    let url = format!("{}/first?api_key={{{{ env.CANARY }}}}", recorder.url());
    ask(&place, &url).flags("--follow 1").exits(0);
    assert_eq!(recorder.came().len(), 2);
    assert!(
        recorder
            .came()
            .iter()
            .all(|came| came.header("referer").is_none())
    );
    assert!(!recorder.came()[1].line.contains(CANARY));
}

#[test]
fn row_4_a_proxy_s_credentials_stay_with_it() {
    let (place, origin) = (Place::new(), Recorder::start());
    let tls = throng_mock::Tls::self_signed(["127.0.0.1"]).unwrap();
    let addr = crate::terminator::http1_only(&tls, origin.addr());
    let roots = place.file("roots.pem", &tls.certificate);
    let proxy = Proxy::before(addr);
    let with_user = proxy.url().replace("http://", "http://me:proxy-canary@");
    let ended = ask(&place, &format!("https://{addr}/"))
        .flags(&format!("--proxy {with_user} --cacert {roots} -v"))
        .exits(0);
    let head = &proxy.heads()[0].to_lowercase();
    assert!(head.starts_with("connect ") && head.contains("proxy-authorization: basic "));
    assert!(!head.contains(CANARY));
    let came = origin.only();
    assert_eq!(came.header("proxy-authorization"), None);
    assert!(!format!("{came:?}").contains("proxy-canary"));
    ended.says("go through the proxy http://127.0.0.1:");
    assert!(!ended.stderr.contains("proxy-canary"));
}

#[test]
fn row_5_netrc_is_not_read() {
    let (place, recorder) = (Place::new(), Recorder::start());
    place.file(
        ".netrc",
        "machine 127.0.0.1 login me password trap\ndefault login me password trap\n",
    );
    ask(&place, &recorder.url())
        .env("HOME", &place.path(""))
        .env("NETRC", &place.path(".netrc"))
        .exits(0);
    assert_eq!(recorder.only().header("authorization"), None);
}

#[test]
fn row_6_proxies_of_the_environment_are_shown_and_can_be_left_out() {
    let (place, origin) = (Place::new(), Recorder::start());
    let proxy = Proxy::before(origin.addr());
    let through = |name: &str, value: &str, flags: &str| {
        let before = proxy.connections();
        let ended = ask(&place, &origin.url())
            .env(name, value)
            .flags(flags)
            .exits(0);
        (proxy.connections() > before, ended)
    };
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let (used, ended) = through(name, &proxy.url(), "");
        assert!(used, "{name}");
        ended.says("go through the proxy http://");
        assert!(!through(name, &proxy.url(), "--proxy none").0);
    }
    let before = proxy.connections();
    ask(&place, &origin.url())
        .env("HTTP_PROXY", &proxy.url())
        .env("REQUEST_METHOD", "GET")
        .exits(0);
    ask(&place, &origin.url())
        .env("HTTP_PROXY", &proxy.url())
        .env("NO_PROXY", "127.0.0.1")
        .exits(0);
    assert_eq!(proxy.connections(), before);
}

#[test]
fn row_7_secrets_are_in_nothing_that_is_left_behind() {
    use base64::Engine;
    let place = Place::new();
    let forms = [
        CANARY.to_owned(),
        base64::prelude::BASE64_STANDARD.encode(CANARY),
        base64::prelude::BASE64_STANDARD.encode(format!("me:{CANARY}")),
    ];
    let echo = forms.join(" ");
    let statuses = [
        "200 OK", "400 Bad", "401 No", "403 No", "404 No", "418 No", "500 No", "503 No", "302 F",
    ];
    for (number, status) in statuses.into_iter().enumerate() {
        let body = echo.clone();
        let location = format!("/login?key={CANARY}");
        let recorder =
            Recorder::answering(move |_| answer(status, &[("location", &location)], &body));
        let url = format!("{}/?k={{{{ env.CANARY }}}}", recorder.url());
        for command in ["run", "plan"] {
            let input = place.file("rows.csv", "id\n1\n");
            let show = if command == "run" {
                "--retries 0 --max-wait 1s -v --keep-body -o OUT --summary-json SUM"
            } else {
                ""
            };
            let show = show
                .replace("OUT", &place.path(&format!("{number}.jsonl")))
                .replace("SUM", &place.path(&format!("{number}.json")));
            let ended = throng(command)
                .arg("--url", &url)
                .arg("--input", &input)
                .arg("--auth", "kind=basic")
                .arg("--auth", "user=me")
                .arg("--auth", "password={{ env.CANARY }}")
                .flags(&show)
                .env("CANARY", CANARY)
                .ends();
            assert_hidden(&ended, &forms);
        }
    }
    for entry in std::fs::read_dir(place.path("")).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for form in &forms {
            assert!(!text.contains(form.as_str()), "{}: {text}", path.display());
        }
    }
}

#[track_caller]
fn assert_hidden(ended: &Ended, forms: &[String]) {
    for form in forms {
        for text in [&ended.stdout, &ended.stderr] {
            assert!(!text.contains(form.as_str()), "{form} in {text}");
        }
    }
}

#[test]
fn row_7_a_key_in_the_job_is_warned_of_and_hidden() {
    let (place, recorder) = (
        Place::new(),
        Recorder::answering(|_| json("\"literal-key-0815\"")),
    );
    let input = place.file("rows.csv", "id\n1\n");
    let ended = run()
        .arg("--url", &recorder.url())
        .arg("--header", "X-Api-Key: literal-key-0815")
        .arg("--input", &input)
        .exits(0);
    ended.says("request.headers.X-Api-Key holds what looks like a key");
    assert!(!ended.stdout.contains("literal-key") && !ended.stderr.contains("literal-key"));
    assert_eq!(
        recorder.only().header("x-api-key"),
        Some("literal-key-0815")
    );
}

#[test]
fn row_11_no_value_becomes_another_header_or_request() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let mut rows = String::new();
    for byte in 0..=255u8 {
        rows += &format!(
            "{}\n",
            serde_json::json!({ "x": format!("a{}b", char::from(byte)) })
        );
    }
    rows +=
        "{\"x\": \"a\\r\\nx-evil: 1\\r\\n\\r\\nGET /evil HTTP/1.1\\r\\nhost: h\\r\\n\\r\\n\"}\n";
    let input = place.file("rows.jsonl", &rows);
    let ended = run()
        .arg(
            "--url",
            &format!("{}/p/{{{{ x }}}}?q={{{{ x }}}}", recorder.url()),
        )
        .arg("--header", "x-row: {{ x }}")
        .arg("--input", &input)
        .flags("--workers 1")
        .ends();
    let records = ended.records();
    let sent = records
        .iter()
        .filter(|record| record["_ok"] == true)
        .count();
    let came = recorder.came();
    assert_eq!(came.len(), sent);
    assert!(sent > 200 && sent < 257, "{sent}");
    for came in &came {
        let names: Vec<&str> = came.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["accept-encoding", "host", "user-agent", "x-row"],
            "{came:?}"
        );
        assert!(
            came.line.starts_with("GET /p/a") && came.line.ends_with("b HTTP/1.1"),
            "{came:?}"
        );
    }
    assert!(
        records
            .iter()
            .filter(|record| record["_ok"] == false)
            .all(|record| record["_error"] == "input")
    );
}

#[test]
fn row_12_values_keep_to_their_part_of_the_url() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let values = [
        "a/b", "a?b", "a#b", "a&b", "a%b", "a@b", "a\\b", "%2e%2e", "..", ".", "", "é ü", "a;b",
        "a=b", "a+b", "%00",
    ];
    let rows: String = values
        .iter()
        .map(|x| format!("{}\n", serde_json::json!({ "x": x })))
        .collect();
    let input = place.file("rows.jsonl", &rows);
    let ended = run()
        .arg("--url", &format!("{}/users/{{{{ x }}}}/x", recorder.url()))
        .arg("--input", &input)
        .flags("--method DELETE --workers 1 --mode sync")
        .exits(1);
    let refused: Vec<String> = ended
        .records()
        .iter()
        .filter(|record| record["_error"] == "input")
        .map(|record| record["x"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(refused, ["..", ".", ""]);
    let arrived: Vec<String> = recorder
        .came()
        .iter()
        .map(|came| {
            let path = came
                .line
                .strip_prefix("DELETE ")
                .unwrap()
                .strip_suffix(" HTTP/1.1")
                .unwrap();
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(
                (segments.len(), segments[1], segments[3]),
                (4, "users", "x"),
                "{path}"
            );
            percent_encoding::percent_decode_str(segments[2])
                .decode_utf8()
                .unwrap()
                .into_owned()
        })
        .collect();
    let meant: Vec<&str> = values
        .into_iter()
        .filter(|x| !["", ".", ".."].contains(x))
        .collect();
    assert_eq!(arrived, meant);
}

#[test]
fn row_13_a_row_s_url_replaces_nothing() {
    let (place, recorder, evil) = (Place::new(), Recorder::start(), Recorder::start());
    let host = evil.addr();
    let rows = format!(
        "url\n//{host}/\nhttp://{host}/\n\\\\{host}/\n{0}/fine\n/{host}\n",
        recorder.url()
    );
    let input = place.file("rows.csv", &rows);
    let ended = run()
        .arg("--url", "{{ url }}")
        .arg("--input", &input)
        .arg("--allow-host", &recorder.addr().to_string())
        .exits(1);
    assert_eq!(
        each(&ended.records(), "_error"),
        ["input", "input", "input", "", "input"].map(|kind| match kind {
            "" => serde_json::Value::Null,
            kind => kind.into(),
        })
    );
    assert!(evil.came().is_empty());
    assert_eq!(recorder.only().line, "GET /fine HTTP/1.1");
    // Behind a base, it is only a part of the path.
    recorder.forget();
    run()
        .arg("--url", &format!("{}/{{{{ url }}}}", recorder.url()))
        .arg("--input", &input)
        .exits(0);
    assert!(evil.came().is_empty());
    assert_eq!(recorder.came().len(), 5);
}

#[test]
fn row_13_keys_go_only_to_hosts_that_are_named() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let input = place.file("rows.csv", &format!("url\n{}/a\n", recorder.url()));
    let ask = || {
        run()
            .arg("--url", "{{ url }}")
            .arg("--input", &input)
            .arg("--header", "x-key: {{ env.CANARY }}")
            .env("CANARY", CANARY)
    };
    ask().exits(2).says(&format!("rows decide which host gets the job's keys: name the hosts that may (request.allow-host): --allow-host {}", recorder.addr()));
    ask()
        .arg("--allow-host", &recorder.addr().to_string())
        .exits(0);
    assert!(carries_canary(&recorder));
}

#[test]
fn row_14_rows_and_redirects_lead_to_no_private_address() {
    let (place, inside) = (Place::new(), Recorder::start());
    let port = inside.addr().port();
    let input = place.file(
        "rows.csv",
        &format!("url\nhttp://evil.example:{port}/\n{}/\n", inside.url()),
    );
    let ask = |flags: &str| {
        run()
            .arg("--url", "{{ url }}")
            .arg("--input", &input)
            .flags(&format!(
                "--retries 0 --resolve evil.example:{port}:127.0.0.1 {flags}"
            ))
            .ends()
    };
    let ended = ask("");
    assert!(inside.came().is_empty(), "{:?}", inside.came());
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        said.contains("which is private") && said.contains("--allow-private"),
        "{said}"
    );
    ask("--allow-private");
    assert_eq!(inside.came().len(), 2);
    // A redirect from a server that the job names.
    inside.forget();
    let here = redirecting("302 F", format!("http://evil.example:{port}/"));
    let ended = run()
        .arg("--url", &here.url())
        .arg("--input", &input)
        .flags(&format!(
            "--follow 1 --retries 0 --resolve evil.example:{port}:127.0.0.1"
        ))
        .exits(1);
    assert!(inside.came().is_empty());
    assert_eq!(each(&ended.records(), "_error")[0], "connect");
}

#[test]
fn row_15_certificates_are_checked_and_secrets_need_tls() {
    let (place, origin) = (Place::new(), Recorder::start());
    let own = throng_mock::Tls::self_signed(["127.0.0.1"]).unwrap();
    let wrong_name = throng_mock::Tls::self_signed(["other.example"]).unwrap();
    let roots = place.file(
        "own.pem",
        &format!("{}{}", own.certificate, wrong_name.certificate),
    );
    let right = crate::terminator::http1_only(&own, origin.addr());
    let wrong = crate::terminator::http1_only(&wrong_name, origin.addr());
    let stranger = crate::terminator::http1_only(
        &throng_mock::Tls::self_signed(["127.0.0.1"]).unwrap(),
        origin.addr(),
    );
    for (addr, flags, code) in [
        (right, format!("--cacert {roots}"), 0),
        (right, format!("--cacert {roots} --tls-min 1.3"), 0),
        (wrong, format!("--cacert {roots}"), 3),
        (stranger, format!("--cacert {roots}"), 3),
        (stranger, "--insecure".to_owned(), 0),
        (right, "--cacert /no/such".to_owned(), 2),
    ] {
        origin.forget();
        let ended = ask(&place, &format!("https://{addr}/"))
            .flags(&flags)
            .flags("--retries 0")
            .exits(code);
        assert_eq!(origin.came().len(), usize::from(code == 0), "{flags}");
        if flags == "--insecure" {
            ended.says("WARNING: certificates are NOT checked");
        }
    }
    let plain = |flags: &str| {
        ask(&place, "http://plain.example:1/")
            .flags(&format!(
                "--resolve plain.example:1:127.0.0.1 --retries 0 {flags}"
            ))
            .ends()
    };
    plain("")
        .with_code(2)
        .says("a secret would go to plain.example over http://");
    plain("--allow-plain").with_code(3).says("can't be reached");
}

/// A SOCKS 5 proxy with a user, that notes whom it was asked for.
fn socks(asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut client, asked) = (stream.unwrap(), asked.clone());
            thread::spawn(move || {
                let mut take = |count: usize| {
                    let mut bytes = vec![0; count];
                    client.read_exact(&mut bytes).ok().map(|()| bytes)
                };
                let methods = take(2)?[1];
                take(usize::from(methods))?;
                client.write_all(&[5, 0]).ok()?;
                let mut head = [0; 4];
                client.read_exact(&mut head).ok()?;
                let host = match head[3] {
                    1 => {
                        let mut ip = [0; 4];
                        client.read_exact(&mut ip).ok()?;
                        ip.map(|b| b.to_string()).join(".")
                    }
                    _ => {
                        let mut length = [0];
                        client.read_exact(&mut length).ok()?;
                        let mut name = vec![0; usize::from(length[0])];
                        client.read_exact(&mut name).ok()?;
                        String::from_utf8(name).ok()?
                    }
                };
                let mut port = [0; 2];
                client.read_exact(&mut port).ok()?;
                let port = u16::from_be_bytes(port);
                asked.lock().unwrap().push(host);
                let server = TcpStream::connect(("127.0.0.1", port)).ok()?;
                client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).ok()?;
                let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let mut server = server;
                std::io::copy(&mut client, &mut server).ok()
            });
        }
    });
    addr
}

#[test]
fn ways_to_a_server() {
    let (place, origin) = (Place::new(), Recorder::start());
    let port = origin.addr().port();
    let asked = std::sync::Arc::default();
    let socks = socks(std::sync::Arc::clone(&asked));
    let input = place.file("rows.csv", "id\n1\n");
    let ask = |url: &str, flags: &str| {
        run()
            .arg("--url", url)
            .arg("--input", &input)
            .flags(flags)
            .exits(0)
    };
    ask(&origin.url(), &format!("--proxy socks5://{socks}"));
    ask(
        &format!("http://named.example:{port}/"),
        &format!("--proxy socks5h://{socks}"),
    );
    assert_eq!(*asked.lock().unwrap(), ["127.0.0.1", "named.example"]);
    ask(
        &format!("http://named.example:{port}/"),
        &format!("--resolve named.example:{port}:127.0.0.1"),
    );
    ask(&origin.url(), "--interface 127.0.0.1");
    ask(&origin.url(), "--interface lo");
    assert_eq!(origin.came().len(), 5);
    assert_eq!(
        origin.came()[2].header("host"),
        Some(&*format!("named.example:{port}"))
    );
    // A mock speaks HTTP/2 in clear to those who begin with it.
    let mock = crate::harness::plain_mock();
    let ended = run()
        .arg("--url", &format!("{}/echo", mock.url()))
        .arg("--input", &input)
        .flags("--http 2 --extract host?=.headers.host")
        .exits(0);
    assert_eq!(each(&ended.records(), "host"), [serde_json::Value::Null]);
    // A Unix socket in front of the origin.
    let path = place.path("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().ok()?;
        let mut request = [0; 4096];
        let length = client.read(&mut request).ok()?;
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        client
            .write_all(json(&serde_json::json!(text).to_string()).as_bytes())
            .ok()
    });
    let ended = run()
        .arg("--url", "http://docker/v1/info")
        .arg("--input", &input)
        .flags(&format!("--unix-socket {path} --extract said=."))
        .exits(0);
    assert!(
        ended.records()[0]["said"]
            .as_str()
            .unwrap()
            .starts_with("GET /v1/info HTTP/1.1\r\n")
    );
}
