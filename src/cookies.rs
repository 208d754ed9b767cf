//! Cookies that servers set and want back (RFC 6265), in the jar of a run or of a row. They
//! expire by the machine's clock.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cookie_store::{Cookie, CookieStore, RawCookie};
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Request, Uri};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::secret::{RotatingSecrets, RotatingValue, Secrets};

/// Maximum number of cookies of one scheme and port in a jar.
const MAX_COOKIES: usize = 180;
/// Maximum number of schemes and ports in a jar.
const MAX_ORIGINS: usize = 64;
/// Maximum length of a cookie's name and value together, in bytes.
const MAX_LENGTH: usize = 4_096;
/// Maximum number of values that are hidden after all jars of a run have lost them: a server
/// may set another value with each answer.
const MAX_REPLACED: usize = 64;
/// Number of such values that each jar has at least.
const MIN_REPLACED: usize = 8;
/// Minimum number of characters of a value that other texts don't hold by chance.
const MIN_CHARS: usize = 8;
/// Minimum number of digits of a number that other texts don't hold by chance.
const MIN_DIGITS: usize = 16;

/// The extent of a jar, if answers' cookies are kept: the `cookies` key of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum CookieScope {
    /// One jar for the whole run, or for each key of its pool.
    Run,
    /// A jar for each row: for its steps, pages, redirects and attempts.
    Row,
}

/// The jars of a run.
pub struct RunJars {
    scope: CookieScope,
    /// The jar of the run, and one for each key of the pool.
    jars: Vec<CookieJar>,
}

/// The jar of a row; none until the row's first request, and where rows have none.
#[derive(Clone, Default)]
pub struct RowJar(Option<Arc<OwnJar>>);

/// The jar of one row, whose values are hidden in what servers said to that row.
struct OwnJar {
    jar: CookieJar,
    secrets: Secrets,
}

/// Cookies, each with the scheme and the port that it belongs to.
pub struct CookieJar {
    kept: Mutex<KeptCookies>,
    /// Hides the values of the cookies.
    hidden: RotatingSecrets,
}

#[derive(Default)]
struct KeptCookies {
    /// Number of times that the jar was emptied.
    generation: u64,
    origins: Vec<OriginCookies>,
}

/// The cookies of one scheme and port. RFC 6265 would send them to any port, and from
/// `https` to `http`.
struct OriginCookies {
    scheme: String,
    port: Option<u16>,
    cookies: CookieStore,
}

/// The state of a jar when a request took its cookies: the answer's cookies are kept only if
/// the jar was not emptied since.
#[derive(Debug, Clone, Copy, Default)]
pub struct JarGeneration(u64);

impl RunJars {
    /// Empty jars of a run with this number of keys in its pool.
    pub fn new(scope: CookieScope, keys: usize, secrets: &Secrets) -> RunJars {
        let replaced = (MAX_REPLACED / (keys + 1)).max(MIN_REPLACED);
        let jars = (0..=keys).map(|_| CookieJar::new(secrets.rotating(replaced)));
        RunJars { scope, jars: jars.collect() }
    }

    /// Gives a row the jar of its own, if rows have one.
    pub fn equip(&self, row: &mut RowJar) {
        if self.scope == CookieScope::Row && row.0.is_none() {
            let secrets = Secrets::default();
            let jar = CookieJar::new(secrets.rotating(MAX_REPLACED));
            row.0 = Some(Arc::new(OwnJar { jar, secrets }));
        }
    }

    /// The jar of a request with this key of the pool, for this row; none if rows have jars and
    /// this one has none.
    pub fn of<'a>(&'a self, key: Option<usize>, row: Option<&'a RowJar>) -> Option<&'a CookieJar> {
        match self.scope {
            CookieScope::Run => Some(self.of_key(key)),
            CookieScope::Row => row?.0.as_ref().map(|own| &own.jar),
        }
    }

    /// Empties the jars of a key of the pool, or of all of them, before another login.
    pub fn clear(&self, key: Option<usize>) {
        match key {
            Some(_) => self.of_key(key).clear(),
            None => self.jars.iter().for_each(CookieJar::clear),
        }
    }

    /// The jar of a key of the pool; that of the run without one.
    pub fn of_key(&self, key: Option<usize>) -> &CookieJar {
        let index = key.map_or(0, |key| key + 1);
        self.jars.get(index).unwrap_or(&self.jars[0])
    }
}

impl RowJar {
    /// Empties the jar, as its cookies are those of a session that has ended.
    pub fn clear(&self) {
        if let Some(own) = &self.0 {
            own.jar.clear();
        }
    }

    /// Whether a server has set a cookie for the row, which another run would lack.
    pub fn has_cookies(&self) -> bool {
        self.0.as_ref().is_some_and(|own| !own.jar.lock().origins.is_empty())
    }

    /// The values that are hidden in what servers said to the row.
    pub fn secrets(&self) -> Option<&Secrets> {
        self.0.as_ref().map(|own| &own.secrets).filter(|secrets| !secrets.is_empty())
    }
}

impl CookieJar {
    fn new(hidden: RotatingSecrets) -> CookieJar {
        CookieJar { kept: Mutex::default(), hidden }
    }

    fn clear(&self) {
        let mut kept = self.lock();
        kept.generation += 1;
        kept.origins.clear();
    }

    /// Adds the cookies that the request's server wants back, after those of the job, which
    /// replace others of the same name.
    pub fn add_to(&self, request: &mut Request<Bytes>) -> JarGeneration {
        let kept = self.lock();
        let generation = JarGeneration(kept.generation);
        let cookies = kept.cookies_for(request.uri());
        drop(kept);
        if cookies.is_empty() {
            return generation;
        }
        let headers = request.headers_mut();
        let own: Vec<String> = headers
            .get_all(COOKIE)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        let has = |name: &str| {
            let names = own.iter().flat_map(|line| line.split(';'));
            names.filter_map(|pair| pair.split('=').next()).any(|it| it.trim() == name)
        };
        let others = cookies.iter().filter(|(name, _)| !has(name));
        let others = others.map(|(name, value)| format!("{name}={value}"));
        let all: Vec<String> = own.iter().cloned().chain(others).collect();
        if let Ok(mut value) = HeaderValue::from_bytes(all.join("; ").as_bytes()) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
        generation
    }

    /// Keeps the cookies that the server at this URL sets. Gives the number of cookies that
    /// were left out, as the jar is full.
    pub fn keep(&self, uri: &Uri, headers: &HeaderMap, since: JarGeneration) -> u64 {
        if !headers.contains_key(SET_COOKIE) {
            return 0;
        }
        let Ok(url) = Url::parse(&uri.to_string()) else {
            return 0;
        };
        let (mut left_out, mut taken) = (0, Vec::new());
        for header in headers.get_all(SET_COOKIE) {
            let text = String::from_utf8_lossy(header.as_bytes());
            let Ok(cookie) = RawCookie::parse(text.as_ref()) else { continue };
            if !is_acceptable(&cookie, &url) {
                continue;
            }
            let mut kept = self.lock();
            if kept.generation != since.0 {
                break;
            }
            if kept.insert(&cookie, &url) {
                taken.push(rotating(cookie.name(), cookie.value()));
            } else {
                left_out += 1;
            }
        }
        self.hidden.add_all(taken, || self.lock().values());
        left_out
    }

    fn lock(&self) -> MutexGuard<'_, KeptCookies> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptCookies {
    /// The cookies that go to this URL.
    fn cookies_for(&self, uri: &Uri) -> Vec<(String, String)> {
        if self.origins.is_empty() {
            return Vec::new();
        }
        let Ok(url) = Url::parse(&uri.to_string()) else {
            return Vec::new();
        };
        let origin = self.origins.iter().find(|origin| origin.is_of(&url));
        let cookies = origin.into_iter().flat_map(|origin| origin.cookies.get_request_values(&url));
        cookies.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The values of the cookies that may go to a server.
    fn values(&self) -> HashSet<String> {
        let live = self.origins.iter().flat_map(|origin| origin.cookies.iter_unexpired());
        live.map(|cookie| cookie.value().to_owned()).collect()
    }

    /// Adds a cookie, or replaces or removes one. Gives whether there was room.
    fn insert(&mut self, cookie: &RawCookie<'_>, url: &Url) -> bool {
        let index = match self.origins.iter().position(|origin| origin.is_of(url)) {
            Some(index) => index,
            None if self.origins.len() >= MAX_ORIGINS => return false,
            None => {
                self.origins.push(OriginCookies::new(url));
                self.origins.len() - 1
            }
        };
        self.origins[index].insert(cookie, url)
    }
}

impl OriginCookies {
    fn new(url: &Url) -> OriginCookies {
        OriginCookies {
            scheme: url.scheme().to_owned(),
            port: url.port_or_known_default(),
            cookies: CookieStore::default(),
        }
    }

    fn is_of(&self, url: &Url) -> bool {
        self.scheme == url.scheme() && self.port == url.port_or_known_default()
    }

    fn insert(&mut self, raw: &RawCookie<'_>, url: &Url) -> bool {
        let Ok(cookie) = Cookie::try_from_raw_cookie(raw, url) else {
            return true;
        };
        if self.is_full() {
            let live = self.cookies.iter_unexpired().cloned().map(Ok::<_, Infallible>);
            self.cookies = CookieStore::from_cookies(live, false).unwrap_or_default();
        }
        let domain = String::from(&cookie.domain);
        if self.is_full() && !self.cookies.contains(&domain, &cookie.path, cookie.name()) {
            return false;
        }
        // A cookie of another domain, or one that has expired, is left out as it should be.
        self.cookies.insert(cookie.into_owned(), url).ok();
        true
    }

    fn is_full(&self) -> bool {
        self.cookies.iter_any().count() >= MAX_COOKIES
    }
}

/// Whether a jar takes a cookie. A domain without a dot, such as `com`, is a host's own or
/// nobody's, and a cookie for TLS comes over TLS.
fn is_acceptable(cookie: &RawCookie<'_>, url: &Url) -> bool {
    let domain = cookie.domain().map(|domain| domain.trim_start_matches('.'));
    let is_of_one = domain.is_none_or(|domain| {
        domain.contains('.') || domain.is_empty() || url.host_str() == Some(domain)
    });
    let is_safe = cookie.secure() != Some(true) || url.scheme() == "https";
    is_of_one && is_safe && cookie.name().len() + cookie.value().len() <= MAX_LENGTH
}

/// A cookie's value, which is doubtful if other texts may hold it by chance.
fn rotating(name: &str, value: &str) -> RotatingValue {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let least = if is_number { MIN_DIGITS } else { MIN_CHARS };
    let is_common = value.chars().count() < least && !names_a_session(name);
    RotatingValue::doubtful_if(value, is_common)
}

/// Whether a cookie of this name probably says who asks.
fn names_a_session(name: &str) -> bool {
    const PARTS: [&str; 6] = ["sess", "sid", "auth", "token", "key", "srf"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

impl fmt::Debug for RowJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "RowJar(***)" } else { "RowJar" })
    }
}

/// A row's jar is no part of its value.
impl PartialEq for RowJar {
    fn eq(&self, _: &RowJar) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar() -> CookieJar {
        CookieJar::new(Secrets::default().rotating(MAX_REPLACED))
    }

    fn set(jar: &CookieJar, url: &str, cookies: &[&str]) -> u64 {
        let lines = cookies.iter().map(|line| (SET_COOKIE, line.parse().unwrap()));
        let mut headers = HeaderMap::new();
        lines.for_each(|(name, value)| {
            headers.append(name, value);
        });
        jar.keep(&url.parse().unwrap(), &headers, JarGeneration::default())
    }

    /// The `cookie` header of a request, whose cookies are in no order.
    fn sent(jar: &CookieJar, url: &str) -> Vec<String> {
        sent_after(jar, url, None)
    }

    fn sent_after(jar: &CookieJar, url: &str, own: Option<&str>) -> Vec<String> {
        let mut request = Request::get(url).body(Bytes::new()).unwrap();
        if let Some(own) = own {
            request.headers_mut().insert(COOKIE, own.parse().unwrap());
        }
        jar.add_to(&mut request);
        let Some(header) = request.headers().get(COOKIE) else {
            return Vec::new();
        };
        let mut pairs: Vec<String> =
            header.to_str().unwrap().split("; ").map(str::to_owned).collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn a_cookie_goes_back_to_its_place_and_to_no_other_origin() {
        let jar = jar();
        set(
            &jar,
            "https://api.shop.example/a/login",
            &[
                "host=1",
                "wide=2; Domain=shop.example; Path=/",
                "deep=3; Path=/a/b",
                "com=4; Domain=example",
                "far=5; Domain=other.example",
            ],
        );
        for (url, cookies) in [
            ("https://api.shop.example/a/x", &["host=1", "wide=2"][..]),
            ("https://api.shop.example/a/b/c", &["deep=3", "host=1", "wide=2"]),
            ("https://api.shop.example/x", &["wide=2"]),
            ("https://www.shop.example/a/b", &["wide=2"]),
            ("https://api.shop.example:8443/a/x", &[]),
            ("http://api.shop.example/a/x", &[]),
            ("https://shop.example.evil.example/a/x", &[]),
            ("https://other.example/", &[]),
            ("https://example/a/", &[]),
        ] {
            assert_eq!(sent(&jar, url), cookies, "{url}");
        }
    }

    #[test]
    fn secure_and_expired_cookies_stay_where_they_are() {
        let jar = jar();
        set(&jar, "http://h/", &["s=1; Secure", "old=2; Max-Age=0", "new=3; Max-Age=60"]);
        assert_eq!(sent(&jar, "http://h/"), ["new=3"]);
        set(&jar, "http://h/", &["new=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]);
        assert!(sent(&jar, "http://h/").is_empty());
    }

    #[test]
    fn the_job_s_own_cookies_come_first_and_win() {
        let jar = jar();
        set(&jar, "http://h/", &["sid=of-the-server", "b=2"]);
        assert_eq!(sent_after(&jar, "http://h/", Some("sid=own; x=1")), ["b=2", "sid=own", "x=1"]);
    }

    #[test]
    fn a_server_can_not_fill_the_memory() {
        let jar = jar();
        let many: Vec<String> = (0..MAX_COOKIES + 7).map(|n| format!("c{n}=x")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(set(&jar, "http://h/", &many), 7);
        assert_eq!(sent(&jar, "http://h/").len(), MAX_COOKIES);
        assert_eq!(set(&jar, "http://h/", &["c0=; Max-Age=0", "c1=new", "fits=x"]), 0);
        let long = format!("long={}", "x".repeat(MAX_LENGTH));
        set(&jar, "http://h/", &["c2=; Max-Age=0", &long]);
        let now = sent(&jar, "http://h/");
        assert!(now.contains(&"c1=new".to_owned()) && now.contains(&"fits=x".to_owned()));
        assert_eq!(now.len(), MAX_COOKIES - 1);
        let origins =
            (0..MAX_ORIGINS + 3).map(|n| set(&jar, &format!("http://h:{}/", n + 1), &["a=b"]));
        assert_eq!(origins.sum::<u64>(), 4);
    }

    #[test]
    fn values_are_hidden_and_words_only_in_messages() {
        let secrets = Secrets::default();
        let jar = CookieJar::new(secrets.rotating(MAX_REPLACED));
        set(&jar, "http://h/", &["id=long-enough", "theme=dark", "PHPSESSID=abcd", "n=1234567890"]);
        let shown = secrets.hide("long-enough dark abcd 1234567890 x".to_owned());
        assert_eq!(shown, "*** *** *** *** x");
        let mut value = serde_json::json!("long-enough dark abcd 1234567890");
        secrets.hide_in_value(&mut value);
        assert_eq!(value, "*** dark *** 1234567890");
    }

    #[test]
    fn a_cookie_that_is_in_use_stays_hidden_however_many_others_come() {
        let secrets = Secrets::default();
        let jar = CookieJar::new(secrets.rotating(MAX_REPLACED));
        set(&jar, "http://h/", &["sid=set-once-and-kept", "gone=set-once-and-lost"]);
        set(&jar, "http://h/", &["gone=; Max-Age=0"]);
        for number in 0..3 * MAX_REPLACED {
            set(&jar, "http://h/", &[&format!("last=seen-at-{number:03}")]);
        }
        let shown = secrets.hide("set-once-and-kept set-once-and-lost seen-at-191".to_owned());
        assert_eq!(shown, "*** set-once-and-lost ***");
        jar.clear();
        assert_eq!(secrets.hide("set-once-and-kept".to_owned()), "***", "an answer is on its way");
    }

    #[test]
    fn each_key_and_each_row_has_its_jar() {
        let jars = RunJars::new(CookieScope::Run, 2, &Secrets::default());
        let mut row = RowJar::default();
        jars.equip(&mut row);
        set(jars.of(Some(1), Some(&row)).unwrap(), "http://h/", &["k=1"]);
        assert_eq!(sent(jars.of(Some(1), None).unwrap(), "http://h/"), ["k=1"]);
        assert!(sent(jars.of(Some(0), None).unwrap(), "http://h/").is_empty());
        let jars = RunJars::new(CookieScope::Row, 0, &Secrets::default());
        let other = row.clone();
        jars.equip(&mut row);
        set(jars.of(None, Some(&row)).unwrap(), "http://h/", &["r=1"]);
        assert_eq!(sent(jars.of(None, Some(&row.clone())).unwrap(), "http://h/"), ["r=1"]);
        assert!(jars.of(None, Some(&other)).is_none());
        assert!(row.secrets().is_none(), "a short value is no secret");
    }
}
