//! Files of an earlier version: one for each limit with a long period, by the calendar.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::limit::{ClockReading, QuotaState};

/// The content of such a file. Times are milliseconds since 1970.
#[derive(Deserialize)]
struct LegacyContents {
    clock: LegacyClock,
    kept: BTreeMap<String, u64>,
    arrived: Vec<(u64, u64)>,
    reset: Option<u64>,
}

#[derive(Deserialize)]
struct LegacyClock {
    wall: i64,
    up: i64,
    boot: Option<String>,
}

/// Reads such a file; none if it doesn't exist or is only a lock.
pub fn read(path: &Path) -> io::Result<Option<QuotaState>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let contents: LegacyContents = serde_json::from_slice(&text).map_err(|error| {
        let text =
            format!("{}, which an earlier version left, is damaged: {error}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    })?;
    let LegacyClock { wall, up, boot } = contents.clock;
    let clock = ClockReading { wall: wall * 1_000, up: up * 1_000, boot };
    Ok(Some(QuotaState::from_calendar(clock, contents.kept, &contents.arrived, contents.reset)))
}
