//! A login before the rows: its secrets and cookies, their renewal, and its failures.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Place, Throng, each, run, throng};
use crate::recorder::{Came, Recorder, answer, json};

/// A job with this text, of rows that are numbers from 0.
fn job(command: Throng, place: &Place, text: &str, rows: usize) -> Throng {
    let rows: String = (0..rows).map(|n| format!("{n}\n")).collect();
    let input = place.file("rows.txt", &rows);
    command.flags(&place.file("job.toml", text)).arg("--input", &input)
}

/// A job whose rows ask this server under a session that a form opens.
fn with_form(server: &Recorder) -> String {
    format!(
        r#"
        cookies = "run"
        [[before]]
        url = "{0}/login"
        form = {{ user = "ann", password = "{{{{ env.PASSWORD }}}}" }}
        [request]
        url = "{0}/items/{{{{ line }}}}"
        [extract]
        "said?" = ".said"
    "#,
        server.url()
    )
}

/// A job whose rows have the token that `/login` answers, with further keys of the login.
fn with_token(server: &Recorder, more: &str) -> String {
    format!(
        r#"
        [[before]]
        url = "{0}/login"
        json = {{ password = "{{{{ env.PASSWORD }}}}" }}
        extract = {{ token = ".data.token" }}
        {more}
        [request]
        url = "{0}/items/{{{{ line }}}}"
        headers = {{ x-session = "Token {{{{ before.token }}}}" }}
        [extract]
        "said?" = ".said"
    "#,
        server.url()
    )
}

fn is_login(came: &Came) -> bool {
    came.line.contains("/login")
}

fn logins(server: &Recorder) -> usize {
    server.came().iter().filter(|came| is_login(came)).count()
}

/// A server of tokens `s3cret-token-1`, `s3cret-token-2`, ..., each good for so many requests.
fn lasting(requests: usize) -> Recorder {
    let state = Mutex::new((0, 0));
    Recorder::answering(move |came| {
        let mut state = state.lock().unwrap();
        if is_login(came) {
            *state = (state.0 + 1, 0);
            return json(&format!(r#"{{"data": {{"token": "s3cret-token-{}"}}}}"#, state.0));
        }
        let token = format!("Token s3cret-token-{}", state.0);
        if came.header("x-session") == Some(&token) && state.1 < requests {
            state.1 += 1;
            json(&format!(r#"{{"said": "{token}"}}"#))
        } else {
            answer("401 Unauthorized", &[], "who are you?")
        }
    })
}

#[test]
fn the_cookie_of_a_login_goes_along_with_each_row() {
    let place = Place::new();
    let server = Recorder::answering(|came| {
        if is_login(came) {
            let cookie = "session=s3cret-of-ann; Path=/; HttpOnly";
            let to = [("set-cookie", cookie), ("location", "/home")];
            return answer("302 Found", &to, "");
        }
        match came.header("cookie") {
            Some("session=s3cret-of-ann") => json(r#"{"said": "hello s3cret-of-ann"}"#),
            _ => answer("401 Unauthorized", &[], ""),
        }
    });
    let ended = job(run(), &place, &with_form(&server), 20).env("PASSWORD", "pass&word1").exits(0);
    assert_eq!(each(&ended.records(), "said"), ["hello ***"; 20]);
    let came = server.came();
    assert_eq!((came.len(), logins(&server)), (21, 1));
    assert!(is_login(&came[0]), "no row goes before the login");
    assert_eq!(came[0].text(), "user=ann&password=pass%26word1");
    assert!(!ended.stderr.contains("s3cret") && !ended.stderr.contains("pass&word1"));
}

#[test]
fn a_login_may_take_a_token_of_a_page_and_its_cookie_first() {
    let place = Place::new();
    let server = Recorder::answering(|came| {
        let cookie = came.header("cookie").unwrap_or_default();
        if came.line.starts_with("GET /login") {
            let set = [
                ("set-cookie", "visit=s3cret-visit; Path=/"),
                ("x-csrf-token", "s3cret/csrf+token"),
                ("content-type", "text/html"),
            ];
            return answer("200 OK", &set, "<html>Log in</html>");
        }
        if is_login(came) {
            let fits = came.text() == "csrf=s3cret%2Fcsrf%2Btoken&user=ann"
                && cookie == "visit=s3cret-visit";
            let set = [("set-cookie", "session=s3cret-session; Path=/")];
            return if fits {
                answer("204 No Content", &set, "")
            } else {
                answer("403 Forbidden", &[], "CSRF")
            };
        }
        let fits = cookie.contains("session=s3cret-session")
            && came.header("x-csrf-token") == Some("s3cret/csrf+token");
        if fits {
            json(r#"{"said": "s3cret/csrf+token"}"#)
        } else {
            answer("403 Forbidden", &[], "CSRF")
        }
    });
    let text = format!(
        r#"
        cookies = "run"
        [[before]]
        url = "{0}/login"
        extract = {{ csrf = '$headers["x-csrf-token"]' }}
        [[before]]
        url = "{0}/login"
        form = {{ csrf = "{{{{ before.csrf }}}}", user = "ann" }}
        [request]
        url = "{0}/items/{{{{ line }}}}"
        headers = {{ x-csrf-token = "{{{{ secret.csrf }}}}" }}
        [extract]
        said = ".said"
    "#,
        server.url()
    );
    let ended = job(run(), &place, &text, 5).exits(0);
    assert_eq!(each(&ended.records(), "said"), ["***"; 5]);
    assert_eq!(logins(&server), 2);
}

#[test]
fn a_session_that_ends_under_many_rows_is_renewed_once_and_each_row_has_its_record() {
    let (place, server) = (Place::new(), lasting(60));
    let text = with_token(&server, "");
    let many = job(run(), &place, &text, 150).flags("--workers 2 --concurrency 5");
    let ended = many.env("PASSWORD", "pass&word1").exits(0);
    assert_eq!(logins(&server), 3);
    assert_eq!(each(&ended.records(), "said"), ["Token ***"; 150]);
    let login = server.came().into_iter().find(is_login).unwrap();
    assert_eq!(login.text(), r#"{"password":"pass&word1"}"#);
}

#[test]
fn a_late_answer_of_the_session_before_does_not_end_the_one_after() {
    let place = Place::new();
    let state = Mutex::new((0, 0));
    let server = Recorder::answering(move |came| {
        let mut state = state.lock().unwrap();
        if is_login(came) {
            *state = (state.0 + 1, 0);
            let cookie = format!("session=s3cret-{}; Path=/", state.0);
            return answer("200 OK", &[("set-cookie", &cookie)], "{}");
        }
        let cookie = format!("session=s3cret-{}", state.0);
        if came.header("cookie") == Some(&cookie) && state.1 < 40 {
            state.1 += 1;
            json("{}")
        } else {
            let gone = [("set-cookie", "session=; Path=/; Max-Age=0")];
            answer("401 Unauthorized", &gone, "")
        }
    });
    let many = job(run(), &place, &with_form(&server), 100).flags("--workers 2 --concurrency 5");
    many.env("PASSWORD", "pass&word1").exits(0);
    assert_eq!(logins(&server), 3);
}

#[test]
fn a_second_refusal_is_the_row_s_failure_and_no_row_logs_in_by_itself() {
    let (place, server) = (Place::new(), lasting(0));
    let text = with_token(&server, "");
    let ended = job(run(), &place, &text, 8)
        .flags("--workers 1 --mode sync")
        .env("PASSWORD", "pass&word1")
        .exits(1);
    assert_eq!(each(&ended.records(), "_error"), ["status 401"; 8]);
    assert_eq!(ended.records()[0]["_attempts"], 2);
    assert_eq!(logins(&server), 2);
}

#[test]
fn a_login_that_fails_stops_the_run_before_the_rows_in_the_server_s_words() {
    for (status, body, words, advice) in [
        (
            "403 Forbidden",
            r#"{"message": "wrong \u001b[31mpassword"}"#,
            "wrong \\\\u001b[31mpassword",
            "check the user, the password and the other keys of this [[before]]",
        ),
        (
            "200 OK",
            r#"{"data": {"toke": "s3cret-other"}}"#,
            "missing token",
            "check before.extract, and the user and the password",
        ),
        (
            "200 OK",
            r#"{"data": {"token": ["a"]}}"#,
            "before.extract.token is a list",
            "have its jq program give one text",
        ),
    ] {
        let place = Place::new();
        let server = Recorder::answering(move |_| answer(status, &[], body));
        let text = with_token(&server, "");
        let ended = job(run(), &place, &text, 5).env("PASSWORD", "pass&word1").exits(3);
        ended.says("the login failed: POST http://").says("/login (before)").says(advice);
        let shown = ended.stderr.replace("\\\\", "\\");
        assert!(shown.contains(&words.replace("\\\\", "\\")), "{shown}");
        assert_eq!(server.came().len(), 1);
        assert!(
            ended.stdout.is_empty() && !shown.contains("s3cret") && !shown.contains("pass&word1")
        );
    }
}

#[test]
fn what_says_when_a_session_ends_renews_it_in_time() {
    let (place, server) = (Place::new(), lasting(usize::MAX));
    let text = with_token(&server, "expires = '1'");
    let slow = job(run(), &place, &text, 6).flags("--rate 4/1s --workers 1 --mode sync");
    slow.env("PASSWORD", "pass&word1").exits(0);
    assert!(logins(&server) >= 2);
    let came = server.came();
    assert!(came.iter().filter(|came| !is_login(came)).count() == 6, "no row is refused");

    let text = with_token(&server, "expires = '0'");
    let ended = job(run(), &place, &text, 6).env("PASSWORD", "pass&word1").exits(3);
    ended.says("its secrets have expired on arrival");
}

#[test]
fn a_redirect_to_the_login_page_may_be_the_end_of_a_session() {
    let place = Place::new();
    let asked = AtomicUsize::new(0);
    let server = Recorder::answering(move |came| {
        if is_login(came) {
            return json(r#"{"data": {"token": "a-session"}}"#);
        }
        if asked.fetch_add(1, Ordering::SeqCst) == 1 {
            return answer("302 Found", &[("location", "/login")], "");
        }
        json("{}")
    });
    let text = with_token(&server, "renew-on = [302]");
    let ended = job(run(), &place, &text, 3)
        .flags("--follow 3 --workers 1 --mode sync")
        .env("PASSWORD", "pass&word1")
        .exits(0);
    assert_eq!(each(&ended.records(), "_attempts"), [1, 2, 1]);
    assert_eq!(logins(&server), 2);
    let came = server.came();
    assert!(came.iter().filter(|came| is_login(came)).all(|came| came.line.starts_with("POST")));
}

#[test]
fn each_key_of_a_pool_logs_in_for_itself() {
    let place = Place::new();
    let server = Recorder::answering(|came| {
        if is_login(came) {
            let key = came.header("x-key").unwrap();
            let cookie = format!("session=of-{key}; Path=/");
            let token = format!(r#"{{"data": {{"token": "token-of-{key}"}}}}"#);
            return answer("200 OK", &[("set-cookie", &cookie)], &token);
        }
        let key = came.header("x-key").unwrap_or_default();
        let cookie = format!("session=of-{key}");
        let token = format!("token-of-{key}");
        let fits =
            came.header("x-session") == Some(&token) && came.header("cookie") == Some(&cookie);
        if fits { json("{}") } else { answer("401 Unauthorized", &[], "") }
    });
    let text = format!(
        r#"
        cookies = "run"
        [[before]]
        url = "{0}/login"
        method = "POST"
        headers = {{ x-key = "{{{{ key }}}}" }}
        extract = {{ token = ".data.token" }}
        [request]
        url = "{0}/items/{{{{ line }}}}"
        headers = {{ x-key = "{{{{ key }}}}", x-session = "{{{{ secret.token }}}}" }}
        [limit]
        rate = "5/1s"
        keys = ["{{{{ env.KEY_A }}}}", "{{{{ env.KEY_B }}}}"]
    "#,
        server.url()
    );
    let ended = job(run(), &place, &text, 14)
        .env("KEY_A", "the-first-key")
        .env("KEY_B", "the-other-key")
        .exits(0);
    assert_eq!(each(&ended.records(), "_attempts"), [1; 14]);
    let mut by_key = BTreeMap::new();
    for came in server.came().iter().filter(|came| is_login(came)) {
        *by_key.entry(came.header("x-key").unwrap().to_owned()).or_insert(0) += 1;
    }
    let expected = [("the-first-key", 1), ("the-other-key", 1)];
    assert_eq!(by_key, expected.map(|(key, count)| (key.to_owned(), count)).into());
}

#[test]
fn each_row_has_its_cookies_beside_those_of_the_login() {
    let place = Place::new();
    let server = Recorder::answering(|came| {
        if is_login(came) {
            return answer("200 OK", &[("set-cookie", "session=of-ann; Path=/")], "{}");
        }
        let cookie = came.header("cookie").unwrap_or_default();
        let path = came.line.split(' ').nth(1).unwrap();
        let row = path.rsplit('/').next().unwrap();
        if path.starts_with("/more") && cookie == format!("own=row-{row}; session=of-ann") {
            return json("{}");
        }
        if path.starts_with("/items") && cookie == "session=of-ann" {
            let own = format!("own=row-{row}; Path=/");
            return answer("200 OK", &[("set-cookie", &own)], &format!(r#"{{"id": "{row}"}}"#));
        }
        answer("403 Forbidden", &[], cookie)
    });
    let text = format!(
        r#"
        cookies = "row"
        [[before]]
        url = "{0}/login"
        [request]
        url = "{0}/items/{{{{ line }}}}"
        [extract]
        id = ".id"
        [[step]]
        request = {{ url = "{0}/more/{{{{ id }}}}" }}
    "#,
        server.url()
    );
    let ended = job(run(), &place, &text, 10).exits(0);
    assert_eq!(each(&ended.records(), "_ok"), [true; 10]);
    assert_eq!(logins(&server), 1);
}

#[test]
fn what_a_login_gave_stays_hidden_however_many_cookies_come_after_it() {
    const ROWS: usize = 210;
    let (place, asked) = (Place::new(), AtomicUsize::new(0));
    let server = Recorder::answering(move |came| {
        if is_login(came) {
            let set = [("set-cookie", "session=s3cret-session; Path=/")];
            return answer("200 OK", &set, r#"{"data": {"token": "s3cret-token"}}"#);
        }
        let number = asked.fetch_add(1, Ordering::SeqCst);
        let set = format!("visit=s3cret-visit-{number}; Path=/");
        let cookies = came.header("cookie").unwrap_or_default();
        let session = cookies.split("; ").find(|it| it.starts_with("session=")).unwrap_or("lost");
        let token = came.header("x-session").unwrap_or_default();
        answer("200 OK", &[("set-cookie", &set)], &format!(r#"{{"said": "{token} {session}"}}"#))
    });
    let text = format!("cookies = \"run\"\n{}", with_token(&server, ""));
    let many = job(run(), &place, &text, ROWS).flags("--workers 1 --concurrency 5");
    let ended = many.env("PASSWORD", "pass&word1").exits(0);
    assert_eq!(each(&ended.records(), "said"), ["Token *** session=***"; ROWS]);
    assert!(!ended.stdout.contains("s3cret") && !ended.stderr.contains("s3cret"));
}

#[test]
fn a_plan_and_a_tried_row_show_the_login_and_none_of_its_secrets() {
    let (place, server) = (Place::new(), lasting(usize::MAX));
    let text = with_token(&server, "");
    let plan = job(throng("plan"), &place, &text, 2).env("PASSWORD", "pass&word1").exits(0);
    let line = format!("before    POST {}/login gives {{{{ secret.token }}}}", server.url());
    assert!(plan.stdout.contains(&line), "{}", plan.stdout);
    assert!(plan.stdout.contains("x-session: ***"), "{}", plan.stdout);
    assert!(server.came().is_empty());
    let tried = job(throng("try"), &place, &text, 2).env("PASSWORD", "pass&word1").exits(0);
    for shown in [&plan.stdout, &tried.stdout] {
        assert!(!shown.contains("s3cret") && !shown.contains("pass&word1"), "{shown}");
    }
    assert!(tried.stdout.contains("said: \"Token ***\""), "{}", tried.stdout);
    assert_eq!(server.came().len(), 2);
}

#[test]
fn a_login_that_can_not_work_is_an_error_of_the_plan() {
    let place = Place::new();
    for (before, why) in [
        (
            "url = \"http://h/{{ line }}\"",
            "before 1: it uses {{ line }}, but is the same for all rows",
        ),
        ("method = \"POST\"", "before 1: "),
        ("url = \"http://h/\"\nextract = { a = \".[\" }", "before 1: "),
        ("url = \"http://h/\"\nrenew-on = [9999]", "before.renew-on has 9999"),
        ("url = \"http://127.0.0.1/\"\nbdy = \"x\"", "unknown field `bdy`"),
        (
            "url = \"http://127.0.0.1/\"\nextract = { t = \".t\" }\n[secrets]\nt = \"command:echo abc\"",
            "there is another secret of this name",
        ),
    ] {
        let text = format!("[[before]]\n{before}\n[request]\nurl = \"http://127.0.0.1:9/\"\n");
        job(run(), &place, &text, 1).exits(2).says(why);
    }
    let text = "[[before]]\nurl = \"http://127.0.0.1:9/\"\nextract = { t = \".t\" }\n[request]\nurl = \"http://127.0.0.1:9/\"\n";
    job(throng("plan"), &place, text, 1).exits(0);
    let basic = format!(
        "{text}[auth]\nkind = \"basic\"\nuser = \"a\"\npassword = \"{{{{ before.t }}}}\"\n"
    );
    job(run(), &place, &basic, 1).exits(2).says("only the kinds bearer and header can");
}
