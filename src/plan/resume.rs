//! Whether a results file may be gone on with, and what there is to say about it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::error::Error;
use crate::sink::{Columns, Differences, Existing, Identity, Output};
use crate::source::{Source, Survey};

/// Checks that the records that stay belong to this job, and takes out those
/// that don't, if that is wanted. Gives what people should know.
///
/// # Errors
/// What has changed, how many rows that concerns, and what may be done.
pub fn check(
    output: &mut Output,
    identity: &Identity,
    source: &Source,
    survey: &Survey,
    columns: &Columns,
) -> Result<Vec<String>, Error> {
    if let Some(key) = output.settings().key.clone() {
        check_key(&key, source, survey)?;
    }
    if output.done().is_empty() {
        return Ok(output.notes());
    }
    let mut notes = output.notes();
    notes.extend(check_job(output, identity, survey)?);
    let by_number = output.settings().key.is_none() && survey.rows.is_some();
    if by_number && may_differ(output, source, survey)? {
        let differences = output.compare(source.rows()?, columns)?;
        notes.extend(check_input(output, source, &differences)?);
    }
    Ok(notes)
}

/// A changed limit changes no record; a changed request does.
fn check_job(
    output: &Output,
    identity: &Identity,
    survey: &Survey,
) -> Result<Option<String>, Error> {
    let name = output.name();
    let Some(before) = output.before() else {
        return Ok(Some(format!(
            "{name}.throng is missing or damaged, so nobody knows how the records of {name} were asked for; they stay"
        )));
    };
    let changed = identity.changed_since(before).join(", ");
    let done = output.done().len();
    if !changed.is_empty() && output.settings().existing != Existing::ResumeChanged {
        let as_they_are = match changed.contains("extract") {
            true => ", with the values that they have,",
            false => "",
        };
        let left = match survey.rows {
            Some(rows) => rows.saturating_sub(done).to_string(),
            None => "all other".to_owned(),
        };
        return Err(Error::plan(format!(
            "{done} rows of {name} were asked for in another way: {changed} changed since. \
             --resume=changed keeps them{as_they_are} and asks for {left} rows in the new way; --overwrite asks for all rows"
        )));
    }
    let limits = (before.limits != identity.limits).then(|| {
        let said = |limits: &str| match limits {
            "" => "none".to_owned(),
            limits => limits.to_owned(),
        };
        format!(
            "the limit was {} and is now {}; the {done} rows that are done stay",
            said(&before.limits),
            said(&identity.limits)
        )
    });
    Ok(limits)
}

/// Rows that were added at the end change nothing.
fn may_differ(output: &Output, source: &Source, survey: &Survey) -> Result<bool, Error> {
    if survey.rows.is_some_and(|rows| output.end_of_rows() > rows) {
        return Ok(true);
    }
    match output.before().and_then(|before| before.input.as_ref()) {
        Some(before) => Ok(source.print(before.bytes)?.as_ref() != Some(before)),
        None => Ok(true),
    }
}

fn check_input(
    output: &mut Output,
    source: &Source,
    differences: &Differences,
) -> Result<Option<String>, Error> {
    if differences.is_none() {
        return Ok(None);
    }
    let (changed, gone) = (differences.changed.len(), differences.gone.len());
    let text = format!(
        "{} is not the input that {} was made from: of its rows {} are the same, {changed} have other values now, {gone} are no longer there",
        source.name(),
        output.name(),
        differences.same,
    );
    if output.settings().existing != Existing::ResumeChanged {
        return Err(Error::plan(format!(
            "{text}. --resume=changed keeps the same ones, asks again for those with other values, and drops the rest; \
             --key FIELD goes by a field instead of the order; --overwrite asks for all rows"
        )));
    }
    output.ask_again(&(&differences.changed | &differences.gone));
    Ok(Some(text))
}

/// A key must be there, and another one for each row.
fn check_key(key: &str, source: &Source, survey: &Survey) -> Result<(), Error> {
    if survey.rows.is_none() {
        return Ok(());
    }
    let (mut seen, hash) = (HashSet::new(), RandomState::new());
    for row in source.rows()? {
        let row = row?;
        let wrong = match row.fields.get(key) {
            None => format!("has no field {key:?}"),
            Some(value) if !seen.insert(hash.hash_one(value.to_string())) => {
                format!("has the same {key}, {value}, as an earlier row")
            }
            Some(_) => continue,
        };
        return Err(Error::plan(format!(
            "output.key (--key): row {} of {} {wrong}: a key is different for each row",
            row.number,
            source.name()
        )));
    }
    Ok(())
}
