//! Whether a results file may be resumed, and what users should know of it.

use crate::error::Error;
use crate::sink::{Columns, Differences, Existing, Identity, Output, counted};
use crate::source::{Source, Survey};

/// Checks that the records of the output are of this job and its input, and drops the
/// others if the job says so. Gives what users should know.
///
/// # Errors
/// What has changed, the number of rows concerned, and what to do.
pub fn check(
    output: &mut Output,
    identity: &Identity,
    source: &Source,
    survey: &Survey,
    columns: &Columns,
) -> Result<Vec<String>, Error> {
    check_key(output, source, survey)?;
    let is_same_job =
        output.before().is_some_and(|before| identity.changed_since(before).is_empty());
    if !output.has_records() && !output.has_jobs() {
        if is_same_job {
            output.find_later_rows()?;
        }
        return Ok(output.notes());
    }
    let changes = check_job(output, identity, survey)?;
    let mut notes = output.notes();
    notes.extend(changes);
    if survey.rows.is_some() && may_differ(output, source, survey)? {
        let differences = output.compare(source.rows()?, columns)?;
        notes.extend(check_input(output, source, differences)?);
    }
    if is_same_job {
        output.find_later_rows()?;
    }
    Ok(notes)
}

/// Refuses a changed request; a changed limit, which changes no record, is told, and so are jobs
/// that are submitted again.
fn check_job(
    output: &mut Output,
    identity: &Identity,
    survey: &Survey,
) -> Result<Vec<String>, Error> {
    let name = output.name();
    let Some(before) = output.before() else {
        return Ok(vec![format!(
            "{name}.throng is missing or damaged, so it is not known which job made the records of {name}; they stay"
        )]);
    };
    let changed = identity.changed_since(before);
    let resubmitted = first_resubmitted(&changed);
    let changed = changed.join(", ");
    let done = output.done().len();
    let before = before.limits.clone();
    if !changed.is_empty()
        && (output.has_records() || output.has_jobs())
        && output.settings().existing != Existing::ResumeChanged
    {
        return Err(job_changed(output, &changed, resubmitted, survey));
    }
    if !changed.is_empty() {
        output.forget_unfinished();
    }
    let jobs = output.waiting_jobs();
    if let Some(stage) = resubmitted {
        output.forget_jobs(stage);
    }
    let submitted_again = jobs - output.waiting_jobs();
    let jobs = (submitted_again > 0).then(|| {
        let jobs = counted(submitted_again, "job was", "jobs were");
        format!(
            "{jobs} submitted in another way and not done: not polled any more, and submitted again"
        )
    });
    let is_submitted_alike = resubmitted.is_none() && !changed.contains("batch-api");
    let (left, left_rows) = output.waiting_batches();
    if !is_submitted_alike {
        output.forget_batches();
    }
    let batches = batches(left, left_rows, is_submitted_alike);
    let limits = (done > 0 && before != identity.limits).then(|| {
        let said = |limits: &str| match limits {
            "" => "none".to_owned(),
            limits => limits.to_owned(),
        };
        format!(
            "the limit was {} and is now {}; the {done} rows that are done stay",
            said(&before),
            said(&identity.limits)
        )
    });
    Ok(limits.into_iter().chain(jobs).chain(batches).collect())
}

/// What becomes of these batches at a provider and their rows, if there are any.
fn batches(batches: u64, rows: u64, are_collected: bool) -> Option<String> {
    let left = counted(batches, "batch", "batches");
    let rows = counted(rows, "row", "rows");
    let what = if are_collected {
        "collected, and not submitted again"
    } else {
        "not collected any more: they were submitted in another way, go on at the provider and cost there, and their rows are asked for again"
    };
    (batches > 0).then(|| format!("{left} of {rows} submitted before: {what}"))
}

/// The first stage whose jobs were submitted by other requests than those of now, where these
/// parts of the job have changed. The requests of a later stage follow from the values of those
/// before it.
fn first_resubmitted(changed: &[&str]) -> Option<usize> {
    let is_request = |part: &&str| part.starts_with("request.") || *part == "the request's body";
    let is_before_later =
        |part: &&str| ["extract", "items", "batch", "pages", "step"].contains(part);
    if changed.iter().any(is_request) {
        Some(0)
    } else {
        changed.iter().any(is_before_later).then_some(1)
    }
}

/// Which records were asked for in another way, and what becomes of them. The jobs of the stages
/// from `resubmitted` on are submitted again.
fn job_changed(
    output: &Output,
    changed: &str,
    resubmitted: Option<usize>,
    survey: &Survey,
) -> Error {
    let (name, done) = (output.name(), output.done().len());
    let (rows, records) = output.unfinished();
    let not_whole = (rows > 0).then(|| {
        let (rows, records) = (counted(rows, "row", "rows"), counted(records, "record", "records"));
        format!("{records} of {rows} not whole")
    });
    if let (0, Some(not_whole)) = (done, &not_whole) {
        return Error::plan(format!(
            "{name} has {not_whole}, asked for in another way: {changed} changed since. \
             the job as it was goes on with them; \
             --overwrite drops them and asks for all rows in the new way"
        ))
        .of_mismatch();
    }
    let jobs = output.jobs_from(resubmitted);
    if done == 0 && output.waiting_jobs() == 0 {
        let (batches, rows) = output.waiting_batches();
        let (batches, rows) = (counted(batches, "batch", "batches"), counted(rows, "row", "rows"));
        return Error::plan(format!(
            "{name} has no records yet, and {batches} of {rows} that were submitted in another way and not collected: {changed} changed since. \
             the job as it was collects them; --resume=changed leaves them at the provider, where they cost, and submits their rows in the new way"
        ));
    }
    if done == 0 {
        let waiting = counted(output.waiting_jobs(), "job", "jobs");
        let what_becomes = if jobs > 0 {
            "--resume=changed does not poll them any more, and submits their rows in the new way"
        } else {
            "--resume=changed polls them in the new way"
        };
        return Error::plan(format!(
            "{name} has no records yet, and {waiting} that were submitted in another way and are not done: {changed} changed since. \
             the job as it was goes on with them; {what_becomes}"
        )).of_mismatch();
    }
    let as_they_are =
        if changed.contains("extract") { ", with the values that they have," } else { "" };
    let left = match survey.rows {
        Some(rows) => rows.saturating_sub(done).to_string(),
        None => "all other".to_owned(),
    };
    let dropped = not_whole.map(|it| format!(", for which {it} are dropped"));
    let jobs = (jobs > 0).then(|| {
        let jobs = counted(jobs, "job that is not done is", "jobs that are not done are");
        format!(", for which {jobs} submitted again")
    });
    let dropped = dropped.into_iter().chain(jobs).collect::<String>();
    Error::plan(format!(
        "{done} rows of {name} were asked for in another way: {changed} changed since. \
         --resume=changed keeps them{as_they_are} and asks for {left} rows in the new way{dropped}; \
         --overwrite asks for all rows"
    ))
    .of_mismatch()
}

/// Whether the rows with a record may differ from the input's; added rows don't count.
fn may_differ(output: &Output, source: &Source, survey: &Survey) -> Result<bool, Error> {
    if survey.of_all_shards().is_some_and(|rows| output.least_rows() > rows) {
        return Ok(true);
    }
    match output.before().and_then(|before| before.input.as_ref()) {
        Some(before) => Ok(source.fingerprint(before.bytes)?.as_ref() != Some(before)),
        None => Ok(true),
    }
}

fn check_input(
    output: &mut Output,
    source: &Source,
    differences: Differences,
) -> Result<Option<String>, Error> {
    if differences.is_none() {
        let (moved, name) = (differences.moved, output.name());
        let note = (moved > 0).then(|| {
            format!(
                "{moved} of the rows of {name} stand at another place of {} now: their _row follows",
                source.name()
            )
        });
        output.follow(differences);
        return Ok(note);
    }
    let (changed, gone) = (differences.changed.len(), differences.gone.len());
    let text = format!(
        "{} is not the input that {} was made from: of its rows {} are the same, {changed} have other values now, {gone} are no longer there",
        source.name(),
        output.name(),
        differences.same,
    );
    if output.settings().existing != Existing::ResumeChanged {
        let by_key = match output.settings().key {
            None => "--key FIELD goes by a field instead of the order; ",
            Some(_) => "",
        };
        return Err(Error::plan(format!(
            "{text}. --resume=changed keeps the same ones, asks again for those with other values, and drops the rest; \
             {by_key}--overwrite asks for all rows"
        )).of_mismatch());
    }
    output.follow(differences);
    Ok(Some(text))
}

/// Checks that each row has a key, and each another one.
fn check_key(output: &Output, source: &Source, survey: &Survey) -> Result<(), Error> {
    let Some(mut keys) = output.keys().filter(|_| survey.rows.is_some()) else {
        return Ok(());
    };
    for row in source.rows()? {
        keys.take(&row?, &source.name()).map_err(Error::plan)?;
    }
    Ok(())
}
