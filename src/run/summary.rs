//! What a run knows of itself, added to what its records tell. Pure.

use std::time::Duration;

use crate::attempt::Shared;
use crate::limit::WindowState;
use crate::report::{Ending, LimitReport, Pace, Report, Rows, Sent, WorkerReport};
use crate::stop::Reason;
use crate::tally::Tally;

/// The report of a run that took so long, and whose workers took so long each.
pub fn report(shared: &Shared, tally: &Tally, took: Duration, workers: &[Duration]) -> Report {
    let of_records = Report::of(tally);
    let sending = shared.live.sending();
    Report {
        rows: Rows {
            skipped: shared.plan.output.done().len(),
            ..of_records.rows
        },
        sent: Sent {
            requests: sending.sent,
            retries: sending.retried,
            refused: sending.refused,
        },
        pace: Some(Pace {
            seconds: took.as_secs_f64(),
            best_possible_seconds: best_possible(shared, tally),
            requests_per_second: sending.sent as f64 / took.as_secs_f64().max(f64::EPSILON),
        }),
        limits: shared.gate.state().iter().map(limit).collect(),
        workers: worker_reports(shared, workers),
        ending: ending(shared, tally),
        ..of_records
    }
}

/// The bound for as many requests as there were rows, at the median latency.
fn best_possible(shared: &Shared, tally: &Tally) -> Option<f64> {
    let median = tally.latency().at(0.5)? / 1_000.0;
    let latency = Duration::try_from_secs_f64(median).ok()?;
    let best = shared.plan.best_possible(tally.counts().rows, latency)?;
    Some(best.as_secs_f64())
}

fn limit(window: &WindowState) -> LimitReport {
    LimitReport {
        rate: window.rate.to_string(),
        guard: window.guard.name().to_owned(),
        units_allowed: window.rate.units,
        period_seconds: window.rate.period.as_secs_f64(),
        most_in_window: window.most,
        lost: window.lost,
        linger_seconds: window.linger.as_secs_f64(),
        margin_seconds: window.margin.map(|margin| margin.as_secs_f64()),
    }
}

fn worker_reports(shared: &Shared, workers: &[Duration]) -> Vec<WorkerReport> {
    let answered = shared.live.by_worker().map(|sending| sending.answered);
    (1..)
        .zip(workers.iter().zip(answered))
        .map(|(worker, (took, answered))| WorkerReport {
            worker,
            answered,
            seconds: took.as_secs_f64(),
        })
        .collect()
}

fn ending(shared: &Shared, tally: &Tally) -> Ending {
    let output = &shared.plan.output;
    let has_records = tally.counts().rows > 0 || !output.done().is_empty();
    let path = output.path().filter(|_| has_records);
    let stopped = shared.stop.reason().map(|reason| match reason {
        Reason::Interrupted(_) => "interrupted".to_owned(),
        Reason::Unread => "nobody reads the output any more".to_owned(),
        Reason::Trouble(why) => why,
    });
    Ending {
        resume: stopped
            .as_ref()
            .and(path.as_ref())
            .map(|path| format!("the same command with --resume goes on with {path}")),
        output: path,
        stopped,
    }
}
