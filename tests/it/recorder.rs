//! A plain server that keeps every request byte by byte, and answers as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// `GET /a?b=c HTTP/1.1`
    pub line: String,
    /// Names in small letters, and values, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// Names of headers as they were written, in the order in which they came.
    pub names: Vec<String>,
    pub body: Vec<u8>,
    /// The address that it came from.
    pub from: IpAddr,
}

pub struct Recorder {
    addr: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
}

type Answers = dyn Fn(&Came) -> String + Send + Sync;

impl Recorder {
    /// Answers `{}` to everything. It ends with the tests.
    pub fn start() -> Recorder {
        Recorder::answering(|_| json("{}"))
    }

    /// Answers what is given for each request: a whole head and body.
    pub fn answering(answer: impl Fn(&Came) -> String + Send + Sync + 'static) -> Recorder {
        Recorder::at("127.0.0.1:0", answer)
    }

    pub fn at(addr: &str, answer: impl Fn(&Came) -> String + Send + Sync + 'static) -> Recorder {
        let listener = TcpListener::bind(addr).unwrap();
        let recorder = Recorder { addr: listener.local_addr().unwrap(), came: Arc::default() };
        let (came, answer) = (recorder.came.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (came, answer) = (came.clone(), answer.clone());
                // A client may go at any time.
                thread::spawn(move || converse(&stream.ok()?, &came, &*answer));
            }
        });
        recorder
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What came until now, in the order of arrival.
    pub fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// The only request that came.
    #[track_caller]
    pub fn only(&self) -> Came {
        let came = self.came();
        assert_eq!(came.len(), 1, "{came:#?}");
        came[0].clone()
    }

    pub fn forget(&self) {
        self.came.lock().unwrap().clear();
    }
}

impl Came {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An answer with a JSON body.
pub fn json(body: &str) -> String {
    answer("200 OK", &[("content-type", "application/json")], body)
}

pub fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> String {
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn converse(stream: &TcpStream, came: &Mutex<Vec<Came>>, answer: &Answers) -> Option<()> {
    let (mut reader, from) = (BufReader::new(stream), stream.peer_addr().ok()?.ip());
    loop {
        let request = read(&mut reader, from)?;
        came.lock().unwrap().push(request.clone());
        (&*stream).write_all(answer(&request).as_bytes()).ok()?;
    }
}

fn read(reader: &mut impl BufRead, from: IpAddr) -> Option<Came> {
    let line = read_line(reader)?;
    let (mut headers, mut names) = (Vec::new(), Vec::new());
    loop {
        let header = read_line(reader)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        names.push(name.to_owned());
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    headers.sort();
    let mut came = Came { line, headers, names, body: Vec::new(), from };
    let length: usize = came.header("content-length").unwrap_or("0").parse().ok()?;
    came.body = vec![0; length];
    reader.read_exact(&mut came.body).ok()?;
    Some(came)
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    Some(line.trim_end_matches(['\r', '\n']).to_owned())
}
