//! Whether what a job names is there and allowed: fields, hosts and files.
//! Reads the first rows, and asks the file system where a path leads.

use std::path::{Path, PathBuf};

use http::Uri;

use super::diagnostics::closest;
use super::{Job, Stage};
use crate::batch::Batch;
use crate::error::Error;
use crate::extract::Extractor;
use crate::fs::file_lock;
use crate::pages::Pages;
use crate::poll::Poll;
use crate::render::{Hosts, LAST, is_word, quoted, written_field};
use crate::source::{Source, Survey};
use crate::tally::Aggregate;

/// Whether the rows were read, and there are any.
pub fn are_known(survey: &Survey) -> bool {
    survey.rows.is_some_and(|rows| rows > 0)
}

/// Checks that every field that a template uses is the input's, if its fields are known.
pub fn check_fields(stage: &Stage, source: &Source, survey: &Survey) -> Result<(), Error> {
    if survey.names.is_empty() {
        return Ok(());
    }
    let names = survey.names.iter().map(String::as_str);
    if let Some(remedy) = stage.renderer.mistaken_literal(names) {
        return Err(Error::plan(format!("the job's {remedy}")));
    }
    let is_last = |field: &str| stage.reask.is_some() && field == LAST;
    if stage.renderer.fields().iter().any(|field| is_last(field))
        && survey.names.iter().any(|name| name == LAST)
    {
        return Err(Error::plan(format!(
            "the rows have a field \"{LAST}\", and with reask (--reask) {{{{ {LAST} }}}} is the last answer: give the field another name"
        )));
    }
    let is_unknown =
        |field: &&str| !is_last(field) && !survey.names.iter().any(|name| name == field);
    let missing = |field: &str| {
        let suggestion = suggestion(field, &survey.names);
        format!("but {} has no field \"{field}\"{suggestion}", source.name())
    };
    if let Some(field) = stage.batch.as_ref().and_then(Batch::field).filter(is_unknown) {
        let missing = missing(field);
        return Err(Error::plan(format!("items.match (--match) goes by {field}, {missing}")));
    }
    let turned = stage.pages.as_ref().and_then(Pages::param);
    let mut fields = stage.renderer.fields().iter().map(String::as_str);
    let unknown = fields.find(|field| turned != Some(*field) && is_unknown(field));
    // A template may have a default for a field that no row has.
    let renders = survey.first.first().is_some_and(|row| {
        let request = stage.renderer.render(row);
        let has_file = stage.renderer.saved_path(row).is_none_or(|path| path.is_ok());
        has_file && request.is_ok_and(|request| stage.renderer.cost(row, &request).is_ok())
    });
    match unknown.filter(|_| !renders) {
        None => Ok(()),
        Some(field) => {
            let names = survey.names.iter().map(String::as_str);
            Err(Error::plan(match stage.renderer.remedy(field, names) {
                Some(remedy) => format!("the job's {remedy}"),
                None => format!("the job uses {}, {}", written_field(field), missing(field)),
            }))
        }
    }
}

/// Refuses one file for the answers of several rows.
pub fn check_files_of_rows(stage: &Stage, survey: &Survey) -> Result<(), Error> {
    if !stage.renderer.saves_to_one_file() || survey.rows.is_some_and(|rows| rows <= 1) {
        return Ok(());
    }
    Err(Error::plan(
        "save (--save) names one file for all rows: put a field into it, such as 'out/{{ id }}.pdf'",
    ))
}

/// Refuses a URL with one brace where two are meant: it would be the same for all rows.
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

/// Checks that every field that a later stage uses is the input's or of a stage before.
pub fn check_later_fields(stage: &Stage, number: usize, fields: &[String]) -> Result<(), Error> {
    let turned = stage.pages.as_ref().and_then(Pages::param);
    let used = stage.renderer.fields().iter().map(String::as_str);
    let mut used = used.chain(stage.batch.as_ref().and_then(Batch::field));
    let is_known = |field: &str| {
        let is_last = stage.reask.is_some() && field == LAST;
        is_last || turned == Some(field) || fields.iter().any(|name| name == field)
    };
    match used.find(|field| !is_known(field)) {
        None => Ok(()),
        Some(field) => Err(Error::plan(format!(
            "step {number} uses {{{{ {field} }}}}, but neither the input nor a step before it has \"{field}\"{}",
            suggestion(field, fields),
        ))),
    }
}

/// Adds the values of a submission to the fields of a row. Checks that they are no fields
/// already, and that the address of the polls uses no others.
pub fn check_poll(poll: &Poll, fields: &mut Vec<String>, are_known: bool) -> Result<(), Error> {
    for name in poll.names() {
        if fields.contains(&name) {
            return Err(Error::plan(format!(
                "poll.submitted.{name} has the name of a field that the row has already: give the value another name"
            )));
        }
        fields.push(name);
    }
    let unknown = poll.fields().find(|field| !fields.iter().any(|name| name == field));
    match unknown.filter(|_| are_known) {
        None => Ok(()),
        Some(field) => Err(Error::plan(format!(
            "poll.url uses {{{{ {field} }}}}, but neither the row nor poll.submitted has \"{field}\"{}",
            suggestion(field, fields),
        ))),
    }
}

/// Checks that every name that an aggregate uses is extracted, or the input's.
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
                    suggestion(name, &known),
                )));
            }
        }
    }
    Ok(())
}

fn suggestion(wrong: &str, names: &[String]) -> String {
    if let [only] = names
        && only.contains([';', '\t', '|'])
    {
        return format!(
            "; there is only {only:?}: say what stands between its columns with --delimiter (input.delimiter)"
        );
    }
    match closest(wrong, names.iter().map(String::as_str)) {
        Some(right) if is_word(right) => format!("; did you mean \"{right}\"?"),
        Some(right) => format!("; did you mean {}? It is {}", quoted(right), written_field(right)),
        None => format!("; there are: {}", names.join(", ")),
    }
}

/// Number of rows whose hosts are allowed where the job allows none.
const HOST_ROWS: usize = 100;

/// Allows the hosts of the first rows where rows name hosts and the job allows none, unless
/// secrets would go to them.
pub fn settle_hosts(stage: &mut Stage, job: &Job, source: &Source) -> Result<(), Error> {
    let fixed = check_fixed_hosts(stage)?;
    let is_open = stage.renderer.hosts().is_some_and(|hosts| hosts.is_empty());
    if !is_open || !source.lasts() || stage.renderer.is_hook() {
        return check_allowed_hosts(stage, job, is_open);
    }
    let mut rows = Vec::new();
    for row in source.rows()?.take(HOST_ROWS) {
        rows.push(row?);
    }
    stage.renderer.allow_hosts_of(rows.iter());
    let others = stage.renderer.hosts().map_or(0, |hosts| hosts.elsewhere(fixed.as_ref()));
    check_allowed_hosts(stage, job, others > 0)
}

/// Refuses that the values of the stage before, which are a server's, name any host.
pub fn check_later_hosts(stage: &Stage) -> Result<(), Error> {
    check_fixed_hosts(stage)?;
    if stage.renderer.hosts().is_some_and(|hosts| hosts.is_empty()) {
        Err(Error::plan(
            "its host comes from the answers of the step before: name the hosts that may be asked (step.request.allow-host)",
        ))
    } else {
        Ok(())
    }
}

/// Checks the URLs that the job writes out: of its tokens, login and polls, and of its requests,
/// which is given if it is fixed.
fn check_fixed_hosts(stage: &Stage) -> Result<Option<Uri>, Error> {
    let fixed = stage.renderer.fixed_uri();
    let polled = stage.poll.as_ref().and_then(Poll::fixed_uri);
    for uri in fixed.iter().chain(stage.signer.uris()).chain(&polled) {
        stage.check_cleartext(uri).map_err(Error::plan)?;
    }
    Ok(fixed)
}

fn check_allowed_hosts(stage: &Stage, job: &Job, is_open: bool) -> Result<(), Error> {
    let keys = stage.renderer.carries_secrets() || !stage.signer.is_empty();
    if !is_open || !keys || !job.request.allow_host.is_empty() {
        return Ok(());
    }
    let hosts = stage.renderer.hosts().map(Hosts::names);
    let hosts = hosts.unwrap_or_default();
    let instead = if hosts.is_empty() {
        "--allow-host HOST".to_owned()
    } else {
        hosts.iter().map(|host| format!("--allow-host {host}")).collect::<Vec<_>>().join(" ")
    };
    Err(Error::plan(format!(
        "rows decide which host gets the job's keys: name the hosts that may (request.allow-host): {instead}"
    )))
}

/// Checks that two names, each with the key that gives it, are not of one file.
pub fn check_apart(
    key: &str,
    name: Option<&str>,
    other_key: &str,
    other: Option<&str>,
) -> Result<(), Error> {
    let [Some(a), Some(b)] = [name, other].map(|name| name.filter(|name| *name != "-")) else {
        return Ok(());
    };
    let is_one_path = resolved(a).is_some_and(|a| resolved(b) == Some(a));
    if is_one_path || file_lock::is_one_file(Path::new(a), Path::new(b)) {
        Err(Error::plan(format!(
            "{key} and {other_key} are the same file, {a}: give one of them another name"
        )))
    } else {
        Ok(())
    }
}

/// Checks that the input is not in the directory of the output's parts, which come and go.
pub(super) fn check_outside(input: Option<&str>, parts: Option<&str>) -> Result<(), Error> {
    let input = input.filter(|name| *name != "-");
    match (input.and_then(resolved), parts.and_then(resolved)) {
        (Some(file), Some(directory)) if file.starts_with(&directory) => Err(Error::plan(format!(
            "the input {} lies in the directory of the output's parts (--parts): give the output another directory",
            input.unwrap_or_default()
        ))),
        _ => Ok(()),
    }
}

/// The path of a file that is there or could be, without links and dots.
fn resolved(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    path.canonicalize().ok().or_else(|| {
        let directory = path.parent().filter(|parent| *parent != Path::new(""));
        let directory = directory.unwrap_or(Path::new(".")).canonicalize().ok()?;
        Some(directory.join(path.file_name()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_ways_to_one_file_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let name = |rest: &str| format!("{}/{rest}", directory.path().display());
        let apart = |a: &str, b: &str| check_apart("a", Some(a), "b", Some(b)).is_ok();
        assert!(!apart(&name("x"), &name("./x")));
        assert!(apart(&name("x"), &name("y")));
        std::fs::write(name("x"), "").unwrap();
        std::fs::hard_link(name("x"), name("y")).unwrap();
        assert!(!apart(&name("x"), &name("y")), "a hard link");
        assert!(apart("-", "-"));
    }

    #[test]
    fn an_input_among_the_parts_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let name = |rest: &str| format!("{}/{rest}", directory.path().display());
        std::fs::create_dir(name("parts")).unwrap();
        let outside = |input: &str, parts: Option<&str>| check_outside(Some(input), parts).is_ok();
        assert!(!outside(&name("parts/x"), Some(&name("./parts/"))));
        assert!(outside(&name("parts-x"), Some(&name("parts"))));
        assert!(outside("-", Some(".")) && outside(&name("parts/x"), None));
    }
}
