//! The real throng, from its command line to its exit code and output.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{MAX_WAIT, Place, records, symbols};

/// A command line that has not been started.
pub struct Throng(Command);

/// A throng that has been started. It does not outlive its test.
pub struct Running {
    child: Child,
    stdout: Drain,
    stderr: Drain,
}

/// Reads a pipe to its end on a thread.
struct Drain {
    text: Arc<Mutex<Vec<u8>>>,
    ends: JoinHandle<()>,
}

/// The exit code and the output of a throng that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `throng run` with nothing from the tests' own environment.
pub fn run() -> Throng {
    throng("run")
}

pub fn throng(command: &str) -> Throng {
    let mut throng = Command::new(env!("CARGO_BIN_EXE_throng"));
    throng.env_clear().arg(command).stdin(Stdio::null());
    throng.env("XDG_STATE_HOME", state());
    Throng(throng)
}

/// The directory of a test's own accounts, which all of its runs share. The thread has the
/// name of the test.
fn state() -> PathBuf {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("unnamed").replace("::", "-");
    let name = format!("state/{}-{test}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

impl Throng {
    /// Flags without blanks in them, as one would type them.
    pub fn flags(mut self, flags: &str) -> Throng {
        self.0.args(flags.split_whitespace());
        self
    }

    /// An argument without a flag.
    pub fn operand(mut self, value: &str) -> Throng {
        self.0.arg(value);
        self
    }

    pub fn arg(mut self, flag: &str, value: &str) -> Throng {
        self.0.args([flag, value]);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Throng {
        self.0.env(name, value);
        self
    }

    /// Runs in this directory.
    pub fn in_directory(mut self, directory: &str) -> Throng {
        self.0.current_dir(directory);
        self
    }

    /// Asks a mock for the price of each row's `symbol`.
    pub fn quotes(self, server: &str) -> Throng {
        self.arg("--url", &format!("{server}/v6/finance/quote/"))
            .arg("--query", "symbols={{ symbol }}")
            .arg("--extract", "price=.quoteResponse.result[0].regularMarketPreviousClose")
    }

    /// Reads this number of rows, S0, S1, ..., from a file in this place, and writes the records
    /// there.
    pub fn files(self, place: &Place, rows: usize, output: &str) -> Throng {
        let input = place.file("rows.csv", &symbols(rows));
        self.arg("--input", &input).arg("--output", &place.path(output))
    }

    /// Two of the rows fail: S3 and S9 get the status of `CODE`.
    pub fn with_two_statuses(self, server: &str, code: &str) -> Throng {
        let path =
            "{% if symbol in ['S3', 'S9'] %}status/{{ env.CODE }}{% else %}echo/1{% endif %}";
        self.arg("--url", &format!("{server}/{path}?{{{{ symbol }}}}"))
            .arg("--extract", "path?=.path")
            .env("CODE", code)
    }

    pub fn start(mut self) -> Running {
        self.0.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.0.spawn().unwrap();
        Running {
            stdout: Drain::of(child.stdout.take().unwrap()),
            stderr: Drain::of(child.stderr.take().unwrap()),
            child,
        }
    }

    pub fn ends(self) -> Ended {
        self.start().ends()
    }

    /// Runs to its end and expects this exit code.
    pub fn exits(self, code: i32) -> Ended {
        self.ends().with_code(code)
    }

    /// Starts with this text on its standard input.
    pub fn with_stdin(self, text: &str) -> Running {
        let mut running = self.with_open_stdin();
        let mut stdin: ChildStdin = running.child.stdin.take().unwrap();
        let text = text.to_owned();
        // It may end before it has read all of it.
        thread::spawn(move || stdin.write_all(text.as_bytes()));
        running
    }

    /// Starts with a standard input that stays open.
    pub fn with_open_stdin(mut self) -> Running {
        self.0.stdin(Stdio::piped());
        self.start()
    }

    /// The command, for tests that change more of it.
    pub fn command(self) -> Command {
        self.0
    }
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let kill = Command::new("kill").args([signal, &id]).status();
        assert!(kill.unwrap().success());
    }

    /// Its standard error until now.
    pub fn stderr_so_far(&self) -> String {
        self.stderr.until_now()
    }

    pub fn feed(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    pub fn ends(mut self) -> Ended {
        let status = wait(&mut self.child);
        Ended { code: status.code(), stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

impl Ended {
    #[track_caller]
    pub fn with_code(self, code: i32) -> Ended {
        let Ended { stdout, stderr, .. } = &self;
        let said = format!("stdout: {stdout}\nstderr: {stderr}");
        assert_eq!(self.code, Some(code), "{said}");
        self
    }

    /// Its results on stdout, in the order of the rows.
    pub fn records(&self) -> Vec<Value> {
        records(&self.stdout)
    }

    #[track_caller]
    pub fn says(&self, what: &str) -> &Ended {
        assert!(self.stderr.contains(what), "no {what:?} in: {}", self.stderr);
        self
    }
}

pub fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + MAX_WAIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("throng hangs");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

impl Drain {
    fn of(mut pipe: impl Read + Send + 'static) -> Drain {
        let text: Arc<Mutex<Vec<u8>>> = Arc::default();
        let into = text.clone();
        let ends = thread::spawn(move || {
            let mut block = vec![0; 1 << 16];
            loop {
                match pipe.read(&mut block).unwrap() {
                    0 => break,
                    length => into.lock().unwrap().extend(&block[..length]),
                }
            }
        });
        Drain { text, ends }
    }

    fn until_now(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn whole(self) -> String {
        self.ends.join().unwrap();
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }
}
