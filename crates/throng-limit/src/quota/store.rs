//! The limits of this machine's accounts, in files that all runs share.
//!
//! An account has a directory with a file for each of its limits. A run leases units from
//! the file of each limit that it states ([`state`](crate::quota::state)), and reports its
//! requests to those that other runs of the account state, so that each limit knows all
//! requests of the account.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use crate::config::{LINGER, Policy, Settings};
use crate::quota::file::{self, Contents, LimitFile};
use crate::quota::leased::{LeaseReply, LeaseRequest, QuotaHandle, QuotaStore, ScopeKey};
use crate::quota::runs::{self, RunRegistry};
use crate::quota::state::{ClockReading, ClockSnapshot, QuotaState};
use crate::quota::terms::Quota;
use crate::time::{Time, now};

/// Names of an account's directories, and what an earlier version has left of a limit.
pub trait AccountNames: std::fmt::Debug + Send + Sync {
    /// The name of the directory of the account of this key.
    fn directory(&self, key: ScopeKey<'_>) -> String;

    /// The state of a limit that an earlier version kept elsewhere; taken once.
    fn earlier(&self, _quota: &Quota, _key: ScopeKey<'_>) -> io::Result<Option<QuotaState>> {
        Ok(None)
    }
}

/// An account by a name that users give it.
#[derive(Debug)]
pub struct NamedAccount {
    name: String,
}

impl NamedAccount {
    /// The account with this name.
    #[must_use]
    pub fn new(name: &str) -> NamedAccount {
        NamedAccount { name: name.to_owned() }
    }
}

impl AccountNames for NamedAccount {
    fn directory(&self, key: ScopeKey<'_>) -> String {
        let key = match key {
            ScopeKey::Run => String::new(),
            ScopeKey::Pool(index) => format!("pool {index}"),
            ScopeKey::Key(key) => format!("key {key}"),
        };
        let hash = file::checksum(format!("{}\n{key}", self.name).as_bytes());
        format!("{}-{hash:016x}", file_name(&self.name))
    }
}

/// The directory of the accounts: `throng/quotas` in `XDG_STATE_HOME` if that is set, else in
/// the platform's directory for state; none if the environment names neither that nor the
/// home directory.
#[must_use]
pub fn state_directory(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = environment(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let usual = || {
        let home = absolute("HOME");
        match std::env::consts::OS {
            "macos" => home.map(|home| home.join("Library/Application Support")),
            "windows" => absolute("LOCALAPPDATA"),
            _ => home.map(|home| home.join(".local/state")),
        }
    };
    let base = absolute("XDG_STATE_HOME").or_else(usual)?;
    Some(base.join("throng/quotas"))
}

/// A text as part of a file name.
fn file_name(text: &str) -> String {
    let replace = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    text.chars().take(60).map(replace).collect()
}

/// The accounts of this machine, for one run.
#[derive(Debug, Clone)]
pub struct FileQuotaStore {
    shared: Arc<StoreShared>,
    names: Arc<dyn AccountNames>,
}

#[derive(Debug)]
struct StoreShared {
    directory: PathBuf,
    runs: RunRegistry,
    /// Directory and unit of which a handle reports to the limits of other runs.
    reported: Mutex<HashSet<(PathBuf, String)>>,
    failure: OnceLock<String>,
    /// Other runs that have stated the limits of this one, or have reported to them, by the
    /// name of the limit.
    others: Mutex<HashMap<String, HashSet<String>>>,
}

/// The state of a shared limit, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaBalance {
    /// Units that are left now.
    pub left: u64,
    /// Units leased by runs that died. Those that were in flight may still arrive.
    pub of_dead: u64,
    /// For how long these may still arrive.
    pub arriving: Duration,
    /// Processes of other runs that share the limit now.
    pub processes: Vec<u32>,
    /// The time until a unit is available, if none is left and it is known.
    pub wait: Option<Duration>,
    /// Units that have been used, by the time until they are available again.
    pub used: Vec<(Duration, u64)>,
}

impl QuotaBalance {
    /// The balance of a limit that no run has used.
    #[must_use]
    pub fn unused(quota: &Quota) -> QuotaBalance {
        QuotaBalance {
            left: quota.units,
            of_dead: 0,
            arriving: Duration::ZERO,
            processes: Vec::new(),
            wait: None,
            used: Vec::new(),
        }
    }
}

impl FileQuotaStore {
    /// Opens the accounts in a directory, which is created if it doesn't exist.
    ///
    /// # Errors
    /// If the directory can't be created, or nothing can be written in it.
    pub fn open(directory: &Path, names: Arc<dyn AccountNames>) -> io::Result<FileQuotaStore> {
        create_private(directory)?;
        let runs = RunRegistry::start(&runs_in(directory))?;
        let shared = StoreShared {
            directory: directory.to_owned(),
            runs,
            reported: Mutex::default(),
            failure: OnceLock::new(),
            others: Mutex::default(),
        };
        // What can't be removed now is found again by the next run.
        let _ = remove_unused(directory, &shared.runs);
        Ok(FileQuotaStore { shared: Arc::new(shared), names })
    }

    /// The directory of the accounts.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Number of other runs that have shared a limit with this one.
    #[must_use]
    pub fn other_runs(&self, limit: &str) -> usize {
        self.shared.others().get(limit).map_or(0, HashSet::len)
    }

    /// The store with the names of another account.
    #[must_use]
    pub fn with_names(&self, names: Arc<dyn AccountNames>) -> FileQuotaStore {
        FileQuotaStore { names, ..self.clone() }
    }
}

/// The balance of a shared limit, without a lease.
///
/// # Errors
/// If its file can't be read.
pub fn balance(
    directory: &Path,
    names: &dyn AccountNames,
    quota: &Quota,
    key: ScopeKey<'_>,
) -> io::Result<QuotaBalance> {
    let path = path_of(directory, names, quota, key);
    let mut state = match file::read(&path)? {
        Some(contents) => contents.state,
        None => names.earlier(quota, key)?.unwrap_or_default(),
    };
    let is_alive = |run: &str| runs::is_alive(&runs_in(directory), run);
    let now = read_clocks(now());
    if !state.runs().any(is_alive) {
        state.take_over(&now, "", other_states(&path, quota)?, quota);
    }
    let (of_dead, arriving) = state.of_dead(&now, quota, &is_alive);
    state.advance(&now, quota, &is_alive);
    let left = state.left(&now, quota, None);
    let back = (left == 0).then(|| state.free_at(&now, quota, 1)).flatten();
    let mut processes: Vec<u32> = state.runs().filter_map(runs::process_of).collect();
    processes.dedup();
    let used = state.used(&now, quota).into_iter();
    Ok(QuotaBalance {
        left,
        of_dead,
        arriving,
        processes,
        wait: back.map(|it| it.since(now.time)),
        used: used.map(|(time, units)| (time.since(now.time), units)).collect(),
    })
}

impl StoreShared {
    fn others(&self) -> MutexGuard<'_, HashMap<String, HashSet<String>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the other runs that share this limit now.
    fn meet(&self, limit: &str, state: &QuotaState) {
        for run in state.runs().filter(|run| !self.runs.is_own(run)) {
            let mut others = self.others();
            let known = others.entry(limit.to_owned()).or_default();
            known.insert(runs::id_of(run).to_owned());
        }
    }
}

/// The processes of the runs that share limits of this key's account now.
///
/// # Errors
/// If a limit's file can't be read.
pub fn processes(
    directory: &Path,
    names: &dyn AccountNames,
    key: ScopeKey<'_>,
) -> io::Result<Vec<u32>> {
    let account = directory.join(names.directory(key));
    let mut processes = Vec::new();
    // No file has the directory's own name.
    for path in other_paths(&account.join("any"))? {
        let Some(contents) = file::read(&path)? else { continue };
        let runs = contents.state.runs().filter(|run| runs::is_alive(&runs_in(directory), run));
        processes.extend(runs.filter_map(runs::process_of));
    }
    processes.sort_unstable();
    processes.dedup();
    Ok(processes)
}

impl QuotaStore for FileQuotaStore {
    fn account(&self, quota: &Quota, key: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>> {
        let directory = self.shared.directory.join(self.names.directory(key));
        let mut handle = FileQuotaHandle {
            name: self.shared.runs.next_name(),
            path: path_of(&self.shared.directory, &*self.names, quota, key),
            directory,
            quota: quota.clone(),
            file: None,
            reports: false,
            others: Vec::new(),
            listed: None,
            others_lease: false,
            shared: self.shared.clone(),
        };
        let earlier = || self.names.earlier(quota, key);
        if let Err(error) = handle.open(earlier) {
            handle.fail(&error);
        }
        Some(Box::new(handle))
    }

    fn trouble(&self) -> Option<String> {
        self.shared.failure.get().cloned()
    }
}

/// The file of one limit, through which a limiter leases units, and those of the other
/// limits of the account that count the same requests.
#[derive(Debug)]
struct FileQuotaHandle {
    /// The name under which its leased units are kept.
    name: String,
    directory: PathBuf,
    path: PathBuf,
    quota: Quota,
    file: Option<LimitFile>,
    /// Whether it reports to the limits of other runs. One handle does for each unit.
    reports: bool,
    others: Vec<OtherLimit>,
    /// When the directory had changed last as it was read.
    listed: Option<SystemTime>,
    others_lease: bool,
    shared: Arc<StoreShared>,
}

/// A limit that only other runs of the account state.
#[derive(Debug)]
struct OtherLimit {
    file: LimitFile,
    /// The limit, where its text says all of it. This run keeps it while another states it.
    quota: Option<Quota>,
    /// Arrivals that it doesn't know yet.
    arrived: Vec<(Time, i64)>,
}

/// The limit that a text states, with the settings that it has by itself.
fn quota_of(limit: &str) -> Option<Quota> {
    let settings = Settings { rate: vec![limit.parse().ok()?], ..Settings::default() };
    let policy = Policy::new(&settings, LINGER).ok()?;
    policy.rules().first()?.quota()
}

impl QuotaHandle for FileQuotaHandle {
    fn exchange(&mut self, now: Time, request: &LeaseRequest<'_>) -> LeaseReply {
        self.try_exchange(now, request).unwrap_or_else(|error| self.fail(&error))
    }

    fn others_lease(&self) -> bool {
        self.others_lease
    }

    fn allow(&mut self, units: u64) {
        self.quota.units = units;
    }

    fn close(&mut self) -> bool {
        self.try_close().unwrap_or(true)
    }
}

impl FileQuotaHandle {
    fn fail(&mut self, error: &io::Error) -> LeaseReply {
        let message = store_error(&self.path, error);
        self.shared.failure.get_or_init(|| message);
        LeaseReply::Failed
    }

    /// Opens the file and registers this run in it. A file that is new, or to which no run
    /// has reported for a while, takes over what the account's other limits know.
    fn open(&mut self, earlier: impl Fn() -> io::Result<Option<QuotaState>>) -> io::Result<()> {
        // One run at a time joins an account, so that each sees the files of all others.
        let lock = lock_directory(&self.directory)?;
        let mut limit = LimitFile::open(&self.path)?;
        let begin = now();
        let mut locked = loop {
            match limit.lock()? {
                Some(locked) => break locked,
                None if now().since(begin) > LOCK_TIMEOUT => return Err(is_locked()),
                None => {}
            }
        };
        let mut contents = match locked.contents() {
            Some(contents) => contents.clone(),
            None => self.new_contents(earlier()?.unwrap_or_default()),
        };
        let (now, runs) = (read_clocks(now()), &self.shared.runs);
        let has_runs = contents.state.runs().any(|run| runs.is_alive(run));
        if !has_runs {
            let others = other_states(&self.path, &self.quota)?;
            contents.state.take_over(&now, &self.name, others, &self.quota);
        }
        contents.state.advance(&now, &self.quota, &|run| runs.is_alive(run));
        self.shared.meet(&self.quota.name, &contents.state);
        contents.state.report(&now, &self.quota, &self.name, &LeaseRequest::default());
        locked.put(contents.clone(), self.quota.is_durable())?;
        // The directory changes, so that all other runs look for this one's limits.
        lock.set_modified(SystemTime::now())?;
        let others = if has_runs { Vec::new() } else { other_states(&self.path, &self.quota)? };
        if !others.is_empty() {
            // Others may have used units before they could see this limit.
            contents.state.take_over(&now, &self.name, others, &self.quota);
            locked.put(contents, self.quota.is_durable())?;
        }
        drop(locked);
        self.file = Some(limit);
        let reported = (self.directory.clone(), self.quota.unit.clone());
        let is_first = self.reported().insert(reported);
        self.reports = is_first;
        drop(lock);
        Ok(())
    }

    fn new_contents(&self, state: QuotaState) -> Contents {
        Contents {
            limit: self.quota.name.clone(),
            unit: self.quota.unit.clone(),
            removed: false,
            state,
        }
    }

    /// Opens the limits that only other runs state, when a run has joined the account.
    fn list_others(&mut self) -> io::Result<()> {
        let changed = fs::metadata(&self.directory)?.modified()?;
        if !self.reports || self.listed == Some(changed) {
            return Ok(());
        }
        let mut others = Vec::new();
        for path in other_paths(&self.path)? {
            if let Some(place) = self.others.iter().position(|other| other.file.path() == path) {
                others.push(self.others.swap_remove(place));
            } else if self.is_of_others(&path)? {
                let file = LimitFile::open(&path)?;
                let quota = file::read(&path)?.and_then(|contents| quota_of(&contents.limit));
                others.push(OtherLimit { file, quota, arrived: Vec::new() });
            }
        }
        self.others = others;
        // Another run may join within the precision of the file system's times.
        let is_old = changed.elapsed().is_ok_and(|age| age > TIME_PRECISION);
        self.listed = Some(changed).filter(|_| is_old);
        Ok(())
    }

    /// Whether only other runs that live state the limit of this file, for the same unit.
    fn is_of_others(&self, path: &Path) -> io::Result<bool> {
        let Some(contents) = file::read(path)? else {
            return Ok(false);
        };
        let runs = &self.shared.runs;
        let has_own = contents.state.runs().any(|run| runs.is_own(run));
        let has_others = contents.state.runs().any(|run| runs.is_alive(run));
        Ok(contents.unit == self.quota.unit && !has_own && has_others)
    }

    fn reported(&self) -> MutexGuard<'_, HashSet<(PathBuf, String)>> {
        self.shared.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_exchange(&mut self, now: Time, request: &LeaseRequest<'_>) -> io::Result<LeaseReply> {
        if self.shared.failure.get().is_some() {
            return Ok(LeaseReply::Failed);
        }
        if !self.shared.runs.is_registered() {
            let text = "something else has removed the file that shows that this run goes on";
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        if self.file.is_none() {
            // It was idle for a while.
            self.open(|| Ok(None))?;
        }
        let Some(file) = &mut self.file else {
            return Ok(LeaseReply::Failed);
        };
        let Some(locked) = file.lock()? else {
            return Ok(LeaseReply::Busy);
        };
        let Some(mut contents) = locked.contents().cloned() else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty"));
        };
        let (clocks, runs) = (read_clocks(now), &self.shared.runs);
        contents.state.advance(&clocks, &self.quota, &|run| runs.is_alive(run));
        self.shared.meet(&self.quota.name, &contents.state);
        let reply = contents.state.exchange(&clocks, &self.quota, &self.name, request);
        self.others_lease = contents.state.leased_by_others(&self.name) > 0;
        locked.write(contents, self.quota.is_durable())?;
        let LeaseReply::Units(granted) = reply else {
            self.report_to_others(&clocks, request, 0)?;
            return Ok(reply);
        };
        // Units that another limit has no room for are not sent: the next exchange gives them
        // back.
        let allowed = self.report_to_others(&clocks, request, granted)?;
        Ok(if allowed >= request.least {
            LeaseReply::Units(allowed)
        } else {
            LeaseReply::Later(Some(now))
        })
    }

    /// Reports to the limits that only other runs state, and gives how many of the granted
    /// units all of them have room for.
    fn report_to_others(
        &mut self,
        now: &ClockSnapshot,
        request: &LeaseRequest<'_>,
        granted: u64,
    ) -> io::Result<u64> {
        self.list_others()?;
        let (lease, runs, mut allowed) = (self.quota.lease(), &self.shared.runs, granted);
        for other in &mut self.others {
            other.arrived.extend_from_slice(request.arrived);
            let report = LeaseRequest { arrived: &other.arrived, ..*request };
            let Some(locked) = other.file.lock()? else {
                allowed = 0;
                continue;
            };
            if let Some(mut contents) = locked.contents().cloned() {
                contents.state.report_other(now, lease, &self.name, &report);
                let is_other = |run: &str| !runs.is_own(run) && runs.is_alive(run);
                if let Some(quota) = &other.quota
                    && allowed > 0
                    && contents.state.runs().any(is_other)
                {
                    let mut state = contents.state.clone();
                    state.advance(now, quota, &|run| runs.is_alive(run));
                    allowed = allowed.min(state.left(now, quota, Some(&self.name)));
                }
                let report = LeaseRequest { arrived: &[], kept: request.kept + allowed, ..report };
                contents.state.report_other(now, lease, &self.name, &report);
                locked.write(contents, false)?;
            }
            other.arrived.clear();
        }
        Ok(allowed)
    }

    fn try_close(&mut self) -> io::Result<bool> {
        // A limit that is new may have taken over what this run leases.
        self.list_others()?;
        for other in &mut self.others {
            let Some(locked) = other.file.lock()? else {
                return Ok(false);
            };
            if let Some(mut contents) = locked.contents().cloned() {
                contents.state.count_all(&other.arrived);
                contents.state.end_run(&self.name);
                locked.write(contents, false)?;
            }
            other.arrived.clear();
        }
        if let Some(file) = &mut self.file {
            let Some(locked) = file.lock()? else {
                return Ok(false);
            };
            if let Some(mut contents) = locked.contents().cloned() {
                contents.state.end_handle(&self.name);
                if contents.state.is_empty() && !self.quota.is_durable() {
                    locked.remove()?;
                    remove_if_empty(&self.directory);
                } else {
                    locked.write(contents, self.quota.is_durable())?;
                }
            }
        }
        (self.file, self.listed) = (None, None);
        self.others.clear();
        if std::mem::take(&mut self.reports) {
            let reported = (self.directory.clone(), self.quota.unit.clone());
            self.reported().remove(&reported);
        }
        Ok(true)
    }
}

const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

fn is_locked() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "another process has kept it locked for 5 s")
}

/// Precision of the times that file systems give.
const TIME_PRECISION: Duration = Duration::from_millis(20);

/// Locks an account's directory, which is created if it doesn't exist.
fn lock_directory(path: &Path) -> io::Result<fs::File> {
    let begin = now();
    loop {
        create_private(path)?;
        match file::lock_directory(path) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            // Another run has just removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if now().since(begin) > LOCK_TIMEOUT {
            return Err(is_locked());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Age after which the file of a limit with a short period has no use any more.
const UNUSED: Duration = Duration::from_secs(3_600);
/// Maximum number of accounts that one run looks at for unused files.
const LOOKED_AT: usize = 1_000;

/// Removes files of limits that no run has used for long: each key of a scope has one.
fn remove_unused(directory: &Path, runs: &RunRegistry) -> io::Result<()> {
    for account in fs::read_dir(directory)?.take(LOOKED_AT) {
        let account = account?.path();
        for path in other_paths(&account.join("any"))? {
            let is_old = path.metadata()?.modified()?.elapsed().is_ok_and(|age| age > UNUSED);
            if !is_old {
                continue;
            }
            let mut file = LimitFile::open(&path)?;
            let Some(locked) = file.lock()? else { continue };
            let is_unused = locked.contents().is_some_and(|contents| {
                let is_short = quota_of(&contents.limit).is_some_and(|it| !it.is_durable());
                is_short && !contents.state.runs().any(|run| runs.is_alive(run))
            });
            if is_unused {
                locked.remove()?;
            }
        }
        remove_if_empty(&account);
    }
    Ok(())
}

/// Removes an account's directory that has no limit any more, unless a run is joining.
fn remove_if_empty(directory: &Path) {
    if let Ok(Some(_lock)) = file::lock_directory(directory) {
        // One that is not empty stays.
        let _ = fs::remove_dir(directory);
    }
}

/// The states of the other limits of the account that count the same unit.
fn other_states(path: &Path, quota: &Quota) -> io::Result<Vec<QuotaState>> {
    let mut others = Vec::new();
    for path in other_paths(path)? {
        let contents = file::read(&path)?.filter(|contents| contents.unit == quota.unit);
        others.extend(contents.map(|contents| contents.state));
    }
    Ok(others)
}

/// The files of the other limits of an account.
fn other_paths(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(directory) = path.parent().filter(|directory| directory.is_dir()) else {
        return Ok(Vec::new());
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let other = entry?.path();
        let is_limit = other.extension().is_some_and(|extension| extension == "limit");
        if is_limit && other != path {
            paths.push(other);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The file of a limit in its account's directory.
#[must_use]
pub fn path_of(
    directory: &Path,
    names: &dyn AccountNames,
    quota: &Quota,
    key: ScopeKey<'_>,
) -> PathBuf {
    let text = format!("{} {}", quota.unit, quota.name);
    let hash = file::checksum(text.as_bytes());
    let name = file_name(&text);
    directory.join(names.directory(key)).join(format!("{name}-{hash:016x}.limit"))
}

fn runs_in(directory: &Path) -> PathBuf {
    directory.join("runs")
}

/// Creates a directory that only its owner can read: names show the servers.
///
/// # Errors
/// What the system says.
pub fn create_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// The sentence that a limit's file, or its directory, can't be used.
#[must_use]
pub fn store_error(path: &Path, error: &io::Error) -> String {
    let advice = if error.kind() == io::ErrorKind::NotFound {
        "Start it again when nothing was sent for one period of the limit"
    } else {
        "Repair the file; if nothing was sent for one period of the limit, delete it"
    };
    format!(
        "{} keeps the use of a limit for all runs of the account, and {error}; so nothing more is sent. \
         {advice}",
        path.display()
    )
}

/// All clocks, read at one time.
fn read_clocks(time: Time) -> ClockSnapshot {
    let up = now().since(Time::ZERO).as_micros();
    ClockSnapshot {
        time,
        clock: ClockReading {
            wall: jiff::Timestamp::now().as_microsecond(),
            up: i64::try_from(up).unwrap_or(i64::MAX),
            boot: boot().map(str::to_owned),
        },
    }
}

/// The id of the machine's start, from which the limits' clock counts.
fn boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    };
    BOOT.get_or_init(read).as_deref()
}
