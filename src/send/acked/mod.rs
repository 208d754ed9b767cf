//! Observes when the server's network stack has a request, for the `acked` guard.
//!
//! It combines three parts for each connection, which exist only if a limit uses that
//! guard:
//!
//! - a [`Tap`](tap::Tap) above TLS sees when HTTP has written a request to its end and
//!   flushed it; with HTTP/2, by the frames that end streams;
//! - a [`Tap`](tap::Tap) below TLS counts the bytes that the kernel took;
//! - [`Acks`] asks the kernel how many bytes the peer has acknowledged.
//!
//! A [`Tap`](tap::Tap) below TLS also sees whether the server's program has sent anything. Before
//! that, a connection can wait to be accepted, and acknowledged bytes are not read. So no
//! arrival is reported before the program has had time to accept.
//!
//! A request has arrived when as many bytes are acknowledged as had been written
//! when it was flushed. An uncertain arrival is never reported: then the answer
//! proves it, as under the `strict` guard.

mod frames;
mod tap;
mod wire;

#[cfg(all(feature = "acked", target_os = "linux"))]
mod linux;
#[cfg(all(feature = "acked", target_os = "linux"))]
pub use linux::Acks;
#[cfg(not(all(feature = "acked", target_os = "linux")))]
mod elsewhere;
#[cfg(not(all(feature = "acked", target_os = "linux")))]
pub use elsewhere::Acks;

pub use frames::Heads;
pub use tap::{Listen, MaybeTapped, tapped};
pub use wire::{AckedBytes, SentBytes, Wire, WireMark, WireRequests};

#[cfg(test)]
#[cfg(all(feature = "acked", target_os = "linux"))]
mod tests;
