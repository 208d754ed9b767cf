//! A terminal in which throng runs, and what is on its screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Throng, until, wait};

/// A process whose standard input, output and error are a terminal of its own.
pub struct Terminal {
    child: Child,
    master: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Starts it in a terminal of this size, as the leader of a session.
    pub fn start(throng: Throng, columns: u16, rows: u16) -> Terminal {
        let command = throng.command();
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words: Vec<_> = words.map(std::ffi::OsStr::to_owned).collect();
        let mut command = in_session(&command);
        command.args(words);
        Terminal::of(command, columns, rows)
    }

    /// Starts a shell that has it as a job, and then gives the shell these commands.
    pub fn in_shell(throng: Throng, after: &str, columns: u16, rows: u16) -> Terminal {
        let command = throng.command();
        let mut shell = in_session(&command);
        shell.args(["bash", "-mc", &format!("\"$@\"\n{after}"), "bash"]);
        shell.arg(command.get_program()).args(command.get_args());
        Terminal::of(shell, columns, rows)
    }

    fn of(mut command: Command, columns: u16, rows: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let slave = || OwnedFd::from(slave.try_clone().unwrap());
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let master = File::from(master);
        resize(&master, columns, rows);
        let child = command.spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        follow(master.try_clone().unwrap(), screen.clone());
        Terminal { child, master, screen }
    }

    /// The process: of throng, or of the shell.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Presses keys.
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(rows, columns);
        resize(&self.master, columns, rows);
    }

    /// The lines of the screen, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        let screen = self.screen.lock().unwrap();
        let columns = screen.screen().size().1;
        screen.screen().rows(0, columns).map(|line| line.trim_end().to_owned()).collect()
    }

    /// The lines of the screen once this holds of them.
    #[track_caller]
    pub fn shows(&self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        until(what, || {
            lines = self.lines();
            holds(&lines)
        });
        lines
    }

    /// The lines of the screen once one of them has this text.
    #[track_caller]
    pub fn says(&self, text: &str) -> Vec<String> {
        self.shows(text, |lines| lines.iter().any(|line| line.contains(text)))
    }

    /// Whether a text on the screen has a colour.
    pub fn has_colors(&self) -> bool {
        let screen = self.screen.lock().unwrap();
        let (rows, columns) = screen.screen().size();
        let mut cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        cells.any(|(row, column)| {
            let cell = screen.screen().cell(row, column);
            cell.is_some_and(|cell| cell.fgcolor() != vt100::Color::Default)
        })
    }

    /// Whether a program has the screen for itself, or has hidden the cursor.
    pub fn is_taken(&self) -> bool {
        let screen = self.screen.lock().unwrap();
        screen.screen().alternate_screen() || screen.screen().hide_cursor()
    }

    /// Its exit code, and the last lines of the screen.
    pub fn ends(mut self) -> (Option<i32>, Vec<String>) {
        let code = wait(&mut self.child).code();
        // All that was written is on the screen once the reader has got to its end.
        until("the end of the screen", || Arc::strong_count(&self.screen) == 1);
        (code, self.lines())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that has the terminal of its standard input for itself.
fn in_session(like: &Command) -> Command {
    let mut command = Command::new("/usr/bin/setsid");
    command.env_clear().arg("--ctty").env("TERM", "xterm-256color").env("PATH", "/usr/bin:/bin");
    for (name, value) in like.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

fn resize(terminal: &File, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

fn follow(mut terminal: File, screen: Arc<Mutex<vt100::Parser>>) {
    thread::spawn(move || {
        let mut block = [0; 1 << 12];
        // The end of the last process is an error here.
        while let Ok(length @ 1..) = terminal.read(&mut block) {
            screen.lock().unwrap().process(&block[..length]);
        }
    });
}
