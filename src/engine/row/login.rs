//! Logging in before a row's request, and again when a server refuses the session.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Request, Uri};

use super::attempt::{AttemptTerms, AttemptTrace, Cancelled, Purpose, RequestExecutor};
use crate::auth::{Login, LoginDraft};
use crate::error::{Error, StopCause};
use crate::judge::Tries;
use crate::limit::Cost;
use crate::record::FailureKind;
use crate::send::Answer;
use crate::send::redirect;

/// The row's request for which a login is made.
#[derive(Clone, Copy)]
pub(super) struct LoginCause<'a> {
    pub uri: &'a Uri,
    pub terms: AttemptTerms<'a>,
    /// The key of the pool that logs in, if each key does so for itself.
    pub key: Option<usize>,
}

impl RequestExecutor {
    /// Logs in unless the session is fresh; one worker logs in for all.
    pub(super) async fn log_in(
        &self,
        login: &Login,
        cause: LoginCause<'_>,
        trace: &mut AttemptTrace,
    ) -> Result<(), Cancelled> {
        if login.is_fresh(cause.key, Instant::now()) {
            return Ok(());
        }
        let _turn = self.unless_stopped(login.turn(cause.key)).await?;
        if login.is_fresh(cause.key, Instant::now()) {
            return Ok(());
        }
        if let Some(jars) = &self.context.jars {
            jars.clear(cause.key);
        }
        let mut draft = login
            .begin(cause.key)
            .map_err(|why| self.no_login(format!("the login failed: {why}")))?;
        for step in 0..login.len() {
            let taken = self.login_step(login, step, &mut draft, cause, trace).await?;
            taken.map_err(|why| self.login_error(login, step, &why))?;
        }
        login.accept(draft, cause.key, Instant::now());
        Ok(())
    }

    async fn login_step(
        &self,
        login: &Login,
        step: usize,
        draft: &mut LoginDraft,
        cause: LoginCause<'_>,
        trace: &mut AttemptTrace,
    ) -> Result<Result<(), String>, Cancelled> {
        let request = login.request(step, draft, cause.key, SystemTime::now());
        let request = match request {
            Ok(request) => request,
            Err(why) => return Ok(Err(why)),
        };
        let answer = self.send_login(&request, cause, trace).await?;
        Ok(answer.and_then(|answer| {
            self.warn_of_lost_cookies(&answer);
            login.take(step, draft, &answer, SystemTime::now())
        }))
    }

    async fn send_login(
        &self,
        request: &Request<Bytes>,
        cause: LoginCause<'_>,
        of_row: &mut AttemptTrace,
    ) -> Result<Result<Answer, String>, Cancelled> {
        let mut trace = AttemptTrace::default();
        let cost = self.login_cost(request, cause);
        let purpose = Purpose::Login(redirect::trust(request.uri(), cause.uri));
        let terms = AttemptTerms { cost: &cost, purpose, row: None, is_billed: false };
        // A login is an attempt, which may log in: the future's type would contain itself.
        let sending = self.send_with_retries(request, terms, Tries::repeatable(), &mut trace);
        let outcome = Box::pin(sending).await?;
        of_row.arrived.append(&mut trace.arrived);
        Ok(outcome.map_err(|failure| {
            let advice = match failure.kind {
                FailureKind::Status(_) => {
                    "check the user, the password and the other keys of this [[before]]"
                }
                _ => "check its URL, and whether the server can be reached",
            };
            format!("{}: {}; {advice}", failure.kind, failure.detail)
        }))
    }

    /// The cost of a login's request: that of the row's request at the login's own host.
    fn login_cost(&self, request: &Request<Bytes>, cause: LoginCause<'_>) -> Cost {
        let of_row = cause.terms.row.and_then(|row| self.stage().cost(row, request).ok());
        let cost = of_row.unwrap_or_else(|| cause.terms.cost.clone());
        match cause.key {
            Some(key) => cost.with_pool_key(key),
            None => cost,
        }
    }

    fn login_error(&self, login: &Login, step: usize, why: &str) -> Cancelled {
        self.no_login(format!("the login failed: {} (before): {why}", login.name(step)))
    }

    fn no_login(&self, why: String) -> Cancelled {
        self.end_run(Error::stopped_by(StopCause::Credentials, why))
    }

    /// Warns of cookies of a login that go nowhere.
    fn warn_of_lost_cookies(&self, answer: &Answer) {
        if self.context.jars.is_none() && answer.headers.contains_key(http::header::SET_COOKIE) {
            let what = "answers to the login (before) set cookies, which are not sent back: cookies = \"run\" (--cookies run) does";
            self.context.metrics.warn(what, 1, || "set-cookie".to_owned());
        }
    }
}
