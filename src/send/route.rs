//! The route of a request: its origin, and the proxy on the way. Pure.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use crate::error::Error;

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    pub scheme: UrlScheme,
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UrlScheme {
    Http,
    Https,
}

impl Origin {
    /// The origin of an absolute URL.
    pub fn of(uri: &Uri) -> Option<Origin> {
        let (scheme, port) = match uri.scheme_str()? {
            "http" => (UrlScheme::Http, 80),
            "https" => (UrlScheme::Https, 443),
            _ => return None,
        };
        Some(Origin {
            scheme,
            host: uri.host()?.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(port),
        })
    }

    /// The host for a socket: IPv6 without its brackets.
    pub fn bare_host(&self) -> &str {
        super::guard::bare(&self.host)
    }

    /// Host and port, as in the `Host` of a request.
    pub fn authority(&self) -> String {
        match (self.scheme, self.port) {
            (UrlScheme::Http, 80) | (UrlScheme::Https, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// The proxy that the job names, or the environment's: `HTTP_PROXY`, `HTTPS_PROXY`,
/// `ALL_PROXY` and `NO_PROXY`, also in lower case.
pub fn proxies(
    job: Option<&str>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Matcher, Error> {
    match job {
        Some("none") => return Ok(Matcher::builder().build()),
        Some(proxy) => {
            let known = ["http://", "socks5://", "socks5h://"];
            return if known.iter().any(|scheme| proxy.starts_with(scheme)) {
                Ok(Matcher::builder().all(proxy.to_owned()).build())
            } else {
                Err(Error::plan(
                    "network.proxy (--proxy) must begin with http://, socks5:// or socks5h://, or be none",
                ))
            };
        }
        None => {}
    }
    let value = |name: &str| {
        environment(&name.to_lowercase()).or_else(|| environment(name)).unwrap_or_default()
    };
    // In a CGI program, HTTP_PROXY is the client's header `Proxy:`.
    let http = match environment("REQUEST_METHOD") {
        Some(_) => environment("http_proxy").unwrap_or_default(),
        None => value("HTTP_PROXY"),
    };
    Ok(Matcher::builder()
        .all(value("ALL_PROXY"))
        .http(http)
        .https(value("HTTPS_PROXY"))
        .no(value("NO_PROXY"))
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_ports_and_case_do_not_change_an_origin() {
        let origin = |text: &str| Origin::of(&text.parse().unwrap());
        assert_eq!(origin("https://API.h/x"), origin("https://api.h:443/y?z"));
        assert_ne!(origin("https://h/"), origin("http://h/"));
        assert_ne!(origin("http://h/"), origin("http://h:8080/"));
        assert_eq!(origin("/x"), None);
        assert_eq!(origin("http://[::1]:80/").unwrap().bare_host(), "::1");
    }

    #[test]
    fn the_environment_names_the_proxies() {
        let environment = |name: &str| match name {
            "HTTP_PROXY" => Some("http://me:pw@p:3128".to_owned()),
            "no_proxy" => Some("127.0.0.1,.local".to_owned()),
            _ => None,
        };
        let matcher = proxies(None, &environment).unwrap();
        let proxy = |url: &str| matcher.intercept(&url.parse().unwrap());
        assert_eq!(proxy("http://h/").unwrap().uri().host(), Some("p"));
        assert!(proxy("http://h/").unwrap().basic_auth().is_some());
        assert!(proxy("https://h/").is_none());
        assert!(proxy("http://127.0.0.1/").is_none());
        assert!(proxy("http://a.local/").is_none());
        let job = |proxy| proxies(Some(proxy), &environment);
        let found = |proxy| job(proxy).unwrap().intercept(&"http://h/".parse().unwrap());
        assert!(found("none").is_none());
        assert_eq!(found("socks5h://s:1").unwrap().uri().host(), Some("s"));
        assert!(job("ftp://s").is_err());
    }

    #[test]
    fn a_client_of_a_web_server_names_no_proxy() {
        let environment = |name: &str| match name {
            "HTTP_PROXY" => Some("http://evil:1".to_owned()),
            "REQUEST_METHOD" => Some("GET".to_owned()),
            _ => None,
        };
        let matcher = proxies(None, &environment).unwrap();
        assert!(matcher.intercept(&"http://h/".parse().unwrap()).is_none());
    }
}
