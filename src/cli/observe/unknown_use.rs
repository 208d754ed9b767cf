//! One sentence where a run waits since the store of its limits does not know what was used.

use crate::cli::progress::time_of_day;
use crate::cli::say;
use crate::events::{EventKind, Subscription, UnknownUse};
use crate::limit::duration;

/// Says what the run waits for, and until when, each time that it begins to.
pub fn say(events: Subscription) {
    let mut is_unknown = false;
    for event in events {
        let EventKind::Snapshot(snapshot) = &event.kind else { continue };
        if let Some(unknown) = snapshot.unknown_use.as_ref().filter(|_| !is_unknown) {
            say::note(&format!("throng: {}", sentence(unknown)));
        }
        is_unknown = snapshot.unknown_use.is_some();
    }
}

fn sentence(UnknownUse { limit, ends_in, .. }: &UnknownUse) -> String {
    format!(
        "nothing is sent until {at} (in {wait}): the store of the shared limits does not know what was used of {limit} before, since it is new, was emptied or was started anew; all of it counts as used",
        at = time_of_day(*ends_in),
        wait = duration::rounded(*ends_in),
    )
}
