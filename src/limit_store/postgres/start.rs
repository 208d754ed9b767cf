//! Whether a server of PostgreSQL can have forgotten something. Pure: what the server says is an
//! argument.
//!
//! Each change is on the disk before it counts, so that a server which starts anew has forgotten
//! nothing. One that was a replica may have: changes reach it later. Its timeline tells, and so do
//! the name of the cluster and the table's own number where a table was copied or put back.

use serde::{Deserialize, Serialize};

/// What a server says of itself; times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServerFacts {
    /// The name of this copy of the data; empty if the server is a replica.
    pub server: String,
    /// The time at which the server started.
    pub started: u64,
    /// Whether it keeps all that it was given when its machine ends.
    pub keeps: bool,
    /// The time now.
    pub now: u64,
}

/// The start of a memory, as the table has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStart {
    server: String,
    started: u64,
    /// The time since which nothing was forgotten.
    pub since: u64,
    /// A recent time.
    seen: u64,
}

/// What is to be done about a memory.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on.
    GoesOn,
    /// It goes on, and the table is to have this of it.
    Noted(MemoryStart),
    /// Something may have been forgotten: another memory is to begin.
    Forgotten,
}

const SECOND: u64 = 1_000_000;
/// Microseconds by which a clock may be set back: a reading may be noted after a later one.
const BACK: u64 = SECOND / 10;

impl MemoryStart {
    /// What is to be done, as the server says of itself now.
    pub fn standing(&self, facts: &ServerFacts) -> Standing {
        let is_another = self.server != facts.server;
        let has_restarted = self.started != facts.started;
        let is_set_back = facts.now + BACK < self.seen;
        if is_another || is_set_back || (has_restarted && !facts.keeps) {
            return Standing::Forgotten;
        }
        if has_restarted || facts.now > self.seen + SECOND {
            return Standing::Noted(MemoryStart {
                started: facts.started,
                seen: facts.now,
                ..self.clone()
            });
        }
        Standing::GoesOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_goes_on_unless_something_may_have_been_forgotten() {
        let start =
            MemoryStart { server: "7-00000001-9".into(), started: 5, since: 20, seen: 10 * SECOND };
        let usual = ServerFacts {
            server: start.server.clone(),
            started: 5,
            keeps: true,
            now: 10 * SECOND + 1,
        };
        assert_eq!(start.standing(&usual), Standing::GoesOn);
        let later = ServerFacts { now: 12 * SECOND, ..usual.clone() };
        let noted = MemoryStart { seen: 12 * SECOND, ..start.clone() };
        assert_eq!(start.standing(&later), Standing::Noted(noted));
        let restarted = ServerFacts { started: 6, ..usual.clone() };
        let noted = MemoryStart { started: 6, seen: usual.now, ..start.clone() };
        assert_eq!(start.standing(&restarted), Standing::Noted(noted));
        for forgotten in [
            ServerFacts { keeps: false, ..restarted },
            ServerFacts { server: "7-00000002-9".into(), ..usual.clone() },
            ServerFacts { now: 9 * SECOND, ..usual },
        ] {
            assert_eq!(start.standing(&forgotten), Standing::Forgotten, "{forgotten:?}");
        }
    }
}
