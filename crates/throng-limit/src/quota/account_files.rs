//! The files that one handle works on: that of its own limit, and those of the limits that
//! only other runs of the account state.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::quota::account::{OtherLimit, quota_of};
use crate::quota::directory::limit_paths;
use crate::quota::file::{self, Contents, FileError, LimitFile, LockedFile};
use crate::quota::terms::Quota;

/// The files of one handle.
#[derive(Debug)]
pub struct AccountFiles {
    own: LimitFile,
    others: Vec<OtherFile>,
    /// When the directory had changed last as the others were listed.
    listed: Option<SystemTime>,
}

/// The file of a limit, and the limit, if its text says all of it.
#[derive(Debug)]
struct OtherFile {
    file: LimitFile,
    quota: Option<Quota>,
}

/// Files that no other run changes while this is held.
pub struct LockedFiles<'a> {
    /// The file of the handle's limit.
    pub own: LockedFile<'a>,
    /// The content of that; none if it is new.
    pub contents: Option<Contents>,
    /// The other limits that have a content.
    pub others: Vec<LockedOther<'a>>,
}

/// The file of another limit that no other run changes while this is held.
pub struct LockedOther<'a> {
    file: LockedFile<'a>,
    quota: Option<&'a Quota>,
    /// Its content, which is written by [`write`](LockedOther::write).
    pub contents: Contents,
}

impl OtherFile {
    /// Opens a limit's file, if it has a content that `is_other` knows.
    fn open(path: &Path, is_other: impl Fn(&Contents) -> bool) -> io::Result<Option<OtherFile>> {
        let Some(contents) = file::read(path)?.filter(is_other) else { return Ok(None) };
        let file = LimitFile::open_existing(path)?;
        Ok(file.map(|file| OtherFile { file, quota: quota_of(&contents.limit) }))
    }
}

impl AccountFiles {
    /// Opens the file of the handle's limit, which is created if it doesn't exist. One run at a
    /// time does so in an account.
    pub fn open(own: &Path) -> io::Result<AccountFiles> {
        let own = match LimitFile::open_existing(own)? {
            Some(own) => own,
            None => LimitFile::create(own)?,
        };
        Ok(AccountFiles { own, others: Vec::new(), listed: None })
    }

    /// Opens the files of other limits, unless they are listed: those that are not this run's own,
    /// and whose content `is_other` knows.
    pub fn list(
        &mut self,
        is_own: impl Fn(&Path) -> bool,
        is_other: impl Fn(&Contents) -> bool,
    ) -> io::Result<()> {
        if self.listed.is_some() {
            return Ok(());
        }
        let changed = changed(self.directory())?;
        let mut known = std::mem::take(&mut self.others);
        let paths = limit_paths(self.directory())?.into_iter();
        for path in paths.filter(|path| path != self.own.path() && !is_own(path)) {
            if let Some(index) = known.iter().position(|other| other.file.path() == path) {
                self.others.push(known.swap_remove(index));
            } else if let Some(other) =
                OtherFile::open(&path, &is_other).map_err(FileError::of(&path))?
            {
                self.others.push(other);
            }
        }
        self.listed = Some(changed);
        Ok(())
    }

    /// The content of the handle's limit that was read or written last.
    pub fn into_contents(self) -> Option<Contents> {
        self.own.into_contents()
    }

    /// Lists the others anew when the files are next locked.
    pub fn forget_others(&mut self) {
        self.others.clear();
        self.listed = None;
    }

    /// Locks all files in the order of their paths, as all runs do; none if another run
    /// holds one, or has joined or left the account since they were listed: then they are listed
    /// anew before the next time.
    pub fn lock(&mut self) -> io::Result<Option<LockedFiles<'_>>> {
        let directory = self.directory().to_owned();
        let before = self.others.partition_point(|other| other.file.path() < self.own.path());
        let (before, after) = self.others.split_at_mut(before);
        let mut others = Vec::new();
        if !lock_others(before, &mut others)? {
            return Ok(None);
        }
        let Some(own) = self.own.lock()? else { return Ok(None) };
        if !lock_others(after, &mut others)? {
            return Ok(None);
        }
        if self.listed.is_some() && self.listed != Some(changed(&directory)?) {
            self.listed = None;
            return Ok(None);
        }
        let contents = own.contents().cloned();
        Ok(Some(LockedFiles { own, contents, others }))
    }

    /// The account's directory.
    fn directory(&self) -> &Path {
        self.own.path().parent().unwrap_or(self.own.path())
    }
}

/// When a directory has changed last.
fn changed(directory: &Path) -> io::Result<SystemTime> {
    fs::metadata(directory)?.modified()
}

/// Locks files; false if another run holds one.
fn lock_others<'a>(
    files: &'a mut [OtherFile],
    locked: &mut Vec<LockedOther<'a>>,
) -> io::Result<bool> {
    for OtherFile { file, quota } in files {
        let path = file.path().to_owned();
        let Some(file) = file.lock().map_err(FileError::of(&path))? else { return Ok(false) };
        if let Some(contents) = file.contents().cloned() {
            locked.push(LockedOther { file, quota: quota.as_ref(), contents });
        }
    }
    Ok(true)
}

impl LockedOther<'_> {
    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The limit of the file.
    pub fn limit(&mut self) -> OtherLimit<'_> {
        OtherLimit { state: &mut self.contents.state, quota: self.quota }
    }

    /// Writes the content. If units are leased on it, and no power cut may lose the use of the
    /// limit, returns when it is on the disk.
    pub fn write(self, leases: bool) -> io::Result<()> {
        let is_durable = self.quota.is_some_and(Quota::is_durable);
        self.file.write(self.contents, leases && is_durable)
    }
}
