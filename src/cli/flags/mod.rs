//! The flags of a job, a struct for each room, and the tree that they lay over a
//! job file.

mod input;
mod limit;
mod network;
mod output;
mod pages;
mod pairs;
mod request;
mod send;
mod show;
mod values;

pub use input::Input;
pub use limit::Limit;
pub use network::{Network, Tls};
pub use output::Output;
pub use pages::Pages;
pub use request::{Auth, Request, curl};
pub use send::{Patience, Workers};
pub use show::{Progress, Show};
pub use values::{Summary, Values};
