//! Libraries of functions, which the server runs as one step each.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;

/// A library, whose name and functions carry the hash of its text: versions stand side by side.
pub(crate) struct Library {
    name: &'static str,
    text: &'static str,
}

impl Library {
    /// The library with this text, in which `HASH` stands for its hash.
    pub const fn new(text: &'static str) -> Library {
        Library::named("", text)
    }

    /// The library with this text, and this name before the hash.
    pub const fn named(name: &'static str, text: &'static str) -> Library {
        Library { name, text }
    }

    fn hash(&self) -> String {
        format!("{:08x}", crc32fast::hash(self.text.as_bytes()))
    }

    /// Calls a function with these keys and arguments; loads the library where it is missing.
    pub fn call(
        &self,
        connection: &mut Connection,
        function: &str,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Value, StoreError> {
        self.call_after(connection, function, keys, arguments, |_| Ok(()))
    }

    /// Calls a function. Where the library is missing, acts first, and then loads it.
    pub fn call_after(
        &self,
        connection: &mut Connection,
        function: &str,
        keys: &[&str],
        arguments: &[&[u8]],
        act: impl FnOnce(&mut Connection) -> Result<(), StoreError>,
    ) -> Result<Value, StoreError> {
        let hash = self.hash();
        let mut command = redis::cmd("FCALL");
        command.arg(format!("throng_{hash}_{function}")).arg(keys.len()).arg(keys).arg(arguments);
        match connection.call(&command, Duration::ZERO) {
            Err(StoreError::Refused(why)) if why.contains("Function not found") => {
                act(connection)?;
                self.load(connection, &hash)?;
                connection.call(&command, Duration::ZERO)
            }
            answer => answer,
        }
    }

    fn load(&self, connection: &mut Connection, hash: &str) -> Result<(), StoreError> {
        let Library { name, text } = self;
        let text = format!("#!lua name=throng_{name}{hash}\n{}", text.replace("HASH", hash));
        let mut command: Cmd = redis::cmd("FUNCTION");
        command.arg("LOAD").arg("REPLACE").arg(text);
        connection.call(&command, Duration::ZERO).map(drop)
    }
}
