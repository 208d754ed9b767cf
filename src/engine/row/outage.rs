//! Attempts at origins that are out, or may be: they wait, and what they say of the origin is
//! told.

use std::future::pending;
use std::time::Duration;

use http::Uri;
use tokio::time::sleep;

use super::Cancelled;
use super::attempt::{AttemptError, AttemptTrace, Purpose, RequestExecutor};
use super::stand_in::StandIn;
use crate::engine::ending;
use crate::engine::outages::{NoPass, Pass};
use crate::judge::{Conclusion, Meaning, OriginFailure, Standing, Suspicion, Tries};
use crate::limit::Time;
use crate::metrics::WaitReason;
use crate::record::FailureKind;
use crate::send::{Answer, Delivery, Origin, SendError};

/// Maximum length of a failure in words.
const MAX_CAUSE: usize = 100;

/// The standing of the origin after an attempt that failed.
#[derive(Debug, Clone)]
pub(super) struct OriginStanding {
    origin: Origin,
    standing: Standing,
    /// Whether the failure may be that of the request alone, and its row has a stand-in.
    may_be_of_request: bool,
}

impl RequestExecutor {
    /// Waits until an attempt at the origin of this URL may go, unless its row may go to another
    /// target.
    pub(super) async fn wait_for_origin(
        &self,
        uri: &Uri,
        purpose: Purpose,
        trace: &mut AttemptTrace,
    ) -> Result<Pass<'_>, Cancelled> {
        let outages = &self.context.outages;
        let Some(origin) = self.watched_origin(uri, purpose) else {
            return Ok(outages.pass());
        };
        let max_wait = self.stage().judge.max_wait().server.filter(|_| !self.is_routed);
        loop {
            let mut changes = outages.changes();
            let now = self.now();
            match outages.admit(&origin, now, max_wait) {
                Ok(pass) => return Ok(pass),
                Err(NoPass::TooLong(outage)) => {
                    let transport = &self.stage().transport;
                    let is_reached = transport.has_reached(&origin);
                    let error =
                        ending::outage(&self.context, &origin, &outage, max_wait, is_reached);
                    return Err(self.end_run(error));
                }
                Err(NoPass::Wait(until)) if self.is_routed => {
                    return Err(trace.turn_away(self.out(&origin, until)));
                }
                Err(NoPass::Wait(until)) => {
                    let _waits = self.waits(WaitReason::Outage);
                    let changed = async {
                        tokio::select! {
                            _ = changes.changed() => {}
                            () = sleep_until(now, until) => {}
                        }
                    };
                    self.unless_stopped(changed).await?;
                }
            }
        }
    }

    /// Whether a request with this leave may still be sent, now that it could be.
    pub(super) fn still_admits(&self, pass: &Pass<'_>, uri: &Uri, purpose: Purpose) -> bool {
        let outages = &self.context.outages;
        outages.is_calm()
            || self.watched_origin(uri, purpose).is_none_or(|it| outages.still_admits(pass, &it))
    }

    /// Tells what an attempt says of its origin.
    pub(super) fn tell_of_origin(
        &self,
        pass: Pass<'_>,
        uri: &Uri,
        purpose: Purpose,
        outcome: &Result<Answer, AttemptError>,
        trace: &mut AttemptTrace,
    ) {
        trace.origin = None;
        let Some(origin) = self.watched_origin(uri, purpose) else {
            return;
        };
        // A rule of the job says what its answers mean.
        let may_pass = trace.decision.is_none_or(|it| it.then == Meaning::Retry && !it.is_of_job());
        let is_refusal = trace.refused || trace.refused_elsewhere.is_some();
        let failure = match outcome {
            Ok(answer) if answer.status.is_server_error() && may_pass && !is_refusal => {
                OriginFailure {
                    cause: format!("status {}", answer.status.as_u16()),
                    is_unreachable: false,
                    counted_in: trace.counted_in,
                }
            }
            Err(AttemptError::Failed(error)) if is_of_origin(error) => {
                if error.is_of_host() && self.is_hopeless(&origin, error) {
                    return;
                }
                OriginFailure {
                    cause: self.context.plan.secrets.hide(cause(error, &origin)),
                    is_unreachable: error.is_of_host() || error.delivery == Delivery::NotSent,
                    counted_in: trace.counted_in,
                }
            }
            // The run has ended before the answer came, or the request could not be made.
            Err(AttemptError::Failed(SendError {
                kind: FailureKind::Interrupted | FailureKind::Input,
                ..
            }))
            | Err(AttemptError::Cancelled) => return,
            Ok(_) | Err(_) => {
                return self.context.outages.succeeded(pass, &origin, self.now());
            }
        };
        let judge = &self.stage().judge;
        let (now, chance) = (self.now(), self.context.world.draw());
        let may_be_of_request = !failure.is_unreachable && purpose.of_credentials().is_none();
        let told = self.context.outages.failed(pass, &origin, judge, now, failure, chance);
        if let Some(Standing::Suspect(suspicion)) = told {
            trace.counted_in = Some(suspicion.streak);
        }
        trace.origin =
            told.map(|standing| Box::new(OriginStanding { origin, standing, may_be_of_request }));
    }

    /// Whether the failure of the last attempt is one of its origin's outage: then the request
    /// goes again. Waits until that is known, unless another attempt is due anyway.
    pub(super) async fn is_outage(
        &self,
        delivery: Delivery,
        tries: Tries,
        is_last: bool,
        trace: &mut AttemptTrace,
    ) -> Result<bool, Cancelled> {
        let Some(told) = trace.origin.take() else {
            return Ok(false);
        };
        if !self.stage().judge.may_go_again(tries, delivery) {
            return Ok(false);
        }
        match told.standing {
            Standing::Out => Ok(true),
            Standing::Suspect(suspicion)
                if is_last || suspicion.is_strong || suspicion.is_awaited =>
            {
                let mut stand_in = None;
                let outcome = self.decided(&told, suspicion, &mut stand_in).await;
                if let Some(stand_in) = stand_in {
                    stand_in.end().await;
                }
                outcome
            }
            Standing::Suspect(_) => Ok(false),
        }
    }

    /// Waits until it is known whether failures were an outage. Meanwhile another row goes in
    /// the place of this one: what becomes of it tells.
    async fn decided(
        &self,
        told: &OriginStanding,
        suspicion: Suspicion,
        stand_in: &mut Option<StandIn>,
    ) -> Result<bool, Cancelled> {
        let outages = &self.context.outages;
        loop {
            let mut changes = outages.changes();
            let now = self.now();
            let chance = self.context.world.draw();
            let until = match outages.decide(&told.origin, suspicion, now, chance) {
                Conclusion::Out => return Ok(true),
                Conclusion::Passing => return Ok(false),
                Conclusion::Open(until) => Some(until),
                Conclusion::TooFew => None,
            };
            if stand_in.is_none() && !suspicion.is_strong && told.may_be_of_request {
                *stand_in = self.stand_in.get().map(|start| start());
            }
            if until.is_none() && stand_in.as_ref().is_none_or(StandIn::is_over) {
                return Ok(false);
            }
            let _waits = self.waits(WaitReason::Backoff);
            let ended = async {
                match stand_in {
                    Some(stand_in) => stand_in.ended().await,
                    None => pending().await,
                }
            };
            let changed = async {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = sleep_until(now, until) => {}
                    () = ended => {}
                }
            };
            self.unless_stopped(changed).await?;
        }
    }

    /// The origin of a URL, if its outages are waited for: the job names it, and no row.
    pub(super) fn watched_origin(&self, uri: &Uri, purpose: Purpose) -> Option<Origin> {
        let is_named = purpose.of_credentials().is_some() || self.stage().names_host(uri);
        is_named.then(|| Origin::of(uri)).flatten()
    }

    /// Whether an origin that was never reached will not be reached by waiting, either: its
    /// name does not exist, its certificate is wrong, or nothing leads to it.
    fn is_hopeless(&self, origin: &Origin, error: &SendError) -> bool {
        let transport = &self.stage().transport;
        !transport.has_reached(origin)
            && (error.delivery == Delivery::Final || transport.has_no_way())
    }

    pub(super) fn now(&self) -> Time {
        self.context.limiter(self.stage_index).now()
    }
}

/// Whether an error says that the origin, or the way to it, may be out.
fn is_of_origin(error: &SendError) -> bool {
    error.is_of_host() || matches!(error.kind, FailureKind::ConnectionLost | FailureKind::Timeout)
}

/// An error in a few words, without the origin and without advice.
fn cause(error: &SendError, origin: &Origin) -> String {
    let detail = error.detail.as_str();
    let host = &origin.host;
    let bare = detail.strip_prefix(&format!("{host}:{}: ", origin.port));
    let bare = bare.or_else(|| detail.strip_prefix(&format!("{host}: "))).unwrap_or(detail);
    let bare = bare.split_once(" (").map_or(bare, |(words, _)| words);
    let mut letters = bare.chars().take(MAX_CAUSE);
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Sleeps until this time, or for ever.
pub(super) async fn sleep_until(now: Time, until: Option<Time>) {
    match until {
        Some(until) => sleep(until.since(now).max(Duration::from_millis(1))).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_in_a_few_words() {
        let origin = Origin::of(&"http://api.example:81/x".parse().unwrap()).unwrap();
        for (detail, words) in [
            ("api.example:81: Connection refused (os error 111)", "connection refused"),
            (
                "api.example:81: no connection within 10s (send.connect-timeout or --connect-timeout)",
                "no connection within 10s",
            ),
            (
                "api.example: received fatal alert: internal error",
                "received fatal alert: internal error",
            ),
            ("no answer within 30s (send.timeout or --timeout)", "no answer within 30s"),
        ] {
            let error = SendError {
                kind: FailureKind::Connect,
                detail: detail.to_owned(),
                delivery: Delivery::NotSent,
            };
            assert_eq!(cause(&error, &origin), words);
        }
    }
}
