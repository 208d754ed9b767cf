//! (3) Units to permits: what may be sent when.
//!
//! A limit of N units per period X holds when no half-open window of length X
//! contains more than N units of arrivals *at the server*. [`Window`] keeps one
//! limit, [`Limits`] all of them at once; both are pure. [`Gate`] is the door:
//! it owns the clock and the line of those who wait.

mod rate;
pub use rate::Rate;

mod time;
pub use time::Time;

mod window;
pub use window::{Guard, When, Window, WindowState};

mod limits;
pub use limits::{Limits, Releases};

mod gate;
pub use gate::{Gate, Permit};

mod bound;
pub use bound::best_possible;

mod settings;
pub use settings::{Policy, Settings};

#[cfg(test)]
mod schedules;
