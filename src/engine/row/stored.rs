//! Requests whose answer is in the job's store: they take no permit and no connection.
//!
//! An answer is kept before the record of its row is written, so that no later run asks for it
//! again.

use bytes::Bytes;
use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{Method, Request, StatusCode};

use super::attempt::{AttemptTerms, AttemptTrace, Cancelled, RequestExecutor};
use crate::judge::{Decision, Meaning, Tries, Verdict};
use crate::record::{AnswerOrigin, Failure, FailureKind};
use crate::send::Answer;
use crate::store::{AnswerStore, AskedBy, KeptAnswer, KeptFailure, RequestKey};
use crate::wording::worded;

impl RequestExecutor {
    /// Finds the answer to a request, or sends it, and keeps its answer.
    pub(super) async fn find_or_send(
        &self,
        store: &AnswerStore,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        first: Tries,
        trace: &mut AttemptTrace,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        let own = store.key(request);
        let key = trace.question.map_or(own, |question| own.in_place_of(question));
        let found = store.find(key).unwrap_or_else(|why| {
            self.warn_of_store("answers that could not be looked for in the store", why);
            None
        });
        let mut stale = None;
        if let Some(kept) = found {
            if store.is_fresh(&kept, self.context.calendar_millis()) {
                if let Some(outcome) = self.reuse(store, &kept, request, terms, trace).await {
                    self.note_found(store, trace).await;
                    return Ok(outcome);
                }
            } else {
                stale = Some(kept).filter(KeptAnswer::has_validator);
            }
        }
        if trace.finds_only {
            return Err(Cancelled);
        }
        if store.is_offline() {
            return Ok(Err(not_stored(store)));
        }
        if let Some(kept) = stale
            && let Some(conditional) = conditional(request, &kept)
        {
            let outcome = self.send(&conditional, terms, first, trace).await?;
            if trace.status != Some(StatusCode::NOT_MODIFIED) {
                return self.keep(store, key, terms, trace, outcome).await;
            }
            trace.said = None;
            if let Some(outcome) = self.reuse(store, &kept, request, terms, trace).await {
                self.renew(store, key, terms, kept).await;
                self.note_found(store, trace).await;
                return Ok(outcome);
            }
        }
        let outcome = self.send(request, terms, first, trace).await?;
        self.keep(store, key, terms, trace, outcome).await
    }

    /// Sends a request whose answer can't be had from the store.
    async fn send(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        first: Tries,
        trace: &mut AttemptTrace,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        trace.is_sought = true;
        let outcome = Box::pin(self.send_with_retries(request, terms, first, trace)).await;
        trace.is_sought = false;
        outcome
    }

    /// The outcome of a kept answer by the job's rules; none if they would not take it for one
    /// that ends its row.
    async fn reuse(
        &self,
        store: &AnswerStore,
        kept: &KeptAnswer,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        trace: &mut AttemptTrace,
    ) -> Option<Result<Answer, Failure>> {
        let row = terms.row.map_or(0, |row| row.number);
        let origin = store.origin(kept.by, row);
        let answer = match &kept.outcome {
            Ok(answer) => answer.clone(),
            Err(failed) => {
                trace.status = failed.status;
                trace.answer_origin = origin;
                return Some(Err(of_other_row(&failed.failure, kept.by.row)));
            }
        };
        let mut decision = self.decide(&answer, request.uri(), terms).ok()?;
        if let (Some(step), Meaning::Ok) = (&self.stage().hooks.response, decision.then) {
            let processed = self.process(&*step.hook, &answer, request.uri(), terms.row);
            let (result, ruled) = processed.await;
            decision = ruled.unwrap_or(decision);
            trace.hooked = Some(Box::new(result));
        }
        let outcome = self.ended(answer, decision, trace);
        if outcome.is_some() {
            trace.answer_origin = origin;
        } else {
            trace.hooked = None;
        }
        outcome
    }

    /// The outcome of a row with this answer, if it ends here.
    fn ended(
        &self,
        answer: Answer,
        decision: Decision,
        trace: &mut AttemptTrace,
    ) -> Option<Result<Answer, Failure>> {
        if !matches!(decision.then, Meaning::Ok | Meaning::Missing | Meaning::Fail) {
            return None;
        }
        // A hook has processed the answer, and says that its row fails.
        if decision.then == Meaning::Fail && trace.hooked.is_none() {
            return None;
        }
        let judged = Ok((&answer, decision));
        let verdict = self.stage().judge.verdict(&mut Tries::repeatable(), judged, 0.0);
        let status = answer.status;
        let outcome = match verdict {
            Verdict::Done => Ok(answer),
            Verdict::GiveUp(failure) => Err(match trace.hooked.take().map(|result| *result) {
                Some(Err(of_hook)) => of_hook,
                _ => self.stage().answers.named(failure, decision),
            }),
            Verdict::Retry(_) | Verdict::Stop => return None,
        };
        trace.status = Some(status);
        trace.decision = Some(decision);
        Some(outcome)
    }

    /// Counts an answer that was found, and lets the worker's other rows go on: many such
    /// answers in a row wait for nothing.
    async fn note_found(&self, store: &AnswerStore, trace: &mut AttemptTrace) {
        trace.missing = None;
        store.note_use(matches!(trace.answer_origin, Some(AnswerOrigin::Row(_))));
        tokio::task::yield_now().await;
    }

    /// Keeps an answer that ends its row well, and a failure for the rows that wait for it.
    async fn keep(
        &self,
        store: &AnswerStore,
        key: RequestKey,
        terms: AttemptTerms<'_>,
        trace: &mut AttemptTrace,
        outcome: Result<Answer, Failure>,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        let missing = trace.missing.take().map(|answer| *answer);
        let kept = match &outcome {
            Ok(answer) => Ok(answer.clone()),
            Err(failure) => missing
                .ok_or_else(|| KeptFailure { failure: failure.clone(), status: trace.status }),
        };
        let is_wanted = store.claims().is_some() && !self.context.shutdown.is_requested();
        if kept.is_ok() || is_wanted {
            let by = AskedBy { run: 0, row: 0 };
            let asked = self.context.calendar_millis();
            self.put(store, key, terms, KeptAnswer { outcome: kept, asked, by }).await;
        }
        Ok(outcome)
    }

    /// Keeps an answer that the server has said to hold still.
    async fn renew(
        &self,
        store: &AnswerStore,
        key: RequestKey,
        terms: AttemptTerms<'_>,
        kept: KeptAnswer,
    ) {
        self.put(store, key, terms, KeptAnswer { asked: self.context.calendar_millis(), ..kept })
            .await;
    }

    async fn put(
        &self,
        store: &AnswerStore,
        key: RequestKey,
        terms: AttemptTerms<'_>,
        kept: KeptAnswer,
    ) {
        let row = terms.row.map_or(0, |row| row.number);
        let put = store.put(key, row, kept, self.stage().pages.is_some()).await;
        if let Err(why) = put {
            self.warn_of_store("answers that could not be kept in the store", why);
        }
    }

    fn warn_of_store(&self, what: &'static str, why: String) {
        self.context.metrics.warn(what, 1, || why);
    }
}

/// The request that asks whether a kept answer still holds; none if it can't be asked so.
fn conditional(request: &Request<Bytes>, kept: &KeptAnswer) -> Option<Request<Bytes>> {
    let answer = kept.outcome.as_ref().ok()?;
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let own = request.headers();
    if !is_read || own.contains_key(IF_NONE_MATCH) || own.contains_key(IF_MODIFIED_SINCE) {
        return None;
    }
    let mut request = request.clone();
    let headers = request.headers_mut();
    for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
        if let Some(value) = answer.headers.get(validator) {
            headers.insert(condition, value.clone());
        }
    }
    Some(request)
}

/// The failure of a row whose answer is not there.
fn not_stored(store: &AnswerStore) -> Failure {
    Failure::new(
        FailureKind::NotStored,
        worded(format!(
            "{} has no answer to this request that may be used, and store.offline (--offline) sends none",
            store.name()
        )),
    )
}

/// The failure of a row whose request another row has sent.
fn of_other_row(failure: &Failure, row: u64) -> Failure {
    Failure::new(failure.kind.clone(), format!("row {row} asked for the same: {}", failure.detail))
}
