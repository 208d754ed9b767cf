//! What a record says of its attempts.

use std::time::Duration;

use http::StatusCode;

use super::credentials::SignedWith;
use crate::record::Arrived;
use crate::send::Delivery;
use crate::sink::Intent;

/// What a record says of its attempts, and what they were signed with.
#[derive(Default)]
pub(super) struct AttemptTrace {
    pub attempts: u32,
    pub status: Option<StatusCode>,
    pub latency: Option<Duration>,
    pub arrived: Vec<Arrived>,
    /// Of a request that must not be sent twice, or not after a time.
    pub announcements: Vec<Intent>,
    /// Whether any attempt may have been done.
    pub may_be_done: bool,
    pub signed: SignedWith,
    pub renewed: bool,
    /// Whether the last answer was a refusal: it costs no try.
    pub refused: bool,
    /// How long to wait, if the last answer was a refusal by a server that has no part
    /// in the job's limits.
    pub refused_elsewhere: Option<Duration>,
    /// How many of these there were in a row.
    pub refusals_elsewhere: u32,
}

impl AttemptTrace {
    /// Takes in what the server may have seen of an attempt.
    pub fn judge(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::NotSent | Delivery::Rejected => self.take_back(),
            Delivery::Unknown => self.may_be_done = true,
            Delivery::Final => {}
        }
    }

    /// Nothing was done: what was announced did not happen.
    pub fn take_back(&mut self) {
        if !self.may_be_done {
            let announcements = self.announcements.iter_mut();
            announcements.for_each(Intent::take_back);
        }
    }

    /// Takes in what came later.
    pub fn add(&mut self, later: &AttemptTrace) {
        self.attempts += later.attempts;
        self.status = later.status.or(self.status);
        self.latency = later.latency.or(self.latency);
        self.arrived.extend_from_slice(&later.arrived);
    }

    /// What there is to tell; attempts are told once.
    pub fn take(&mut self) -> AttemptTrace {
        let told = AttemptTrace {
            arrived: std::mem::take(&mut self.arrived),
            ..self.told()
        };
        self.attempts = 0;
        told
    }

    /// What there is to tell to each of several; not when requests arrived, which
    /// is told once.
    pub fn told(&self) -> AttemptTrace {
        AttemptTrace {
            attempts: self.attempts,
            status: self.status,
            latency: self.latency,
            ..AttemptTrace::default()
        }
    }
}
