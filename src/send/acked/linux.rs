//! Linux tells, by `TCP_INFO`, how many bytes the peer has acknowledged.

use std::os::fd::{AsFd, OwnedFd};

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use tokio::net::TcpStream;

// The beginning of the kernel's `tcp_info`, which only ever grows at its end.
// The call itself, and what is unsafe about it, is nix's; the type is plain
// numbers, which any bytes are.
sockopt_impl!(
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u64; 16]
);

/// Where `tcpi_bytes_acked` stands, in eights of bytes.
const BYTES_ACKED: usize = 15;

/// Another handle to a connection's socket.
#[derive(Debug)]
pub struct Acks {
    socket: OwnedFd,
    /// What was acknowledged before anything was written.
    before: u64,
}

impl Acks {
    /// Why it can't be known on this system, if so.
    pub const UNKNOWN: Option<&str> = None;

    /// For a connection that nothing has been written to yet. The handshake counts
    /// as a byte: where it doesn't, nothing is counted, and there is nothing to ask.
    pub fn of(stream: &TcpStream) -> Option<Acks> {
        let socket = stream.as_fd().try_clone_to_owned().ok()?;
        let before = acknowledged(&socket).filter(|bytes| *bytes > 0)?;
        Some(Acks { socket, before })
    }

    /// How many of the bytes written to it have been acknowledged.
    pub fn bytes(&self) -> Option<u64> {
        acknowledged(&self.socket)?.checked_sub(self.before)
    }
}

fn acknowledged(socket: &OwnedFd) -> Option<u64> {
    getsockopt(socket, TcpInfo)
        .ok()
        .map(|info| info[BYTES_ACKED])
}
