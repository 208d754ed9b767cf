//! The address of a server.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use url::Url;

use crate::error::StoreError;

/// The address of a server: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, `rediss://` for
/// TLS, `unix:///path/to/socket`, or `redis+sentinel://[USER@]HOST[,HOST][:PORT]/SERVICE[/DATABASE]`
/// for the primary that sentinels name. Shown, it has no password.
#[derive(Clone)]
pub struct Address {
    info: Box<ConnectionInfo>,
    shown: String,
    sentinels: Option<Box<Sentinels>>,
}

/// The sentinels that name the primary of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sentinels {
    pub hosts: Vec<String>,
    pub port: u16,
    pub service: String,
}

/// The usual port of a sentinel.
const SENTINEL_PORT: u16 = 26_379;

impl Sentinels {
    /// The sentinels of a URL, and the URL of a server in their place.
    fn of(url: &Url) -> Result<Option<(Sentinels, Url)>, url::ParseError> {
        let Some(scheme) = url.scheme().strip_suffix("+sentinel") else { return Ok(None) };
        let hosts = url.host_str().unwrap_or_default().split(',').filter(|it| !it.is_empty());
        let hosts: Vec<String> = hosts.map(str::to_owned).collect();
        let mut path = url.path().trim_start_matches('/').splitn(2, '/');
        let service = path.next().unwrap_or_default().to_owned();
        let (Some(first), false) = (hosts.first(), service.is_empty()) else {
            return Err(url::ParseError::EmptyHost);
        };
        let database = path.next().unwrap_or_default();
        let mut server = Url::parse(&format!("{scheme}://{first}/{database}"))?;
        // A URL with a host can have both.
        let _ = server.set_username(url.username());
        let _ = server.set_password(url.password());
        let port = url.port().unwrap_or(SENTINEL_PORT);
        Ok(Some((Sentinels { hosts, port, service }, server)))
    }
}

impl Address {
    /// The address that this text says, with this password unless the text has one.
    ///
    /// # Errors
    /// The text is no address.
    pub fn parse(text: &str, password: Option<&str>) -> Result<Address, StoreError> {
        let wrong = |why: &dyn fmt::Display| {
            // The text may hold a password.
            StoreError::Refused(format!(
                "the address of the store is wrong: {why}; write redis://HOST:PORT, rediss://USER@HOST for TLS, redis+sentinel://HOST,HOST/SERVICE or unix:///path"
            ))
        };
        let mut url = Url::parse(text).map_err(|error| wrong(&error))?;
        let found = Sentinels::of(&url).map_err(|error| wrong(&error))?;
        let (sentinels, server) = match found {
            Some((sentinels, server)) => (Some(sentinels), server),
            None => (None, url.clone()),
        };
        let info = server.into_connection_info().map_err(|error| wrong(&error))?;
        let mut settings = info.redis_settings().clone();
        if let Some(password) = password.filter(|_| url.password().is_none()) {
            settings = settings.set_password(password);
        }
        if url.password().is_some() {
            url.set_password(None).map_err(|()| wrong(&"it can have no password"))?;
        }
        url.set_query(None);
        let info = Box::new(info.set_redis_settings(settings));
        Ok(Address { info, shown: url.to_string(), sentinels: sentinels.map(Box::new) })
    }

    /// How a connection to the server is made; to any one, where sentinels name it.
    pub(crate) fn info(&self) -> ConnectionInfo {
        (*self.info).clone()
    }

    /// How a connection to another server of the same kind is made.
    pub(crate) fn info_of(&self, host: &str, port: u16) -> ConnectionInfo {
        let host = host.to_owned();
        let addr = match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        (*self.info).clone().set_addr(addr)
    }

    /// The sentinels that name the server, if they do.
    pub(crate) fn sentinels(&self) -> Option<&Sentinels> {
        self.sentinels.as_deref()
    }

    /// The host of the server.
    pub(crate) fn host(&self) -> &str {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown) in [
            ("redis://h:7000", "redis://h:7000"),
            ("redis://:secret@h", "redis://h"),
            ("rediss://me:secret@h/2", "rediss://me@h/2"),
        ] {
            let address = Address::parse(text, None).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("secret"));
        }
    }

    #[test]
    fn a_password_comes_from_elsewhere_unless_the_address_has_one() {
        for (text, password) in [("redis://me@h", "other"), ("redis://me:own@h", "own")] {
            let address = Address::parse(text, Some("other")).unwrap();
            assert_eq!(address.info.redis_settings().password(), Some(password));
        }
    }

    #[test]
    fn sentinels_stand_in_the_place_of_the_server() {
        let text = "rediss+sentinel://me:secret@a,b:7000/main/2";
        let address = Address::parse(text, None).unwrap();
        assert_eq!(address.to_string(), "rediss+sentinel://me@a,b:7000/main/2");
        let hosts = vec!["a".to_owned(), "b".to_owned()];
        let sentinels = Sentinels { hosts, port: 7000, service: "main".to_owned() };
        assert_eq!(address.sentinels(), Some(&sentinels));
        let info = address.info_of("c", 6380);
        assert!(
            matches!(info.addr(), ConnectionAddr::TcpTls { host, port: 6380, .. } if host == "c")
        );
        assert_eq!(info.redis_settings().password(), Some("secret"));
        assert_eq!((info.redis_settings().username(), info.redis_settings().db()), (Some("me"), 2));
        assert!(Address::parse("redis+sentinel://a", None).is_err());
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        for text in ["http://:secret@h", "secret", "redis://:secret@h:port"] {
            let error = Address::parse(text, None).unwrap_err().to_string();
            assert!(error.contains("redis://HOST:PORT") && !error.contains("secret"), "{error}");
        }
    }
}
