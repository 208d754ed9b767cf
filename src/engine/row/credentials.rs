//! Credentials that expire: a token fetched before it is needed, and both tokens and
//! secrets renewed when the server refuses them.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};

use super::attempt::AttemptPermit;
use super::{AttemptError, AttemptTerms, AttemptTrace, Cancelled, Purpose, RowExecutor};
use crate::auth::{RefreshLock, Tokens};
use crate::judge::Tries;
use crate::limit::Cost;
use crate::metrics::wait_time::WaitReason;
use crate::record::FailureKind;
use crate::send::redirect::{self, RedirectTrust};
use crate::send::{Answer, Delivery, Lease, SendError};
use crate::threads;

/// How long another run may keep a refresh token: as long as it takes to fetch a token.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether it still does.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Which credentials an attempt was signed with.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignedWith {
    token: u64,
    vault: u64,
}

impl RowExecutor {
    /// A connection and a permit, at a time when a token is there. Waiting for a
    /// permit may outlast the token: then the permit goes back, as nothing was sent.
    pub(super) async fn ready_to_sign(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        seen: &mut AttemptTrace,
    ) -> Result<(Lease, AttemptPermit), AttemptError> {
        let tokens = self.step().signer.tokens();
        let Some(tokens) = tokens.filter(|_| terms.errand == Purpose::Own) else {
            return pin!(self.ready(request.uri(), terms.ask)).await;
        };
        loop {
            Box::pin(self.fetch_token(tokens, (request.uri(), terms.ask), seen)).await?;
            let (lease, permit) = self.ready(request.uri(), terms.ask).await?;
            if tokens.is_fresh(Instant::now()) {
                return Ok((lease, permit));
            }
        }
    }

    /// Makes sure that there is a token; one worker fetches it for all.
    async fn fetch_token(
        &self,
        tokens: &Tokens,
        (api, ask): (&Uri, &Cost),
        seen: &mut AttemptTrace,
    ) -> Result<(), Cancelled> {
        if tokens.is_fresh(Instant::now()) {
            return Ok(());
        }
        let _turn = self.unless_stopped(tokens.turn()).await?;
        if tokens.is_fresh(Instant::now()) {
            return Ok(());
        }
        let _held = self.hold(tokens).await?;
        let request = tokens
            .request()
            .map_err(|why| self.no_token(tokens, &why))?;
        let trust = redirect::trust(tokens.uri(), api);
        let answer = self.token_answer(&request, (ask, trust), seen).await?;
        let accepted = answer.and_then(|answer| {
            let accepted = tokens.accept(&answer.body, Instant::now());
            accepted.map_err(|why| format!("its answer is of no use: {why}"))
        });
        accepted.map_err(|why| self.no_token(tokens, &why))
    }

    /// Waits until no other run uses the same refresh token.
    async fn hold(&self, tokens: &Tokens) -> Result<RefreshLock, Cancelled> {
        let begin = Instant::now();
        loop {
            let held = tokens
                .lock_refresh_token()
                .map_err(|why| self.no_token(tokens, &why))?;
            if let Some(held) = held {
                return Ok(held);
            }
            if begin.elapsed() >= PATIENCE {
                let why = format!(
                    "another run has kept {} (auth.refresh-token or --auth) locked for {}: wait for its end, or stop it",
                    tokens.refresh_path().unwrap_or_default(),
                    humantime::format_duration(PATIENCE)
                );
                return Err(self.no_token(tokens, &why));
            }
            let _waits = self.waits(WaitReason::Server);
            self.unless_stopped(tokio::time::sleep(LOOK_EVERY)).await?;
        }
    }

    async fn token_answer(
        &self,
        request: &Request<Bytes>,
        (ask, trust): (&Cost, RedirectTrust),
        of_row: &mut AttemptTrace,
    ) -> Result<Result<Answer, String>, Cancelled> {
        let mut seen = AttemptTrace::default();
        // It counts as the row's request does, whose limits are the only ones known.
        let terms = AttemptTerms {
            ask,
            errand: Purpose::Token(trust),
        };
        // Each fetch leads to an attempt, whose type would have no end.
        let asked =
            Box::pin(self.send_with_retries(request, terms, Tries::repeatable(), &mut seen));
        let asked = asked.await?;
        of_row.arrived.append(&mut seen.arrived);
        Ok(asked.map_err(|failure| {
            format!(
                "{}: {}; check auth.client-id, auth.client-secret and auth.refresh-token (--auth)",
                failure.kind, failure.detail
            )
        }))
    }

    fn no_token(&self, tokens: &Tokens, why: &str) -> Cancelled {
        self.stop(format!(
            "no token could be had from {}: {why}",
            tokens.uri()
        ))
    }

    /// What an attempt is signed with now.
    pub(super) fn signed(&self) -> SignedWith {
        SignedWith {
            token: self.step().signer.tokens().map_or(0, Tokens::edition),
            vault: self.run.plan.vault.edition(),
        }
    }

    /// Whether there are other credentials to try after this answer: once a row.
    pub(super) async fn renewed(
        &self,
        status: StatusCode,
        seen: &mut AttemptTrace,
    ) -> Result<bool, Cancelled> {
        let tokens = self.step().signer.tokens();
        if status != StatusCode::UNAUTHORIZED {
            if let Some(tokens) = tokens {
                tokens.mark_accepted(seen.signed.token);
            }
            return Ok(false);
        }
        if std::mem::replace(&mut seen.renewed, true) {
            return Ok(false);
        }
        let other_token = tokens.is_some_and(|tokens| tokens.mark_refused(seen.signed.token));
        Ok(other_token || self.other_secrets(seen.signed.vault).await?)
    }

    /// Reads the job's secrets again, which may take a while.
    async fn other_secrets(&self, edition: u64) -> Result<bool, Cancelled> {
        let vault = self.run.plan.vault.clone();
        if vault.names().next().is_none() {
            return Ok(false);
        }
        let stop = self.run.stop.clone();
        let read = threads::run_blocking(move || vault.renew(edition, &|| stop.is_requested()));
        let _works = self.waits(WaitReason::Work);
        // It ends by itself when the run does, after the command that it waits for.
        let renewed = read.await;
        let renewed = renewed.unwrap_or_else(|error| Err(error.to_string()));
        renewed.map_err(|why| {
            self.stop(format!(
                "the server refuses the job's secrets, and they can't be read again: {why}"
            ))
        })
    }

    /// Adds to a request what only the server may see.
    pub(super) fn sign(
        &self,
        request: &mut Request<Bytes>,
        key: Option<usize>,
        seen: &mut AttemptTrace,
    ) -> Result<(), SendError> {
        seen.signed = self.signed();
        let signed = self
            .step()
            .signer
            .sign(request, key, std::time::SystemTime::now());
        signed.map_err(|detail| SendError {
            kind: FailureKind::Input,
            detail,
            delivery: Delivery::Final,
        })
    }
}
