//! OAuth 2 token servers as they are: their answers, the bodies that they want, and grants by
//! a password or a signed assertion. The answers of `tests/cases/answers/` are given byte by
//! byte.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Value, json};

use crate::harness::{Place, Throng, each, run};
use crate::recorder::{Came, Recorder, answer, json as json_answer};

const RSA_KEY: &str = include_str!("../cases/rsa-key.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("../cases/rsa-key.public.der");

fn case(name: &str) -> String {
    let path = format!("{}/tests/cases/answers/{name}.http", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn is_token(came: &Came) -> bool {
    came.line.starts_with("POST /token")
}

/// An API whose tokens come by this answer.
fn granting(granted: String) -> Recorder {
    Recorder::answering(
        move |came| {
            if is_token(came) { granted.clone() } else { json_answer("{}") }
        },
    )
}

/// A job of five rows with tokens by these keys of `auth`.
fn ask(place: &Place, server: &Recorder, keys: &[&str]) -> Throng {
    let mut job = run()
        .arg("--url", &format!("{}/{{{{ line }}}}", server.url()))
        .arg("--input", &place.file("rows.txt", "0\n1\n2\n3\n4\n"))
        .arg("--auth", &format!("token-url={}/token", server.url()))
        .flags("--auth kind=oauth2");
    for key in keys {
        job = job.arg("--auth", key);
    }
    job
}

/// The fields of the form of the first token request.
fn form(server: &Recorder) -> BTreeMap<String, String> {
    let came = server.came().into_iter().find(is_token).unwrap();
    url::form_urlencoded::parse(&came.body).into_owned().collect()
}

#[test]
fn a_token_is_found_in_the_answers_that_servers_give() {
    for (granted, token) in [
        (case("oauth_form"), "t1795748214733"),
        (
            json_answer(r#"{"data": {"access_token": "nested-token", "expires_in": 60}}"#),
            "nested-token",
        ),
        (
            json_answer(r#"{"status": "ok", "result": {"accessToken": "camel-token"}}"#),
            "camel-token",
        ),
    ] {
        let (place, server) = (Place::new(), granting(granted));
        let ended = ask(&place, &server, &["client-id=me"]).exits(0);
        let came = server.came();
        let bearer = format!("Bearer {token}");
        let rows = came.iter().filter(|came| !is_token(came));
        assert!(rows.clone().all(|came| came.header("authorization") == Some(&*bearer)));
        assert_eq!((rows.count(), came.len()), (5, 6));
        assert!(!ended.stdout.contains(token) && !ended.stderr.contains(token));
    }
}

#[test]
fn a_token_that_a_server_gives_dead_is_fetched_once() {
    let (place, server) = (Place::new(), granting(case("oauth_expzero")));
    ask(&place, &server, &["client-id=me"]).exits(3).says("its token is dead on arrival");
    assert_eq!(server.came().len(), 1);
}

#[test]
fn an_error_is_shown_whatever_the_status_and_its_words_can_not_command_the_terminal() {
    for status in ["200 OK", "400 Bad Request", "401 Unauthorized"] {
        let told =
            r#"{"error": "access_denied", "error_description": "Account \u001b[31mlocked\u202e"}"#;
        let server = granting(answer(status, &[("content-type", "application/json")], told));
        let ended = ask(&Place::new(), &server, &["client-id=me"]).exits(3);
        ended.says(r"it says access_denied (Account \u{1b}[31mlocked\u{202e})");
        assert!(!ended.stderr.contains("client-id"), "{}", ended.stderr);
        assert_eq!(server.came().len(), 1);
    }
    let nested = json_answer(r#"{"errors": [{"code": 7}], "message": "no such app"}"#);
    let ended = ask(&Place::new(), &granting(nested), &["client-id=me"]).exits(3);
    ended.says(r#"it says [{"code":7}] (no such app)"#);
    // The names of an answer are shown, and its values may be secrets.
    let other = json_answer(r#"{"id_token": "s3cret-other"}"#);
    let ended = ask(&Place::new(), &granting(other), &["client-id=me"]).exits(3);
    ended.says("it has no access_token, but id_token");
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
}

#[test]
fn a_token_is_asked_for_in_json_and_with_further_fields() {
    let (place, server) = (Place::new(), granting(json_answer(r#"{"access_token": "a-token"}"#)));
    let keys = ["client-id=me", "client-secret={{ env.SECRET }}", "client-in=body", "body=json"];
    ask(&place, &server, &keys).env("SECRET", "s3cret\"s").exits(0);
    let came = server.came().into_iter().find(is_token).unwrap();
    assert_eq!(came.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&came.body).unwrap();
    let expected = json!({"grant_type": "client_credentials", "client_id": "me", "client_secret": "s3cret\"s"});
    assert_eq!(body, expected);
    server.forget();
    let job = place.file("job.toml", "[auth.fields]\nresource = \"https://vault.example\"\n");
    ask(&place, &server, &["client-id=me"]).flags(&job).exits(0);
    assert_eq!(form(&server)["resource"], "https://vault.example");
}

#[test]
fn a_password_is_granted_a_token_and_is_shown_nowhere() {
    let (place, server) = (Place::new(), granting(json_answer(r#"{"access_token": "a-token"}"#)));
    let keys = ["username=ann", "password={{ env.PASSWORD }}"];
    let ended = ask(&place, &server, &keys).env("PASSWORD", "s3cret pass&word").exits(0);
    let expected =
        [("grant_type", "password"), ("password", "s3cret pass&word"), ("username", "ann")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form(&server), BTreeMap::from(expected));
    assert!(!ended.stderr.contains("s3cret") && !ended.stdout.contains("s3cret"));
    assert_eq!(each(&ended.records(), "_ok"), [true; 5]);
}

/// The claims of the assertion that came, whose signature this key must have made.
fn claims(server: &Recorder, how: &'static dyn VerificationAlgorithm, public: &[u8]) -> Value {
    let form = form(server);
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (message, signature) = form["assertion"].rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(how, public).verify(message.as_bytes(), &signature).unwrap();
    let claims = message.split_once('.').unwrap().1;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[test]
fn an_assertion_that_a_key_has_signed_is_granted_a_token() {
    let place = Place::new();
    let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let generated = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(curve, generated.as_ref(), &SystemRandom::new()).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        BASE64_STANDARD.encode(generated.as_ref())
    );
    let public = pair.public_key().as_ref();
    // Variables of the environment often have line breaks as `\n`.
    let escaped = RSA_KEY.replace('\n', "\\n");
    let (rsa, ecdsa): (&'static dyn VerificationAlgorithm, &'static dyn VerificationAlgorithm) =
        (&RSA_PKCS1_2048_8192_SHA256, &ECDSA_P256_SHA256_FIXED);
    for (algorithm, key, how, public) in [
        ("RS256", RSA_KEY, rsa, RSA_PUBLIC),
        ("RS256", &escaped, rsa, RSA_PUBLIC),
        ("ES256", &pem, ecdsa, public),
    ] {
        let server = granting(json_answer(r#"{"access_token": "a-token"}"#));
        let algorithm = format!("algorithm={algorithm}");
        let keys = ["private-key={{ env.KEY }}", "issuer=app@example", "scope=read", &algorithm];
        let ended = ask(&place, &server, &keys).env("KEY", key).exits(0);
        let claims = claims(&server, how, public);
        assert_eq!(claims["iss"], "app@example");
        assert_eq!(claims["aud"], format!("{}/token", server.url()));
        assert_eq!(claims["scope"], "read");
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(life, 60);
        assert!(!ended.stderr.contains("PRIVATE KEY"), "{}", ended.stderr);
    }
    let server = granting(json_answer("{}"));
    let keys = ["private-key={{ env.KEY }}", "issuer=app", "algorithm=ES256"];
    let ended = ask(&place, &server, &keys).env("KEY", RSA_KEY).exits(2);
    ended.says("auth.private-key (--auth) can't be used");
    assert!(server.came().is_empty());
}
