//! The handle by which one limiter leases units from the file of its limit.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::limiter::OtherSearches;
use crate::quota::account::Participant;
use crate::quota::account_files::{AccountFiles, LockedFiles, LockedOther};
use crate::quota::directory::{create_private, remove_if_empty, store_error};
use crate::quota::file::{Contents, LimitFile};
use crate::quota::leased::{LeaseReply, LeaseRequest, QuotaHandle};
use crate::quota::lock;
use crate::quota::machine::read_clocks;
use crate::quota::salt;
use crate::quota::session::Session;
use crate::quota::state::QuotaState;
use crate::quota::terms::Quota;
use crate::time::{Time, now};

/// The handle of one limiter.
#[derive(Debug)]
pub struct FileQuotaHandle {
    /// The name under which its leased units are kept.
    name: String,
    directory: PathBuf,
    path: PathBuf,
    quota: Quota,
    /// What an earlier version kept of the limit, until it is in the limit's file.
    earlier: Option<QuotaState>,
    /// The files; none while the run is not registered in that of the limit.
    files: Option<AccountFiles>,
    /// Whether it reports to the limits of other runs. One handle does for each unit.
    reports: bool,
    others_lease: bool,
    searches: OtherSearches,
    /// When it next checks that other runs can see that this one lives.
    checks_at: Time,
    /// When it next adds what was sent to limits with long periods that no run states.
    keeps_up_at: Time,
    session: Arc<Session>,
}

/// Time after which a limit with a long period that no run states learns what was sent: less
/// than that for which the other limits of an account remember it.
const KEEP_UP: Duration = Duration::from_secs(240);

/// Time between two checks that other runs can see that this one lives: if they can't, they count
/// what it leases as used, and what it sends meanwhile when it reports it.
const CHECK: Duration = Duration::from_millis(100);

impl FileQuotaHandle {
    /// A handle of the limit in this file. If another run holds a lock, it opens the file when
    /// it first leases units.
    pub fn new(
        session: &Arc<Session>,
        path: PathBuf,
        quota: &Quota,
        earlier: impl Fn() -> io::Result<Option<QuotaState>>,
    ) -> FileQuotaHandle {
        let mut handle = FileQuotaHandle {
            name: session.runs.next_name(),
            directory: path.parent().unwrap_or(&path).to_owned(),
            quota: quota.clone(),
            earlier: None,
            files: None,
            reports: false,
            others_lease: false,
            searches: OtherSearches::default(),
            checks_at: Time::ZERO,
            keeps_up_at: Time::ZERO,
            session: session.clone(),
            path,
        };
        if let Err(error) = handle.begin(earlier) {
            handle.fail(&error);
        }
        handle
    }

    fn begin(&mut self, earlier: impl Fn() -> io::Result<Option<QuotaState>>) -> io::Result<()> {
        if !self.path.exists() {
            self.earlier = earlier()?;
        }
        self.open().map(|_| ())
    }

    fn fail(&mut self, error: &io::Error) -> LeaseReply {
        self.session.fail(store_error(&self.path, error));
        self.end_after(error);
        LeaseReply::Failed
    }

    /// Ends the handle after an error. If something else has removed the limit's file, puts back
    /// what it had: runs that begin now would count apart.
    fn end_after(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound
            && let Some(contents) = self.files.take().and_then(AccountFiles::into_contents)
        {
            // The run ends with the first error.
            let _ = self.put_back(contents);
        }
    }

    /// Puts back the limit's file, unless there is one, or the accounts have other names by now.
    fn put_back(&self, contents: Contents) -> io::Result<()> {
        create_private(&self.session.directory)?;
        if !salt::put_back(&self.session.directory, &self.session.salt)? {
            return Ok(());
        }
        let directory = lock_directory(&self.directory)?;
        if directory.is_none() || self.path.exists() {
            return Ok(());
        }
        match LimitFile::create(&self.path)?.lock()? {
            Some(file) => file.write(contents, self.quota.is_durable()),
            None => Ok(()),
        }
    }

    /// Opens the limit's file, and registers the run in it. Gives whether it could: another
    /// run may hold a lock.
    fn open(&mut self) -> io::Result<bool> {
        // One run at a time joins an account, so that each sees the files of all others.
        let Some(directory) = lock_directory(&self.directory)? else { return Ok(false) };
        let mut files = AccountFiles::open(&self.path)?;
        files.list(|_| false, |other| other.unit == self.quota.unit)?;
        if !self.join(&mut files, &directory)? {
            return Ok(false);
        }
        files.forget_others();
        self.files = Some(files);
        Ok(true)
    }

    fn join(&mut self, files: &mut AccountFiles, directory: &File) -> io::Result<bool> {
        let Some(LockedFiles { own, contents, others }) = files.lock()? else {
            return Ok(false);
        };
        let mut contents = contents.unwrap_or_else(|| Contents {
            limit: self.quota.name.clone(),
            unit: self.quota.unit.clone(),
            removed: false,
            state: self.earlier.take().unwrap_or_default(),
        });
        let states = others.iter().map(|other| other.contents.state.clone()).collect();
        let (now, session) = (read_clocks(now()), &self.session);
        let is_alive = |run: &str| session.runs.is_alive(run);
        let joins = Participant { run: &self.name, now: &now, is_alive: Some(&is_alive) };
        joins.join(&mut contents.state, &self.quota, states);
        session.meet(&self.quota.name, &contents.state);
        self.reports = session.open(&self.path, &self.quota.unit, &self.name);
        let state = contents.state.clone();
        own.write(contents, self.quota.is_durable())?;
        // The directory changes, so that all other runs look for this one's limit before they
        // lease more units: until then this run holds the locks of their files.
        directory.set_modified(SystemTime::now())?;
        keep_up(&joins, &state, others)?;
        self.keeps_up_at = now.time.after(KEEP_UP);
        Ok(true)
    }

    /// Adds what was sent to the limits with long periods that no run states. Gives whether it
    /// could: another run may hold a lock.
    fn keep_up(&mut self, now: Time) -> io::Result<bool> {
        let (now, session) = (read_clocks(now), self.session.clone());
        let is_alive = |run: &str| session.runs.is_alive(run);
        let participant = Participant { run: &self.name, now: &now, is_alive: Some(&is_alive) };
        let Some(files) = &mut self.files else { return Ok(true) };
        let Some(LockedFiles { own, contents, others }) = lock_all(files, &self.quota)? else {
            return Ok(false);
        };
        keep_up(&participant, &contents.unwrap_or_default().state, others)?;
        drop(own);
        files.forget_others();
        self.keeps_up_at = now.time.after(KEEP_UP);
        Ok(true)
    }

    fn try_exchange(&mut self, now: Time, request: &LeaseRequest<'_>) -> io::Result<LeaseReply> {
        if self.session.failure().is_some() {
            return Ok(LeaseReply::Failed);
        }
        if now >= self.checks_at {
            self.session.runs.check_registered()?;
            self.checks_at = now.after(CHECK);
        }
        if self.files.is_none() && !self.open()? {
            return Ok(LeaseReply::Busy);
        }
        if self.reports && now >= self.keeps_up_at && !self.keep_up(now)? {
            return Ok(LeaseReply::Busy);
        }
        let (now, session) = (read_clocks(now), self.session.clone());
        let is_alive = |run: &str| session.runs.is_alive(run);
        let leases = Participant { run: &self.name, now: &now, is_alive: Some(&is_alive) };
        let locked = match &mut self.files {
            Some(files) if self.reports => lock_with_others(files, &session, &leases, &self.quota)?,
            Some(files) => files.lock()?,
            None => None,
        };
        let Some(LockedFiles { own, contents, mut others }) = locked else {
            return Ok(LeaseReply::Busy);
        };
        let empty = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged: it is empty");
        let mut contents = contents.ok_or_else(empty)?;
        let mut limits: Vec<_> = others.iter_mut().map(LockedOther::limit).collect();
        let exchanged = leases.exchange(&mut contents.state, &self.quota, &mut limits, request);
        session.meet(&self.quota.name, &contents.state);
        let has_leased = matches!(exchanged.reply, LeaseReply::Units(1..));
        for other in others {
            other.write(has_leased)?;
        }
        own.write(contents, self.quota.is_durable())?;
        self.others_lease = exchanged.others_lease;
        self.searches = exchanged.searches;
        Ok(exchanged.reply)
    }

    fn try_close(&mut self) -> io::Result<bool> {
        let has_left = self.leave()?;
        if has_left {
            self.session.close(&self.path, &self.quota.unit, &self.name, self.reports);
            (self.files, self.reports) = (None, false);
        }
        Ok(has_left)
    }

    /// Ends the handle in all files. Gives whether it could: another run may hold a lock.
    fn leave(&mut self) -> io::Result<bool> {
        let (now, session) = (read_clocks(now()), self.session.clone());
        let is_alive = |run: &str| session.runs.is_alive(run);
        let leaves = Participant { run: &self.name, now: &now, is_alive: Some(&is_alive) };
        let locked = match &mut self.files {
            // A limit that is new may have taken over what this run leases.
            Some(files) if self.reports => lock_all(files, &self.quota)?,
            Some(files) => files.lock()?,
            None => return Ok(true),
        };
        let Some(LockedFiles { own, contents, others }) = locked else { return Ok(false) };
        let mut contents = contents.unwrap_or_default();
        let is_told = |other: &LockedOther<'_>| {
            let is_stated = leaves.is_stated_by_others(&other.contents.state);
            is_stated && !session.is_open(other.path())
        };
        let (told, left): (Vec<_>, Vec<_>) = others.into_iter().partition(is_told);
        for mut other in told {
            other.contents.state.end_run(&self.name);
            other.write(false)?;
        }
        keep_up(&leaves, &contents.state, left)?;
        contents.state.end_handle(&self.name);
        if contents.state.is_empty(&now) && !self.quota.is_durable() {
            own.remove()?;
            remove_if_empty(&self.directory);
        } else {
            own.write(contents, self.quota.is_durable())?;
        }
        Ok(true)
    }
}

impl QuotaHandle for FileQuotaHandle {
    fn exchange(&mut self, now: Time, request: &LeaseRequest<'_>) -> LeaseReply {
        self.try_exchange(now, request).unwrap_or_else(|error| self.fail(&error))
    }

    fn others_lease(&self) -> bool {
        self.others_lease
    }

    fn other_searches(&self) -> OtherSearches {
        self.searches
    }

    fn allow(&mut self, units: u64) {
        self.quota.set_units(units);
    }

    fn close(&mut self) -> bool {
        self.try_close().unwrap_or_else(|error| {
            self.end_after(&error);
            true
        })
    }
}

/// Locks the files of a handle that reports to the limits of other runs.
fn lock_with_others<'a>(
    files: &'a mut AccountFiles,
    session: &Session,
    participant: &Participant<'_>,
    quota: &Quota,
) -> io::Result<Option<LockedFiles<'a>>> {
    files.list(
        |path| session.is_open(path),
        |it| it.unit == quota.unit && participant.is_stated_by_others(&it.state),
    )?;
    files.lock()
}

/// Locks the files of all limits of an account that count the same unit.
fn lock_all<'a>(files: &'a mut AccountFiles, quota: &Quota) -> io::Result<Option<LockedFiles<'a>>> {
    files.forget_others();
    files.list(|_| false, |other| other.unit == quota.unit)?;
    files.lock()
}

/// Adds what this limit of an account and the others know to those of them with long periods
/// that no run states.
fn keep_up(
    participant: &Participant<'_>,
    own: &QuotaState,
    others: Vec<LockedOther<'_>>,
) -> io::Result<()> {
    let states: Vec<QuotaState> = others.iter().map(|it| it.contents.state.clone()).collect();
    for (index, mut other) in others.into_iter().enumerate() {
        if !participant.is_dormant(&other.limit()) {
            continue;
        }
        let beside = states.iter().enumerate().filter(|(beside, _)| *beside != index);
        let known = beside.map(|(_, state)| state).chain([own]).cloned().collect();
        participant.keep_up(other.limit(), known);
        other.write(true)?;
    }
    Ok(())
}

/// Locks an account's directory, which is created if it doesn't exist; none if another run
/// joins the account, or has just removed the directory.
fn lock_directory(path: &Path) -> io::Result<Option<File>> {
    create_private(path)?;
    match lock::lock_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        locked => locked,
    }
}
