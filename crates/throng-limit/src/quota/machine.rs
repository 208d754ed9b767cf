//! The clocks of this machine.

use std::fs;
use std::sync::OnceLock;

use crate::quota::clocks::{ClockReading, ClockSnapshot};
use crate::time::{Time, now};

/// All clocks, read at one time.
pub fn read_clocks(time: Time) -> ClockSnapshot {
    let up = now().since(Time::ZERO).as_micros();
    ClockSnapshot {
        time,
        clock: ClockReading {
            wall: jiff::Timestamp::now().as_microsecond(),
            up: i64::try_from(up).unwrap_or(i64::MAX),
            boot: boot().map(str::to_owned),
        },
    }
}

/// The id of the machine's start, from which the limits' clock counts.
fn boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    };
    BOOT.get_or_init(read).as_deref()
}
