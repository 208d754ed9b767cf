//! What refusals teach that our own count cannot explain.

pub mod observed;
pub mod relearn;
