//! A refresh token: one of the job, or one in a file, which runs share and replace when
//! the server gives a new one. Does I/O: files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::fs::file_lock;
use crate::render::StaticValue;
use crate::secret::{Secret, SecretSource};

/// The refresh token of a run.
pub struct RefreshToken {
    origin: RefreshOrigin,
    /// The last token that the server gave, unless the origin has it.
    given: Option<Secret>,
    /// The last token that was sent.
    sent: Option<Secret>,
}

/// The place that a refresh token is read from.
pub enum RefreshOrigin {
    /// The job, or a value that its templates use. It can't be replaced.
    Job(StaticValue),
    File(TokenFile),
}

impl RefreshToken {
    pub fn new(origin: RefreshOrigin) -> RefreshToken {
        RefreshToken { origin, given: None, sent: None }
    }

    /// The current token, for a request. In a file it may be another run's.
    pub fn send(&mut self) -> Result<Secret, String> {
        let token = match (&self.given, &self.origin) {
            (Some(given), _) => given.clone(),
            (None, RefreshOrigin::Job(text)) => text.get()?,
            (None, RefreshOrigin::File(file)) => {
                let token = file.read();
                token.map_err(|why| format!("auth.refresh-token (--auth): {why}"))?
            }
        };
        self.sent = Some(token.clone());
        Ok(token)
    }

    /// Keeps a token that the server gave.
    ///
    /// # Errors
    /// Why it is lost when the run ends.
    pub fn keep(&mut self, given: Secret) -> Result<(), String> {
        if self.given.is_none() && self.sent.as_ref() == Some(&given) {
            return Ok(());
        }
        const LOST: &str = "the server gave a new refresh token, which is lost now that the run has ended: log in anew for the next run";
        let kept = match &self.origin {
            RefreshOrigin::Job(_) => Err(format!(
                "{LOST}, and give auth.refresh-token = \"file:PATH\" (--auth), which keeps new ones"
            )),
            RefreshOrigin::File(file) => {
                file.replace(given.expose()).map_err(|why| format!("{LOST}; {why}"))
            }
        };
        self.given = kept.is_err().then_some(given);
        kept
    }

    /// The token's file, if it has one.
    pub fn file(&self) -> Option<&TokenFile> {
        match &self.origin {
            RefreshOrigin::File(file) => Some(file),
            RefreshOrigin::Job(_) => None,
        }
    }

    /// Why a new token would be lost, if so.
    pub fn loss_warning(&self) -> Option<String> {
        match &self.origin {
            RefreshOrigin::File(file) => file.loss_warning(),
            RefreshOrigin::Job(_) => Some(
                "if the server gives a new refresh token with each access token, it is lost when the run ends, and the next run is locked out: auth.refresh-token = \"file:PATH\" (--auth) reads it from a file, and keeps the new one there".into(),
            ),
        }
    }
}

/// A file that holds a refresh token and nothing else.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    source: SecretSource,
}

impl TokenFile {
    /// The file that `file:PATH` names; none for another text.
    ///
    /// # Errors
    /// Why the file can't be read or replaced.
    pub fn of(text: &str) -> Result<Option<TokenFile>, String> {
        if !text.starts_with("file:") {
            return Ok(None);
        }
        let source = SecretSource::parse(text)?;
        let SecretSource::File(path) = &source else {
            return Ok(None);
        };
        let file = TokenFile { path: path.clone(), source };
        let kind = fs::metadata(&file.path).map(|it| it.is_file());
        if kind.map_err(|error| file.wrong("read", &error))? {
            Ok(Some(file))
        } else {
            Err(format!(
                "{} is no file that could be replaced when the server gives a new token",
                file.path.display()
            ))
        }
    }

    /// The token that the file holds now.
    pub fn read(&self) -> Result<Secret, String> {
        self.source.read()
    }

    /// Keeps other runs from using the token while the returned file lives; none if another
    /// run holds it now.
    pub fn lock(&self) -> Result<Option<File>, String> {
        self.try_lock().map_err(|error| self.wrong("locked", &error))
    }

    fn try_lock(&self) -> io::Result<Option<File>> {
        loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).open(&self.path);
            // A file that can't be written can still be locked.
            let file = file.or_else(|_| File::open(&self.path))?;
            if !file_lock::lock(&file)? {
                return Ok(None);
            }
            // Another run may have replaced the file.
            if file_lock::is_at(&file, &self.path) {
                return Ok(Some(file));
            }
        }
    }

    /// Replaces the token by one that only the user may read, and syncs it to the disk.
    /// A link stays a link.
    pub fn replace(&self, token: &str) -> Result<(), String> {
        self.try_replace(token).map_err(|error| self.wrong("replaced", &error))
    }

    fn try_replace(&self, token: &str) -> io::Result<()> {
        let path = self.path.canonicalize()?;
        let mut name = path.clone().into_os_string();
        name.push(".new");
        // A crash may have left one.
        fs::remove_file(&name).ok();
        let put = write_private(&name, token).and_then(|()| fs::rename(&name, &path));
        if put.is_err() {
            fs::remove_file(&name).ok();
        }
        put?;
        File::open(folder(&path))?.sync_all()
    }

    /// Why the file can't be replaced, as far as its folder's permissions tell.
    pub fn loss_warning(&self) -> Option<String> {
        let path = self.path.canonicalize().ok()?;
        let folder = folder(&path);
        let may = access(folder, Access::WRITE_OK | Access::EXEC_OK);
        let error = io::Error::from(may.err()?);
        Some(format!(
            "if the server gives a new refresh token, it can't be put in the place of {} ({}: {error}), and is lost when the run ends",
            path.display(),
            folder.display()
        ))
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn wrong(&self, what: &str, error: &io::Error) -> String {
        format!("{} can't be {what}: {error}", self.path.display())
    }
}

/// Writes a new file that only the user may read.
fn write_private(path: impl AsRef<Path>, token: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn file(path: &Path) -> TokenFile {
        let file = TokenFile::of(&format!("file:{}", path.display()));
        file.unwrap().unwrap()
    }

    #[test]
    fn a_token_is_replaced_as_a_whole_behind_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("a/token"), directory.path().join("b"));
        fs::create_dir(directory.path().join("a")).unwrap();
        fs::write(&path, "first\n").unwrap();
        fs::write(directory.path().join("a/token.new"), "left by a crash").unwrap();
        symlink(&path, &link).unwrap();
        let token = file(&link);
        token.replace("second").unwrap();
        assert_eq!(token.read().unwrap().expose(), "second");
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let left = fs::read_dir(directory.path().join("a")).unwrap();
        assert_eq!(left.count(), 1);
    }

    #[test]
    fn one_run_locks_a_token_at_a_time_also_after_a_replacement() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "first").unwrap();
        let (one, other) = (file(&path), file(&path));
        let held = one.lock().unwrap().unwrap();
        assert!(other.lock().unwrap().is_none());
        one.replace("second").unwrap();
        drop(held);
        let held = other.lock().unwrap().unwrap();
        assert_eq!(other.read().unwrap().expose(), "second");
        assert!(one.lock().unwrap().is_none());
        drop(held);
    }

    #[test]
    fn a_path_that_can_not_be_a_token_s_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let of = |text: &str| TokenFile::of(text);
        assert!(of("a-token").unwrap().is_none());
        let why = of("file:/no/such").unwrap_err();
        assert!(why.starts_with("/no/such can't be read:"), "{why}");
        let why = of(&format!("file:{}", directory.path().display())).unwrap_err();
        assert!(why.contains("is no file that could be replaced"), "{why}");
    }
}
