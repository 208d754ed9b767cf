//! What the lines show of a run, out of a snapshot of it.

use std::time::Duration;

use jiff::Zoned;

use crate::events::{Snapshot, UnknownUse};
use crate::limit::duration;
use crate::metrics::BatchProgress;
use crate::price::Usd;

/// Time in which a run may begin.
const A_MOMENT: Duration = Duration::from_secs(1);
/// Shortest wait whose end is shown.
const WORTH_IT: Duration = Duration::from_secs(2);

/// Facts of a run at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Rows with a record.
    pub done: u64,
    /// Number of records that there will be, if it is known.
    pub total: Option<u64>,
    /// The time since the start.
    pub elapsed: Duration,
    /// The time that is left, if it is known.
    pub left: Option<Duration>,
    /// Rows that failed.
    pub failed: u64,
    /// The commonest kinds of failure with their numbers of rows.
    pub failures: Vec<(String, u64)>,
    /// Attempts after a failure.
    pub retried: u64,
    /// Answers that refused a request because of a limit.
    pub refused: u64,
    /// Requests that wait for their answer.
    pub in_flight: u64,
    /// Rows that wait for a limit.
    pub waiting: u64,
    /// What the run has cost in money so far, and the budget; none if nothing has a price.
    pub bill: Option<(Usd, Option<Usd>)>,
    /// The batches at a provider, if there are any.
    pub batches: Option<BatchProgress>,
    /// The requests of late.
    pub pace: Pace,
    /// The time to the deadline, if there is one.
    pub deadline: Option<Duration>,
    /// What the run does or waits for.
    pub state: State,
}

/// The requests of late.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pace {
    /// The number of them in the period of the limit, or in a second: a mean of some seconds.
    pub requests: f64,
    /// The number of them in the last period, or in the last second.
    pub in_window: u64,
    /// The limit's amount and period.
    pub limit: Option<(u64, String)>,
}

/// What a run does or waits for.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum State {
    /// Nothing was sent yet.
    #[default]
    Begins,
    /// The largest share of the last seconds has this cause.
    BoundBy {
        /// The cause in words.
        cause: String,
        /// Its share, 0 to 1.
        share: f64,
    },
    /// A limit lets the next request go at this time.
    Limited {
        /// The limit, as the job writes it.
        limit: String,
        /// The time until then.
        wait: Duration,
        /// The time of day.
        at: String,
    },
    /// The server asks for a pause until this time.
    Pause {
        /// The time until then.
        wait: Duration,
        /// The time of day.
        at: String,
    },
    /// The store of a shared limit does not know what was used of it, and all of it counts as used
    /// until this time.
    UnknownUse {
        /// The limit, as the job writes it.
        limit: String,
        /// The time until then.
        wait: Duration,
        /// The time of day.
        at: String,
    },
    /// A server is out, in words.
    Outage(String),
    /// A person has paused the run.
    Held,
    /// The end of the run is requested.
    Stopping,
    /// This file is made of the records.
    Making(String),
}

impl Facts {
    /// The facts of a snapshot.
    pub fn of(elapsed: Duration, now: &Snapshot) -> Facts {
        let kinds = now.rows.failures.iter();
        Facts {
            done: now.rows.ok + now.rows.failed,
            total: now.rows.to_do,
            elapsed,
            left: now.left,
            failed: now.rows.failed,
            failures: kinds.map(|failed| (failed.kind.clone(), failed.count)).collect(),
            retried: now.requests.retried,
            refused: now.requests.refused,
            in_flight: now.requests.in_flight,
            waiting: now.requests.waiting,
            bill: now.bill.map(|bill| {
                (Usd::of_dollars(bill.total_usd), bill.budget_usd.map(Usd::of_dollars))
            }),
            batches: now.batches,
            pace: Pace {
                requests: now.pace.requests,
                in_window: now.pace.in_window,
                limit: now.pace.allowed.map(|it| (it, duration::exact(now.pace.period))),
            },
            deadline: now.deadline,
            state: State::of(elapsed, now),
        }
    }
}

impl State {
    /// What the run does or waits for, the rarest first.
    fn of(elapsed: Duration, now: &Snapshot) -> State {
        if let Some(file) = &now.makes {
            return State::Making(file.clone());
        }
        if now.stopping {
            return State::Stopping;
        }
        if now.paused {
            return State::Held;
        }
        if let Some(wait) = now.pause {
            return State::Pause { wait, at: time_of_day(wait) };
        }
        if let Some(outage) = now.outages.first() {
            return State::Outage(outage.describe());
        }
        if let Some(UnknownUse { limit, ends_in, .. }) = &now.unknown_use {
            return State::UnknownUse {
                limit: limit.clone(),
                wait: *ends_in,
                at: time_of_day(*ends_in),
            };
        }
        let Some(first) = now.waits_for.as_ref() else {
            return State::Begins;
        };
        if now.requests.sent == 0 && elapsed <= A_MOMENT {
            return State::Begins;
        }
        if let (Some(limit), Some(wait)) = (&first.name, first.ends_in)
            && wait >= WORTH_IT
        {
            return State::Limited { limit: limit.clone(), wait, at: time_of_day(wait) };
        }
        let cause = match now.rate_share {
            Some(share) => format!("{:.0} % of the rate, as asked for", share * 100.0),
            None => first.description.clone(),
        };
        State::BoundBy { cause, share: first.share }
    }
}

/// The local time after this wait, with its date if that is another one.
pub fn time_of_day(wait: Duration) -> String {
    let now = Zoned::now();
    let Ok(then) = now.checked_add(wait) else {
        return "a time beyond the calendar".into();
    };
    let format = if then.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    then.strftime(format).to_string()
}
