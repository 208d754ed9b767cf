//! When the server's network stack has a request: for the `acked` guard alone.
//!
//! Three things are put together for each connection, and none of them costs
//! anything unless a limit wants to know:
//!
//! - a [`Tap`] above TLS sees when HTTP has written a request to its end and
//!   flushed it; with HTTP/2, by the frames that end streams;
//! - a [`Tap`] below TLS counts the bytes that the kernel took;
//! - [`Acks`] asks the kernel how many bytes the peer has acknowledged.
//!
//! A [`Tap`] below TLS also sees whether the server's program has been heard: until then
//! a connection may wait to be accepted, where nobody reads what is acknowledged. So
//! there nothing is reported before the program has had time for that.
//!
//! A request has arrived when as many bytes are acknowledged as had been written
//! when it was flushed. Whatever is in doubt is never reported: then the answer
//! proves the arrival, as under the `strict` guard.

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
pub use tap::{Listen, Tap};
pub use wire::{AckedBytes, SentBytes, Wire, WireMark, WireRequests};

#[cfg(test)]
#[cfg(all(feature = "acked", target_os = "linux"))]
mod tests;
