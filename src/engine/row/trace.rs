//! The parts and the outcome of an attempt, and the trace that it leaves in a record.

use std::time::Duration;

use http::StatusCode;

use crate::limit::Cost;
use crate::record::Arrived;
use crate::send::redirect::RedirectTrust;
use crate::send::{Answer, Delivery, SendError};
use crate::sink::Intent;

/// The run ended before the row had an outcome: the row gets no record now.
#[derive(Debug)]
pub struct Cancelled;

/// An answer, or why none came.
pub(super) type AttemptOutcome = Result<Answer, SendError>;

/// Why an attempt has no answer.
pub(super) enum AttemptError {
    Cancelled,
    Failed(SendError),
}

/// The party for which a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A row, at the origin that the job names: the request is signed.
    Own,
    /// A row, redirected to another origin: the request is not signed.
    Foreign,
    /// A token: the request has a signature of its own, and its answer is secret. Its
    /// server is foreign unless the job's requests go there too.
    Token(RedirectTrust),
}

impl Purpose {
    pub fn of(trust: RedirectTrust) -> Purpose {
        match trust {
            RedirectTrust::Own => Purpose::Own,
            RedirectTrust::Foreign => Purpose::Foreign,
        }
    }
}

/// The cost and the purpose of a request.
#[derive(Clone, Copy)]
pub(super) struct AttemptTerms<'a> {
    pub cost: &'a Cost,
    pub purpose: Purpose,
}

impl From<Cancelled> for AttemptError {
    fn from(_: Cancelled) -> AttemptError {
        AttemptError::Cancelled
    }
}

impl From<SendError> for AttemptError {
    fn from(error: SendError) -> AttemptError {
        AttemptError::Failed(error)
    }
}

/// The editions of the credentials that signed an attempt.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignedWith {
    pub token: u64,
    pub vault: u64,
}

/// The attempts of a record: their figures, and the state that the next one needs.
#[derive(Default)]
pub(super) struct AttemptTrace {
    pub attempts: u32,
    pub status: Option<StatusCode>,
    pub latency: Option<Duration>,
    pub arrived: Vec<Arrived>,
    /// Intents of a request that must not be sent twice, or not after a time.
    pub intents: Vec<Intent>,
    /// Whether the server may have acted on any attempt.
    pub may_be_done: bool,
    pub signed: SignedWith,
    pub renewed: bool,
    /// Whether the last answer was a refusal, which costs no try.
    pub refused: bool,
    /// Pause after a refusal by a server that has no part in the job's limits.
    pub refused_elsewhere: Option<Duration>,
    /// Number of such refusals in a row.
    pub refusals_elsewhere: u32,
}

impl AttemptTrace {
    /// Takes in what the server may have seen of an attempt.
    pub fn add_delivery(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::NotSent | Delivery::Rejected => self.take_back(),
            Delivery::Unknown => self.may_be_done = true,
            Delivery::Final => {}
        }
    }

    /// The server did nothing: takes the intents back.
    pub fn take_back(&mut self) {
        if !self.may_be_done {
            self.intents.iter_mut().for_each(Intent::take_back);
        }
    }

    /// Takes in the attempts of a later request of the same row.
    pub fn add(&mut self, later: &AttemptTrace) {
        self.attempts += later.attempts;
        self.status = later.status.or(self.status);
        self.latency = later.latency.or(self.latency);
        self.arrived.extend_from_slice(&later.arrived);
    }

    /// The trace for one record; the next record counts attempts and arrivals anew.
    pub fn take(&mut self) -> AttemptTrace {
        let taken =
            AttemptTrace { arrived: std::mem::take(&mut self.arrived), ..self.without_arrivals() };
        self.attempts = 0;
        taken
    }

    /// The trace for each of several records, without the arrivals, which only one of
    /// them has.
    pub fn without_arrivals(&self) -> AttemptTrace {
        AttemptTrace {
            attempts: self.attempts,
            status: self.status,
            latency: self.latency,
            ..AttemptTrace::default()
        }
    }
}
