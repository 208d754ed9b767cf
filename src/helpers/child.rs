//! One helper: a process, and its pipes.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use super::settings::HelperSettings;
use crate::format::rows::shown;
use crate::limit::duration;
use crate::threads;

/// Longest line that a helper may give, in bytes.
const LONGEST_LINE: usize = 64 << 20;
/// Longest line of a helper's standard error that is kept, in bytes.
const LONGEST_ERROR: u64 = 400;
/// Number of bytes that one call of the system reads at most.
const BUFFER: usize = 64 << 10;
/// Longest time for which a helper that ended is waited for, so that its last words are there.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A process that answers lines.
///
/// One thread writes and reads its pipes, which never block: a helper that does not read holds
/// up no row for longer than its timeout, and no other thread has to be woken for its lines.
pub struct Helper {
    command: String,
    child: Child,
    /// None once the helper reads no more.
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// What one call of the system reads.
    buffer: Box<[u8]>,
    /// What the helper has written, without what rows had before it was last read.
    written: Vec<u8>,
    /// Number of bytes of `written` that rows have had.
    taken: usize,
    /// Number of bytes of `written` up to which there is no other end of a line.
    searched: usize,
    last_words: Arc<Mutex<String>>,
    /// Is closed once the standard error has ended.
    silent: Receiver<()>,
}

impl Helper {
    /// Starts a helper.
    ///
    /// # Errors
    /// The system can't start it.
    pub fn start(
        settings: &HelperSettings,
        environment: &[(OsString, OsString)],
    ) -> Result<Helper, String> {
        let command = settings.command.clone().unwrap_or_default();
        let failed = |error: io::Error| format!("the helper {command} can't be started: {error}");
        let mut child = shell(&command)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(io::Error::other("it has no pipes")));
        };
        // The helper's own ends of the pipes block as before.
        rustix::io::ioctl_fionbio(&input, true).map_err(|error| failed(error.into()))?;
        rustix::io::ioctl_fionbio(&output, true).map_err(|error| failed(error.into()))?;
        let last_words = Arc::new(Mutex::new(String::new()));
        let (ended, silent) = channel();
        let words = last_words.clone();
        threads::spawn(move || listen(errors, &words, ended)).map_err(failed)?;
        Ok(Helper {
            command,
            child,
            input: Some(input),
            output,
            buffer: vec![0; BUFFER].into(),
            written: Vec::new(),
            taken: 0,
            searched: 0,
            last_words,
            silent,
        })
    }

    /// Feeds the helper these lines, and gives each line that it writes to `take`, in their order,
    /// until `take` has had one for each or says that the helper is of no more use.
    ///
    /// # Errors
    /// Why there is no next line, or one too many; the helper is of no more use then.
    pub fn ask(
        &mut self,
        lines: &[Vec<u8>],
        timeout: Duration,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), String> {
        self.read_more()?;
        self.check_is_read()?;
        let text = lines.concat();
        let (mut fed, mut missing) = (0, lines.len());
        let mut until = Instant::now() + timeout;
        while missing > 0 {
            fed += self.feed(&text[fed..])?;
            while missing > 0
                && let Some(end) = self.line_end()?
            {
                until = Instant::now() + timeout;
                missing -= 1;
                let line = &self.written[self.taken..end];
                self.taken = end;
                if !take(line) {
                    return Ok(());
                }
            }
            if missing > 0 && !self.read_more()? {
                self.wait(fed < text.len(), until, timeout)?;
            }
        }
        self.check_is_read()
    }

    /// That all of what the helper has written was asked for.
    fn check_is_read(&self) -> Result<(), String> {
        let more = &self.written[self.taken..];
        if more.is_empty() {
            return Ok(());
        }
        let more = shown(&String::from_utf8_lossy(more));
        Err(self.failed(&format!("gave a line that it was not asked for: {more}")))
    }

    /// Writes as much of a text as the pipe takes now, and gives the number of bytes.
    fn feed(&mut self, text: &[u8]) -> Result<usize, String> {
        let Some(input) = &mut self.input else {
            return Ok(0);
        };
        let mut fed = 0;
        while fed < text.len() {
            match input.write(&text[fed..]) {
                Ok(bytes) => fed += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // What it has written until then counts; its end shows where that is read.
                    self.input = None;
                    break;
                }
            }
        }
        Ok(fed)
    }

    /// Reads what the helper has written meanwhile; false if there is nothing.
    fn read_more(&mut self) -> Result<bool, String> {
        let read = loop {
            match self.output.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(self.ended()),
            Ok(bytes) => {
                self.written.drain(..self.taken);
                self.searched -= self.taken;
                self.taken = 0;
                self.written.extend_from_slice(&self.buffer[..bytes]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(self.failed(&format!("gave no line: {error}"))),
        }
    }

    /// The end of the next line in `written`; none if the line is not whole yet.
    fn line_end(&mut self) -> Result<Option<usize>, String> {
        let end = self.written[self.searched..].iter().position(|byte| *byte == b'\n');
        self.searched = end.map_or(self.written.len(), |at| self.searched + at + 1);
        if end.is_none() && self.searched - self.taken >= LONGEST_LINE {
            return Err(self.failed("gave a line that is longer than 64 MiB"));
        }
        Ok(end.is_some().then_some(self.searched))
    }

    /// Waits until the helper has written more, or, where it is to be fed, until it takes more.
    fn wait(&self, feeds: bool, until: Instant, timeout: Duration) -> Result<(), String> {
        let mut pipes = vec![PollFd::new(&self.output, PollFlags::IN)];
        if feeds && let Some(input) = &self.input {
            pipes.push(PollFd::new(input, PollFlags::OUT));
        }
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            let time = duration::exact(timeout);
            return Err(self.failed(&format!("gave no line within {time}")));
        }
        match poll(&mut pipes, Timespec::try_from(rest).ok().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(self.failed(&format!("can't be read: {error}"))),
        }
    }

    /// That the helper has ended, and how.
    fn ended(&mut self) -> String {
        let since = Instant::now();
        // It has closed its output, and may take a moment for the rest.
        let _ = self.silent.recv_timeout(LAST_WORDS);
        while since.elapsed() < LAST_WORDS {
            if let Ok(Some(status)) = self.child.try_wait() {
                return self.failed(&format!("ended ({status})"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.failed("closed its output")
    }

    fn failed(&self, how: &str) -> String {
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        match words.as_str() {
            "" => format!("the helper {} {how}", self.command),
            words => format!("the helper {} {how}; its last line of stderr: {words}", self.command),
        }
    }
}

impl Drop for Helper {
    /// Ends the process, with all that it has started.
    fn drop(&mut self) {
        end_group(&self.child);
        // The system reaps it with this process otherwise.
        let _ = self.child.wait();
    }
}

/// A command in the words of a shell, in a group of its own: a Ctrl-C in the terminal ends the
/// run, and the run ends its helpers.
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).process_group(0);
    shell
}

fn end_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Keeps the last line of the helper's standard error that is not blank.
fn listen(errors: impl Read, last: &Mutex<String>, _ended: Sender<()>) {
    let mut errors = BufReader::new(errors);
    loop {
        let mut line = Vec::new();
        match (&mut errors).take(LONGEST_ERROR).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if !text.is_empty() {
            text.clone_into(&mut last.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(command: &str, lines: &[&str]) -> (Vec<String>, Result<(), String>) {
        let settings = HelperSettings { command: Some(command.into()), ..Default::default() };
        let path = std::env::var_os("PATH").unwrap();
        let mut helper = Helper::start(&settings, &[("PATH".into(), path)]).unwrap();
        let lines: Vec<Vec<u8>> = lines.iter().map(|line| format!("{line}\n").into()).collect();
        let mut answers = Vec::new();
        let ended = helper.ask(&lines, settings.timeout, |line| {
            answers.push(String::from_utf8(line.to_vec()).unwrap());
            true
        });
        (answers, ended)
    }

    #[test]
    fn a_helper_answers_each_line() {
        let (answers, ended) = ask("cat", &["a", "b"]);
        assert_eq!((answers, ended), (vec!["a\n".to_owned(), "b\n".to_owned()], Ok(())));
    }

    #[test]
    fn lines_may_be_longer_than_a_pipe_holds() {
        let long = "x".repeat(1 << 20);
        let (answers, ended) = ask("cat", &[&long, "b", &long]);
        let lengths: Vec<usize> = answers.iter().map(String::len).collect();
        assert_eq!((lengths, ended), (vec![(1 << 20) + 1, 2, (1 << 20) + 1], Ok(())));
    }

    #[test]
    fn a_line_too_many_is_an_error() {
        let (answers, ended) = ask(r"read line; printf '%s\nmore\n' $line; cat", &["a"]);
        let error = ended.unwrap_err();
        assert_eq!(answers, ["a\n"]);
        assert!(error.contains(r#"gave a line that it was not asked for: "more"#), "{error}");
    }

    #[test]
    fn a_helper_that_ends_says_its_last_words() {
        let (answers, ended) = ask("read line; echo $line; echo so long >&2; exit 3", &["a", "b"]);
        assert_eq!(answers, ["a\n"]);
        let error = ended.unwrap_err();
        assert!(
            error.contains("ended (exit status: 3); its last line of stderr: so long"),
            "{error}"
        );
        let (_, ended) = ask("no-such-program", &["a"]);
        assert!(ended.unwrap_err().contains("not found"));
    }

    #[test]
    fn a_helper_that_hangs_fails_after_its_timeout() {
        let settings = HelperSettings {
            command: Some("cat > /dev/null".into()),
            timeout: Duration::from_millis(50),
            ..Default::default()
        };
        let mut helper = Helper::start(&settings, &[]).unwrap();
        // More than a pipe holds.
        let lines = vec![vec![b'x'; 1 << 20]];
        let error = helper.ask(&lines, settings.timeout, |_| true).unwrap_err();
        assert!(error.ends_with("gave no line within 50ms"), "{error}");
    }
}
