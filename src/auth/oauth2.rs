//! OAuth 2 (RFC 6749): client credentials, a refresh token, a user's password, or a signed
//! assertion (RFC 7523).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Uri};
use serde::Deserialize;

use super::assertion::{Algorithm, Assertion};
use super::refresh_token::{RefreshOrigin, RefreshToken, TokenFile};
use super::scheme::{Scheme, SchemeSettings, set_secret, wrong};
use super::token_client::{ClientIn, Grant, TokenBody, TokenClient, TokenSecrets};
use super::tokens::Tokens;
use crate::error::Error;

#[derive(Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    /// The URL that gives tokens.
    token_url: String,
    /// The grant; without it, the keys that are given show it.
    #[cfg_attr(
        feature = "cli",
        schemars(with = "Option<crate::limit::schema::Either<GrantKind, String>>")
    )]
    grant: Option<GrantKind>,
    /// The id of the client.
    client_id: Option<String>,
    /// The secret of the client.
    client_secret: Option<String>,
    /// A refresh token, or the source of one.
    refresh_token: Option<String>,
    /// The user's name, for the password grant.
    username: Option<String>,
    /// The user's password, for the password grant.
    password: Option<String>,
    /// The private key (PEM) that signs the assertion.
    private_key: Option<String>,
    /// The algorithm of the assertion's signature.
    #[serde(default)]
    algorithm: Algorithm,
    /// The id of the key, in the head of the assertion.
    key_id: Option<String>,
    /// The issuer of the assertion; the client's id if it is left out.
    issuer: Option<String>,
    /// The subject of the assertion; the issuer if it is left out.
    subject: Option<String>,
    /// Further claims of the assertion.
    #[serde(default)]
    claims: BTreeMap<String, String>,
    /// The time for which an assertion holds.
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::DurationText"))]
    #[serde(default = "default_lifetime", with = "humantime_serde")]
    lifetime: Duration,
    /// The scope that is asked for.
    scope: Option<String>,
    /// The audience; of an assertion, the URL of tokens if it is left out.
    audience: Option<String>,
    /// Further fields of the request's body.
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// The part of the request that holds the client's id and secret.
    #[serde(default)]
    client_in: ClientIn,
    /// The encoding of the request's body.
    #[serde(default)]
    body: TokenBody,
}

/// The lifetime of an assertion: some servers take none that lives longer.
fn default_lifetime() -> Duration {
    Duration::from_secs(60)
}

/// The grants of RFC 6749 and RFC 7523 that need nobody at a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum GrantKind {
    /// The client's own id and secret.
    #[serde(alias = "client_credentials")]
    ClientCredentials,
    /// A refresh token.
    #[serde(alias = "refresh_token")]
    RefreshToken,
    /// A user's name and password.
    Password,
    /// An assertion that a private key signs.
    #[serde(alias = "jwt_bearer", alias = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}

pub fn build(part: &SchemeSettings<'_>) -> Result<Box<dyn Scheme>, Error> {
    let settings: Settings = part.read()?;
    let uri: Uri = settings.token_url.parse().map_err(|error| wrong("token-url", error))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(wrong("token-url", "it must begin with https:// or http://"));
    }
    let kind = settings.kind()?;
    let grant = grant(part, &settings, kind)?;
    let mut fields = Vec::new();
    // The audience of an assertion is one of its claims.
    let audience = settings.audience.as_ref().filter(|_| kind != GrantKind::JwtBearer);
    for (name, text) in [("scope", settings.scope.as_ref()), ("audience", audience)] {
        if let Some(text) = text {
            fields.push((name.to_owned(), part.plain(name, text)?));
        }
    }
    for (name, text) in &settings.fields {
        fields.push((name.clone(), part.plain("fields", text)?));
    }
    let refresh = settings.refresh_token.map(|text| refresh_token(part, &text)).transpose()?;
    let client = TokenClient {
        uri,
        grant,
        id: settings.client_id.map(|text| part.plain("client-id", &text)).transpose()?,
        secret: part.hidden_if("client-secret", settings.client_secret.as_ref())?,
        client_in: settings.client_in,
        body: settings.body,
        fields,
        secrets: part.context.vault.secrets().clone(),
        rotating: TokenSecrets::new(part.context.vault.secrets()),
    };
    Ok(Box::new(Tokens::new(client, refresh)))
}

impl Settings {
    /// The grant that the job names, or that its keys imply.
    fn kind(&self) -> Result<GrantKind, Error> {
        let implied = [
            (GrantKind::RefreshToken, "refresh-token", self.refresh_token.is_some()),
            (GrantKind::JwtBearer, "private-key", self.private_key.is_some()),
            (GrantKind::Password, "username", self.username.is_some()),
        ];
        let given: Vec<_> = implied.iter().filter(|(.., is_given)| *is_given).collect();
        if let [(_, one, _), (_, other, _), ..] = given[..] {
            let why = format!("{one} and {other} are of two grants: leave one of them out");
            return Err(wrong(one, why));
        }
        let implied = given.first().map(|(kind, ..)| *kind);
        let kind = self.grant.or(implied).unwrap_or(GrantKind::ClientCredentials);
        let needs = match kind {
            GrantKind::ClientCredentials if implied.is_some() => {
                return Err(wrong("grant", "its other keys are those of another grant"));
            }
            GrantKind::ClientCredentials => ("client-id", self.client_id.is_some()),
            GrantKind::RefreshToken if self.refresh_token.is_some() => {
                ("client-id", self.client_id.is_some())
            }
            GrantKind::RefreshToken => ("refresh-token", false),
            GrantKind::Password if self.username.is_some() => ("password", self.password.is_some()),
            GrantKind::Password => ("username", false),
            GrantKind::JwtBearer => ("private-key", self.private_key.is_some()),
        };
        match needs {
            (_, true) => Ok(kind),
            (key, false) => {
                Err(Error::plan(format!("auth (--auth): kind oauth2: missing field `{key}`")))
            }
        }
    }
}

fn grant(part: &SchemeSettings<'_>, settings: &Settings, kind: GrantKind) -> Result<Grant, Error> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match kind {
        GrantKind::ClientCredentials | GrantKind::RefreshToken => Ok(Grant::ClientCredentials),
        GrantKind::Password => Ok(Grant::Password {
            username: part.plain("username", &text(&settings.username))?,
            password: part.hidden_text("password", &text(&settings.password))?,
        }),
        GrantKind::JwtBearer => {
            let assertion = assertion(part, settings)?;
            assertion.sign(SystemTime::UNIX_EPOCH).map_err(Error::plan)?;
            Ok(Grant::JwtBearer(Box::new(assertion)))
        }
    }
}

fn assertion(part: &SchemeSettings<'_>, settings: &Settings) -> Result<Assertion, Error> {
    let mut claims = Vec::new();
    let issuer = settings.issuer.as_ref().or(settings.client_id.as_ref());
    let audience = settings.audience.as_ref().unwrap_or(&settings.token_url);
    for (name, key, text) in [
        ("iss", "issuer", issuer),
        ("sub", "subject", settings.subject.as_ref()),
        ("aud", "audience", Some(audience)),
        ("scope", "scope", settings.scope.as_ref()),
    ] {
        if let Some(text) = text {
            claims.push((name.to_owned(), part.plain(key, text)?));
        }
    }
    for (name, text) in &settings.claims {
        claims.push((name.clone(), part.plain("claims", text)?));
    }
    let key = settings.private_key.as_deref().unwrap_or_default();
    Ok(Assertion {
        key: part.hidden_text("private-key", key)?,
        algorithm: settings.algorithm,
        key_id: settings.key_id.as_ref().map(|id| part.plain("key-id", id)).transpose()?,
        claims,
        lifetime: settings.lifetime,
    })
}

fn refresh_token(part: &SchemeSettings<'_>, text: &str) -> Result<RefreshToken, Error> {
    const KEY: &str = "refresh-token";
    let origin = match TokenFile::of(text).map_err(|why| wrong(KEY, why))? {
        Some(file) => {
            let token = file.read().map_err(|why| wrong(KEY, why))?;
            part.context.vault.secrets().add(token.expose());
            RefreshOrigin::File(file)
        }
        None => RefreshOrigin::Job(part.hidden(KEY, text)?),
    };
    Ok(RefreshToken::new(origin))
}

impl Scheme for Tokens {
    fn added_names(&self) -> Vec<String> {
        vec![AUTHORIZATION.to_string()]
    }

    fn sign(&self, request: &mut Request<Bytes>, _: SystemTime) -> Result<(), String> {
        let value = format!("Bearer {}", self.use_token()?.expose());
        set_secret(request.headers_mut(), &AUTHORIZATION, &value)
    }

    fn tokens(&self) -> Option<&Tokens> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::Value;

    use super::super::hash::Hash;
    use super::*;
    use crate::render::RenderContext;
    use crate::secret::Vault;

    fn scheme(extra: Value) -> Box<dyn Scheme> {
        try_scheme(extra).unwrap()
    }

    fn try_scheme(extra: Value) -> Result<Box<dyn Scheme>, String> {
        scheme_in(&Arc::default(), extra)
    }

    fn scheme_in(vault: &Arc<Vault>, extra: Value) -> Result<Box<dyn Scheme>, String> {
        let mut settings = serde_json::json!({
            "kind": "oauth2", "token-url": "https://login.h/token", "client-id": "me",
            "client-secret": "{{ env.SECRET }}",
        });
        settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let context = RenderContext { environment: &|_| Some("p&ss".into()), vault };
        let built = super::super::scheme(settings.as_object().unwrap(), &context);
        built.map_err(|error| error.to_string())
    }

    #[test]
    fn the_latest_tokens_are_hidden_and_no_more_of_them_as_days_go_by() {
        let vault = Arc::default();
        let extra = serde_json::json!({"private-key": "a shared key", "algorithm": "HS256"});
        let scheme = scheme_in(&vault, extra).unwrap();
        let tokens = scheme.tokens().unwrap();
        let (mut all, mut now) = (Vec::new(), SystemTime::UNIX_EPOCH);
        for number in 0..100 {
            tokens.use_token().ok();
            // A request that fails is sent again, with another assertion.
            for _ in 0..2 {
                now += Duration::from_secs(60);
                let request = tokens.request(now).unwrap();
                let body = String::from_utf8(request.body().to_vec()).unwrap();
                all.push(body.split_once("&assertion=").unwrap().1.to_owned());
            }
            let body = format!(r#"{{"access_token": "access-{number:03};"}}"#);
            tokens.accept(body.as_bytes(), Instant::now()).unwrap();
            all.push(format!("access-{number:03};"));
        }
        let is_hidden = |text: &String| vault.secrets().hide(text.clone()) == "***";
        let hidden: Vec<&String> = all.iter().filter(|text| is_hidden(text)).collect();
        assert_eq!(hidden.len(), 32, "16 tokens and 16 assertions");
        assert!(all[all.len() - 24..].iter().all(is_hidden), "the latest ones");
    }

    #[test]
    fn an_assertion_is_signed_with_its_claims() {
        let scheme = scheme(serde_json::json!({
            "private-key": "a shared key", "algorithm": "HS256", "issuer": "app", "subject": "ann",
            "key-id": "k1", "claims": {"box_sub_type": "user"},
        }));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let request = scheme.tokens().unwrap().request(now).unwrap();
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        let (grant, assertion) = body.split_once("&assertion=").unwrap();
        assert_eq!(grant, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer");
        let parts: Vec<&str> = assertion.split('.').collect();
        let part = |at: usize| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(parts[at]).unwrap();
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        assert_eq!(part(0), serde_json::json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}));
        let claims = part(1);
        let expected = serde_json::json!({
            "iss": "app", "sub": "ann", "aud": "https://login.h/token", "box_sub_type": "user",
            "iat": 1000, "exp": 1060, "jti": claims["jti"],
        });
        assert_eq!(claims, expected);
        let signed = format!("{}.{}", parts[0], parts[1]);
        let signature = Hash::Sha256.sign(b"a shared key", signed.as_bytes());
        assert!(parts[2].starts_with(&BASE64_URL_SAFE_NO_PAD.encode(signature)));
    }

    #[test]
    fn keys_of_two_grants_or_of_none_are_an_error() {
        for (extra, why) in [
            (serde_json::json!({"username": "a", "refresh-token": "r"}), "are of two grants"),
            (serde_json::json!({"username": "a"}), "missing field `password`"),
            (serde_json::json!({"grant": "jwt-bearer"}), "missing field `private-key`"),
            (serde_json::json!({"grant": "implicit"}), "unknown variant `implicit`"),
            (serde_json::json!({"private-key": "x"}), "is no key in PEM"),
        ] {
            let error = try_scheme(extra).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }

    fn answer(token: &str, seconds: u64) -> Vec<u8> {
        let answer = serde_json::json!({"access_token": token, "expires_in": seconds, "refresh_token": "next"});
        answer.to_string().into_bytes()
    }

    #[test]
    fn a_token_request_has_the_fields_that_the_server_wants() {
        for (extra, header, body) in [
            (
                serde_json::json!({"scope": "a b"}),
                Some("Basic bWU6cCUyNnNz"),
                "grant_type=client_credentials&scope=a%20b",
            ),
            (
                serde_json::json!({"client-in": "body"}),
                None,
                "grant_type=client_credentials&client_id=me&client_secret=p%26ss",
            ),
            (
                serde_json::json!({"refresh-token": "first"}),
                Some("Basic bWU6cCUyNnNz"),
                "grant_type=refresh_token&refresh_token=first",
            ),
            (
                serde_json::json!({"username": "Ann", "password": "{{ env.P }}", "body": "json"}),
                Some("Basic bWU6cCUyNnNz"),
                r#"{"grant_type":"password","username":"Ann","password":"p&ss"}"#,
            ),
            (
                serde_json::json!({"client-in": "body", "body": "json", "fields": {"resource": "r"}}),
                None,
                r#"{"grant_type":"client_credentials","resource":"r","client_id":"me","client_secret":"p&ss"}"#,
            ),
        ] {
            let scheme = scheme(extra);
            let request = scheme.tokens().unwrap().request(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(request.body(), body);
            let found = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap());
            assert_eq!(found, header);
        }
    }

    #[test]
    fn a_token_is_renewed_a_little_before_it_expires() {
        let scheme = scheme(serde_json::json!({"refresh-token": "first"}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        assert!(!tokens.is_fresh(now));
        tokens.accept(&answer("t1", 3600), now).unwrap();
        assert!(tokens.is_fresh(now + Duration::from_secs(3539)));
        assert!(!tokens.is_fresh(now + Duration::from_secs(3541)));
        tokens.accept(&answer("t2", 10), now).unwrap();
        assert!(tokens.is_fresh(now + Duration::from_secs(7)));
        assert!(!tokens.is_fresh(now + Duration::from_secs(9)));
        let next = tokens.request(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(next.body(), "grant_type=refresh_token&refresh_token=next");
    }

    #[test]
    fn a_token_that_was_never_accepted_is_not_fetched_again() {
        let scheme = scheme(serde_json::json!({}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        tokens.accept(&answer("t1", 3600), now).unwrap();
        let first = tokens.edition();
        assert!(!tokens.mark_refused(first) && tokens.is_fresh(now));
        tokens.mark_accepted(first);
        assert!(tokens.mark_refused(first) && !tokens.is_fresh(now));
        let mut late = Request::get("https://h").body(Bytes::new()).unwrap();
        scheme.sign(&mut late, SystemTime::now()).unwrap();
        tokens.accept(&answer("t2", 3600), now).unwrap();
        assert!(tokens.mark_refused(first), "another has fetched a new one");
        assert!(!tokens.mark_refused(tokens.edition()));
        assert!(tokens.accept(b"{}", now).is_err());
    }

    #[test]
    fn tokens_that_expire_unused_are_fetched_a_few_times() {
        let scheme = scheme(serde_json::json!({}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        let mut request = Request::get("https://h").body(Bytes::new()).unwrap();
        for _ in 0..10 {
            tokens.accept(&answer("t", 1), now).unwrap();
            tokens.request(SystemTime::UNIX_EPOCH).unwrap();
            scheme.sign(&mut request, SystemTime::now()).unwrap();
        }
        for _ in 0..3 {
            tokens.request(SystemTime::UNIX_EPOCH).unwrap();
            tokens.accept(&answer("t", 1), now).unwrap();
        }
        let why = tokens.request(SystemTime::UNIX_EPOCH).unwrap_err();
        assert!(why.contains("its last 3 tokens had expired before"), "{why}");
    }

    #[test]
    fn a_lifetime_may_be_beyond_the_range_of_the_clock() {
        let scheme = scheme(serde_json::json!({}));
        let (tokens, now) = (scheme.tokens().unwrap(), Instant::now());
        let long = br#"{"access_token": "t", "expires_in": 1e18}"#;
        tokens.accept(long, now).unwrap();
        assert!(tokens.is_fresh(now + Duration::from_secs(1_000_000)));
    }
}
