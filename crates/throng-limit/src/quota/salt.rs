//! The salt of a machine's names of accounts: it keeps a credential from being guessed from a
//! name. Without it, the accounts that a directory has can't be found again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::duration;
use crate::quota::directory::has_limits;
use crate::quota::lock;

/// Longest wait for another process that creates the salt.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The salt of the names in a directory of accounts; created when it is first needed.
///
/// # Errors
/// It can't be read or written, is damaged, or is missing although the directory has limits of
/// accounts.
pub fn salt(directory: &Path) -> io::Result<[u8; 32]> {
    salt_with_timeout(directory, TIMEOUT)
}

/// Whether the directory has limits of accounts that can't be found again, because its salt is
/// missing or damaged.
#[must_use]
pub fn is_salt_lost(directory: &Path) -> bool {
    let is_lost = match read(&directory.join("salt")) {
        Ok(salt) => salt.is_none(),
        Err(error) => error.kind() == io::ErrorKind::InvalidData,
    };
    is_lost && has_limits(directory).unwrap_or(false)
}

fn salt_with_timeout(directory: &Path, timeout: Duration) -> io::Result<[u8; 32]> {
    let path = directory.join("salt");
    if let Some(salt) = read(&path)? {
        return Ok(salt);
    }
    let new = path.with_extension("new");
    let _lock = lock_with_timeout(&new, timeout)?;
    // Another process may have created it meanwhile.
    let salt = match read(&path)? {
        Some(salt) => salt,
        None if has_limits(directory)? => {
            fs::remove_file(&new)?;
            let text = "the file salt in it, by which its accounts are found, is missing";
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        None => {
            let salt = random()?;
            create(&path, &new, &salt)?;
            return Ok(salt);
        }
    };
    fs::remove_file(&new)?;
    Ok(salt)
}

/// Creates the salt that a directory had, unless it has one. Gives whether it has this one now.
pub fn put_back(directory: &Path, salt: &[u8; 32]) -> io::Result<bool> {
    let path = directory.join("salt");
    let new = path.with_extension("new");
    let _lock = lock_with_timeout(&new, TIMEOUT)?;
    if let Some(known) = read(&path)? {
        fs::remove_file(&new)?;
        return Ok(known == *salt);
    }
    create(&path, &new, salt)?;
    Ok(true)
}

fn create(path: &Path, new: &Path, salt: &[u8; 32]) -> io::Result<()> {
    fs::write(new, salt)?;
    File::open(new)?.sync_all()?;
    fs::rename(new, path)
}

/// Random bytes of the system.
pub fn random() -> io::Result<[u8; 32]> {
    let mut salt = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut salt)?;
    Ok(salt)
}

fn lock_with_timeout(path: &Path, timeout: Duration) -> io::Result<File> {
    let begin = Instant::now();
    loop {
        if let Some(lock) = lock::take_lock(path)? {
            return Ok(lock);
        }
        if begin.elapsed() >= timeout {
            let why = format!(
                "another process has kept {} locked for {}",
                path.display(),
                duration::exact(timeout)
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn read(path: &Path) -> io::Result<Option<[u8; 32]>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file salt in it is damaged");
    // To open another kind of file may wait for ever, as a pipe does for a writer.
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => return Err(damaged()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(_) | Err(_) => {}
    }
    match fs::read(path) {
        Ok(salt) => salt.try_into().map(Some).map_err(|_| damaged()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("the file salt in it: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn directory() -> PathBuf {
        let name = std::thread::current().name().unwrap_or_default().replace(':', "-");
        let directory = std::env::temp_dir().join(format!("throng-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn waiting_for_the_salt_ends_with_an_error() {
        let directory = directory();
        let held = lock::take_lock(&directory.join("salt.new")).unwrap();
        let timeout = Duration::from_millis(2);
        let error = salt_with_timeout(&directory, timeout).unwrap_err();
        assert!(error.to_string().contains("salt.new locked for 2ms"), "{error}");
        drop(held);
        salt_with_timeout(&directory, timeout).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_salt_is_created_once() {
        let directory = directory();
        let first = salt(&directory).unwrap();
        assert_eq!(salt(&directory).unwrap(), first);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        let path = directory.join("salt");
        fs::write(&path, "short").unwrap();
        assert!(salt(&directory).is_err());
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let error = salt(&directory).unwrap_err();
        assert!(error.to_string().contains("salt in it is damaged"), "{error}");
        assert!(!is_salt_lost(&directory), "it has no limits");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn no_salt_is_created_where_limits_are_named_by_another() {
        let directory = directory();
        fs::create_dir_all(directory.join("account")).unwrap();
        fs::create_dir_all(directory.join("runs")).unwrap();
        let first = salt(&directory).unwrap();
        fs::remove_file(directory.join("salt")).unwrap();
        assert_ne!(salt(&directory).unwrap(), first, "an account without a limit");
        fs::write(directory.join("account/a.limit"), "").unwrap();
        assert!(!is_salt_lost(&directory));
        fs::remove_file(directory.join("salt")).unwrap();
        assert!(is_salt_lost(&directory));
        let error = salt(&directory).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        assert!(!directory.join("salt").exists() && !directory.join("salt.new").exists());
        fs::remove_dir_all(directory).unwrap();
    }
}
