//! Feedback to the limiter: an answer's limits and refusals, before another permit is given.

use std::time::{Duration, SystemTime};

use http::header::SERVER;
use http::{HeaderMap, StatusCode, Uri};
use jiff::Timestamp;

use super::attempt::{AttemptTerms, AttemptTrace, Purpose, RequestExecutor, StopReason};
use crate::engine::targets::LEFT_ALONE;
use crate::error::{Error, StopCause};
use crate::events::{EventKind, RequestRefused};
use crate::judge::signals::{HeaderRules, InvalidHeader, LimitSignals, may_tell, read_headers};
use crate::judge::{
    Decision, Meaning, RefusalMeaning, RefusalScope, Ruling, built_in_decision, invalid_pause,
};
use crate::limit::Permit;
use crate::record::Failure;
use crate::send::redirect::RedirectTrust;
use crate::send::{Answer, Delivery, RequestHead, SendError};

/// The names that nginx and servers that are made from it give themselves.
const NGINX: [&str; 3] = ["nginx", "openresty", "tengine"];
/// The warning of a 503 that they gave.
const NGINX_REFUSAL: &str = "503 was taken for a failure, and nginx gives it where limit_req or limit_conn refuses; [[refusal]] with status = [503] and pause = \"1s\" in the job file makes such requests wait and go again";

impl RequestExecutor {
    /// Ends a permit as its attempt has ended, unless that depends on the answer's body.
    pub(super) fn finish_permit(
        &self,
        permit: &mut Permit,
        head: &Result<RequestHead, SendError>,
        purpose: Purpose,
        trace: &mut AttemptTrace,
    ) {
        match head {
            Ok(head) if purpose.of_credentials() == Some(RedirectTrust::Foreign) => {
                self.counters().answered(Some(head.status()));
                self.apply_foreign_answer(permit, head, purpose, trace);
            }
            Ok(head) => {
                // Other servers know nothing of this one's limits.
                let now = || self.context.calendar_now();
                let heard = self.stage().headers.heard(head.headers());
                if purpose == Purpose::Own && may_tell(heard) {
                    self.apply_signals(permit, &read_headers(heard, now()));
                }
                self.counters().answered(Some(head.status()));
                let ruling = self.stage().answers.of_head(head.status(), head.headers(), now);
                self.apply_ruling(permit, head.status(), head.headers(), ruling, trace);
            }
            Err(error) if error.delivery == Delivery::NotSent => {
                permit.cancel();
                self.counters().unsent();
            }
            // A proxy in front of the server may have counted it.
            Err(error) if error.delivery == Delivery::Rejected => permit.failed(),
            // An answer came, although it is of no use.
            Err(error) if error.delivery == Delivery::Final => {
                permit.answered();
                self.counters().answered(None);
            }
            Err(_) => permit.lost(),
        }
    }

    /// Applies what the whole answer says, and ends a permit that has waited for its body.
    ///
    /// # Errors
    /// A failure `jq too long`: the body can't be read in time.
    pub(super) fn finish_by_body(
        &self,
        permit: &mut Permit,
        answer: &Result<Answer, SendError>,
        url: &Uri,
        terms: AttemptTerms<'_>,
        trace: &mut AttemptTrace,
    ) -> Result<(), Failure> {
        let applied = self.apply_body_signals(permit, answer, url, terms);
        let Ok(answer) = answer else {
            if permit.is_open() {
                permit.answered();
            }
            self.end_if_refused("", trace);
            return applied;
        };
        let decision = self.decide(answer, url, terms);
        if permit.is_open() {
            let decision = decision.as_ref().inspect_err(|_| permit.answered());
            let ruling = decision.map_err(Clone::clone)?.ruling();
            self.apply_ruling(permit, answer.status, &answer.headers, ruling, trace);
        }
        if trace.stop_reason.is_some() {
            self.end_if_refused(&answer.failure().detail, trace);
        }
        trace.decision = Some(decision?);
        applied
    }

    /// The decision of the table of answers. Of the rules of a job, the answers to tokens and
    /// logins heed only those of refusals.
    pub(super) fn decide(
        &self,
        answer: &Answer,
        url: &Uri,
        terms: AttemptTerms<'_>,
    ) -> Result<Decision, Failure> {
        let Answer { status, headers, body, .. } = answer;
        let now = || self.context.calendar_now();
        let context = self.stage().judge_context(answer, url, terms.row);
        let decision = self.stage().answers.decide(&context, *status, headers, body, now)?;
        if terms.purpose.of_credentials().is_some() && decision.then != Meaning::Refusal {
            return Ok(built_in_decision(*status, self.stage().headers.heard(headers), now()));
        }
        self.warn_of_unnamed_refusal(answer, decision);
        Ok(decision)
    }

    fn apply_body_signals(
        &self,
        permit: &mut Permit,
        answer: &Result<Answer, SendError>,
        url: &Uri,
        terms: AttemptTerms<'_>,
    ) -> Result<(), Failure> {
        let bodies = &self.stage().body_signals;
        if let (Ok(answer), Purpose::Own, Some(bodies)) = (answer, terms.purpose, bodies) {
            let now = self.context.calendar_now();
            let heard = self.stage().headers.heard(&answer.headers);
            let context = self.stage().judge_context(answer, url, terms.row);
            let signals = bodies.signals(heard, &answer.body, &context, now)?;
            self.apply_signals(permit, &signals);
        }
        Ok(())
    }

    /// Informs the limiter of the server's own count.
    fn apply_signals(&self, permit: &mut Permit, found: &LimitSignals) {
        permit.inform_of(found);
        for header in &found.invalid {
            self.context.metrics.warn_of_header(&header.header, &header.why);
        }
    }

    /// Applies an answer of a server of tokens or logins that is not the API's: its refusals say nothing
    /// of the API's limits, and the job's rules nothing of its answers.
    fn apply_foreign_answer(
        &self,
        permit: &mut Permit,
        head: &RequestHead,
        purpose: Purpose,
        trace: &mut AttemptTrace,
    ) {
        permit.answered();
        let now = self.context.calendar_now();
        let all = HeaderRules::default();
        let decision = built_in_decision(head.status(), all.heard(head.headers()), now);
        let Ruling::Refused(_, _, pause) = decision.ruling() else {
            return;
        };
        self.counters().refused(head.status());
        self.emit_refused(head.status(), pause);
        trace.refusals_elsewhere += 1;
        if let Some(why) = self.stage().answers.stop_reason(pause, trace.refusals_elsewhere) {
            let what = if matches!(purpose, Purpose::Login(_)) { "login" } else { "token" };
            let why = format!("no {what} can be had: {why}");
            let why = why + &resume_after(pause, now);
            self.end_run(Error::stopped_by(StopCause::Credentials, why));
        }
        trace.refused_elsewhere = pause.or(Some(default_pause(trace.refusals_elsewhere)));
    }

    /// Emits the event of a refused request.
    fn emit_refused(&self, status: StatusCode, pause: Option<Duration>) {
        self.context
            .emit(|| EventKind::RequestRefused(RequestRefused { status: status.as_u16(), pause }));
    }

    /// Warns of a 503 that is taken for a failure and may be a refusal: nginx refuses in this
    /// way, unless it is told otherwise.
    fn warn_of_unnamed_refusal(&self, answer: &Answer, decision: Decision) {
        let is_failure = decision.ruling() == Ruling::Accepted
            && answer.status == StatusCode::SERVICE_UNAVAILABLE
            && !decision.is_of_job();
        if !is_failure {
            return;
        }
        let server = answer.headers.get(SERVER).and_then(|server| server.to_str().ok());
        let is_nginx =
            |server: &&str| NGINX.iter().any(|name| server.to_ascii_lowercase().starts_with(name));
        if let Some(server) = server.filter(is_nginx) {
            self.context.metrics.warn(NGINX_REFUSAL, 1, || format!("server: {server}"));
        }
    }

    /// Ends the run if the last answer says so, with the server's words; where rows may go to
    /// another target, this one is left alone.
    fn end_if_refused(&self, said: &str, trace: &mut AttemptTrace) {
        if let Some(reason) = trace.stop_reason.take() {
            let said = if said.is_empty() { String::new() } else { format!("; it said: {said}") };
            let error = Error::stopped_by(StopCause::Refused, format!("{}{said}", reason.why));
            match self.targets() {
                Some(targets) => self.leave_alone(targets, reason.pause, error),
                None => drop(self.end_run(error)),
            }
        }
    }

    /// Informs the limiter of a ruling, and notes whether it was a refusal.
    fn apply_ruling(
        &self,
        permit: &mut Permit,
        status: StatusCode,
        headers: &HeaderMap,
        ruling: Ruling,
        trace: &mut AttemptTrace,
    ) {
        trace.refused = false;
        let (meaning, scope, pause) = match ruling {
            Ruling::NeedsBody => return,
            Ruling::Refused(meaning, scope, pause) => (meaning, scope, pause),
            Ruling::Accepted => {
                match status {
                    // A proxy may have lost sight of the request.
                    StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT => permit.lost(),
                    status if status.as_u16() >= 400 => permit.failed(),
                    _ => permit.answered(),
                }
                return;
            }
        };
        trace.refused = true;
        self.counters().refused(status);
        self.emit_refused(status, pause);
        let heard = self.stage().headers.heard(headers);
        if let Some(InvalidHeader { header, why }) =
            invalid_pause(heard, self.context.calendar_now())
        {
            self.context.metrics.warn_of_header(&header, &why);
        }
        let chance = self.context.world.draw();
        if scope == RefusalScope::Run {
            permit.close_run(pause, chance);
        }
        let refusals = permit.refused(pause, chance);
        let why = match meaning {
            RefusalMeaning::Limited => self.stage().answers.stop_reason(pause, refusals),
            RefusalMeaning::QuotaGone => Some(format!(
                "the server says that the quota is used up (status {})",
                status.as_u16()
            )),
            RefusalMeaning::Banned => Some(format!(
                "the server wants nothing more of us (status {}): find out why before you go on, since going on may make it worse",
                status.as_u16()
            )),
        };
        let is_banned = meaning == RefusalMeaning::Banned;
        trace.stop_reason = why.map(|why| {
            let why = why + &resume_after(pause, self.context.calendar_now());
            let pause = pause.or(Some(LEFT_ALONE)).filter(|_| !is_banned);
            Box::new(StopReason { why, pause })
        });
    }
}

/// Pause after this number of refusals without a pause of their own: 1 s, then twice as
/// long each time, and at most 64 s.
fn default_pause(refusals: u32) -> Duration {
    Duration::from_secs(1 << refusals.saturating_sub(1).min(6))
}

/// The time at which the server takes requests again, if it says so.
fn resume_after(pause: Option<Duration>, now: SystemTime) -> String {
    let now = Timestamp::try_from(now).ok();
    let later = now.and_then(|now| now.checked_add(pause?).ok());
    let seconds = later.and_then(|later| later.round(jiff::Unit::Second).ok());
    seconds.map_or_else(String::new, |time| format!("; resume after {time}"))
}
