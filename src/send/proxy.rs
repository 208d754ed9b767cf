//! An HTTP proxy on the way to a server, and the credentials that it asks for. Pure.

use http::header::PROXY_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper_util::client::proxy::matcher::Intercept;

use super::{Delivery, SendError};
use crate::record::FailureKind;

/// An HTTP proxy with the credentials for it.
#[derive(Debug, Clone)]
pub struct HttpProxy {
    /// Its host and port.
    authority: String,
    /// The value of `Proxy-Authorization`.
    pub credentials: Option<HeaderValue>,
}

impl HttpProxy {
    pub fn of(proxy: &Intercept) -> HttpProxy {
        let authority = proxy.uri().authority().map_or("", |authority| authority.as_str());
        HttpProxy { authority: authority.to_owned(), credentials: proxy.basic_auth().cloned() }
    }

    /// The error of a request that the proxy did not pass on.
    pub fn error(&self, why: &str) -> SendError {
        SendError {
            kind: FailureKind::Connect,
            detail: format!("through the proxy {}: {why}", self.authority),
            delivery: Delivery::NotSent,
        }
    }

    /// The error of an answer to `CONNECT`, if it asks for credentials.
    pub fn refusal_of_tunnel(&self, status: StatusCode) -> Option<SendError> {
        let asks = [StatusCode::UNAUTHORIZED, StatusCode::PROXY_AUTHENTICATION_REQUIRED];
        asks.contains(&status).then(|| {
            let why = match self.credentials {
                Some(_) => "the user or the password that it was given is wrong",
                None => "give them with network.proxy (--proxy http://USER:PASSWORD@HOST:PORT)",
            };
            let error = self.error(&format!("it asks for a user and a password ({status}): {why}"));
            SendError { delivery: Delivery::Final, ..error }
        })
    }

    /// The error of an answer to `CONNECT` that opens no tunnel. By some statuses it never will, to
    /// any server or to this one.
    pub fn no_tunnel(&self, status: StatusCode) -> SendError {
        if matches!(status.as_u16(), 400 | 403 | 404 | 405 | 501) {
            let why = format!("it answered {status} to CONNECT: is it a proxy for this server?");
            SendError { delivery: Delivery::Final, ..self.error(&why) }
        } else {
            self.error(&format!("it answered {status}"))
        }
    }

    /// The error of an answer to a request without TLS, if the proxy itself asks for
    /// credentials by it. A bare 401 is the server's.
    pub fn refusal(&self, status: StatusCode, headers: &HeaderMap) -> Option<SendError> {
        let is_own = status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            || headers.contains_key(PROXY_AUTHENTICATE);
        is_own.then(|| self.refusal_of_tunnel(status)).flatten()
    }
}
