//! A page in HTML about a run: one file that holds all it shows and fetches nothing.
//!
//! A [`RecordFold`] takes records, as they are written or from a results file, in bounded
//! memory; [`run_page`] makes the page of them.
//!
//! - `fold`: what records tell: activity over time, latencies, values, counts of limits
//! - `timeline`: numbers by time; `numbers`: distributions; `values`: the values of one name
//! - `series`: the numbers of the plots over time
//! - `charts`: bars and histograms
//! - `run`: what the page of a run shows
//! - `page`: the templates, the script and the policy that allows no network

mod charts;
mod fold;
mod numbers;
mod page;
mod run;
mod series;
mod timeline;
mod values;

pub use fold::RecordFold;
pub use run::{PageContext, run_page};
