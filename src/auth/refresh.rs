//! A refresh token that lives in a file: what runs share, and replace when the server
//! gives a new one. [door: files]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::file_lock;
use crate::secret::{Secret, SecretSource};

/// A file that holds a refresh token, and nothing else.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    source: SecretSource,
}

impl TokenFile {
    /// The file that `file:PATH` names; none if the text is no such thing.
    ///
    /// # Errors
    /// Why the file can't be read, or not be replaced.
    pub fn of(text: &str) -> Result<Option<TokenFile>, String> {
        if !text.starts_with("file:") {
            return Ok(None);
        }
        let source = SecretSource::parse(text)?;
        let SecretSource::File(path) = &source else {
            return Ok(None);
        };
        let file = TokenFile {
            path: path.clone(),
            source,
        };
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

    /// The token that it has now.
    pub fn read(&self) -> Result<Secret, String> {
        self.source.read()
    }

    /// Keeps other runs from using its token as long as the answer lives; none if
    /// another run does just now.
    pub fn hold(&self) -> Result<Option<File>, String> {
        self.try_hold()
            .map_err(|error| self.wrong("locked", &error))
    }

    fn try_hold(&self) -> io::Result<Option<File>> {
        loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).open(&self.path);
            // What can't be written can be locked all the same.
            let file = file.or_else(|_| File::open(&self.path))?;
            if !file_lock::lock(&file)? {
                return Ok(None);
            }
            // The run before may have put another file in its place.
            if file_lock::is_at(&file, &self.path) {
                return Ok(Some(file));
            }
        }
    }

    /// Puts another token in its place, for the user alone to read. When it returns,
    /// that is on the disk. A link stays a link.
    pub fn replace(&self, token: &str) -> Result<(), String> {
        self.try_replace(token)
            .map_err(|error| self.wrong("replaced", &error))
    }

    fn try_replace(&self, token: &str) -> io::Result<()> {
        let path = self.path.canonicalize()?;
        let mut name = path.clone().into_os_string();
        name.push(".new");
        // One that a crash has left.
        let _ = fs::remove_file(&name);
        let put = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut new = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&name)?;
            writeln!(new, "{token}")?;
            new.sync_all()?;
            fs::rename(&name, &path)
        };
        put().inspect_err(|_| {
            let _ = fs::remove_file(&name);
        })?;
        File::open(folder(&path))?.sync_all()
    }

    /// Why it could not be replaced, as far as that is known before it is tried.
    pub fn note(&self) -> Option<String> {
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

    /// Its path, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn wrong(&self, what: &str, error: &io::Error) -> String {
        format!("{} can't be {what}: {error}", self.path.display())
    }
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
    fn it_is_replaced_as_a_whole_where_a_link_leads() {
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
    fn one_holds_it_at_a_time_also_when_it_was_replaced_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "first").unwrap();
        let (one, other) = (file(&path), file(&path));
        let held = one.hold().unwrap().unwrap();
        assert!(other.hold().unwrap().is_none());
        one.replace("second").unwrap();
        drop(held);
        let held = other.hold().unwrap().unwrap();
        assert_eq!(other.read().unwrap().expose(), "second");
        assert!(one.hold().unwrap().is_none());
        drop(held);
    }

    #[test]
    fn what_can_not_be_a_token_s_file_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let of = |text: &str| TokenFile::of(text);
        assert!(of("a-token").unwrap().is_none());
        let why = of("file:/no/such").unwrap_err();
        assert!(why.starts_with("/no/such can't be read:"), "{why}");
        let why = of(&format!("file:{}", directory.path().display())).unwrap_err();
        assert!(why.contains("is no file that could be replaced"), "{why}");
    }
}
