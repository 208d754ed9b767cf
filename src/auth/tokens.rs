//! The access tokens of a run.
//!
//! A token is fetched once and shared by all workers; it is renewed a little before
//! it expires, and when a server that accepted it before refuses it. The engine fetches
//! it, since such requests pass the limits like all others.

use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Request, Uri};

use super::freshness::{Freshness, MAX_UNUSED};
use super::refresh_token::RefreshToken;
use super::token_client::TokenClient;
use super::token_response::TokenResponse;
use crate::secret::Secret;

/// The tokens of a run, shared by all signers.
pub struct Tokens {
    client: TokenClient,
    state: Mutex<TokenState>,
    /// Held while a token is fetched.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct TokenState {
    token: Option<Secret>,
    freshness: Freshness,
    refresh: Option<RefreshToken>,
    /// Why a new refresh token is lost when this run ends, if so.
    loss: Option<String>,
}

/// Keeps other runs from using the refresh token of the same file while it lives.
pub struct RefreshLock(#[expect(dead_code, reason = "dropping it unlocks")] Option<File>);

impl Tokens {
    /// No token yet; `refresh` is the refresh token, if there is one.
    pub fn new(client: TokenClient, refresh: Option<RefreshToken>) -> Tokens {
        Tokens {
            client,
            state: Mutex::new(TokenState { refresh, ..TokenState::default() }),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The URL of the token server.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.client.uri
    }

    /// Whether there is a token that need not be renewed yet.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.state().freshness.is_fresh(now)
    }

    /// The number of the current token.
    #[must_use]
    pub fn edition(&self) -> u64 {
        self.state().freshness.edition()
    }

    /// Waits for the turn to fetch a token: meanwhile another worker may have done so.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Notes that the server has accepted the token of this edition.
    pub fn mark_accepted(&self, edition: u64) {
        self.state().freshness.mark_accepted(edition);
    }

    /// Notes that the server has refused the token of this edition. Returns whether
    /// another attempt is worth it, which a token that was never accepted is not.
    #[must_use]
    pub fn mark_refused(&self, edition: u64) -> bool {
        // The token stays: other workers may be about to sign with it.
        self.state().freshness.mark_refused(edition, 0)
    }

    /// The request for a new token at this time.
    ///
    /// # Errors
    /// Which setting can't be sent, or that no token lives long enough.
    pub fn request(&self, now: SystemTime) -> Result<Request<Bytes>, String> {
        let mut state = self.state();
        if state.freshness.expires_unused() {
            return Err(format!(
                "its last {MAX_UNUSED} tokens had expired before a request had its turn under the limits: have the server give tokens that live longer"
            ));
        }
        let token = state.refresh.as_mut().map(RefreshToken::send).transpose()?;
        drop(state);
        self.client.request(token.as_ref(), now)
    }

    /// Keeps other runs from using the refresh token of the same file while a token is
    /// fetched; none if another run holds it now.
    ///
    /// # Errors
    /// Why the file can't be locked.
    pub fn lock_refresh_token(&self) -> Result<Option<RefreshLock>, String> {
        match self.state().refresh.as_ref().and_then(RefreshToken::file) {
            None => Ok(Some(RefreshLock(None))),
            Some(file) => Ok(file.lock()?.map(|file| RefreshLock(Some(file)))),
        }
    }

    /// The path of the refresh token's file, if it has one.
    #[must_use]
    pub fn refresh_path(&self) -> Option<String> {
        let state = self.state();
        let file = state.refresh.as_ref()?.file()?;
        Some(file.path().display().to_string())
    }

    /// Why a new refresh token would be lost, if so.
    #[must_use]
    pub fn loss_warning(&self) -> Option<String> {
        self.state().refresh.as_ref()?.loss_warning()
    }

    /// Why a new refresh token is lost when this run ends, if so.
    #[must_use]
    pub fn loss(&self) -> Option<String> {
        self.state().loss.clone()
    }

    /// Takes the token of the server's answer, which came at `now`.
    ///
    /// # Errors
    /// Why the answer holds no token, and what to do.
    pub fn accept(&self, body: &[u8], now: Instant) -> Result<(), String> {
        let response = TokenResponse::read(body)?;
        let hidden = &self.client.rotating;
        hidden.access.add(&response.access_token);
        let mut state = self.state();
        if let Some(given) = response.refresh_token {
            hidden.refresh.add(&given);
            // The refresh token is kept before the access token is used.
            let kept = match &mut state.refresh {
                Some(refresh) => refresh.keep(Secret::new(given)),
                None => Ok(()),
            };
            state.loss = kept.err();
        }
        let lifetime = response.lifetime?;
        state.token = Some(Secret::new(response.access_token));
        state.freshness.renew(lifetime, now);
        Ok(())
    }

    /// The error that a failing answer of the token server holds, and what to do; none if it
    /// holds none.
    #[must_use]
    pub fn error(body: &str) -> Option<String> {
        TokenResponse::error(body)
    }

    /// The current token, for a request.
    ///
    /// # Errors
    /// That there is none.
    pub(super) fn use_token(&self) -> Result<Secret, String> {
        let mut state = self.state();
        state.freshness.mark_used();
        state.token.clone().ok_or_else(|| "there is no token".to_owned())
    }

    fn state(&self) -> MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
