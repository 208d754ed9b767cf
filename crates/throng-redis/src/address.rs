//! The address of a server.

use std::fmt;

use redis::{ConnectionInfo, IntoConnectionInfo};
use url::Url;

use crate::error::StoreError;

/// The address of a server: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, `rediss://` for
/// TLS, or `unix:///path/to/socket`. Shown, it has no password.
#[derive(Clone)]
pub struct Address {
    info: ConnectionInfo,
    shown: String,
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
                "the address of the store is wrong: {why}; write redis://HOST:PORT, rediss://USER@HOST for TLS or unix:///path"
            ))
        };
        let mut url = Url::parse(text).map_err(|error| wrong(&error))?;
        let info = url.clone().into_connection_info().map_err(|error| wrong(&error))?;
        let mut settings = info.redis_settings().clone();
        if let Some(password) = password.filter(|_| url.password().is_none()) {
            settings = settings.set_password(password);
        }
        if url.password().is_some() {
            url.set_password(None).map_err(|()| wrong(&"it can have no password"))?;
        }
        url.set_query(None);
        Ok(Address { info: info.set_redis_settings(settings), shown: url.to_string() })
    }

    pub(crate) fn info(&self) -> ConnectionInfo {
        self.info.clone()
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
    fn what_is_no_address_is_refused_without_its_password() {
        for text in ["http://:secret@h", "secret", "redis://:secret@h:port"] {
            let error = Address::parse(text, None).unwrap_err().to_string();
            assert!(error.contains("redis://HOST:PORT") && !error.contains("secret"), "{error}");
        }
    }
}
