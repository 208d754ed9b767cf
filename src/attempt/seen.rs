//! What a record says of its attempts.

use std::time::Duration;

use http::StatusCode;

use super::renew::Signed;
use crate::record::Arrived;
use crate::send::Landed;
use crate::sink::Announcement;

/// What a record says of its attempts, and what they were signed with.
#[derive(Default)]
pub(super) struct Seen {
    pub attempts: u32,
    pub status: Option<StatusCode>,
    pub latency: Option<Duration>,
    pub arrived: Vec<Arrived>,
    /// Of a request that must not be sent twice, or not after a time.
    pub announcements: Vec<Announcement>,
    /// Whether any attempt may have been done.
    pub may_be_done: bool,
    pub signed: Signed,
    pub renewed: bool,
    /// Whether the last answer was a refusal: it costs no try.
    pub refused: bool,
    /// How long to wait, if the last answer was a refusal by a server that has no part
    /// in the job's limits.
    pub refused_elsewhere: Option<Duration>,
    /// How many of these there were in a row.
    pub refusals_elsewhere: u32,
}

impl Seen {
    /// Takes in what the server may have seen of an attempt.
    pub fn judge(&mut self, landed: Landed) {
        match landed {
            Landed::No | Landed::Undone => self.take_back(),
            Landed::Maybe => self.may_be_done = true,
            Landed::Final => {}
        }
    }

    /// Nothing was done: what was announced did not happen.
    pub fn take_back(&mut self) {
        if !self.may_be_done {
            let announcements = self.announcements.iter_mut();
            announcements.for_each(Announcement::take_back);
        }
    }

    /// Takes in what came later.
    pub fn add(&mut self, later: &Seen) {
        self.attempts += later.attempts;
        self.status = later.status.or(self.status);
        self.latency = later.latency.or(self.latency);
        self.arrived.extend_from_slice(&later.arrived);
    }

    /// What there is to tell; attempts are told once.
    pub fn take(&mut self) -> Seen {
        let told = Seen {
            arrived: std::mem::take(&mut self.arrived),
            ..self.told()
        };
        self.attempts = 0;
        told
    }

    /// What there is to tell to each of several; not when requests arrived, which
    /// is told once.
    pub fn told(&self) -> Seen {
        Seen {
            attempts: self.attempts,
            status: self.status,
            latency: self.latency,
            ..Seen::default()
        }
    }
}
