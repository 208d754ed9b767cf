//! A page in HTML about a run: one file that holds all it shows and fetches nothing.
//!
//! A [`RecordFold`] takes records, as they are written or from a results file, in bounded
//! memory; [`run_page`] makes the page of them.
//!
//! - `fold`: what records tell: activity over time, latencies, values, counts of limits
//! - `timeline`: numbers by time; `numbers`: distributions; `values`: the values of one name
//! - `series`: the numbers of the plots over time
//! - `causes`: where the time went, over time
//! - `charts`: bars and histograms
//! - `run`: what the page of a run shows
//! - `comparison`: what a page shows of two runs; `changes`: the values that differ
//! - `page`: the templates, the script and the policy that allows no network

mod causes;
mod changes;
mod charts;
mod comparison;
mod fold;
mod numbers;
mod page;
mod run;
mod series;
mod timeline;
mod values;

pub use causes::CauseLine;
pub use changes::RowValues;
pub use comparison::{ComparedRun, Comparison};
pub use fold::RecordFold;
pub use run::{PageContext, run_page};
