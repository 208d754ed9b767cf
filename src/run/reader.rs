//! Reads the input ahead of the workers. [door: threads]

use std::sync::Arc;

use async_channel::Sender;

use crate::attempt::Shared;
use crate::source::{Row, Rows};
use crate::stop::Reason;

/// Starts the thread. Nobody joins it: it may hang in a read that never ends,
/// which must not keep a run from ending.
pub fn start(rows: Rows, to_workers: Sender<Row>, shared: Arc<Shared>) {
    std::thread::spawn(move || read(rows, &to_workers, &shared));
}

/// Ends with the input, with its first error, or when nobody wants more rows.
fn read(rows: Rows, to_workers: &Sender<Row>, shared: &Shared) {
    let done = shared.plan.output.done();
    for row in rows {
        match row {
            Ok(row) if done.contains(row.number) => {}
            Ok(row) => {
                if shared.stop.is_asked() || to_workers.send_blocking(row).is_err() {
                    return;
                }
            }
            Err(error) => return shared.stop.ask(Reason::Trouble(error.to_string())),
        }
    }
}
