//! Systems other than Linux, and builds without the feature `acked`, where the bytes that
//! the peer has acknowledged are unknown.

use tokio::net::TcpStream;

/// The type of no acknowledgements: it has no value.
#[derive(Debug)]
pub enum Acks {}

impl Acks {
    /// The reason why acknowledgements are unknown on this system.
    pub const UNKNOWN: Option<&str> = Some(if cfg!(target_os = "linux") {
        "this build lacks the feature `acked`"
    } else {
        "only Linux tells when a request is acknowledged"
    });

    /// Never.
    pub fn of(_stream: &TcpStream) -> Option<Acks> {
        None
    }

    /// Never.
    pub fn has_ended(&self) -> bool {
        match *self {}
    }

    /// Never.
    pub fn bytes(&self) -> Option<u64> {
        match *self {}
    }
}
