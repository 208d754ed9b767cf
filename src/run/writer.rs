//! The only owner of output and tally: lines are never torn, and counts agree
//! with what is written.

use async_channel::Receiver;

use super::outbox::Batch;
use crate::attempt::Shared;
use crate::sink::{Sink, SinkError, Writer};
use crate::stop::Reason;
use crate::tally::Tally;

/// Writes and tallies records until no worker is left to send any. When they
/// can't be written any more, the run is asked to stop and the rest is let go,
/// as rows without a record.
pub fn write(shared: &Shared, mut writer: Writer, records: &Receiver<Batch>) -> Tally {
    let mut tally = Tally::new(&shared.plan.aggregates, &shared.plan.columns.values);
    let mut fails = None;
    while let Ok(batch) = records.recv_blocking() {
        if fails.is_none() {
            let last = records.is_empty();
            fails = write_batch(shared, &mut writer, &mut tally, &batch, last).err();
        }
        if let Some(error) = &fails {
            shared.stop.ask(reason(error));
        }
    }
    let finished = match (fails, tally.counts().rows) {
        // A run that could not begin leaves nothing behind.
        (None, 0) if shared.stop.is_asked() => writer.remove_if_empty(),
        (None, _) => writer.finish(),
        (Some(_), _) => Ok(()),
    };
    if let Err(error) = finished {
        shared.stop.ask(reason(&error));
    }
    tally
}

/// What has come in is flushed whenever nothing more waits.
fn write_batch(
    shared: &Shared,
    writer: &mut Writer,
    tally: &mut Tally,
    batch: &Batch,
    last: bool,
) -> Result<(), SinkError> {
    let mut ok = 0;
    for record in batch {
        writer.write(record)?;
        tally.add(record);
        ok += u64::from(record.outcome.is_ok());
    }
    if last {
        writer.flush()?;
    }
    shared.live.written(ok, batch.len() as u64 - ok);
    Ok(())
}

fn reason(error: &SinkError) -> Reason {
    match error {
        SinkError::Closed => Reason::Unread,
        SinkError::Failed(error) => Reason::Trouble(error.to_string()),
    }
}
