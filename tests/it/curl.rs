//! A curl command becomes the same request as curl itself sends, byte by byte.

use std::process::Command;

use crate::harness::{Place, Throng, run, throng};
use crate::recorder::{Came, Recorder};

const VARIABLES: [(&str, &str); 4] =
    [("TOKEN", "t0ken-of-mine"), ("SID", "AC0123"), ("KEY", "key-0123456789"), ("SHOP", "my-shop")];

/// Written anew after the documentation of APIs; `HOST` is the recording server.
const COMMANDS: [&str; 32] = [
    // GitHub
    r#"curl -L -H "Accept: application/vnd.github+json" -H "Authorization: Bearer $TOKEN" -H "X-GitHub-Api-Version: 2022-11-28" "HOST/repos/octo/hello/issues?state=open&per_page=5""#,
    r#"curl -X POST -H 'Accept: application/vnd.github+json' -H "Authorization: Bearer $TOKEN" HOST/repos/octo/hello/issues -d '{"title":"Found a bug","body":"It'\''s broken","labels":["bug"]}'"#,
    r#"curl -L -X PUT -H "Authorization: Bearer $TOKEN" HOST/user/starred/octo/hello"#,
    // Stripe
    r#"curl HOST/v1/charges -u "$KEY:" -d amount=2000 -d currency=usd -d source=tok_visa -d "metadata[order_id]=6735""#,
    r#"curl -G HOST/v1/customers -u "$KEY:" -d limit=3 --data-urlencode "email=a+b@example.com""#,
    r#"curl -X DELETE HOST/v1/customers/cus_1 -u $KEY:"#,
    // OpenAI
    "curl HOST/v1/chat/completions \\\n  -H \"Content-Type: application/json\" \\\n  -H \"Authorization: Bearer $TOKEN\" \\\n  -d '{\n    \"model\": \"m\",\n    \"messages\": [{\"role\": \"user\", \"content\": \"Say \\\"hi\\\"!\"}]\n  }'",
    r#"curl HOST/v1/files -H "Authorization: Bearer $TOKEN" -F purpose="fine-tune" -F file="@FILES/train.jsonl""#,
    r#"curl HOST/v1/audio/transcriptions -H "Authorization: Bearer ${TOKEN}" -F "file=@FILES/a.png;type=audio/mpeg;filename=speech.mp3" -F model=whisper-1"#,
    // Slack
    r#"curl -X POST -H 'Content-type: application/json; charset=utf-8' -H "Authorization: Bearer $TOKEN" --data '{"channel":"C1","text":"Hello, *world* & all"}' HOST/api/chat.postMessage"#,
    r#"curl -F "token=$TOKEN" -F channels=C1 -F 'content=a;type=text/csv' HOST/api/files.upload"#,
    // Twilio
    r#"curl -X POST HOST/2010-04-01/Accounts/$SID/Messages.json --data-urlencode "To=+15558675310" --data-urlencode "Body=Hi & bye, 100%" -u "$SID:$TOKEN""#,
    r#"curl -s -S HOST/2010-04-01/Accounts.json -u $SID:$TOKEN -o /dev/null"#,
    // Shopify
    r#"curl -d '{"product":{"title":"Burton","vendor":"B"}}' -X POST HOST/admin/api/2024-01/products.json -H "X-Shopify-Access-Token: $TOKEN" -H "Content-Type: application/json""#,
    r#"curl -X GET "HOST/admin/api/2024-01/orders.json?status=any&fields=id%2Cname" -H "X-Shopify-Access-Token: $TOKEN""#,
    // Elasticsearch
    r#"curl -X GET "HOST/my-index/_search?pretty" -H 'Content-Type: application/json' -d' {"query":{"match_all":{}}}'"#,
    r#"curl -XPOST HOST/_bulk -H 'Content-Type: application/x-ndjson' --data-binary @FILES/train.jsonl"#,
    r#"curl -I HOST/my-index"#,
    r#"curl -k -u elastic:$KEY -XDELETE "HOST/my-index/_doc/1?routing=a b""#,
    // others
    r#"curl --request GET --url 'HOST/3/movie/11?language=en-US' --header "Authorization: Bearer $TOKEN" --header 'accept: application/json'"#,
    r#"curl --json '{"a": [1, 2]}' HOST/json"#,
    r#"curl -T FILES/a.png -H "Expect:" -H "Content-Type: image/png" HOST/upload/a.png"#,
    r#"curl -T FILES/train.jsonl -H "Expect:" HOST/upload/train"#,
    r#"curl HOST/plain"#,
    r#"curl -A "my-agent/1.0" -e https://example.com/from -b "session=abc; theme=dark" HOST/headers"#,
    r#"curl -b a=1 -b b=2 -m 1.001 HOST/cookies"#,
    r#"curl --compressed -H "X-Empty;" -H "Accept:" HOST/compressed"#,
    r#"curl -r 0-99 -H "X-Twice: 1" -H "X-Twice: 2" HOST/range"#,
    r#"curl -X PATCH -H "Content-Type: application/merge-patch+json" --data-raw $'{"note":"it\'s\\n\u00e9"}' HOST/notes/1"#,
    r#"curl --oauth2-bearer $TOKEN --max-time 10 --connect-timeout 2.5 -sSf HOST/bearer"#,
    r#"curl --get --data-urlencode "q=SELECT * FROM t WHERE a='b'" --data-urlencode "fmt@FILES/note.txt" HOST/query"#,
    r#"curl -d @FILES/note.txt -d b=2 "HOST/form?x=1""#,
];

/// What a request is, apart from who says that it sends it, from the length of no body, which
/// curl leaves out, from the boundary
/// between parts, which is drawn by lot, and from the letters of `%2B`, which some
/// versions of curl write as `%2b`.
fn comparable(mut came: Came) -> Came {
    let agent = |value: &str| value.starts_with("curl/") || value.starts_with("throng/");
    came.headers.retain(|(name, value)| name != "user-agent" || !agent(value));
    came.headers.retain(|(name, value)| name != "content-length" || value != "0");
    // Only the names that the job writes are in its letters.
    came.names.clear();
    came.line = capitals(&came.line);
    let kind = came.header("content-type").unwrap_or_default().to_owned();
    if kind == "application/x-www-form-urlencoded" {
        came.body = capitals(&came.text()).into_bytes();
    }
    if let Some((_, boundary)) = kind.split_once("boundary=") {
        let boundary = boundary.to_owned();
        came.body = came.text().replace(&boundary, "BOUNDARY").into_bytes();
        for (name, value) in &mut came.headers {
            match name.as_str() {
                "content-type" => *value = value.replace(&boundary, "BOUNDARY"),
                "content-length" => *value = came.body.len().to_string(),
                _ => {}
            }
        }
    }
    came
}

fn with_variables(throng: Throng) -> Throng {
    let fold = |throng: Throng, (name, value): (&str, &str)| throng.env(name, value);
    VARIABLES.into_iter().fold(throng, fold)
}

fn capitals(text: &str) -> String {
    let mut pieces = text.split('%');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| match piece.get(..2) {
        Some(digits) => text + "%" + &digits.to_uppercase() + &piece[2..],
        None => text + "%" + piece,
    })
}

#[test]
fn thirty_commands_send_what_curl_sends() {
    let (place, recorder) = (Place::new(), Recorder::start());
    place.file("train.jsonl", "{\"a\": 1}\n{\"a\": 2}\n");
    place.file("a.png", "not really a picture");
    place.file("note.txt", "a note\nof two lines\n");
    let input = place.file("rows.csv", "id\n1\n");
    for command in COMMANDS {
        let command = command
            .replace("HOST", &recorder.url())
            .replace("FILES", place.path("").trim_end_matches('/'));
        recorder.forget();
        let curl = Command::new("bash").args(["-c", &command]).envs(VARIABLES).output().unwrap();
        let by_curl = recorder.came();
        // curl itself refuses a blank in a URL; throng does as well.
        if by_curl.is_empty() {
            assert!(
                command.contains("routing=a b"),
                "{command}: {}",
                String::from_utf8_lossy(&curl.stderr)
            );
            with_variables(run())
                .arg("--curl", &command)
                .arg("--input", &input)
                .exits(2)
                .says("is not a URL");
            continue;
        }
        recorder.forget();
        let ended = with_variables(run())
            .arg("--curl", &command)
            .arg("--input", &input)
            .flags("--retries 0")
            .ends();
        assert_eq!(ended.code, Some(0), "{command}\n{}{}", ended.stdout, ended.stderr);
        assert_eq!(comparable(recorder.only()), comparable(by_curl[0].clone()), "{command}");
    }
}

#[test]
fn rows_fill_a_command_in_and_each_value_is_escaped() {
    let (place, recorder) = (Place::new(), Recorder::start());
    let input = place.file("rows.jsonl", r#"{"id": "a/b", "q": "x \"y\" & z"}"#);
    let command = format!(
        r#"curl -s -H 'Content-Type: application/json' -H 'X-Id: {{{{ id }}}}' -d '{{"q": "{{{{ q }}}}"}}' '{}/v/{{{{ id }}}}'"#,
        recorder.url()
    );
    let ended = run().arg("--curl", &command).arg("--input", &input).exits(0);
    ended.says("left out, since these flags only control curl's output: --silent");
    let came = recorder.only();
    assert_eq!(came.line, "POST /v/a%2Fb HTTP/1.1");
    assert_eq!(came.header("x-id"), Some("a/b"));
    assert_eq!(came.text(), r#"{"q": "x \"y\" & z"}"#);
    // A file with the command, and flags over it.
    recorder.forget();
    let file = place.file("command.sh", &command);
    run().arg("--curl", &format!("@{file}")).arg("--input", &input).flags("--method PUT").exits(0);
    assert_eq!(recorder.only().line, "PUT /v/a%2Fb HTTP/1.1");
}

#[test]
fn what_is_not_known_is_named() {
    let place = Place::new();
    let input = place.file("rows.csv", "id\n1\n");
    for (command, why) in [
        ("curl --ntlm http://h/", "throng does not know curl's --ntlm"),
        ("curl --hedaer a http://h/", "did you mean --header?"),
        ("curl -Z http://h/", "throng does not know curl's -Z"),
        ("curl http://h/ | jq .", "is a shell operator"),
        ("wget http://h/", "it begins with \"wget\""),
        ("curl -H 'a: b'", "it has no URL"),
        ("curl http://a/ http://b/", "it has two URLs"),
        ("curl 'http://h/[1-3]'", "its URL has [1-3], of which curl makes several requests"),
        ("curl 'http://h/{{ id }}/[a-e:2].txt'", "its URL has [a-e:2]"),
        ("curl 'http://h/{one,two}'", "its URL has {one,two}"),
        ("curl -d @/no/such http://h/", "/no/such"),
    ] {
        run().arg("--curl", command).arg("--input", &input).exits(2).says(why);
    }
}

#[test]
fn brackets_that_are_no_range_and_those_after_g_are_sent() {
    let recorder = Recorder::start();
    for (flag, path, sent) in
        [("", "x?filter[a]=1", "/x?filter[a]=1"), ("-g", "x?ids=[1-3]", "/x?ids=[1-3]")]
    {
        recorder.forget();
        run().arg("--curl", &format!("curl {flag} '{}/{path}'", recorder.url())).exits(0);
        assert_eq!(recorder.only().line, format!("GET {sent} HTTP/1.1"));
    }
}

#[test]
fn a_command_that_a_browser_copied_for_windows_is_read() {
    let recorder = Recorder::start();
    let command = format!(
        "curl.exe ^\"{}/a?x=1^&y=^%^20z^\" ^\r\n  -X ^\"POST^\" ^\r\n  -H ^\"content-type: application/json^\" ^\r\n  --data-raw ^\"^{{^\\^\"q^\\^\": ^\\^\"it's^\\^\"^}}^\"",
        recorder.url()
    );
    run().arg("--curl", &command).exits(0);
    let came = recorder.only();
    assert_eq!(came.line, "POST /a?x=1&y=%20z HTTP/1.1");
    assert_eq!(came.text(), r#"{"q": "it's"}"#);
}

#[test]
fn a_post_without_a_body_says_its_length_and_all_say_what_they_accept() {
    let recorder = Recorder::start();
    let url = recorder.url();
    run().arg("--url", &url).flags("--method POST --resend-unknown").exits(0);
    let came = recorder.only();
    assert_eq!(came.header("content-length"), Some("0"));
    assert_eq!(came.header("accept"), Some("*/*"));
    recorder.forget();
    run().arg("--url", &url).arg("--header", "Accept: text/csv").exits(0);
    assert_eq!(recorder.only().header("accept"), Some("text/csv"));
    assert_eq!(recorder.only().header("content-length"), None);
}

#[test]
fn a_job_file_is_written_that_does_the_same() {
    let (place, recorder) = (Place::new(), Recorder::start());
    place.file("rows.csv", "id\n7\n");
    let command = format!(
        "curl -X PUT -H 'Authorization: Bearer literal-t0ken' -H 'Content-Type: application/json' -d '{{\"id\": \"{{{{ id }}}}\"}}' {}/v",
        recorder.url()
    );
    let job = place.path("job.toml");
    throng("init")
        .flags(&job)
        .arg("--curl", &command)
        .exits(0)
        .says("request.headers.Authorization held a key")
        .says("export API_TOKEN=…");
    let text = place.read("job.toml");
    assert!(
        text.contains("Bearer {{ env.API_TOKEN }}") && !text.contains("literal-t0ken"),
        "{text}"
    );
    run()
        .flags(&job)
        .arg("--input", &place.path("rows.csv"))
        .arg("--output", &place.path("out.jsonl"))
        .env("API_TOKEN", "from-the-environment")
        .exits(0);
    let came = recorder.only();
    assert_eq!(came.line, "PUT /v HTTP/1.1");
    assert_eq!(came.header("authorization"), Some("Bearer from-the-environment"));
    assert_eq!(came.text(), "{\"id\": \"7\"}");
    throng("init").flags(&job).exits(2).says("can't be written");
    throng("init").flags(&place.path("start.toml")).exits(0);
    throng("plan")
        .flags(&place.path("start.toml"))
        .arg("--input", &place.path("rows.csv"))
        .env("API_TOKEN", "x")
        .exits(0);
}
