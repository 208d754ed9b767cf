//! The address of a server of PostgreSQL.

use std::fmt;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::send::is_local;

/// The address of a server: `postgres://USER@HOST[:PORT][,HOST][/DATABASE][?sslmode=…]`. It has no
/// password.
#[derive(Debug, Clone)]
pub struct Address {
    /// How a connection is made.
    pub config: Config,
    /// Whether the server's certificate is checked, where there is TLS.
    pub is_checked: bool,
    shown: String,
}

/// Why a text is no address. It does not have the text, which may have a password.
#[derive(Debug, PartialEq, Eq)]
pub enum WrongAddress {
    /// It has a password.
    Password,
    /// It is another thing.
    Other(String),
}

const FORM: &str = "write postgres://USER@HOST:PORT/DATABASE";

impl Address {
    /// The address that this text says.
    ///
    /// # Errors
    /// The text is no address, or has a password.
    pub fn parse(text: &str) -> Result<Address, WrongAddress> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let is_of = |pair: &&str, name: &str| pair.split('=').next() == Some(name);
        let pairs = || query.split('&').filter(|pair| !pair.is_empty());
        if pairs().any(|pair| is_of(&pair, "password")) {
            return Err(WrongAddress::Password);
        }
        if pairs().any(|pair| is_of(&pair, "sslrootcert")) {
            let why =
                "the certificate belongs to share-cacert (--share-cacert FILE), not to the URL";
            return Err(WrongAddress::Other(why.to_owned()));
        }
        let rest: Vec<&str> = pairs().filter(|pair| !is_of(pair, "sslmode")).collect();
        let parsed: Result<Config, _> = format!("{base}?{}", rest.join("&")).parse();
        let mut config = parsed.map_err(|_| WrongAddress::Other(FORM.to_owned()))?;
        if config.get_password().is_some() {
            return Err(WrongAddress::Password);
        }
        if config.get_hosts().is_empty() {
            return Err(WrongAddress::Other(format!("it names no host: {FORM}")));
        }
        let mode = pairs().find_map(|pair| pair.strip_prefix("sslmode="));
        let (tls, is_checked) = match mode {
            Some("disable") => (SslMode::Disable, false),
            Some("prefer") => (SslMode::Prefer, false),
            Some("require") => (SslMode::Require, false),
            Some("verify-ca" | "verify-full") => (SslMode::Require, true),
            None if config.get_hosts().iter().all(is_near) => (SslMode::Prefer, false),
            None => (SslMode::Require, true),
            Some(_) => {
                let known = "sslmode is disable, prefer, require or verify-full";
                return Err(WrongAddress::Other(known.to_owned()));
            }
        };
        config.ssl_mode(tls);
        let shown = shown(&config);
        Ok(Address { config, is_checked, shown })
    }
}

/// Whether no network that others use leads to it.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Tcp(host) => is_local(host),
        Host::Unix(_) => true,
    }
}

fn shown(config: &Config) -> String {
    let user = config.get_user().map(|user| format!("{user}@")).unwrap_or_default();
    let ports = config.get_ports();
    let place = |(at, host): (usize, &Host)| {
        let host = match host {
            Host::Tcp(host) if host.contains(':') => format!("[{host}]"),
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        match ports.get(at).or(ports.first()) {
            None | Some(5432) => host,
            Some(port) => format!("{host}:{port}"),
        }
    };
    let hosts: Vec<String> = config.get_hosts().iter().enumerate().map(place).collect();
    let database = config.get_dbname().map(|name| format!("/{name}")).unwrap_or_default();
    format!("postgres://{user}{}{database}", hosts.join(","))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_was_given_and_says_how_much_tls_there_is() {
        for (text, shown, tls, is_checked) in [
            ("postgres://me@localhost/lab", "", SslMode::Prefer, false),
            ("postgres://me@10.0.0.9:5433/lab", "", SslMode::Prefer, false),
            ("postgres://me@db.example,b.example:1/lab", "", SslMode::Require, true),
            ("postgresql://db.example", "postgres://db.example", SslMode::Require, true),
            (
                "postgres://me@db.example/lab?sslmode=disable&connect_timeout=3",
                "postgres://me@db.example/lab",
                SslMode::Disable,
                false,
            ),
            ("postgres://h/lab?sslmode=verify-full", "postgres://h/lab", SslMode::Require, true),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), if shown.is_empty() { text } else { shown });
            assert_eq!(address.config.get_ssl_mode(), tls, "{text}");
            assert_eq!(address.is_checked, is_checked, "{text}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_no_error_has_the_text() {
        for text in ["postgres://me:hush@h", "postgres://h/d?password=hush"] {
            assert_eq!(Address::parse(text).unwrap_err(), WrongAddress::Password);
        }
        for text in
            ["postgres://", "postgres://h:hush", "postgres://h?sslmode=hush", "postgres://h?hush=1"]
        {
            let WrongAddress::Other(why) = Address::parse(text).unwrap_err() else { panic!() };
            assert!(!why.contains("hush"), "{why}");
        }
    }
}
