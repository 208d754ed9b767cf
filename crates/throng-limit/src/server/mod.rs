//! What the server says of its limits: what is left, and pauses; and the slow start after
//! them.

pub mod pause;
pub mod remaining;
pub mod slow_start;
