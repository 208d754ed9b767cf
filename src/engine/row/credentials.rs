//! Credentials that expire: a token fetched before it is needed, and both tokens and
//! secrets renewed when the server refuses them.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};

use super::attempt::{
    AttemptError, AttemptPermit, AttemptTerms, AttemptTrace, Cancelled, Purpose, RequestExecutor,
    SignedWith,
};
use super::login::LoginCause;
use crate::auth::{RefreshLock, Tokens};
use crate::error::{Error, StopCause};
use crate::judge::Tries;
use crate::limit::{Cost, duration};
use crate::metrics::WaitReason;
use crate::record::FailureKind;
use crate::row::Row;
use crate::send::redirect::{self, RedirectTrust};
use crate::send::{Answer, Delivery, Lease, SendError};
use crate::threads;

/// Maximum time for which another run may keep a refresh token locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause between two attempts to lock a refresh token.
const LOCK_RETRY: Duration = Duration::from_millis(20);

impl RequestExecutor {
    /// A connection and a permit, at a time when the token and the secrets of a login are there.
    /// They may expire while the request waits for the permit: then the permit goes back, as
    /// nothing was sent. So it does if its key has to log in first.
    pub(super) async fn acquire_with_credentials(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        trace: &mut AttemptTrace,
    ) -> Result<(Lease, AttemptPermit), AttemptError> {
        let signer = &self.stage().signer;
        let (tokens, login) = (signer.tokens(), signer.login());
        let mut cause = LoginCause { uri: request.uri(), terms, key: None };
        loop {
            if let Some(tokens) = tokens {
                Box::pin(self.fetch_token(tokens, request.uri(), terms.cost, trace)).await?;
            }
            if let Some(login) = login
                && (!login.is_by_key() || cause.key.is_some())
            {
                Box::pin(self.log_in(login, cause, trace)).await?;
            }
            let (lease, permit) =
                self.connect_and_acquire(request.uri(), None, terms.cost, trace).await?;
            cause.key = login.and_then(|login| login.key(permit.key()));
            let now = Instant::now();
            let has_token = tokens.is_none_or(|tokens| tokens.is_fresh(now));
            if has_token && login.is_none_or(|login| login.is_fresh(cause.key, now)) {
                return Ok((lease, permit));
            }
        }
    }

    /// Fetches a token unless there is a fresh one; one worker fetches it for all.
    async fn fetch_token(
        &self,
        tokens: &Tokens,
        api: &Uri,
        cost: &Cost,
        trace: &mut AttemptTrace,
    ) -> Result<(), Cancelled> {
        if tokens.is_fresh(Instant::now()) {
            return Ok(());
        }
        let _turn = self.unless_stopped(tokens.turn()).await?;
        if tokens.is_fresh(Instant::now()) {
            return Ok(());
        }
        let _held = self.lock_refresh_token(tokens).await?;
        let request =
            tokens.request(SystemTime::now()).map_err(|why| self.token_error(tokens, &why))?;
        let trust = redirect::trust(tokens.uri(), api);
        let answer = self.request_token(&request, cost, trust, trace).await?;
        let accepted = answer.and_then(|answer| {
            let accepted = tokens.accept(&answer.body, Instant::now());
            accepted.map_err(|why| format!("its answer is of no use: {why}"))
        });
        accepted.map_err(|why| self.token_error(tokens, &why))
    }

    /// Waits until no other run uses the same refresh token.
    async fn lock_refresh_token(&self, tokens: &Tokens) -> Result<RefreshLock, Cancelled> {
        let begin = Instant::now();
        loop {
            let held = tokens.lock_refresh_token().map_err(|why| self.token_error(tokens, &why))?;
            if let Some(held) = held {
                return Ok(held);
            }
            if begin.elapsed() >= LOCK_TIMEOUT {
                let why = format!(
                    "another run has kept {} (auth.refresh-token or --auth) locked for {}: wait for its end, or stop it",
                    tokens.refresh_path().unwrap_or_default(),
                    duration::exact(LOCK_TIMEOUT)
                );
                return Err(self.token_error(tokens, &why));
            }
            let _waits = self.waits(WaitReason::Server);
            self.unless_stopped(tokio::time::sleep(LOCK_RETRY)).await?;
        }
    }

    async fn request_token(
        &self,
        request: &Request<Bytes>,
        cost: &Cost,
        trust: RedirectTrust,
        of_row: &mut AttemptTrace,
    ) -> Result<Result<Answer, String>, Cancelled> {
        let mut trace = AttemptTrace::default();
        // A token costs what the row's request does: no other limits are known.
        let terms =
            AttemptTerms { cost, purpose: Purpose::Token(trust), row: None, is_billed: false };
        // A fetch is an attempt, which may fetch: the future's type would contain itself.
        let sending = self.send_with_retries(request, terms, Tries::repeatable(), &mut trace);
        let outcome = Box::pin(sending).await;
        if let Some(why) = trace.turned_away.take() {
            return Err(of_row.turn_away(*why));
        }
        let outcome = outcome?;
        of_row.arrived.append(&mut trace.arrived);
        Ok(outcome.map_err(|failure| {
            let error = trace.said.as_deref().and_then(Tokens::error);
            let why = error.unwrap_or_else(|| {
                format!(
                    "{}; check auth.token-url and the other keys of auth (--auth)",
                    failure.detail
                )
            });
            format!("{}: {why}", failure.kind)
        }))
    }

    fn token_error(&self, tokens: &Tokens, why: &str) -> Cancelled {
        let why = format!("no token could be had from {}: {why}", tokens.uri());
        self.end_run(Error::stopped_by(StopCause::Credentials, why))
    }

    /// Renews the credentials that an answer refuses, once a row. Gives whether there are
    /// other ones to try.
    pub(super) async fn renew_credentials(
        &self,
        status: StatusCode,
        row: Option<&Row>,
        trace: &mut AttemptTrace,
    ) -> Result<bool, Cancelled> {
        let (tokens, login) = (self.stage().signer.tokens(), self.stage().signer.login());
        let SignedWith { token, vault, login: session, key } = trace.signed;
        let is_unauthorized = status == StatusCode::UNAUTHORIZED;
        let login_ends = login.filter(|login| login.renews_on(status));
        if let Some(tokens) = tokens.filter(|_| !is_unauthorized) {
            tokens.mark_accepted(token);
        }
        if let Some(login) = login.filter(|_| login_ends.is_none()) {
            login.mark_accepted(key, session);
        }
        if !is_unauthorized && login_ends.is_none() {
            return Ok(false);
        }
        if std::mem::replace(&mut trace.renewed, true) {
            return Ok(false);
        }
        let other_token =
            is_unauthorized && tokens.is_some_and(|tokens| tokens.mark_refused(token));
        let other_login = login_ends.is_some_and(|login| login.mark_refused(key, session));
        if let Some(row) = row.filter(|_| other_login) {
            row.jar.clear();
        }
        let is_other = other_token || other_login;
        Ok(is_other || (is_unauthorized && Box::pin(self.reread_secrets(vault)).await?))
    }

    /// Whether an answer to a row says that its login is of no use any more.
    pub(super) fn ends_session(&self, status: StatusCode, purpose: Purpose) -> bool {
        let login = self.stage().signer.login().filter(|_| purpose == Purpose::Own);
        login.is_some_and(|login| login.renews_on(status))
    }

    /// Reads the job's secrets again, on a thread of its own. Gives whether they differ.
    async fn reread_secrets(&self, edition: u64) -> Result<bool, Cancelled> {
        let Some(vault) = self.context.plan.vault.clone() else {
            return Ok(false);
        };
        let shutdown = self.context.shutdown.clone();
        let read =
            threads::run_blocking(move || vault.reload(edition, &|| shutdown.is_requested()));
        let _works = self.waits(WaitReason::Work);
        // The thread ends with the run, after the command that it waits for.
        let renewed = read.await.unwrap_or_else(|error| Err(error.to_string()));
        renewed.map_err(|why| {
            let why = format!(
                "the server refuses the job's secrets, and they can't be read again: {why}"
            );
            self.end_run(Error::stopped_by(StopCause::Credentials, why))
        })
    }

    /// Adds the credentials to a request.
    pub(super) fn sign(
        &self,
        request: &mut Request<Bytes>,
        key: Option<usize>,
        trace: &mut AttemptTrace,
    ) -> Result<(), SendError> {
        let signer = &self.stage().signer;
        trace.signed = SignedWith {
            token: signer.tokens().map_or(0, Tokens::edition),
            vault: self.context.plan.vault.as_ref().map_or(0, |vault| vault.edition()),
            login: signer.login().map_or(0, |login| login.edition(key)),
            key,
        };
        let signed = signer.sign(request, key, SystemTime::now());
        signed.map_err(|detail| SendError {
            kind: FailureKind::Input,
            detail,
            delivery: Delivery::Final,
        })
    }
}
