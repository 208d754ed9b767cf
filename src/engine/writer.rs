//! The writer, the only owner of output and tally: lines are never torn, and counts agree
//! with the records written.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use roaring::RoaringTreemap;

use super::channels::{self, OutboxBatch};
use super::context::{ObservedRecord, RunContext};
use super::reader::ReaderProgress;
use super::sampler::TallySnapshot;
use crate::error::{Error, StopCause};
use crate::events::{Event, EventKind, RowFailed};
use crate::record::Record;
use crate::shutdown::{Shutdown, ShutdownReason};
use crate::sink::{SinkError, Writer};
use crate::tally::{Counts, Example, Tally};
use crate::threads;

/// Writes and tallies records until no worker is left to send any. When they
/// can't be written any more, the run is asked to stop; answers in flight come in,
/// and writing is tried again at the end: by then there may be room.
pub fn write(
    context: &RunContext,
    mut writer: Writer,
    records: &Receiver<OutboxBatch>,
    progress: &ReaderProgress,
    earlier: Counts,
) -> Tally {
    let mut tally = Tally::new(&context.plan.aggregates, &context.plan.columns.values);
    let mut on_trial = RoaringTreemap::new();
    let mut shown = TallyDisplay::default();
    let mut observers = context.observers();
    while let Ok(batch) = records.recv_blocking() {
        let last = records.is_empty();
        let written = write_batch(context, &mut writer, &mut tally, &batch, last);
        for observe in observers.iter_mut() {
            batch.iter().for_each(|record| observe(ObservedRecord::Written(record)));
        }
        if !context.brake.is_over() || context.brake.failure().is_some() {
            let without_values = batch.iter().filter(|record| record.outcome.is_err());
            on_trial.extend(without_values.map(|record| record.row.number));
        }
        if context.events.is_observed() {
            emit_failures(context, &batch);
            shown.update(context, &tally);
        }
        let written = written.and_then(|()| writer.deliver(batch));
        check_failures(context, &tally);
        let written =
            written.and_then(|()| hold_back(context, &mut writer, progress, tally.counts().rows));
        if let Err(error) = written {
            context.shutdown.request(reason(context, error));
        }
    }
    shown.end(context, &tally);
    context.metrics.all_written();
    if context.brake.failure().is_some() {
        writer.set_braked(&on_trial);
    }
    let finished = match tally.counts().rows {
        // A run that could not begin leaves nothing behind.
        0 if context.shutdown.is_requested() && !context.leaves_jobs() => writer.remove_if_empty(),
        _ if context.shutdown.is_requested() => writer.finish(),
        _ => finish(&mut writer, tally.counts(), progress.expected(&context.plan), earlier),
    };
    if let Err(error) = finished {
        context.shutdown.request(reason(context, error));
    }
    tally
}

/// The figures of the tally that subscribers get, of which the writer makes a copy now and then.
#[derive(Default)]
struct TallyDisplay {
    due: Option<Instant>,
}

impl TallyDisplay {
    /// Minimum time between two copies.
    const EVERY: Duration = Duration::from_millis(100);
    /// Maximum part of the time that copies may take: those of very many groups are rare.
    const PART: u32 = 200;

    fn update(&mut self, context: &RunContext, tally: &Tally) {
        let now = Instant::now();
        if self.due.is_none_or(|due| now >= due) {
            TallyDisplay::copy(context, tally);
            self.due = Some(now + TallyDisplay::EVERY.max(now.elapsed() * TallyDisplay::PART));
        }
    }

    /// Makes the last copy.
    fn end(self, context: &RunContext, tally: &Tally) {
        if context.events.is_observed() {
            TallyDisplay::copy(context, tally);
        }
    }

    fn copy(context: &RunContext, tally: &Tally) {
        let copy = TallySnapshot::of(tally);
        *context.tally.lock().unwrap_or_else(PoisonError::into_inner) = copy;
    }
}

/// Emits an event for each record of a failure.
fn emit_failures(context: &RunContext, batch: &OutboxBatch) {
    let failed = batch.iter().filter(|record| !record.is_ok());
    let events: Vec<Event> = failed.filter_map(row_failed).map(|it| context.event(it)).collect();
    if !events.is_empty() {
        context.events.send(events);
    }
}

/// The event of a record that is a failure.
fn row_failed(record: &Record) -> Option<EventKind> {
    let failure = record.outcome.as_ref().err()?;
    let Example { row, label, detail } = Example::of(&record.row, failure);
    Some(EventKind::RowFailed(Box::new(RowFailed {
        row,
        label,
        kind: failure.kind.text().into_owned(),
        detail,
        status: record.status,
        attempts: record.attempts,
    })))
}

/// Lets no more rows be begun than their records have room for; an error if none has. Once no
/// row is left to begin, answers in flight come in anyway.
fn hold_back(
    context: &RunContext,
    writer: &mut Writer,
    progress: &ReaderProgress,
    written: u64,
) -> Result<(), SinkError> {
    let underway = underway(context);
    let Some(room) = &context.room else {
        return if progress.is_all() {
            Ok(())
        } else {
            writer.room(underway, underway).map(|_| ())
        };
    };
    if progress.is_all() && room.taken() >= progress.rows() {
        room.open();
        return Ok(());
    }
    match writer.room(underway, 1)? {
        Some(records) if records < underway => room.admit(written + records.max(1)),
        None if writer.written() == 0 => {}
        Some(_) | None => room.open(),
    }
    Ok(())
}

/// Size that a record is taken to have before the first one, in bytes.
const FIRST_RECORD: u64 = 64 * 1024;

/// Lets few rows be begun on a small disk, until the first records show their size.
pub fn hold_back_first(context: &RunContext) {
    if let (Some(room), Some(free)) = (&context.room, context.plan.output.free())
        && free / FIRST_RECORD < underway(context)
    {
        room.admit((free / FIRST_RECORD).max(1));
    }
}

/// Asks the run to stop if more rows have failed than may.
fn check_failures(context: &RunContext, tally: &Tally) {
    let Counts { rows, failed, .. } = tally.counts();
    if let Some(max) = context.plan.max_failures
        && max.is_exceeded(failed, rows)
    {
        let why = format!(
            "{failed} of {rows} rows failed, and retry.max-failures (--max-failures) allows {max}"
        );
        let error = Error::stopped_by(StopCause::TooManyFailures, why);
        context.shutdown.request(ShutdownReason::Error(error));
    }
}

/// Interval at which the ticker wakes the writer.
const TICK: Duration = Duration::from_secs(1);

/// Starts the ticker, or asks the run to stop: a thread that wakes the writer once a second,
/// so that records are synced in time even when no more come, and that ends a run whose
/// workers are all too busy to see how late it is. It ends after the workers.
pub fn start_ticker(to_writer: &Sender<OutboxBatch>, shutdown: &Shutdown, grace: Duration) {
    let to_writer = to_writer.downgrade();
    // The thread may still sleep when the process ends: it holds nothing that must be closed.
    let run = shutdown.clone();
    let started = threads::spawn(move || {
        let mut stopping = Duration::ZERO;
        loop {
            std::thread::sleep(TICK);
            if run.is_requested() {
                stopping += TICK;
            }
            // A worker ends by itself, unless a program over an answer keeps it busy.
            if stopping > grace + TICK {
                run.abort();
            }
            let Some(to_writer) = to_writer.upgrade() else {
                return;
            };
            if to_writer.send_blocking(OutboxBatch::new()).is_err() {
                return;
            }
        }
    });
    if let Err(error) = started {
        let why = format!("records can't be synced in time: {error}");
        shutdown.request(ShutdownReason::Error(Error::stopped(why)));
    }
}

/// Leaves nothing behind of a run that can't begin.
///
/// # Errors
/// The file can't be removed.
pub fn give_up(writer: Writer) -> Result<(), Error> {
    writer.remove_if_empty().or_else(|error| match error {
        SinkError::Closed => Ok(()),
        SinkError::Failed(error) => Err(error),
    })
}

/// Completes the output if it has as many records as were counted and as there must be.
fn finish(
    writer: &mut Writer,
    counts: Counts,
    expected: Option<u64>,
    earlier: Counts,
) -> Result<(), SinkError> {
    writer.finish()?;
    check(writer.written(), counts.rows, expected).map_err(SinkError::Failed)?;
    writer.complete(counts.failed + earlier.failed, counts.missing + earlier.missing)
}

fn check(written: u64, tallied: u64, expected: Option<u64>) -> Result<(), Error> {
    match expected.unwrap_or(tallied) {
        expected if written == tallied && tallied == expected => Ok(()),
        expected => Err(Error::stopped(format!(
            "{expected} rows were taken, {tallied} counted and {written} written, which should be \
             the same number; --resume asks for what is missing. This is a mistake in throng: please report it"
        ))),
    }
}

/// Writes and tallies a batch, and flushes it if no other waits. Records that can't be
/// flushed stay with the writer.
fn write_batch(
    context: &RunContext,
    writer: &mut Writer,
    tally: &mut Tally,
    batch: &OutboxBatch,
    last: bool,
) -> Result<(), SinkError> {
    let mut ok = 0;
    let mut written = Ok(());
    for record in batch {
        written = written.and(writer.write(record));
        tally.add(record);
        ok += u64::from(record.is_ok());
    }
    written?;
    if last {
        writer.flush()?;
    }
    writer.keep_safe(Instant::now())?;
    if let Some(remote) = context.remote.get() {
        remote.set_safe(writer.safe());
    }
    context.metrics.written(ok, batch.len() as u64 - ok);
    Ok(())
}

fn reason(context: &RunContext, error: SinkError) -> ShutdownReason {
    match error {
        SinkError::Closed => ShutdownReason::Unread,
        SinkError::Failed(error) => {
            ShutdownReason::Error(error.of_output(context.plan.output_file().as_deref()))
        }
    }
}

/// Maximum number of records that still come when no further row is begun.
fn underway(context: &RunContext) -> u64 {
    with_workers(context) + (channels::BATCHES * channels::FULL) as u64
}

/// Maximum number of rows that the workers have begun and not handed over.
fn with_workers(context: &RunContext) -> u64 {
    let in_flight = context.plan.stages.iter().map(|stage| stage.in_flight);
    let each = in_flight.sum::<usize>() + channels::FULL;
    (context.plan.workers.count * each) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_may_be_missing_when_all_is_said_to_be_well() {
        assert!(check(5, 5, Some(5)).is_ok() && check(5, 5, None).is_ok());
        for (written, tallied, expected) in [(4, 5, Some(5)), (5, 5, Some(6)), (4, 5, None)] {
            let error = check(written, tallied, expected).unwrap_err().to_string();
            assert!(error.contains("--resume asks for what is missing"), "{error}");
        }
    }
}
