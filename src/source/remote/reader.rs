//! The bytes of an object, of which the rest is asked for again when a connection is lost.
//! Does I/O: the network.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::object::{Chunks, ObjectVersion, OpenError, OpenedObject, RemoteObject};

/// Number of times that the rest of an object is asked for without getting any of it.
const MAX_TRIES: u32 = 8;
/// Pause before the first of them; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads an object of one version to its end.
pub struct ObjectReader {
    object: Arc<dyn RemoteObject>,
    version: ObjectVersion,
    chunks: Chunks,
    chunk: Bytes,
    /// The place of the next byte that comes.
    coming: u64,
    /// The place of the next byte that is read.
    at: u64,
    /// Number of attempts in a row that gave nothing.
    tries: u32,
}

impl ObjectReader {
    /// Reads an object from this byte on.
    ///
    /// # Errors
    /// Why it can't be read, such as that it has another version.
    pub fn new(
        object: Arc<dyn RemoteObject>,
        version: ObjectVersion,
        at: u64,
    ) -> Result<ObjectReader, String> {
        let opened = open(&*object, &version, at).map_err(OpenError::why)?;
        Ok(ObjectReader { at, ..ObjectReader::of(object, opened) })
    }

    /// Goes on with an object that was opened at its beginning.
    pub fn of(object: Arc<dyn RemoteObject>, opened: OpenedObject) -> ObjectReader {
        let OpenedObject { version, chunks, from, .. } = opened;
        let (chunk, coming) = (Bytes::new(), from);
        ObjectReader { object, version, chunks, chunk, coming, at: 0, tries: 0 }
    }

    /// The next chunk; empty at the end.
    fn next_chunk(&mut self) -> io::Result<Bytes> {
        loop {
            match self.chunks.recv_blocking() {
                Ok(Ok(mut chunk)) => {
                    let before = self.at.saturating_sub(self.coming);
                    self.coming += chunk.len() as u64;
                    chunk.advance(chunk.len().min(usize::try_from(before).unwrap_or(usize::MAX)));
                    if !chunk.is_empty() {
                        self.tries = 0;
                        return Ok(chunk);
                    }
                }
                Err(_) if self.version.size.is_none_or(|size| self.at >= size) => {
                    return Ok(Bytes::new());
                }
                Err(_) => self.ask_again("the connection ended".into())?,
                Ok(Err(why)) => self.ask_again(why)?,
            }
        }
    }

    /// Asks for the rest.
    fn ask_again(&mut self, mut why: String) -> io::Result<()> {
        if !self.version.is_known() {
            return Err(io::Error::other(format!(
                "{why}, after {} bytes; the server has no ETag or Last-Modified by which the rest could be asked for",
                self.at
            )));
        }
        while self.tries < MAX_TRIES {
            std::thread::sleep(PAUSE * 2_u32.pow(self.tries));
            self.tries += 1;
            match open(&*self.object, &self.version, self.at) {
                Ok(opened) => {
                    (self.chunks, self.coming) = (opened.chunks, opened.from);
                    return Ok(());
                }
                Err(OpenError::Final(why)) => return Err(io::Error::other(why)),
                Err(OpenError::Passing(later)) => why = later,
            }
        }
        Err(io::Error::other(format!("{why}, after {} bytes and {MAX_TRIES} tries", self.at)))
    }
}

impl Read for ObjectReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !out.is_empty() {
            self.chunk = self.next_chunk()?;
        }
        let count = self.chunk.len().min(out.len());
        self.chunk.copy_to_slice(&mut out[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

/// Opens an object that has this version.
fn open(
    object: &dyn RemoteObject,
    version: &ObjectVersion,
    from: u64,
) -> Result<OpenedObject, OpenError> {
    let opened = object.open(from)?;
    if !version.is_same(&opened.version) {
        Err(OpenError::changed())
    } else if opened.from > from {
        Err(OpenError::Final("the server leaves bytes out that were asked for".into()))
    } else {
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most 3 bytes a time, then loses the connection; begins too early for every second one.
    #[derive(Debug)]
    struct Weak(&'static [u8]);

    impl RemoteObject for Weak {
        fn open(&self, from: u64) -> Result<OpenedObject, OpenError> {
            let from = from - u64::from(from % 2 == 1);
            let start = usize::try_from(from).unwrap();
            let (to, chunks) = async_channel::unbounded();
            let rest = &self.0[start..];
            let part = Bytes::copy_from_slice(&rest[..rest.len().min(3)]);
            to.try_send(Ok(part)).unwrap();
            if from == 3 {
                to.try_send(Err("lost".into())).unwrap();
            }
            let version = ObjectVersion {
                tag: Some("t".into()),
                size: Some(self.0.len() as u64),
                modified: None,
            };
            Ok(OpenedObject { version, content_type: None, encoding: None, from, chunks })
        }
    }

    #[test]
    fn the_rest_is_asked_for_where_a_connection_ends_too_early() {
        let object = Arc::new(Weak(b"0123456789"));
        let opened = object.open(0).unwrap();
        let mut text = String::new();
        ObjectReader::of(object.clone(), opened).read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789");
        let other = ObjectVersion { tag: Some("u".into()), ..ObjectVersion::default() };
        let error = ObjectReader::new(object, other, 0).err().unwrap();
        assert_eq!(error, "it has changed since it was checked: run again");
    }
}
