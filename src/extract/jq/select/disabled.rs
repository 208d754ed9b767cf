//! Stands for the functions that select from HTML in a build without the feature `html`.

use jaq_core::Native;
use jaq_core::native::Filter;

use super::budget::Bounded;

pub fn functions() -> Vec<Filter<Native<Bounded>>> {
    Vec::new()
}

pub fn check(_selector: &str) -> Result<(), String> {
    Err("this build reads no HTML: build with --features html".to_owned())
}
