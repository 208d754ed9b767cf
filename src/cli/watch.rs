//! The socket of a run, by which `throng top` reads its events, one a line in JSON, and steers
//! it by one word a line. Sockets lie in the user's state directory and can be opened by the user
//! alone.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;
use rustix::process::getuid;

use crate::engine::Run;
use crate::events::{Event, EventKind, Subscription};
use crate::shutdown::{Interrupt, ShutdownReason};
use crate::{limit, threads};

use super::progress::{LAST_FAILURES, RunView};

/// Time between two looks at the events while a reader is there.
const EVERY: Duration = Duration::from_millis(250);
/// Time between two looks for a reader.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Maximum time that a run takes to tell of itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum number of readers.
const MAX_READERS: usize = 8;
/// The extension of the sockets.
const SOCKET: &str = "sock";

/// The socket of a run, until `end`.
pub struct Socket {
    served: Option<Served>,
}

/// A socket at which a thread tells readers of the run.
struct Served {
    path: PathBuf,
    /// The directories that did not exist before, the innermost first.
    made: Vec<PathBuf>,
    end: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

/// What a reader asks of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Request {
    /// Send nothing until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// Take this share of each limit's rate.
    RateShare(f64),
    /// End in good order.
    Stop,
}

/// A run that goes on, by its socket.
pub struct RunningRun {
    stream: BufReader<UnixStream>,
    /// The run as far as it is known.
    pub view: RunView,
    line: String,
}

/// The events of which readers are told.
struct News {
    events: Subscription,
    started: Option<Arc<Event>>,
    /// The last rows that failed, the latest last.
    failures: VecDeque<Arc<Event>>,
    snapshot: Option<Arc<Event>>,
}

/// A process that reads a run.
struct Reader {
    stream: UnixStream,
    may_control: bool,
    /// Whether it was told what had happened before it came.
    is_informed: bool,
    /// The part of a line that was read.
    asked: String,
}

impl Socket {
    /// Opens the socket of a run. Without one the run goes on all the same.
    pub fn open(run: &Run) -> Socket {
        let served = directory().and_then(|directory| serve(run, &directory).ok());
        Socket { served }
    }

    /// Removes the socket, and the directories that were made for it if they are empty.
    pub fn end(self) {
        if let Some(Served { path, made, end, thread }) = self.served {
            drop(end);
            // A panic of the thread does not affect the run.
            let _ = thread.join();
            // A socket that is left is removed by the next `throng top`.
            let _ = fs::remove_file(path);
            for directory in made {
                // Others may have files in it.
                let _ = fs::remove_dir(directory);
            }
        }
    }
}

impl Request {
    /// Carries it out.
    pub fn apply(self, run: &Run) {
        match self {
            Request::Pause => run.pause(),
            Request::Resume => run.resume(),
            Request::RateShare(share) => run.set_rate_share(share),
            Request::Stop => {
                run.shutdown().request(ShutdownReason::Interrupted(Interrupt::Int));
            }
        }
    }

    fn parse(line: &str) -> Option<Request> {
        match line.trim().split_once(' ') {
            Some(("rate-share", share)) => Some(Request::RateShare(share.parse().ok()?)),
            Some(_) => None,
            None => match line.trim() {
                "pause" => Some(Request::Pause),
                "resume" => Some(Request::Resume),
                "stop" => Some(Request::Stop),
                _ => None,
            },
        }
    }

    fn line(self) -> String {
        match self {
            Request::Pause => "pause\n".into(),
            Request::Resume => "resume\n".into(),
            Request::Stop => "stop\n".into(),
            Request::RateShare(share) => format!("rate-share {share}\n"),
        }
    }
}

impl RunningRun {
    /// Connects to a run, and waits for its first snapshot.
    ///
    /// # Errors
    /// The run has ended, or this user may not read it.
    pub fn connect(path: &Path) -> io::Result<RunningRun> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        let may_control = is_of_this_user(&stream)?;
        let view = RunView { may_control, ..RunView::default() };
        let mut run = RunningRun { stream: BufReader::new(stream), view, line: String::new() };
        let until = Instant::now() + PATIENCE;
        while run.view.now.workers.is_empty() && Instant::now() < until {
            run.update()?;
        }
        // One that has not begun is known all the same.
        if run.view.started.pid == 0 { Err(ErrorKind::TimedOut.into()) } else { Ok(run) }
    }

    /// Takes the events that have come.
    ///
    /// # Errors
    /// The run has ended.
    pub fn update(&mut self) -> io::Result<()> {
        loop {
            match self.stream.read_line(&mut self.line) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    self.view.take(&serde_json::from_str(&self.line)?);
                    self.line.clear();
                }
                Err(error) if is_early(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks something of the run.
    ///
    /// # Errors
    /// The run has ended.
    pub fn ask(&mut self, request: Request) -> io::Result<()> {
        self.stream.get_mut().write_all(request.line().as_bytes())
    }
}

/// The directory of the sockets, in the user's directory for state.
pub fn directory() -> Option<PathBuf> {
    let quotas = limit::state_directory(&|name| std::env::var(name).ok())?;
    Some(quotas.parent()?.join("runs"))
}

/// The sockets of runs that go on. Those of runs that have ended are removed.
pub fn sockets(directory: &Path) -> Vec<PathBuf> {
    let files =
        fs::read_dir(directory).into_iter().flatten().filter_map(|file| Some(file.ok()?.path()));
    let mut sockets: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|it| it == SOCKET)).collect();
    sockets.sort();
    sockets.retain(|path| is_in_use(path));
    sockets
}

/// Whether a run listens at this socket. If none does, the file is removed.
fn is_in_use(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            // Another process may have removed it.
            let _ = fs::remove_file(path);
            false
        }
        other => other.is_ok(),
    }
}

fn serve(run: &Run, directory: &Path) -> io::Result<Served> {
    let made = directory.ancestors().take_while(|it| !it.exists()).map(Path::to_owned).collect();
    limit::create_private(directory)?;
    let (path, listener) = bind(directory)?;
    listener.set_nonblocking(true)?;
    let (end, ended) = mpsc::channel();
    let news = News::new(run.subscribe().map_err(io::Error::other)?);
    let run = run.clone();
    let thread = threads::spawn(move || tell_readers(&run, news, &listener, &ended))?;
    Ok(Served { path, made, end, thread })
}

/// A socket that only this user can open. Processes of several containers that share the
/// directory can have the same number.
fn bind(directory: &Path) -> io::Result<(PathBuf, UnixListener)> {
    let process = std::process::id();
    for number in 0..100 {
        let name = if number == 0 { process.to_string() } else { format!("{process}-{number}") };
        let path = directory.join(format!("{name}.{SOCKET}"));
        if path.exists() && is_in_use(&path) {
            continue;
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        return Ok((path, listener));
    }
    Err(ErrorKind::AddrInUse.into())
}

/// Tells all readers of the run, until it ends.
fn tell_readers(run: &Run, mut news: News, listener: &UnixListener, ended: &mpsc::Receiver<()>) {
    let mut readers = Vec::new();
    let mut wait = LOOK_EVERY;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        while let Ok((stream, _)) = listener.accept() {
            readers.extend(Reader::new(stream).filter(|_| readers.len() < MAX_READERS));
        }
        wait = if readers.is_empty() { LOOK_EVERY } else { EVERY };
        let lately = lines(&news.update());
        let all = lines(&news.so_far());
        readers.retain_mut(|reader| reader.serve(run, &all, &lately).is_ok());
    }
}

impl News {
    fn new(events: Subscription) -> News {
        News { events, started: None, failures: VecDeque::new(), snapshot: None }
    }

    /// Takes the events that wait. Gives those that readers are told: the last ones of their kind.
    fn update(&mut self) -> Vec<Arc<Event>> {
        let (mut failures, mut snapshot) = (VecDeque::new(), None);
        while let Some(event) = self.events.try_recv() {
            match &event.kind {
                EventKind::RunStarted(_) => self.started = Some(event),
                EventKind::RowFailed(_) => {
                    for failures in [&mut failures, &mut self.failures] {
                        failures.push_back(event.clone());
                        if failures.len() > LAST_FAILURES {
                            failures.pop_front();
                        }
                    }
                }
                EventKind::Snapshot(_) => snapshot = Some(event),
                _ => {}
            }
        }
        self.snapshot = snapshot.clone().or(self.snapshot.take());
        failures.into_iter().chain(snapshot).collect()
    }

    /// The events that tell a reader who comes now of the run.
    fn so_far(&self) -> Vec<Arc<Event>> {
        let (first, last) = (self.started.iter(), self.snapshot.iter());
        first.chain(&self.failures).chain(last).cloned().collect()
    }
}

/// Events as a reader gets them.
fn lines(events: &[Arc<Event>]) -> String {
    let lines = events.iter().filter_map(|event| serde_json::to_string(&**event).ok());
    lines.map(|line| line + "\n").collect()
}

/// Whether the process at the other end is this user's.
fn is_of_this_user(stream: &UnixStream) -> io::Result<bool> {
    Ok(socket_peercred(stream)?.uid == getuid())
}

impl Reader {
    fn new(stream: UnixStream) -> Option<Reader> {
        stream.set_nonblocking(true).ok()?;
        let may_control = is_of_this_user(&stream).ok()?;
        Some(Reader { stream, may_control, is_informed: false, asked: String::new() })
    }

    /// Does what the reader asks, and tells it of the run: all of it at first, then what has
    /// happened lately. A reader that reads too slowly, or has gone, is an error.
    fn serve(&mut self, run: &Run, all: &str, lately: &str) -> io::Result<()> {
        let mut block = [0; 1024];
        match self.stream.read(&mut block) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.asked.push_str(&String::from_utf8_lossy(&block[..length])),
            Err(error) if is_early(&error) => {}
            Err(error) => return Err(error),
        }
        while let Some((line, rest)) = self.asked.split_once('\n') {
            if let Some(request) = Request::parse(line).filter(|_| self.may_control) {
                request.apply(run);
            }
            self.asked = rest.to_owned();
        }
        if self.asked.len() > block.len() {
            return Err(ErrorKind::InvalidData.into());
        }
        let news = if self.is_informed { lately } else { all };
        self.is_informed |= !all.is_empty();
        self.stream.write_all(news.as_bytes())
    }
}

/// Whether nothing has come yet.
fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for request in [Request::Pause, Request::Resume, Request::Stop, Request::RateShare(0.3)] {
            assert_eq!(Request::parse(&request.line()), Some(request));
        }
        for line in ["", "rate-share", "rate-share x", "delete all", "stop now"] {
            assert_eq!(Request::parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_socket_of_a_run_that_has_ended_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let stale = directory.path().join("1.sock");
        drop(UnixListener::bind(&stale).unwrap());
        let (path, listener) = bind(directory.path()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(sockets(directory.path()), [path]);
        assert!(!stale.exists());
        drop(listener);
        assert_eq!(sockets(directory.path()), [] as [PathBuf; 0]);
    }
}
