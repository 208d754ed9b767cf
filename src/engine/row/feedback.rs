//! What an answer teaches the gate, before anyone else may pass it.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use jiff::Timestamp;

use super::{AttemptTrace, Purpose, RowExecutor};
use crate::judge::signals::{Signal, Signals, signals};
use crate::judge::{Closes, Meaning, RefusalRules, Ruling};
use crate::limit::{Permit, RateLimitInfo};
use crate::record::Failure;
use crate::send::redirect::RedirectTrust;
use crate::send::{Answer, Delivery, RequestHead, SendError};

impl RowExecutor {
    /// Ends a permit as its attempt has ended, unless only the answer's body can tell.
    pub(super) fn finish_permit(
        &self,
        permit: &mut Permit,
        head: Result<RequestHead, SendError>,
        errand: Purpose,
        seen: &mut AttemptTrace,
    ) -> Result<RequestHead, SendError> {
        match &head {
            Ok(head) if errand == Purpose::Token(RedirectTrust::Foreign) => {
                self.live().answered();
                self.hear_elsewhere(permit, head, seen);
            }
            Ok(head) => {
                // Other servers know nothing of this one's limits.
                let now = self.run.calendar_now();
                if errand == Purpose::Own {
                    let heard = signals(head.headers(), &self.step().signals, now);
                    self.apply_signals(permit, &heard);
                }
                self.live().answered();
                let rules = &self.step().refusals;
                let ruling = rules.of_head(head.status(), head.headers(), now);
                seen.refused = self.apply_ruling(permit, head.status(), ruling);
            }
            Err(trouble) if trouble.delivery == Delivery::NotSent => {
                permit.cancel();
                self.live().unsent();
            }
            // What is in front of the server may have counted it.
            Err(trouble) if trouble.delivery == Delivery::Rejected => permit.failed(),
            // An answer came, although it is of no use.
            Err(trouble) if trouble.delivery == Delivery::Final => {
                permit.answered();
                self.live().answered();
            }
            Err(_) => permit.lost(),
        }
        head
    }

    /// The same for a permit that waited for the body.
    ///
    /// # Errors
    /// A failure `jq too long`: what the answer says can't be known.
    pub(super) fn settle_by_body(
        &self,
        permit: &mut Permit,
        answer: &Result<Answer, SendError>,
        errand: Purpose,
        seen: &mut AttemptTrace,
    ) -> Result<(), Failure> {
        let heard = self.hear_body(permit, answer, errand);
        if !permit.is_open() {
            return heard;
        }
        let Ok(answer) = answer else {
            permit.answered();
            return heard;
        };
        let (rules, now) = (&self.step().refusals, self.run.calendar_now());
        match rules.of_answer(answer.status, &answer.headers, &answer.body, now) {
            Ok(ruling) => seen.refused = self.apply_ruling(permit, answer.status, ruling),
            Err(failure) => {
                permit.answered();
                return Err(failure);
            }
        }
        heard
    }

    fn hear_body(
        &self,
        permit: &mut Permit,
        answer: &Result<Answer, SendError>,
        errand: Purpose,
    ) -> Result<(), Failure> {
        let bodies = &self.step().body_signals;
        if let (Ok(answer), Purpose::Own, false) = (answer, errand, bodies.is_empty()) {
            let now = self.run.calendar_now();
            let heard = bodies.signals(&answer.headers, &answer.body, now)?;
            self.apply_signals(permit, &heard);
        }
        Ok(())
    }

    /// What the server tells of its own count.
    fn apply_signals(&self, permit: &mut Permit, heard: &Signals) {
        let units = self.step().policy.units();
        for signal in &heard.signals {
            let unit = units.iter().position(|unit| signal.is_of(unit));
            permit.inform(unit, told(signal));
        }
        for odd in &heard.odd {
            self.run.live.warn_of_header(&odd.header, &odd.why);
        }
    }

    /// The token's server is another one than the API's: its refusals say nothing of the
    /// API's limits, and the job's rules nothing of its answers.
    fn hear_elsewhere(&self, permit: &mut Permit, head: &RequestHead, seen: &mut AttemptTrace) {
        let (status, headers) = (head.status(), head.headers());
        permit.answered();
        let Ruling::Refused(_, _, pause) =
            RefusalRules::GENERAL.of_head(status, headers, self.run.calendar_now())
        else {
            return;
        };
        self.live().refused();
        seen.refusals_elsewhere += 1;
        if let Some(why) = self.step().judge.too_long(pause, seen.refusals_elsewhere) {
            let why = format!("no token can be had: {why}");
            self.stop(why + &resume_after(pause, self.run.calendar_now()));
        }
        let unsaid = || unsaid_pause(seen.refusals_elsewhere);
        seen.refused_elsewhere = Some(pause.unwrap_or_else(unsaid));
    }

    /// Tells the gate what an answer says about the limit. Gives whether it was
    /// a refusal.
    fn apply_ruling(&self, permit: &mut Permit, status: StatusCode, ruling: Ruling) -> bool {
        let (meaning, closes, pause) = match ruling {
            Ruling::Open => return false,
            Ruling::Refused(meaning, closes, pause) => (meaning, closes, pause),
            Ruling::Taken => {
                match status {
                    // Someone in front of the server has lost sight of the request.
                    StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT => permit.lost(),
                    status if status.as_u16() >= 400 => permit.failed(),
                    _ => permit.answered(),
                }
                return false;
            }
        };
        self.live().refused();
        let chance = self.run.chance.draw();
        if closes == Closes::Run {
            permit.close_run(pause, chance);
        }
        let refusals = permit.refused(pause, chance);
        let why = match meaning {
            Meaning::Limited => self.step().judge.too_long(pause, refusals),
            Meaning::QuotaGone => Some(format!(
                "the server says that the quota is used up (status {})",
                status.as_u16()
            )),
            Meaning::Banned => Some(format!(
                "the server wants nothing more of us (status {}): find out why before you go on, since going on may make it worse",
                status.as_u16()
            )),
        };
        if let Some(why) = why {
            self.stop(why + &resume_after(pause, self.run.calendar_now()));
        }
        true
    }
}

/// How long to wait after so many refusals that name no pause: 1 s, then twice as long
/// each time, and no longer than 64 s.
fn unsaid_pause(refusals: u32) -> Duration {
    Duration::from_secs(1 << refusals.saturating_sub(1).min(6))
}

/// When the server will take more, if it says so.
fn resume_after(pause: Option<Duration>, now: SystemTime) -> String {
    let now = Timestamp::try_from(now).ok();
    let later = now.and_then(|now| now.checked_add(pause?).ok());
    let seconds = later.and_then(|later| later.round(jiff::Unit::Second).ok());
    seconds.map_or_else(String::new, |time| format!("; resume after {time}"))
}

fn told(signal: &Signal) -> RateLimitInfo {
    RateLimitInfo {
        limit: signal.limit,
        remaining: signal.remaining,
        reset: signal.reset,
    }
}
