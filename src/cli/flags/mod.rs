//! The flags of a job, a struct for each module, and the tree that they overlay on a
//! job file.

mod helpers;
mod input;
mod limit;
mod machines;
mod network;
mod output;
mod pages;
mod pairs;
mod request;
mod send;
mod show;
mod store;
mod values;

pub use helpers::HelperFlags;
pub use input::{InputFlags, TextFlags};
pub use limit::LimitFlags;
pub use machines::MachineFlags;
pub use network::{NetworkFlags, TlsFlags};
pub use output::{OutputFlags, joined};
pub use pages::PageFlags;
pub use request::{AuthFlags, RequestFlags, curl};
pub use send::{RetryFlags, WorkerFlags};
pub use show::{DisplayFlags, Progress, SHOW};
pub use store::StoreFlags;
pub use values::{SummaryFlags, ValueFlags};
