//! A server of objects: GET with ranges and ETags, as web servers and object stores answer it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use percent_encoding::percent_decode_str;

/// An object, and how it is given.
#[derive(Debug, Clone, Default)]
pub struct Object {
    pub bytes: Vec<u8>,
    /// Headers of all answers with it.
    pub headers: Vec<(String, String)>,
    /// Number of bytes after which a connection is cut.
    pub cut_after: Option<usize>,
    /// Whether a request for a part of it gets all of it.
    pub ignores_ranges: bool,
    /// What takes its place once it was given.
    pub then: Option<Box<Object>>,
}

/// A request: its method, path and query, and headers in small letters.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub headers: BTreeMap<String, String>,
}

/// Refuses a request with a status, headers and a body.
type Refuses = dyn Fn(&Asked) -> Option<(String, String)> + Send + Sync;

pub struct Objects {
    url: String,
    all: Arc<Mutex<BTreeMap<String, Object>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Object {
    /// With a tag of its contents.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Object {
        let bytes = bytes.into();
        let tag = format!("\"{}\"", blake3::hash(&bytes).to_hex());
        let modified = "Sat, 28 Nov 2026 10:00:00 GMT";
        Object { bytes, ..Object::default() }.with("etag", &tag).with("last-modified", modified)
    }

    pub fn with(mut self, name: &str, value: &str) -> Object {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl Objects {
    pub fn start() -> Objects {
        Objects::refusing(|_| None)
    }

    /// Refuses the requests for which there is a head of a status line and headers, with a body.
    pub fn refusing(
        refuses: impl Fn(&Asked) -> Option<(String, String)> + Send + Sync + 'static,
    ) -> Objects {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let objects = Objects { url, all: Arc::default(), asked: Arc::default() };
        let (all, asked) = (objects.all.clone(), objects.asked.clone());
        let refuses: Arc<Refuses> = Arc::new(refuses);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (all, asked, refuses) = (all.clone(), asked.clone(), refuses.clone());
                // A client may go at any time.
                thread::spawn(move || converse(stream.ok()?, &all, &asked, &*refuses));
            }
        });
        objects
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn put(&self, path: &str, object: Object) {
        self.all.lock().unwrap().insert(path.into(), object);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn converse(
    stream: TcpStream,
    all: &Mutex<BTreeMap<String, Object>>,
    asked: &Mutex<Vec<Asked>>,
    refuses: &Refuses,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let request = read(&mut reader)?;
        asked.lock().unwrap().push(request.clone());
        let path = percent_decode_str(request.target.split('?').next()?);
        let path = path.decode_utf8_lossy().into_owned();
        let object = all.lock().unwrap().get(&path).cloned();
        if let Some(then) = object.as_ref().and_then(|object| object.then.clone()) {
            all.lock().unwrap().insert(path, *then);
        }
        let refusal = refuses(&request);
        let missing = || ("404 Not Found\r\n".to_owned(), "NoSuchKey".to_owned());
        match (refusal, object) {
            (None, Some(object)) => give(&stream, &request, &object)?,
            (refusal, _) => {
                let (head, body) = refusal.unwrap_or_else(missing);
                let length = body.len();
                let text = format!("HTTP/1.1 {head}content-length: {length}\r\n\r\n{body}");
                (&stream).write_all(text.as_bytes()).ok()?;
            }
        }
    }
}

fn give(mut stream: &TcpStream, request: &Asked, object: &Object) -> Option<()> {
    let (all, mut head) = (object.bytes.len(), String::new());
    let range = request.headers.get("range").filter(|_| !object.ignores_ranges);
    let range = range.and_then(|it| it.strip_prefix("bytes=")?.split_once('-'));
    let start: usize = range.map_or(0, |(start, _)| start.parse().unwrap());
    let end = range.and_then(|(_, end)| end.parse::<usize>().ok()).map_or(all, |it| it + 1);
    if start > all {
        let refusal = b"HTTP/1.1 416 Range Not Satisfiable\r\ncontent-length: 0\r\n\r\n";
        return stream.write_all(refusal).ok();
    }
    let body = &object.bytes[start..end.min(all)];
    head +=
        if range.is_some() { "HTTP/1.1 206 Partial Content\r\n" } else { "HTTP/1.1 200 OK\r\n" };
    if range.is_some() {
        head += &format!("content-range: bytes {start}-{}/{all}\r\n", end.min(all) - 1);
    }
    for (name, value) in &object.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    if request.method == "HEAD" {
        return Some(());
    }
    let given = object.cut_after.map_or(body.len(), |most| most.min(body.len()));
    stream.write_all(&body[..given]).ok()?;
    (given == body.len()).then_some(())
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let line = read_line(reader)?;
    let mut parts = line.split(' ').map(str::to_owned);
    let (method, target) = (parts.next()?, parts.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let header = read_line(reader)?;
        let Some((name, value)) = header.split_once(':') else {
            return Some(Asked { method, target, headers });
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let count = reader.read_line(&mut line).ok()?;
    (count > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}
