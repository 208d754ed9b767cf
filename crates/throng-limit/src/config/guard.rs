//! What a limit is proven against.

use serde::{Deserialize, Serialize};

/// What a limit is proven against: from when on an attempt is known to have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// Arrivals at the server, whatever the latencies: it has arrived when it is answered.
    #[default]
    Strict,
    /// Arrivals at the server's network stack: it has arrived when its last byte is acknowledged.
    Acked,
    /// Our own clock: it has arrived when it is sent, and a margin later that grows on evidence.
    Sent,
}

impl Guard {
    /// All of them, the most careful first.
    pub const ALL: [Guard; 3] = [Guard::Strict, Guard::Acked, Guard::Sent];

    /// Its name in flags and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Guard::Strict => "strict",
            Guard::Acked => "acked",
            Guard::Sent => "sent",
        }
    }
}
