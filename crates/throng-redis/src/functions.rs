//! Libraries of functions, which the server runs as one step each.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;

/// A library, whose name and functions carry the hash of its text: versions stand side by side.
pub(crate) struct Library {
    text: &'static str,
}

impl Library {
    /// The library with this text, in which `HASH` stands for its hash.
    pub const fn new(text: &'static str) -> Library {
        Library { text }
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
        let hash = self.hash();
        let mut command = redis::cmd("FCALL");
        command.arg(format!("throng_{hash}_{function}")).arg(keys.len()).arg(keys).arg(arguments);
        match connection.call(&command, Duration::ZERO) {
            Err(StoreError::Refused(why)) if why.contains("Function not found") => {
                self.load(connection, &hash)?;
                connection.call(&command, Duration::ZERO)
            }
            answer => answer,
        }
    }

    fn load(&self, connection: &mut Connection, hash: &str) -> Result<(), StoreError> {
        let text = format!("#!lua name=throng_{hash}\n{}", self.text.replace("HASH", hash));
        let mut command: Cmd = redis::cmd("FUNCTION");
        command.arg("LOAD").arg("REPLACE").arg(text);
        connection.call(&command, Duration::ZERO).map(drop)
    }
}
