//! What the server says of its limits, and how a run begins before it has said anything.

pub mod remaining;
pub mod slow_start;
