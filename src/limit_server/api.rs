//! The HTTP API of a limit server.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::accounts::{Accounts, NotDone};
use crate::limit::Exchange;
use crate::secret::Secret;

/// Longest body of a request.
pub const LONGEST: usize = 8 << 20;

/// What all connections share.
#[derive(Debug)]
pub struct Api {
    /// The accounts.
    pub accounts: std::sync::Mutex<Accounts>,
    /// The token that requests must have.
    pub token: Option<Secret>,
}

impl Api {
    /// Answers a request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, body) = match self.handle(request).await {
            Ok(body) => (StatusCode::OK, body),
            Err((status, why)) => (status, json!({ "error": why })),
        };
        let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
        *response.status_mut() = status;
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<Value, (StatusCode, String)> {
        self.check_token(&request)?;
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/v1/lease") => {
                let body = Limited::new(request.into_body(), LONGEST).collect().await;
                let body = body.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
                self.lease(&body.to_bytes())
            }
            (&Method::GET, "/v1/limits") => Ok(json!({ "accounts": self.accounts().balances() })),
            (&Method::GET, "/v1/server") => {
                let salt: String =
                    self.accounts().salt.iter().map(|byte| format!("{byte:02x}")).collect();
                Ok(json!({
                    "server": "throng limit",
                    "version": env!("CARGO_PKG_VERSION"),
                    "salt": salt,
                }))
            }
            (_, "/v1/lease" | "/v1/limits" | "/v1/server") => {
                let why = "POST goes to /v1/lease, GET to /v1/limits and /v1/server";
                Err((StatusCode::METHOD_NOT_ALLOWED, why.into()))
            }
            (_, path) => {
                let why = format!(
                    "{path} is none of /v1/lease, /v1/limits and /v1/server: this is a limit server of throng {}",
                    env!("CARGO_PKG_VERSION")
                );
                Err((StatusCode::NOT_FOUND, why))
            }
        }
    }

    fn check_token(&self, request: &Request<Incoming>) -> Result<(), (StatusCode, String)> {
        let Some(token) = &self.token else { return Ok(()) };
        let sent = request.headers().get(header::AUTHORIZATION);
        let sent = sent.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        // Hashes are compared in constant time.
        let is_right =
            sent.is_some_and(|sent| blake3::hash(sent) == blake3::hash(token.expose().as_bytes()));
        if is_right {
            return Ok(());
        }
        let why = if sent.is_none() {
            "the header authorization: Bearer TOKEN is missing"
        } else {
            "the token is not that of this server"
        };
        Err((StatusCode::UNAUTHORIZED, why.into()))
    }

    fn lease(&self, body: &[u8]) -> Result<Value, (StatusCode, String)> {
        let exchange: Exchange = serde_json::from_slice(body)
            .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        let answers = self.accounts().exchange(&exchange).map_err(|why| match why {
            NotDone::Wrong(why) => (StatusCode::BAD_REQUEST, why),
            NotDone::Outdated(why) => (StatusCode::CONFLICT, why),
            NotDone::Unusable(why) => (StatusCode::INTERNAL_SERVER_ERROR, why),
        })?;
        Ok(json!({ "answers": answers }))
    }

    fn accounts(&self) -> std::sync::MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
