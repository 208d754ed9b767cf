//! The place of the records: checked before anything is sent, and opened when a run begins.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::batch_log::{self, BatchLogWriter, SubmittedBatch, SubmittedBatches};
use super::intents::{self, IntentLog, IntentWriter};
use super::later_rows::{LaterRow, LaterRows, RowParts};
use super::page_log::{self, PageLog, PageStart};
use super::poll_log::{self, PollLog, PollLogWriter, SubmittedJob, SubmittedJobs};
use super::product::JournalMirror;
use super::program::{NoText, ProgramSink, Sink};
use super::resume::compare::{Differences, compare};
use super::resume::completed::{CompletedRows, ItemProgress, KeyCheck};
use super::resume::counted;
use super::settings::{Order, Settings};
use super::sidecar::{self, Identity, Sidecar, SidecarLock};
use super::spending_log::{self, SpendingLog};
use super::writer::{TextOutput, Writer, WriterEnding};
use crate::error::Error;
use crate::format::{Columns, Format};
use crate::price::Usd;
use crate::record::Record;
use crate::row::Row;
use crate::source::Rows;
use crate::store;

mod check;
mod earlier;
mod open_mode;
mod room;

use check::CheckedOutput;
pub(super) use open_mode::OpenMode;
pub use room::DiskRoom;

/// A place for records that could be opened when the plan was made.
#[derive(Debug, Clone)]
pub struct Output {
    checked: CheckedOutput,
    settings: Settings,
    /// The rows that may have been done without a record.
    in_doubt: CompletedRows,
    /// The pages at which unfinished rows go on.
    pages: HashMap<u64, PageStart>,
    /// The items and rows that are asked for at a later stage.
    later: RowParts,
    /// The rows of which nothing else is asked for.
    later_alone: RoaringTreemap,
    /// The jobs that earlier runs have submitted.
    jobs: SubmittedJobs,
    /// What earlier runs have spent.
    spent: Usd,
    /// The batches that earlier runs have submitted to a provider.
    batches: SubmittedBatches,
    /// Whether the log of batches begins anew.
    forgets_batches: bool,
    /// The name of all runs that continue one file.
    run: String,
    /// The program's sink, which has each record beside the file, or alone.
    sink: Option<ProgramSink>,
    /// The log of intents that a queue keeps, if the records go to one.
    queue_intents: Option<IntentLog>,
}

impl Output {
    /// Checks the place; reads the file that is to be resumed. `resends` says
    /// whether requests of unknown outcome may be sent again, whenever they were sent.
    ///
    /// # Errors
    /// A plan error if records could not go there, or if there are records
    /// already and nothing says what to do with them.
    pub fn new(settings: &Settings, resends: bool) -> Result<Output, Error> {
        let checked = check::checked(settings, resends)?;
        let run = match &checked.before {
            Some(before) if settings.existing().resumes() && !before.run.is_empty() => {
                before.run.clone()
            }
            _ => format!("{:032x}", rand::random::<u128>()),
        };
        let in_doubt = in_doubt(&checked, settings.key.as_deref(), resends)?;
        let (pages, jobs, batches) = (pages(&checked)?, jobs(&checked)?, batches(&checked)?);
        Ok(Output {
            spent: spent(&checked)?,
            in_doubt,
            pages,
            jobs,
            batches,
            forgets_batches: false,
            later: RowParts::default(),
            later_alone: RoaringTreemap::new(),
            checked,
            settings: settings.clone(),
            run,
            sink: None,
            queue_intents: None,
        })
    }

    /// Gives the records to a program's sink: alone, unless they go to a file too.
    pub fn set_sink(&mut self, sink: Box<dyn Sink>) {
        self.use_sink(ProgramSink::new(sink, true));
    }

    /// Gives the records as they are to a sink of a run that `run` began, and whose file is
    /// elsewhere, with the log of its intents.
    pub(crate) fn set_queue_sink(&mut self, sink: Box<dyn Sink>, run: &str, intents: IntentLog) {
        self.use_sink(ProgramSink::new(sink, false));
        self.run = run.to_owned();
        self.queue_intents = Some(intents);
    }

    /// The log of intents that a queue keeps, if the records go to one.
    pub(crate) fn queue_intents(&self) -> Option<IntentLog> {
        self.queue_intents.clone()
    }

    /// Has the records belong to the run of this name, of which the file may have some.
    ///
    /// # Errors
    /// It has those of another run.
    pub(crate) fn go_on_with(&mut self, run: &str) -> Result<(), Error> {
        if self.has_records() && self.run != run {
            return Err(Error::plan(format!(
                "{self} has the records of another run: name another file with -o, or give --overwrite"
            )));
        }
        self.run = run.to_owned();
        Ok(())
    }

    fn use_sink(&mut self, sink: ProgramSink) {
        self.sink = Some(sink);
        if matches!(self.checked.mode, OpenMode::Stdout) {
            self.checked.mode = OpenMode::Program;
        }
    }

    /// Drops the program's sink, unless the run has taken it: who reads it learns that the run,
    /// which could not begin, is over.
    pub(crate) fn discard_sink(&self) {
        self.sink.iter().for_each(ProgramSink::discard);
    }

    /// Whether the records go to a queue.
    pub(crate) fn is_of_queue(&self) -> bool {
        self.sink.as_ref().is_some_and(ProgramSink::is_of_queue)
    }

    /// The name of all runs that continue the file.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Reads a finished file after all if it was taken for granted that it has all rows, and
    /// the job or its input is not what it was made of.
    ///
    /// # Errors
    /// That the file can't be read.
    pub fn confirm(&mut self, identity: &Identity, resends: bool) -> Result<(), Error> {
        let OpenMode::Unpack(product) = self.checked.mode.clone() else {
            return Ok(());
        };
        let is_same = self.before().is_some_and(|before| {
            (&before.input, &before.parts, before.rows)
                == (&identity.input, &identity.parts, identity.rows)
        });
        if self.checked.past.assumed.is_none() || (is_same && self.is_finished()) {
            return Ok(());
        }
        let CheckedOutput { format, before, .. } = &self.checked;
        let past = check::read(&*product, *format, &self.settings, before.as_ref(), resends)?;
        self.checked.past = past;
        self.in_doubt = in_doubt(&self.checked, self.settings.key.as_deref(), resends)?;
        self.pages = pages(&self.checked)?;
        self.jobs = jobs(&self.checked)?;
        Ok(())
    }

    /// Whether it is a finished file that stays as it is if no row is asked for: it is neither
    /// put back into its journal nor made again.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let CheckedOutput { mode, past, .. } = &self.checked;
        matches!(mode, OpenMode::Unpack(_))
            && !past.is_to_be_rewritten()
            && self.settings.order == Order::Finished
            && self.in_doubt.is_empty()
    }

    /// The records of a finished file that was not read, in numbers: those that failed, and
    /// those without values.
    #[must_use]
    pub fn assumed(&self) -> Option<(u64, u64)> {
        self.checked.past.assumed
    }

    /// Whether a file is made when all rows have their record.
    #[must_use]
    pub fn makes(&self) -> bool {
        self.checked.product.is_some() || self.settings.order == Order::Input
    }

    /// The place for people: `stdout` or the path.
    #[must_use]
    pub fn name(&self) -> String {
        match self.checked.results() {
            Some(path) => path.display().to_string(),
            None => self.checked.mode.to_string(),
        }
    }

    /// The path of the file that keeps the records, if a file does.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        let path = self.checked.results();
        path.map(|path| path.display().to_string())
    }

    /// How records are written.
    #[must_use]
    pub fn format(&self) -> Format {
        self.checked.format
    }

    /// Checks what these columns are called, and how many there are, as far as it is
    /// known.
    ///
    /// # Errors
    /// A plan error if this output can't have them, or can't tell two of them apart.
    pub fn check_columns(&self, columns: &Columns) -> Result<(), Error> {
        let product = self.checked.product.as_ref();
        let flaw = product.and_then(|product| product.flaw(columns));
        flaw.map_or(Ok(()), |flaw| Err(Error::plan(flaw)))
    }

    /// The rows that the file to be resumed has already.
    #[must_use]
    pub fn done(&self) -> &CompletedRows {
        &self.checked.past.done
    }

    /// Whether the file to be resumed has a record of any row.
    #[must_use]
    pub fn has_records(&self) -> bool {
        let past = &self.checked.past;
        !past.done.is_empty() || past.unfinished.has_records()
    }

    /// The items of a row that have a record, where others of it have none.
    #[must_use]
    pub fn progress(&self, row: &Row) -> Option<&ItemProgress> {
        let past = &self.checked.past;
        past.unfinished.of(past.done.id(row))
    }

    /// Those of all records of a row that the file does not have.
    #[must_use]
    pub(crate) fn rest_of(&self, records: Vec<Record>) -> Vec<Record> {
        let Some(first) = records.first() else { return records };
        if self.done().has(&first.row) {
            return Vec::new();
        }
        match self.progress(&first.row) {
            Some(progress) => progress.rest(records),
            None => records,
        }
    }

    /// The page at which a row goes on, unless it begins at its first one.
    #[must_use]
    pub fn page_start(&self, row: &Row) -> Option<&PageStart> {
        self.pages.get(&self.checked.past.done.id(row))
    }

    /// Asks for the rows that failed in a later stage there, and not at the first stage again,
    /// as far as the log has them. The job must be the one that wrote them.
    ///
    /// # Errors
    /// That the log can't be read.
    pub fn find_later_rows(&mut self) -> Result<(), Error> {
        let Some(path) = self.checked.results().map(Path::to_owned) else {
            return Ok(());
        };
        let past = &mut self.checked.past;
        if past.retried.is_empty() || self.settings.key.is_some() {
            return Ok(());
        }
        let unreadable =
            |error| Error::plan(format!("{}.pages cannot be read: {error}", path.display()));
        for later in page_log::later_rows(&path).map_err(unreadable)? {
            let (row, item, is_last) = later.map_err(unreadable)?.place();
            if past.gone.contains(row) || !past.retried.remove(row, item) {
                continue;
            }
            self.later.insert(row, item);
            if let Some(item) = item {
                past.unfinished.comes_by_itself(row, item, is_last);
            }
        }
        let whole = |row: &u64| past.unfinished.of(*row).is_some_and(|it| it.has_all_from(0));
        self.later_alone = self.later.rows_with_items().filter(whole).collect();
        self.later_alone |= self.later.rows();
        self.pages = pages(&self.checked)?;
        Ok(())
    }

    /// Whether all that is asked for of a row is asked for at a later stage.
    #[must_use]
    pub fn begins_later(&self, row: &Row) -> bool {
        self.later_alone.contains(row.number)
    }

    /// The rows that are asked for at a later stage, after the log of pages was started.
    ///
    /// # Errors
    /// What the system says.
    pub fn later_rows(&self, log: &PageLog) -> Result<LaterRows, Error> {
        let path = self.checked.results().map(page_log::path).unwrap_or_default();
        LaterRows::open(&path, log.later_bytes(), self.later.clone())
            .map_err(|error| Error::stopped(format!("{self}.pages cannot be read: {error}")))
    }

    /// The job that an earlier run has submitted for a row, or for its item, in this stage.
    #[must_use]
    pub fn submitted_job(&self, stage: usize, row: &Row) -> Option<&SubmittedJob> {
        self.jobs.get(stage, row, &self.checked.past.done)
    }

    /// Number of jobs that earlier runs have submitted and that are not done.
    #[must_use]
    pub fn waiting_jobs(&self) -> u64 {
        self.jobs.waiting(&self.checked.past.done)
    }

    /// Whether earlier runs have submitted jobs or batches that are not done.
    #[must_use]
    pub fn has_jobs(&self) -> bool {
        self.waiting_jobs() > 0 || self.waiting_batches().0 > 0
    }

    /// The batch at a provider that has the request with this id, if an earlier run has submitted
    /// one, and the number of batches that had it before.
    #[must_use]
    pub fn submitted_batch(&self, id: &str) -> (Option<&SubmittedBatch>, u32) {
        self.batches.of(id)
    }

    /// Whether an earlier run has submitted the batch with this id of the provider's.
    #[must_use]
    pub fn knows_batch(&self, id: &str) -> bool {
        self.batches.knows(id)
    }

    /// Number of batches at a provider whose results have not come, and of their rows.
    #[must_use]
    pub fn waiting_batches(&self) -> (u64, u64) {
        self.batches.waiting()
    }

    /// Forgets all batches at a provider: their rows are submitted in others.
    pub fn forget_batches(&mut self) {
        self.batches = SubmittedBatches::default();
        self.forgets_batches = true;
    }

    /// Number of jobs of this stage and of later ones that are not done; 0 without a stage.
    #[must_use]
    pub fn jobs_from(&self, stage: Option<usize>) -> u64 {
        stage.map_or(0, |stage| self.jobs.waiting_from(stage, &self.checked.past.done))
    }

    /// Forgets the jobs of this stage and of later ones: their rows submit others. The outcome of
    /// the submissions is known, so that none of them is in doubt.
    pub fn forget_jobs(&mut self, stage: usize) {
        for row in self.jobs.forget_from(stage) {
            self.in_doubt.remove_id(row);
        }
    }

    /// Asks again for all of each row that lacks some of its items.
    pub fn forget_unfinished(&mut self) {
        self.checked.past.forget_unfinished();
        self.pages.clear();
    }

    /// Number of rows of which some items have a record and others have none, and of these records.
    #[must_use]
    pub fn unfinished(&self) -> (u64, u64) {
        let unfinished = &self.checked.past.unfinished;
        let rows = unfinished.rows();
        let records =
            rows.iter().filter_map(|row| unfinished.of(row)).map(ItemProgress::count).sum();
        (rows.len(), records)
    }

    /// The number of these rows that failed and are not asked for again.
    #[must_use]
    pub fn failed_before(&self) -> u64 {
        self.checked.past.left_failed.len()
    }

    /// The check that each row has a key of its own, where rows are known by one.
    #[must_use]
    pub fn keys(&self) -> Option<KeyCheck> {
        let key = self.settings.key.as_deref()?;
        if self.is_of_queue() {
            // The run that submitted the rows has checked them, and chunks may come again.
            return None;
        }
        Some(KeyCheck::new(key, self.checked.format))
    }

    /// The settings of the job.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The identity of the records that are there, if it is known.
    #[must_use]
    pub fn before(&self) -> Option<&Identity> {
        self.checked.before.as_ref().map(|before| &before.identity)
    }

    /// The least number of rows that its input had, unless records are not where their rows are.
    #[must_use]
    pub fn least_rows(&self) -> u64 {
        let done = &self.checked.past.done;
        if done.numbers_meet() {
            u64::MAX
        } else if done.key().is_some() {
            done.len()
        } else {
            done.end()
        }
    }

    /// Compares the rows that have a record with those of an input.
    ///
    /// # Errors
    /// That the input or the file can't be read.
    pub fn compare(&self, rows: Rows, columns: &Columns) -> Result<Differences, Error> {
        let CheckedOutput { mode, format, past, .. } = &self.checked;
        let columns = format.columns(columns, &past.first_line)?;
        match (mode, &self.checked.product) {
            (OpenMode::Unpack(_) | OpenMode::Parts(..), Some(product)) => {
                let unreadable = |error: io::Error| Error::plan(format!("{self}: {error}"));
                let mut text = tempfile::NamedTempFile::new().map_err(unreadable)?;
                io::copy(&mut product.text()?, &mut text).map_err(unreadable)?;
                compare(text.path(), *format, &columns, past, rows)
            }
            _ => match mode.path() {
                None => Ok(Differences::default()),
                Some(path) => compare(path, *format, &columns, past, rows),
            },
        }
    }

    /// Asks again for rows that are changed or gone, whose records will go; all others
    /// get the number that they have now.
    pub fn follow(&mut self, differences: Differences) {
        let gone = differences.changed | differences.gone;
        self.pages.retain(|row, _| !gone.contains(*row));
        self.jobs.forget(&gone);
        let past = &mut self.checked.past;
        match differences.keyed {
            None => past.forget(&gone),
            Some(_) if gone.is_empty() && differences.moved == 0 => {}
            Some(keyed) => past.follow(Arc::new(keyed), &gone),
        }
    }

    /// Notes for people on the file that is continued.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let past = &self.checked.past;
        let name = self.name();
        let torn = match &self.checked.mode {
            OpenMode::GoOn(_, size) if self.settings.existing().resumes() => {
                size.saturating_sub(past.end)
            }
            OpenMode::Parts(_, Some(size)) if !past.left_over => size.saturating_sub(past.end),
            _ => 0,
        };
        let records = |count| counted(count, "record", "records");
        let (unfinished, items) = self.unfinished();
        let waiting = self.jobs.waiting(&past.done);
        let in_doubt = self.in_doubt.len().saturating_sub(self.jobs.known_of(&self.in_doubt));
        let aside = |what: String| format!("{what}: kept aside in {name}.torn");
        [
            (torn > 0).then(|| aside(format!("{torn} bytes at the end of {name} are no whole record"))),
            (past.damaged > 0).then(|| aside(format!("{} of {name} cannot be read and will be asked for again", records(past.damaged)))),
            (past.braked > 0).then(|| format!("the run before ended at once, since its first answers failed alike: its {} asked for again", counted(past.braked, "row is", "rows are"))),
            (past.twice > 0).then(|| format!("{} of {name} stood there twice: the first one of each row stays", records(past.twice))),
            (items > 0).then(|| format!("{} not whole in {name}: {} stay, and the items that are missing are asked for", counted(unfinished, "row is", "rows are"), records(items))),
            (waiting > 0).then(|| format!("{} submitted before and not done: polled again, and not submitted again", counted(waiting, "job was", "jobs were"))),
            (in_doubt > 0).then(|| format!("{} sent and may have been done, but no answer was kept", counted(in_doubt, "row was", "rows were"))),
            past.edited.then(|| format!("{name} is not as throng left it: it was edited or damaged; its records are taken as they are")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The rows that an earlier run may have done, of which no record says so.
    #[must_use]
    pub fn in_doubt(&self) -> &CompletedRows {
        &self.in_doubt
    }

    /// Starts the log of requests that are about to be sent, beside a file that was created.
    /// `failed` hears why it can't be written any more.
    ///
    /// # Errors
    /// What the system says.
    pub fn intents(
        &self,
        failed: impl Fn(Error) + Send + 'static,
    ) -> Result<Option<IntentWriter>, Error> {
        let Some(path) = self.checked.results() else {
            return Ok(None);
        };
        let name = self.name();
        let wrong = move |error: std::io::Error| {
            Error::stopped(format!("{name}.intents cannot be written: {error}"))
        };
        let told = wrong.clone();
        IntentWriter::start(path, &self.in_doubt, move |error| failed(told(error)))
            .map(Some)
            .map_err(wrong)
    }

    /// Starts the log of pages, beside a file that was created.
    ///
    /// # Errors
    /// What the system says.
    pub fn page_log(&self) -> Result<Option<PageLog>, Error> {
        let Some(path) = self.checked.results() else {
            return Ok(None);
        };
        // A row of a later stage stays as long as its record may be asked for again.
        let mut later = self.later.clone();
        let mut is_left_failed = false;
        let stays = |it: &LaterRow| {
            let (row, item, _) = it.place();
            let is_asked_for = later.remove(row, item);
            let is_left = !is_asked_for && self.checked.past.left_failed.contains(row);
            is_left_failed |= is_left;
            is_asked_for || is_left
        };
        let log = PageLog::start(path, &self.pages, stays)
            .map_err(|error| Error::stopped(format!("{self}.pages cannot be written: {error}")))?;
        if is_left_failed {
            log.keep();
        }
        Ok(Some(log))
    }

    /// Starts the log of jobs that are submitted, beside a file that was created. `failed`
    /// hears why it can't be written any more.
    ///
    /// # Errors
    /// What the system says.
    pub fn poll_log(
        &self,
        failed: impl Fn(Error) + Send + 'static,
    ) -> Result<Option<PollLogWriter>, Error> {
        let Some(path) = self.checked.results() else {
            return Ok(None);
        };
        let name = self.name();
        let wrong = move |error: std::io::Error| {
            Error::stopped(format!("{name}.polls cannot be written: {error}"))
        };
        let told = wrong.clone();
        PollLogWriter::start(path, &self.jobs, self.done(), move |error| failed(told(error)))
            .map(Some)
            .map_err(wrong)
    }

    /// What earlier runs of a file that is continued have spent.
    #[must_use]
    pub fn spent(&self) -> Usd {
        self.spent
    }

    /// Starts the log of what is spent, beside a file that was created. `failed` hears why it
    /// can't be written any more.
    ///
    /// # Errors
    /// What the system says.
    pub fn spending_log(
        &self,
        failed: impl Fn(Error) + Send + 'static,
    ) -> Result<Option<SpendingLog>, Error> {
        let Some(path) = self.checked.results() else {
            return Ok(None);
        };
        let name = self.name();
        let wrong = move |error: std::io::Error| {
            Error::stopped(format!("{name}.spent cannot be written: {error}"))
        };
        let told = wrong.clone();
        SpendingLog::start(path, self.spent, move |error| failed(told(error)))
            .map(Some)
            .map_err(wrong)
    }

    /// Starts the log of batches at a provider, beside a file that was created. `failed` hears why
    /// it can't be written any more.
    ///
    /// # Errors
    /// What the system says.
    pub fn batch_log(
        &self,
        failed: impl Fn(Error) + Send + 'static,
    ) -> Result<Option<BatchLogWriter>, Error> {
        let Some(path) = self.checked.results() else {
            return Ok(None);
        };
        let name = self.name();
        let wrong = move |error: std::io::Error| {
            Error::stopped(format!("{name}.batches cannot be written: {error}"))
        };
        if self.forgets_batches {
            batch_log::remove(path).map_err(wrong.clone())?;
        }
        let told = wrong.clone();
        BatchLogWriter::start(path, &self.batches, move |error| failed(told(error)))
            .map(Some)
            .map_err(wrong)
    }

    /// The id of the request of this row in a batch, which is the same in all runs that continue
    /// a file as long as the row is the same.
    #[must_use]
    pub fn batch_row_id(&self, row: &Row) -> String {
        let key = self.settings.key.as_ref().and_then(|key| row.fields.get(key));
        let key = key.map_or_else(|| row.number.to_string(), ToString::to_string);
        let fields = serde_json::to_string(&row.fields).unwrap_or_default();
        let hash = blake3::hash(format!("{}:{key}:{fields}", self.run).as_bytes());
        hash.to_hex()[..32].to_owned()
    }

    /// A way to the log of jobs for one worker.
    #[must_use]
    pub fn poll_handle(&self, log: &PollLogWriter) -> PollLog {
        log.handle(self.settings.key.as_deref(), self.checked.format)
    }

    /// Opens it for records with these columns, which belong to this. Only now
    /// a new file is made, an overwritten one emptied, a torn last record of a
    /// resumed one cut.
    ///
    /// # Errors
    /// A plan error if a resumed file has other columns, or if another run
    /// writes it; else one that says what the system says.
    pub fn create(&self, columns: &Columns, identity: &Identity) -> Result<Writer, Error> {
        let in_use = |error: io::Error| {
            let by = match (error.kind(), self.checked.results()) {
                (io::ErrorKind::WouldBlock, Some(results)) => sidecar::holder(results),
                _ => error.to_string(),
            };
            Error::plan(format!("the output {self} is in use: {by}")).of_output_in_use()
        };
        // The sidecar goes by the file's name, and is all that older versions look at.
        let locked = self.checked.mode.lock().map_err(in_use)?;
        let held = self.hold(identity).map_err(in_use)?;
        self.forget_intents()?;
        let CheckedOutput { mode, format, past, .. } = &self.checked;
        let is_continued = past.end > 0 && !past.keeps_none();
        let first_line = is_continued.then_some(&*past.first_line);
        let is_alone = matches!(mode, OpenMode::Program);
        let encode =
            if is_alone { Box::new(NoText) } else { format.encoder(columns, first_line)? };
        let opened = mode.open(locked, past, *format)?;
        // Fewer than were read, if some of them were to go.
        let records = opened.records();
        let mut text = TextOutput::new(encode, opened, self.mirror(columns)?);
        if first_line.is_none() {
            text.begin();
        }
        let open = |sink: &ProgramSink| sink.open(columns.values.clone(), is_alone);
        let sink = self.sink.as_ref().map(open).transpose()?;
        let writer = Writer::new(text, held, self.ending(records), self.settings.sync)?;
        Ok(writer.with_sink(sink))
    }

    /// The work that is left when the run is complete; the output has `records` now.
    fn ending(&self, records: u64) -> WriterEnding {
        let past = &self.checked.past;
        WriterEnding {
            sorts: (self.settings.order == Order::Input)
                .then(|| self.checked.mode.file())
                .flatten(),
            format: Some(self.checked.format),
            product: self.checked.product.clone(),
            before: records,
            in_journal: if past.is_to_be_rewritten() { records } else { records - past.in_parts },
        }
    }

    /// The file that grows with the journal, if one does.
    fn mirror(&self, columns: &Columns) -> Result<Option<JournalMirror>, Error> {
        let Some(product) = &self.checked.product else {
            return Ok(None);
        };
        let key: &[&str] = match (columns.items, &self.settings.key) {
            (true, _) => &["_row", "_item"],
            (false, None) => &["_row"],
            // Rows are known by another field, and their numbers may meet again.
            (false, Some(_)) => &[],
        };
        let past = &self.checked.past;
        product.mirror(key, past.is_to_be_rewritten() || past.records == 0)
    }

    /// A file that begins anew has no use for what was sent before.
    fn forget_intents(&self) -> Result<(), Error> {
        let (OpenMode::New(_) | OpenMode::Replace(_) | OpenMode::Parts(_, None), Some(path)) =
            (&self.checked.mode, self.checked.results())
        else {
            return Ok(());
        };
        intents::remove(path)
            .map_err(|error| Error::plan(format!("{self}.intents cannot be removed: {error}")))?;
        // Money that was spent for a file that is gone is spent.
        if is_replaced(&self.checked) {
            spending_log::remove(path)
                .map_err(|error| Error::plan(format!("{self}.spent cannot be removed: {error}")))?;
        }
        page_log::remove(path)
            .map_err(|error| Error::plan(format!("{self}.pages cannot be removed: {error}")))?;
        store::remove_private(path)
            .map_err(|error| Error::plan(format!("{self}.asked cannot be removed: {error}")))?;
        poll_log::remove(path)
            .map_err(|error| Error::plan(format!("{self}.polls cannot be removed: {error}")))?;
        batch_log::remove(path)
            .map_err(|error| Error::plan(format!("{self}.batches cannot be removed: {error}")))
    }

    /// Keeps other runs away from a file.
    fn hold(&self, identity: &Identity) -> io::Result<Option<SidecarLock>> {
        let Some(path) = self.checked.results() else {
            return Ok(None);
        };
        let mut held = SidecarLock::take(path)?;
        held.says = Sidecar {
            throng: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            run: self.run.clone(),
            identity: identity.clone(),
            ..Sidecar::default()
        };
        Ok(Some(held))
    }

    /// A way to the log for one worker.
    #[must_use]
    pub fn handle(&self, log: &IntentWriter) -> IntentLog {
        log.handle(self.settings.key.as_deref(), self.checked.format)
    }

    /// A number that is the same in all runs that continue a file.
    #[must_use]
    pub fn run_number(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&blake3::hash(self.run.as_bytes()).as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    /// The `Idempotency-Key` of this row, which is the same in all runs that continue a file.
    #[must_use]
    pub fn idempotency_key(&self, row: &Row) -> String {
        let key = self.settings.key.as_ref().and_then(|key| row.fields.get(key));
        let row = key.map_or_else(|| row.number.to_string(), ToString::to_string);
        uuid(&format!("{}:{row}", self.run))
    }
}

/// The pages at which the unfinished rows of a file go on.
fn pages(checked: &CheckedOutput) -> Result<HashMap<u64, PageStart>, Error> {
    let Some(path) = checked.results().filter(|_| !checked.past.unfinished.is_empty()) else {
        return Ok(HashMap::new());
    };
    page_log::read(path, &checked.past.unfinished)
        .map_err(|error| Error::plan(format!("{}.pages cannot be read: {error}", path.display())))
}

/// What earlier runs of a file have spent, even if they have left no record.
fn spent(checked: &CheckedOutput) -> Result<Usd, Error> {
    let Some(path) = checked.results().filter(|_| !is_replaced(checked)) else {
        return Ok(Usd::ZERO);
    };
    spending_log::spent(path)
        .map(|spent| spent.unwrap_or_default().usd)
        .map_err(|error| Error::plan(format!("{}.spent cannot be read: {error}", path.display())))
}

/// Whether a file begins anew in the place of one that is there.
fn is_replaced(checked: &CheckedOutput) -> bool {
    let is_made = || checked.product.as_ref().is_some_and(|product| product.path().exists());
    match &checked.mode {
        OpenMode::Replace(_) | OpenMode::Parts(_, None) => true,
        // The file that grows is new where the one that was made of it is there.
        OpenMode::New(_) => is_made(),
        _ => false,
    }
}

/// Whether the records of earlier runs stay.
fn is_continued(mode: &OpenMode) -> bool {
    matches!(mode, OpenMode::GoOn(..) | OpenMode::Unpack(_) | OpenMode::Parts(_, Some(_)))
}

/// The jobs that earlier runs of a file have submitted.
fn jobs(checked: &CheckedOutput) -> Result<SubmittedJobs, Error> {
    let Some(path) = checked.results().filter(|_| is_continued(&checked.mode)) else {
        return Ok(SubmittedJobs::default());
    };
    let past = &checked.past;
    let failed = past.assumed.is_none().then_some(&past.left_failed);
    SubmittedJobs::read(path, &past.done, failed)
        .map_err(|error| Error::plan(format!("{}.polls cannot be read: {error}", path.display())))
}

/// The batches that earlier runs of a file have submitted to a provider.
fn batches(checked: &CheckedOutput) -> Result<SubmittedBatches, Error> {
    let is_continued = matches!(
        checked.mode,
        OpenMode::GoOn(..) | OpenMode::Unpack(_) | OpenMode::Parts(_, Some(_))
    );
    let Some(path) = checked.results().filter(|_| is_continued) else {
        return Ok(SubmittedBatches::default());
    };
    SubmittedBatches::read(path)
        .map_err(|error| Error::plan(format!("{}.batches cannot be read: {error}", path.display())))
}

/// A UUID of version 8, whose bits are ours: a hash.
fn uuid(of: &str) -> String {
    let hash = blake3::hash(of.as_bytes()).to_hex();
    let part = |from: usize, to: usize| &hash[from..to];
    format!("{}-{}-8{}-a{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
}

/// The rows of the log of intents that have no record; none if no file is continued.
fn in_doubt(
    checked: &CheckedOutput,
    key: Option<&str>,
    resends: bool,
) -> Result<CompletedRows, Error> {
    let none = CompletedRows::by(key, checked.format);
    let path = match (&checked.mode, checked.results()) {
        (OpenMode::GoOn(..) | OpenMode::Unpack(_) | OpenMode::Parts(_, Some(_)), Some(path))
            if !resends =>
        {
            path
        }
        _ => return Ok(none),
    };
    let told = [&checked.past.done, &checked.past.answered];
    intents::in_doubt(path, told, none)
        .map_err(|error| Error::plan(format!("{}.intents cannot be read: {error}", path.display())))
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Existing;
    use super::*;
    use std::fs;

    #[test]
    fn a_resumed_file_tells_its_rows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        fs::write(&path, "{\"_row\":4,\"_ok\":true}\n{\"_row\":5").unwrap();
        let settings = Settings {
            file: Some(path.display().to_string()),
            existing: Existing::Resume,
            ..Settings::default()
        };
        let output = Output::new(&settings, false).unwrap();
        assert_eq!((output.done().len(), output.least_rows()), (1, 5));
        assert_eq!(Some(output.name()), settings.file);
        let notes = output.notes();
        assert!(notes[0].starts_with("9 bytes at the end of"), "{notes:?}");
    }
}
