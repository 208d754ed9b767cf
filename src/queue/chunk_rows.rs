//! The rows of a chunk: as they stand in it, or as they are read from an input that all machines
//! reach.

use super::{numbers, wire};
use crate::error::Error;
use crate::row::Row;
use crate::source::{SharedInput, SharedRows};

/// The first byte of a chunk that names the place of its rows.
const PLACE: u8 = b'{';

/// Whether a chunk names the place of its rows.
pub(crate) fn is_place(chunk: &[u8]) -> bool {
    chunk.first() == Some(&PLACE)
}

/// The rows of a chunk.
///
/// # Errors
/// The chunk or the input can't be read, or the input has changed.
pub(crate) fn rows_of(chunk: &[u8], input: Option<&SharedInput>) -> Result<Vec<Row>, Error> {
    let damaged = |why: String| Error::stopped(format!("a chunk of rows can't be read: {why}"));
    if !is_place(chunk) {
        return wire::rows(chunk).map_err(damaged);
    }
    let place: SharedRows =
        serde_json::from_slice(chunk).map_err(|error| damaged(error.to_string()))?;
    let numbers = numbers::of_text(&place.numbers)
        .ok_or_else(|| damaged("it has no numbers of rows".to_owned()))?;
    match input {
        Some(input) => input.rows(&numbers, place.at),
        None => Err(damaged("its job has no shared input".to_owned())),
    }
}

/// The rows of a chunk that names their place, by their numbers alone.
pub(crate) fn bare_rows(chunk: &[u8]) -> Vec<Row> {
    let place: Option<SharedRows> = serde_json::from_slice(chunk).ok();
    let numbers = place.and_then(|place| numbers::of_text(&place.numbers)).unwrap_or_default();
    numbers.into_iter().map(|number| Row { number, ..Row::default() }).collect()
}
