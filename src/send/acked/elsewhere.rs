//! Other systems than Linux, and builds without the feature `acked`, do not tell what the
//! peer has acknowledged.

use tokio::net::TcpStream;

/// There is none.
#[derive(Debug)]
pub enum Acks {}

impl Acks {
    /// Why it can't be known on this system, if so.
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
    pub fn bytes(&self) -> Option<u64> {
        match *self {}
    }
}
