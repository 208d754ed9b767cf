//! A redis-server of a test's own.

use std::process::{Child, Command, Stdio};

use crate::harness::{Place, free_port, until};

/// A server that appends what it is given to a file, each second.
pub struct Redis {
    child: Child,
    port: u16,
    place: Place,
    settings: Vec<String>,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    /// Starts a server with these settings.
    pub fn with(settings: &[&str]) -> Redis {
        let (place, port) = (Place::new(), free_port());
        let settings: Vec<String> = settings.iter().map(|it| (*it).to_owned()).collect();
        let child = spawn(&place, port, &settings);
        let redis = Redis { child, port, place, settings };
        redis.is_ready();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's answer to a command.
    pub fn ask(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        let answer = cli.args(["-p", &self.port.to_string()]).args(command).output();
        let answer = answer.unwrap_or_else(|error| panic!("see tests/servers/install: {error}"));
        String::from_utf8_lossy(&answer.stdout).trim().to_owned()
    }

    fn is_ready(&self) {
        until("the store", || self.ask(&["PING"]) == "PONG");
    }

    pub fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Keeps what the server's file has now.
    pub fn keep_file(&self, name: &str) {
        let (from, to) = (self.place.path("appendonlydir"), self.place.path(name));
        let copied = Command::new("cp").args(["-r", &from, &to]).status();
        assert!(copied.unwrap().success());
    }

    /// Kills the server and starts it anew with what its file had before.
    pub fn restart_with(&mut self, name: &str) {
        self.kill();
        let (from, to) = (self.place.path(name), self.place.path("appendonlydir"));
        std::fs::remove_dir_all(&to).unwrap();
        std::fs::rename(&from, &to).unwrap();
        self.restart();
    }

    pub fn kill(&mut self) {
        // A stopped process ends by nothing else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills the server and starts it anew, with what is in its file.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.place, self.port, &self.settings);
        self.is_ready();
    }
}

fn spawn(place: &Place, port: u16, settings: &[String]) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    server.args(["--dir", &place.path("")]).args(settings);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().unwrap_or_else(|error| panic!("tests/servers/install brings it: {error}"))
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
