//! A secret, and its source, which is read within bounds of time and length. Does I/O:
//! files, commands, threads, clock.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::limit::duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Maximum length of a secret in bytes.
const MAX_LENGTH: usize = 64 * 1024;
/// Maximum time of a reading: a command may ask its user, a pipe may wait for its writer.
const MAX_TIME: Duration = Duration::from_secs(120);
/// Interval at which a reading checks whether to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A text that shows as `***`, wherever it is printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A text that is not printed from now on.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The source of a secret's current value.
#[derive(Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file; the last line break of its contents is no part of the secret.
    File(PathBuf),
    /// A shell command; the last line break of its output is no part of the secret.
    Command(String),
}

impl SecretSource {
    /// Parses `file:PATH` or `command:TEXT`.
    pub fn parse(text: &str) -> Result<SecretSource, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(SecretSource::File(path.into())),
            Some(("command", command)) if !command.trim().is_empty() => {
                Ok(SecretSource::Command(command.into()))
            }
            _ => Err("write \"file:PATH\" or \"command:TEXT\"; a variable of the environment is {{ env.NAME }}".into()),
        }
    }

    /// Reads the current value.
    pub fn read(&self) -> Result<Secret, String> {
        self.read_unless(&|| false)
    }

    /// Reads the current value, unless the run ends first.
    pub fn read_unless(&self, ends: &dyn Fn() -> bool) -> Result<Secret, String> {
        let wait = ReadBounds { since: Instant::now(), limit: MAX_TIME, ends };
        self.read_within(&wait)
    }

    fn read_within(&self, wait: &ReadBounds<'_>) -> Result<Secret, String> {
        let name = self.name();
        let text = match self {
            SecretSource::File(path) => {
                let path = path.clone();
                read(move || File::open(path), wait)
                    .map_err(|why| format!("{name} can't be read: {why}"))?
            }
            SecretSource::Command(command) => {
                output_of(command, wait).map_err(|why| format!("{name} {why}"))?
            }
        };
        if text.len() > MAX_LENGTH {
            return Err(format!("{name} gives more than 64 KiB"));
        }
        let text =
            String::from_utf8(text).map_err(|_| format!("{name} gives what is not UTF-8"))?;
        match text.trim_end_matches(['\n', '\r']) {
            "" => Err(format!("{name} gives nothing")),
            text => Ok(Secret::new(text)),
        }
    }

    fn name(&self) -> String {
        match self {
            SecretSource::File(path) => path.display().to_string(),
            SecretSource::Command(command) => format!("the command {command:?}"),
        }
    }
}

/// The bounds of a reading.
struct ReadBounds<'a> {
    since: Instant,
    limit: Duration,
    /// Whether the run ends.
    ends: &'a dyn Fn() -> bool,
}

impl ReadBounds<'_> {
    /// Refuses to go on when a bound is reached.
    fn check(&self) -> Result<(), String> {
        if (self.ends)() {
            return Err("was not waited for: the run ends".to_owned());
        }
        if self.since.elapsed() >= self.limit {
            Err(format!(
                "did not end within {}, which is all the time that it has",
                duration::exact(self.limit)
            ))
        } else {
            Ok(())
        }
    }
}

/// Reads all bytes, or a little more than the maximum length. Its thread is left behind
/// when a bound is reached.
fn read<R: Read>(
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
    wait: &ReadBounds<'_>,
) -> Result<Vec<u8>, String> {
    wait.check()?;
    let (done, read) = mpsc::channel();
    let work = move || {
        let mut text = Vec::new();
        let all = open().and_then(|from| from.take(MAX_LENGTH as u64 + 1).read_to_end(&mut text));
        // The receiver is gone if a bound was reached.
        let _ = done.send(all.map(|_| text));
    };
    let thread = std::thread::Builder::new().spawn(work);
    thread.map_err(|error| error.to_string())?;
    loop {
        match read.recv_timeout(POLL_INTERVAL) {
            Ok(read) => return read.map_err(|error| error.to_string()),
            Err(RecvTimeoutError::Timeout) => wait.check()?,
            Err(RecvTimeoutError::Disconnected) => return Err("its reader panicked".to_owned()),
        }
    }
}

/// The output of a command. Its stderr is the terminal, so that it can ask the user.
fn output_of(command: &str, wait: &ReadBounds<'_>) -> Result<Vec<u8>, String> {
    wait.check()?;
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    // With a terminal it stays in the foreground group: it can ask, and Ctrl-C ends it.
    let is_apart = File::open("/dev/tty").is_err();
    if is_apart {
        shell.process_group(0);
    }
    let mut child = shell.spawn().map_err(|error| format!("can't be run: {error}"))?;
    let ended = outcome(&mut child, wait);
    if !matches!(ended, Ok((_, Some(_)))) {
        kill(&mut child, is_apart);
    }
    match ended? {
        (_, Some(status)) if !status.success() => Err(format!("failed: {status}")),
        (text, _) => Ok(text),
    }
}

/// The output of a command and its status; a command with too much output is not waited
/// for.
fn outcome(
    child: &mut Child,
    wait: &ReadBounds<'_>,
) -> Result<(Vec<u8>, Option<ExitStatus>), String> {
    let Some(stdout) = child.stdout.take() else {
        return Err("has no output".to_owned());
    };
    let text = read(move || Ok(stdout), wait)?;
    if text.len() > MAX_LENGTH {
        return Ok((text, None));
    }
    loop {
        let status = child.try_wait().map_err(|error| error.to_string())?;
        if status.is_some() {
            return Ok((text, status));
        }
        wait.check()?;
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Kills a command, and its process group if it has one of its own.
fn kill(child: &mut Child, is_apart: bool) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // A command that has ended meanwhile can't be killed.
    let _ = match group.filter(|_| is_apart) {
        Some(group) => kill_process_group(group, Signal::KILL).map_err(io::Error::from),
        None => child.kill(),
    };
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Some(Secret::new("key"));
        assert_eq!(format!("{secret:?}"), "Some(***)");
    }

    fn read(text: &str) -> Result<String, String> {
        Ok(SecretSource::parse(text)?.read()?.expose().to_owned())
    }

    #[test]
    fn commands_and_files_are_read_without_their_last_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "of a file\r\n").unwrap();
        assert_eq!(read(&format!("file:{}", path.display())).unwrap(), "of a file");
        assert_eq!(read("command:echo a; echo b").unwrap(), "a\nb");
    }

    #[test]
    fn what_gives_none_says_why() {
        for (text, why) in [
            ("XAPIKEY", "write \"file:PATH\" or \"command:TEXT\""),
            ("file:/no/such/file", "can't be read"),
            ("command:exit 3", "failed: exit status: 3"),
            ("command:true", "gives nothing"),
            ("command:yes", "gives more than 64 KiB"),
            ("command:printf '\\377'", "gives what is not UTF-8"),
            ("file:/dev/zero", "gives more than 64 KiB"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (fifo, pid) = (path("fifo"), path("pid"));
        let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        let command = format!("command:echo $$ > {pid}; sleep 1000");
        for (text, name) in [
            (command.as_str(), "the command \"echo"),
            ("command:exec >/dev/null; sleep 1000", "the command"),
            (&format!("file:{fifo}"), fifo.as_str()),
        ] {
            let source = SecretSource::parse(text).unwrap();
            let is_started = || {
                let pid = std::fs::read_to_string(&pid);
                pid.is_ok_and(|pid| pid.ends_with('\n'))
            };
            let within = |limit, ends: &dyn Fn() -> bool| {
                let since = Instant::now();
                source.read_within(&ReadBounds { since, limit, ends }).unwrap_err()
            };
            let why = within(Duration::from_millis(1), &|| false);
            assert!(why.starts_with(name), "{why}");
            assert!(why.contains("did not end within 1ms"), "{why}");
            let why = within(MAX_TIME, &|| is_started() || name == fifo);
            assert!(why.contains("was not waited for: the run ends"), "{why}");
        }
        let pid = std::fs::read_to_string(&pid).unwrap();
        let process = format!("/proc/{}", pid.trim());
        assert!(!std::path::Path::new(&process).exists());
    }
}
