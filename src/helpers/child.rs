//! One helper: a process, and threads that move its lines.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::vec;

use super::settings::HelperSettings;
use crate::hooks::RowError;
use crate::limit::duration;
use crate::threads;

/// Longest line that a helper may give, in bytes.
const LONGEST_LINE: u64 = 64 << 20;
/// Longest line of a helper's standard error that is kept, in bytes.
const LONGEST_ERROR: u64 = 400;
/// Size of the buffer that a helper's lines are read through, in bytes.
const BUFFER: usize = 64 << 10;
/// Number of buffers by which a helper may be ahead of the rows that wait for its lines.
const AHEAD: usize = 8;
/// Longest time for which a helper that ended is waited for, so that its last words are there.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A process that answers lines.
pub struct Helper {
    command: String,
    child: Child,
    /// To the thread that writes: a helper that does not read holds up no row for longer than
    /// its timeout.
    to: Sender<Vec<u8>>,
    /// The lines of one buffer at a time, so that threads wake each other seldom.
    lines: Receiver<Vec<io::Result<Vec<u8>>>>,
    /// Those of them that no row has yet.
    waiting: vec::IntoIter<io::Result<Vec<u8>>>,
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
        let last_words = Arc::new(Mutex::new(String::new()));
        let (to, written) = channel::<Vec<u8>>();
        let (give, lines) = sync_channel(AHEAD);
        let (ended, silent) = channel();
        let words = last_words.clone();
        threads::spawn(move || write(&written, input))
            .and_then(|_| threads::spawn(move || read(output, &give)))
            .and_then(|_| threads::spawn(move || listen(errors, &words, ended)))
            .map_err(failed)?;
        let waiting = Vec::new().into_iter();
        Ok(Helper { command, child, to, lines, waiting, last_words, silent })
    }

    /// Adds the line that the helper gives for each of these lines, in their order.
    ///
    /// # Errors
    /// Why there is none for the next line; the helper is of no more use then.
    pub fn ask(
        &mut self,
        lines: &[Vec<u8>],
        timeout: Duration,
        answers: &mut Vec<Result<Vec<u8>, RowError>>,
    ) -> Result<(), String> {
        // An error shows when the helper's lines are read.
        let _ = self.to.send(lines.concat());
        for _ in lines {
            match self.next_line(timeout)? {
                Ok(line) => answers.push(Ok(line)),
                Err(error) => {
                    return Err(format!("the helper {} gave no line: {error}", self.command));
                }
            }
        }
        Ok(())
    }

    /// The helper's next line, which it gives within this time.
    fn next_line(&mut self, timeout: Duration) -> Result<io::Result<Vec<u8>>, String> {
        loop {
            if let Some(line) = self.waiting.next() {
                return Ok(line);
            }
            match self.lines.recv_timeout(timeout) {
                Ok(lines) => self.waiting = lines.into_iter(),
                Err(RecvTimeoutError::Timeout) => {
                    let time = duration::exact(timeout);
                    return Err(self.failed(&format!("gave no line within {time}")));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
            }
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
        end_group(&mut self.child);
        // The system reaps it with this process otherwise.
        let _ = self.child.wait();
    }
}

/// A command in the words of a shell, in a group of its own: a Ctrl-C in the terminal ends the
/// run, and the run ends its helpers.
#[cfg(unix)]
fn shell(command: &str) -> Command {
    use std::os::unix::process::CommandExt;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

#[cfg(unix)]
fn end_group(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(not(unix))]
fn end_group(child: &mut Child) {
    // It may have ended.
    let _ = child.kill();
}

/// Writes what it receives, until the helper reads no more.
fn write(texts: &Receiver<Vec<u8>>, mut input: impl Write) {
    for text in texts {
        if input.write_all(&text).and_then(|()| input.flush()).is_err() {
            return;
        }
    }
}

/// Gives the lines of the helper as they come, until its output ends.
fn read(output: impl Read, give: &SyncSender<Vec<io::Result<Vec<u8>>>>) {
    let mut output = BufReader::with_capacity(BUFFER, output);
    while let Some(first) = read_line(&mut output) {
        let mut lines = vec![first];
        while output.buffer().contains(&b'\n') {
            lines.extend(read_line(&mut output));
        }
        if give.send(lines).is_err() {
            return;
        }
    }
}

/// The next line; none at the end.
fn read_line(output: &mut impl BufRead) -> Option<io::Result<Vec<u8>>> {
    let mut line = Vec::new();
    match output.take(LONGEST_LINE).read_until(b'\n', &mut line) {
        Ok(0) => None,
        Ok(_) if line.len() as u64 == LONGEST_LINE => {
            Some(Err(io::Error::other("its line is longer than 64 MiB")))
        }
        Ok(_) => Some(Ok(line)),
        Err(error) => Some(Err(error)),
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
        let ended = helper.ask(&lines, settings.timeout, &mut answers);
        let text = |answer: Result<Vec<u8>, RowError>| String::from_utf8(answer.unwrap()).unwrap();
        (answers.into_iter().map(text).collect(), ended)
    }

    #[test]
    fn a_helper_answers_each_line() {
        let (answers, ended) = ask("cat", &["a", "b"]);
        assert_eq!((answers, ended), (vec!["a\n".to_owned(), "b\n".to_owned()], Ok(())));
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
        let error = helper.ask(&lines, settings.timeout, &mut Vec::new()).unwrap_err();
        assert!(error.ends_with("gave no line within 50ms"), "{error}");
    }
}
