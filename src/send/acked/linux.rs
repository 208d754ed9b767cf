//! The number of bytes that the peer has acknowledged, by Linux's `TCP_INFO`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, getsockopt, recv};
use nix::{getsockopt_impl, sockopt_impl};
use tokio::net::TcpStream;

// The beginning of the kernel's `tcp_info`, which only ever grows at its end.
// The call itself, and what is unsafe about it, is nix's; the type is plain
// numbers, which any bytes are.
sockopt_impl!(TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u64; 16]);

/// Index of `tcpi_bytes_acked`, in units of eight bytes.
const BYTES_ACKED: usize = 15;

/// Another handle to a connection's socket.
#[derive(Debug)]
pub struct Acks {
    socket: OwnedFd,
    /// Bytes acknowledged before anything was written.
    before: u64,
}

impl Acks {
    /// The reason why acknowledgements are unknown on this system.
    pub const UNKNOWN: Option<&str> = None;

    /// The acknowledgements of a connection without written bytes. The handshake counts
    /// as a byte; if it doesn't, the kernel counts nothing, and there is none.
    pub fn of(stream: &TcpStream) -> Option<Acks> {
        let socket = stream.as_fd().try_clone_to_owned().ok()?;
        let before = acknowledged(&socket).filter(|bytes| *bytes > 0)?;
        Some(Acks { socket, before })
    }

    /// Number of written bytes that have been acknowledged.
    pub fn bytes(&self) -> Option<u64> {
        acknowledged(&self.socket)?.checked_sub(self.before)
    }

    /// Whether the peer has closed the connection, or sent something that was not requested.
    pub fn has_ended(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.socket.as_raw_fd(), &mut [0], flags) != Err(Errno::EAGAIN)
    }
}

fn acknowledged(socket: &OwnedFd) -> Option<u64> {
    getsockopt(socket, TcpInfo).ok().map(|info| info[BYTES_ACKED])
}
