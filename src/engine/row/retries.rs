//! From a request to the answer that its row ends with: retries, and redirects.

use std::borrow::Cow;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Uri};

use super::RowExecutor;
use super::trace::{AttemptError, AttemptOutcome, AttemptTerms, AttemptTrace, Cancelled, Purpose};
use crate::judge::{Tries, Verdict, delivery};
use crate::limit::Cost;
use crate::metrics::WaitReason;
use crate::record::Failure;
use crate::row::Row;
use crate::send::Answer;
use crate::send::redirect::{self, RedirectTrust};

impl RowExecutor {
    /// Sends the request of these rows. A request that must not be sent twice is announced
    /// in the log of intents first.
    pub(super) async fn exchange_with_intent(
        &self,
        request: &Request<Bytes>,
        cost: &Cost,
        rows: &[Row],
        trace: &mut AttemptTrace,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        let tries = Tries::of(request.method());
        let intents = self.intents.as_ref();
        if let Some(intents) = intents.filter(|_| self.stage().judge.needs_intent(tries)) {
            trace.intents = rows.iter().map(|row| intents.of(row)).collect();
        }
        let terms = AttemptTerms { cost, purpose: Purpose::Own };
        let asked = match self.key_expired(trace) {
            Some(error) => Ok(Err(error.failure())),
            None => pin!(self.send_with_retries(request, terms, tries, trace)).await,
        };
        if asked.is_err() {
            trace.take_back();
        }
        trace.intents.clear();
        asked
    }

    /// Sends a request until its answer is final, or no further attempt may help.
    pub(super) async fn send_with_retries(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        mut tries: Tries,
        trace: &mut AttemptTrace,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        loop {
            let outcome = pin!(self.follow_redirects(request, terms, trace)).await?;
            if let Some(pause) = trace.refused_elsewhere.take() {
                let _waits = self.waits(WaitReason::Backoff);
                self.unless_stopped(tokio::time::sleep(pause)).await?;
                continue;
            }
            if std::mem::take(&mut trace.refused) {
                // The limiter is paused: the row waits there.
                trace.take_back();
                continue;
            }
            trace.add_delivery(delivery(&outcome));
            self.check_aborted(&outcome, tries)?;
            if let (Ok(answer), Purpose::Own) = (&outcome, terms.purpose)
                && self.renew_credentials(answer.status, trace).await?
            {
                continue;
            }
            let judge = &self.stage().judge;
            match (judge.verdict(&mut tries, &outcome, self.context.world.draw()), outcome) {
                (Verdict::Done, Ok(answer)) => return Ok(Ok(answer)),
                (Verdict::GiveUp(failure), outcome) => {
                    self.check_reached(request.uri(), terms.purpose, &outcome)?;
                    return Ok(Err(failure));
                }
                (Verdict::Retry(pause), _) => {
                    self.counters().retried();
                    let _waits = self.waits(WaitReason::Backoff);
                    self.unless_stopped(tokio::time::sleep(pause)).await?;
                }
                (Verdict::Done, Err(_)) => {}
            }
        }
    }

    /// Sends a request, and follows its redirects as far as the job says.
    async fn follow_redirects(
        &self,
        request: &Request<Bytes>,
        mut terms: AttemptTerms<'_>,
        trace: &mut AttemptTrace,
    ) -> Result<AttemptOutcome, Cancelled> {
        let mut request = Cow::Borrowed(request);
        let mut hops = 0;
        loop {
            let answer = match pin!(self.send_fresh(&request, terms, trace)).await {
                Ok(answer) => answer,
                // A redirect to a wrong place is the server's fault, not the input's.
                Err(AttemptError::Failed(error)) if terms.purpose == Purpose::Foreign => {
                    return Ok(Err(error.of_server()));
                }
                Err(AttemptError::Failed(error)) => return Ok(Err(error)),
                Err(AttemptError::Cancelled) => return Err(Cancelled),
            };
            let trust = match terms.purpose {
                Purpose::Own => RedirectTrust::Own,
                Purpose::Foreign => RedirectTrust::Foreign,
                Purpose::Token(_) => return Ok(Ok(answer)),
            };
            if !answer.status.is_redirection() {
                return Ok(Ok(answer));
            }
            let transport = &self.stage().transport;
            let may_follow = |uri| hops < transport.settings.follow && transport.may_follow(uri);
            match redirect::next(&request, trust, &answer) {
                Some((next, trust)) if may_follow(next.uri()) => {
                    request = Cow::Owned(next);
                    terms.purpose = Purpose::of(trust);
                    hops += 1;
                }
                _ => return Ok(Ok(answer)),
            }
        }
    }

    /// Ends the run if a host that the job names has answered nothing after all retries.
    /// A host that a row names is the failure of that row.
    fn check_reached(
        &self,
        uri: &Uri,
        purpose: Purpose,
        outcome: &AttemptOutcome,
    ) -> Result<(), Cancelled> {
        let is_the_job_s = || matches!(purpose, Purpose::Token(_)) || self.stage().names_host(uri);
        match outcome {
            Err(error)
                if error.is_of_host()
                    && self.context.metrics.sending().answered == 0
                    && is_the_job_s() =>
            {
                Err(self.end_run(format!(
                    "the server can't be reached: {}: {}; check request.url (--url), the network and the proxy settings",
                    error.kind, error.detail
                )))
            }
            _ => Ok(()),
        }
    }

    /// Ends the row without a record if its request was aborted and may be sent again.
    /// Any other aborted request may have been done, and its record says so.
    fn check_aborted(&self, outcome: &AttemptOutcome, tries: Tries) -> Result<(), Cancelled> {
        let is_aborted = outcome.is_err() && self.context.shutdown.is_aborted();
        if is_aborted && self.stage().judge.resends(tries) { Err(Cancelled) } else { Ok(()) }
    }
}
