//! The heads of HTTP/2 frames, and the number of requests that a client has written
//! completely. Pure.

use std::io::IoSlice;

/// The length of the preface that a client writes first: `PRI * HTTP/2.0` and so on.
const PREFACE: usize = 24;
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// Reads the heads of the frames that one side sends.
#[derive(Debug)]
pub struct Heads {
    /// Bytes until the next head.
    skip: usize,
    head: [u8; HEAD],
    filled: usize,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    kind: u8,
    flags: u8,
    pub stream: u32,
}

impl FrameHead {
    pub fn is_headers(self) -> bool {
        self.kind == HEADERS
    }

    /// Whether it ends its side of the stream.
    pub fn ends_stream(self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

impl Heads {
    pub fn of_client() -> Heads {
        Heads::after(PREFACE)
    }

    pub fn of_server() -> Heads {
        Heads::after(0)
    }

    fn after(skip: usize) -> Heads {
        Heads { skip, head: [0; HEAD], filled: 0 }
    }

    /// Reads the next bytes, and calls the function for each head that they complete.
    pub fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(FrameHead)) {
        while !bytes.is_empty() {
            let wanted = match self.skip {
                0 => HEAD - self.filled,
                skip => skip,
            };
            let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            match self.skip {
                0 => self.read_head(part).into_iter().for_each(&mut each),
                _ => self.skip -= part.len(),
            }
        }
    }

    fn read_head(&mut self, part: &[u8]) -> Option<FrameHead> {
        let filled = self.filled + part.len();
        self.head[self.filled..filled].copy_from_slice(part);
        self.filled = filled % HEAD;
        if filled < HEAD {
            return None;
        }
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(stream);
        Some(FrameHead { kind, flags, stream })
    }
}

/// Counts the requests that a client writes.
#[derive(Debug)]
pub struct Frames {
    heads: Heads,
    ended: u64,
}

impl Frames {
    pub fn new() -> Frames {
        Frames { heads: Heads::of_client(), ended: 0 }
    }

    /// Number of streams that this side has ended; each is a request.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// The first `written` of these bytes were written.
    pub fn read(&mut self, slices: &[IoSlice<'_>], written: usize) {
        let Frames { heads, ended } = self;
        let mut left = written;
        for slice in slices {
            let part = left.min(slice.len());
            heads.read(&slice[..part], |head| {
                *ended += u64::from(head.ends_stream());
            });
            left -= part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [_, a, b, c] = (length as u32).to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags, 0, 0, 0, 1];
        // A payload that would look like heads that end streams.
        frame.resize(HEAD + length, 1);
        frame
    }

    /// Two requests, of which one has a body, among other frames.
    fn stream() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        for (kind, flags, length) in [
            (4, 1, 12),
            (HEADERS, 4 | END_STREAM, 30),
            (HEADERS, 4, 40),
            (8, 0, 4),
            (DATA, 0, 16_384),
            (DATA, END_STREAM, 300),
            (6, 1, 8),
        ] {
            bytes.append(&mut frame(kind, flags, length));
        }
        bytes
    }

    #[test]
    fn only_frames_that_end_a_stream_count() {
        let mut frames = Frames::new();
        let bytes = stream();
        frames.read(&[IoSlice::new(&bytes)], bytes.len());
        assert_eq!(frames.ended(), 2);
    }

    #[test]
    fn the_count_is_independent_of_how_the_bytes_are_split() {
        let bytes = stream();
        for size in 1..60 {
            let mut frames = Frames::new();
            for pair in bytes.chunks(2 * size) {
                let (a, b) = pair.split_at(size.min(pair.len()));
                let slices = [IoSlice::new(a), IoSlice::new(b), IoSlice::new(&bytes)];
                frames.read(&slices, pair.len());
            }
            assert_eq!(frames.ended(), 2, "{size}");
        }
    }

    #[test]
    fn unwritten_bytes_do_not_count() {
        let mut frames = Frames::new();
        let bytes = stream();
        // All but the last byte of the head of the first request.
        let before = PREFACE + HEAD + 12 + HEAD - 1;
        frames.read(&[IoSlice::new(&bytes)], before);
        assert_eq!(frames.ended(), 0);
        frames.read(&[IoSlice::new(&bytes[before..])], 1);
        assert_eq!(frames.ended(), 1);
    }
}
