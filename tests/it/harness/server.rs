//! A server that others wrote, as a process that ends with its test.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Place, until};

/// A process that listens on a port of this machine.
pub struct Server {
    child: Child,
    pub port: u16,
    /// Its files, which it may read as long as it lives.
    place: Option<Place>,
}

impl Server {
    /// Starts a server and waits until its port takes connections.
    #[track_caller]
    pub fn start(mut command: Command, port: u16) -> Server {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("tests/servers/install brings the server: {error}"));
        let mut server = Server { child, port, place: None };
        until("the server", || {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} ended, see tests/servers/install: {ended:?}");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        server
    }

    /// Keeps the server's files as long as the server.
    pub fn with(mut self, place: Place) -> Server {
        self.place = Some(place);
        self
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its workers end with it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// A port that nothing listens on, and that no other caller gets. It lies below those that
/// the system gives to connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that test at the same time begin at other ports.
    let first = std::process::id() % 1_000 * 16;
    loop {
        let offset = (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 16_000;
        let port = 16_000 + u16::try_from(offset).unwrap();
        // A listener of a moment would go on in a process that another test begins meanwhile.
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return port;
        }
    }
}
