//! The hosts that the URL of a row or of a redirect may name. Pure.

use http::Uri;

/// The key that allows a host, for messages.
const KEY: &str = "request.allow-host (--allow-host)";

/// A list of allowed hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<HostPattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct HostPattern {
    /// The host; with a dot before it, all hosts below it.
    host: String,
    port: Option<u16>,
}

impl Hosts {
    /// Parses `host`, `host:port` and `*.domain`.
    pub fn new(texts: &[String]) -> Result<Hosts, String> {
        let pattern = |text: &String| {
            HostPattern::parse(text).ok_or_else(|| {
            format!("{KEY}: {text:?} is not a host such as api.example, api.example:8443 or *.example")
        })
        };
        texts.iter().map(pattern).collect::<Result<_, _>>().map(Hosts)
    }

    /// Whether no host is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of hosts besides the one of this URL.
    pub fn elsewhere(&self, uri: Option<&Uri>) -> usize {
        let is_other = |pattern: &&HostPattern| !uri.is_some_and(|uri| pattern.fits(uri));
        self.0.iter().filter(is_other).count()
    }

    /// The hosts as a job writes them.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(HostPattern::name).collect()
    }

    /// Allows the host of this URL too.
    pub fn allow(&mut self, uri: &Uri) {
        if let Some(pattern) =
            uri.host().and_then(|host| HostPattern::exactly(host, uri.port_u16()))
            && !self.0.contains(&pattern)
        {
            self.0.push(pattern);
        }
    }

    /// Whether the host of this URL is allowed.
    pub fn allows(&self, uri: &Uri) -> bool {
        self.0.iter().any(|pattern| pattern.fits(uri))
    }

    /// Whether this very host is named, rather than a domain above it.
    pub fn names_host(&self, host: &str) -> bool {
        self.0.iter().any(|pattern| pattern.host == host)
    }

    /// Refuses a URL whose host is not allowed.
    pub fn check(&self, uri: &Uri) -> Result<(), String> {
        if self.allows(uri) {
            Ok(())
        } else {
            Err(format!(
                "the host {:?} is not allowed: {KEY} {0} would allow it",
                uri.authority().map_or("", |host| host.as_str())
            ))
        }
    }
}

impl HostPattern {
    fn parse(text: &str) -> Option<HostPattern> {
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let uri: Uri = format!("http://{rest}/").parse().ok()?;
        let authority = uri.authority()?;
        let pattern = HostPattern::exactly(authority.host(), authority.port_u16())?;
        if pattern.name() != rest.to_ascii_lowercase() {
            return None;
        }
        Some(if below {
            HostPattern { host: format!(".{}", pattern.host), ..pattern }
        } else {
            pattern
        })
    }

    fn exactly(host: &str, port: Option<u16>) -> Option<HostPattern> {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || "-._[]:".contains(letter);
        let is_host = !host.is_empty() && host.chars().all(letters);
        is_host.then(|| HostPattern { host: host.to_ascii_lowercase(), port })
    }

    fn fits(&self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let port = match self.port {
            Some(port) => uri.port_u16().or(default_port(uri)) == Some(port),
            None => uri.port_u16().is_none() || uri.port_u16() == default_port(uri),
        };
        let is_host = match self.host.strip_prefix('.') {
            Some(_) => host.len() > self.host.len() && host.ends_with(&self.host),
            None => host == self.host,
        };
        port && is_host
    }

    fn name(&self) -> String {
        let star = if self.host.starts_with('.') { "*" } else { "" };
        let port = self.port.map_or(String::new(), |port| format!(":{port}"));
        format!("{star}{}{port}", self.host)
    }
}

fn default_port(uri: &Uri) -> Option<u16> {
    match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_hosts_are_allowed() {
        let texts = ["api.h", "*.b.h", "c.h:8443", "[::1]:80"].map(String::from);
        let hosts = Hosts::new(&texts).unwrap();
        assert_eq!(hosts.names(), texts);
        for (url, allowed) in [
            ("https://API.h/x", true),
            ("http://api.h:80/", true),
            ("https://api.h:444/", false),
            ("https://x.api.h/", false),
            ("https://x.b.h/", true),
            ("https://b.h/", false),
            ("https://xb.h/", false),
            ("https://c.h:8443/", true),
            ("https://c.h/", false),
            ("http://[::1]/", true),
            ("https://evil/?api.h", false),
            ("https://api.h.evil/", false),
        ] {
            assert_eq!(hosts.allows(&url.parse().unwrap()), allowed, "{url}");
        }
        for text in ["", "a b", "http://h", "h/x", "me@h", "*", "h:port"] {
            assert!(Hosts::new(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
