//! Whether the names that a job uses exist. Pure.

use super::Stage;
use super::diagnostics::closest;
use crate::batch::Batch;
use crate::error::Error;
use crate::extract::Extractor;
use crate::pages::Pages;
use crate::source::{Source, Survey};
use crate::tally::Aggregate;

/// Whether the rows were looked at, and there were any.
pub fn are_known(survey: &Survey) -> bool {
    survey.rows.is_some_and(|rows| rows > 0)
}

/// Every field that a template uses is one of the input's, where that is known.
pub fn check_fields(step: &Stage, source: &Source, survey: &Survey) -> Result<(), Error> {
    let renderer = &step.renderer;
    if let Some(field) = step.batch.as_ref().map(Batch::field)
        && !survey.names.is_empty()
        && !survey.names.iter().any(|name| name == field)
    {
        return Err(Error::plan(format!(
            "items.match (--match) goes by {field}, but {} has no field \"{field}\"{}",
            source.name(),
            instead(field, &survey.names),
        )));
    }
    let turned = step.pages.as_ref().and_then(Pages::param);
    let unknown = renderer.fields().iter().find(|field| {
        let known = survey.names.contains(field) || turned == Some(field);
        !survey.names.is_empty() && !known
    });
    // A template may have a default for a field that no row has.
    let renders = survey.first.first().is_some_and(|row| {
        let request = renderer.render(row);
        request.is_ok_and(|request| renderer.cost(row, &request).is_ok())
    });
    match unknown.filter(|_| !renders) {
        None => Ok(()),
        Some(field) => Err(Error::plan(format!(
            "the job uses {{{{ {field} }}}}, but {} has no field \"{field}\"{}",
            source.name(),
            instead(field, &survey.names),
        ))),
    }
}

/// A URL with one brace where two are meant would be the same for all rows.
pub fn check_braces(url: &str, names: &[String]) -> Result<(), Error> {
    let meant = names.iter().find(|name| {
        let braced = format!("{{{name}}}");
        let mut found = url.match_indices(&braced);
        found.any(|(at, _)| !url[..at].ends_with('{'))
    });
    match meant {
        None => Ok(()),
        Some(name) => Err(Error::plan(format!(
            "request.url (--url) has {{{name}}}: the row's value is {{{{ {name} }}}}, with two braces (a brace itself is %7B)"
        ))),
    }
}

/// Every field that a later step uses is the input's, or a step before has it.
pub fn check_later(
    step: &Stage,
    number: usize,
    fields: &[String],
    is_known: bool,
) -> Result<(), Error> {
    let turned = step.pages.as_ref().and_then(Pages::param);
    let used = step.renderer.fields().iter().map(String::as_str);
    let mut used = used.chain(step.batch.as_ref().map(Batch::field));
    let unknown = used.find(|field| {
        let known = fields.iter().any(|name| name == field) || turned == Some(*field);
        is_known && !known
    });
    match unknown {
        None => Ok(()),
        Some(field) => Err(Error::plan(format!(
            "step {number} uses {{{{ {field} }}}}, but neither the input nor a step before it has \"{field}\"{}",
            instead(field, fields),
        ))),
    }
}

/// Every name that an aggregate uses is extracted, or the input has it.
pub fn check_aggregates(
    aggregates: &[Aggregate],
    extractor: &Extractor,
    fields: &[String],
) -> Result<(), Error> {
    let mut known = extractor.names();
    known.extend_from_slice(fields);
    for aggregate in aggregates {
        for name in aggregate.names() {
            if !known.iter().any(|known| known == name) {
                return Err(Error::plan(format!(
                    "summary.{} (--summarize): there is no value \"{name}\"{}",
                    aggregate.name,
                    instead(name, &known),
                )));
            }
        }
    }
    Ok(())
}

fn instead(wrong: &str, names: &[String]) -> String {
    if let [only] = names
        && only.contains([';', '\t', '|'])
    {
        return format!(
            "; there is only {only:?}: where columns stand apart by tabs, give --format tsv; by anything else but commas, change that first"
        );
    }
    match closest(wrong, names.iter().map(String::as_str)) {
        Some(right) => format!("; did you mean \"{right}\"?"),
        None => format!("; there are: {}", names.join(", ")),
    }
}
