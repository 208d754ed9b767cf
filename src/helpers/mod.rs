//! Programs in any language as hooks: `--process` and `--render`.
//!
//! A helper is a process that lives as long as the run. It is fed a line of JSON for each row on
//! its standard input, and gives a line of JSON back for each, in their order. Several helpers
//! of one command work side by side, each on a batch of rows at a time.
//!
//! - `settings`: the `[process]` and `[render]` of a job
//! - `protocol`: the lines
//! - `child`: one process, with its pipes

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use crate::hooks::{Answer, Batches, Processed, RequestHook, ResponseStep, RowError, RowRequest};
use crate::render::looks_like_key;
use crate::row::Row;
use crate::secret::Vault;

mod child;
mod protocol;
mod settings;

use child::Helper;
use protocol::WrongLine;
pub use settings::HelperSettings;

/// The hook whose helpers make requests; none if the job names no command.
///
/// # Errors
/// What is wrong with the settings; or the system has no threads left.
pub fn request_hook(
    settings: &HelperSettings,
    vault: &Arc<Vault>,
) -> Result<Option<Arc<dyn RequestHook>>, String> {
    let Some(pool) = HelperPool::new("render", settings, vault)? else {
        return Ok(None);
    };
    if settings.gives_records() {
        return Err(
            "render.values and render.records are settings of process alone: leave them out".into(),
        );
    }
    let hook = Batches::new(settings.helpers(), settings.batch.get(), move |rows: Vec<Row>| {
        pool.render(&rows)
    });
    Ok(Some(Arc::new(hook.map_err(|error| error.to_string())?)))
}

/// The hook whose helpers process answers; none if the job names no command.
///
/// # Errors
/// What is wrong with the settings; or the system has no threads left.
pub fn response_step(
    settings: &HelperSettings,
    vault: &Arc<Vault>,
) -> Result<Option<ResponseStep>, String> {
    let Some(pool) = HelperPool::new("process", settings, vault)? else {
        return Ok(None);
    };
    let process = move |rows: Vec<(Row, Answer)>| pool.process(&rows);
    let hook = Batches::new(settings.helpers(), settings.batch.get(), process);
    Ok(Some(ResponseStep {
        hook: Arc::new(hook.map_err(|error| error.to_string())?),
        values: (!settings.values.is_empty()).then(|| settings.values.clone()),
        many: settings.records,
    }))
}

/// The helpers of one command.
struct HelperPool {
    settings: HelperSettings,
    vault: Arc<Vault>,
    /// Those that wait for work.
    idle: Mutex<Vec<Helper>>,
}

impl HelperPool {
    fn new(
        key: &str,
        settings: &HelperSettings,
        vault: &Arc<Vault>,
    ) -> Result<Option<HelperPool>, String> {
        settings.check(key)?;
        Ok(settings.command.is_some().then(|| HelperPool {
            settings: settings.clone(),
            vault: vault.clone(),
            idle: Mutex::default(),
        }))
    }

    fn render(&self, rows: &[Row]) -> Vec<Result<RowRequest, RowError>> {
        let lines: Vec<Vec<u8>> = rows.iter().map(protocol::row_line).collect();
        self.ask(&lines, |at, line| protocol::request(line, rows[at].number))
    }

    fn process(&self, rows: &[(Row, Answer)]) -> Vec<Result<Processed, RowError>> {
        let secrets = self.vault.secrets();
        let secrets = (!secrets.is_empty()).then_some(secrets);
        let line = |(row, answer): &(Row, Answer)| protocol::answer_line(row, answer, secrets);
        let lines: Vec<Vec<u8>> = rows.iter().map(line).collect();
        self.ask(&lines, |at, line| protocol::processed(line, rows[at].0.number))
    }

    /// What is read from the line that a helper gives for each of these lines. A helper that
    /// fails at a line, or gives a wrong one, fails that row: which line belongs to which row
    /// after it is not known, so the rows after it go to a new helper.
    fn ask<T>(
        &self,
        lines: &[Vec<u8>],
        read: impl Fn(usize, &[u8]) -> Result<Result<T, RowError>, WrongLine>,
    ) -> Vec<Result<T, RowError>> {
        let mut results = Vec::with_capacity(lines.len());
        while results.len() < lines.len() {
            let mut helper = match self.take() {
                Ok(helper) => helper,
                Err(why) => {
                    results.resize_with(lines.len(), || Err(RowError::failed(why.clone())));
                    return results;
                }
            };
            let begin = results.len();
            let mut is_right = true;
            let asked = helper.ask(&lines[begin..], self.settings.timeout, |line| {
                let result = read(results.len(), line);
                is_right = result.is_ok();
                results.push(result.unwrap_or_else(|WrongLine(why)| Err(RowError::failed(why))));
                is_right
            });
            match asked {
                Ok(()) if is_right => self.give_back(helper),
                Ok(()) => {}
                Err(why) => {
                    // With a line too many, each line of this helper may be that of another row.
                    let next = results.len();
                    let failed = if next < lines.len() { next..next + 1 } else { begin..next };
                    results.truncate(failed.start);
                    results.resize_with(failed.end, || Err(RowError::failed(why.clone())));
                }
            }
        }
        results
    }

    fn give_back(&self, helper: Helper) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(helper);
    }

    fn take(&self) -> Result<Helper, String> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Helper::start(&self.settings, &self.environment()), Ok)
    }

    /// The variables of the environment without the secrets: those whose names are names of keys,
    /// or whose values have a secret of the job in them. The job may name some that helpers get
    /// even so.
    fn environment(&self) -> Vec<(OsString, OsString)> {
        let secrets = self.vault.secrets();
        let is_plain = |(name, value): &(OsString, OsString)| {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            let is_named = self.settings.env.iter().any(|named| *named == name);
            is_named || (!looks_like_key(&name) && secrets.hide(value.to_string()) == value)
        };
        std::env::vars_os().filter(is_plain).collect()
    }
}
