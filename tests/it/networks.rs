//! The ways to a server: proxies, addresses, interfaces, sockets, HTTP/2 in clear.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::harness::{Place, each, run};
use crate::recorder::{Recorder, json};

/// A SOCKS 5 proxy with a user, that notes whom it was asked for.
fn socks(asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut client, asked) = (stream.unwrap(), asked.clone());
            thread::spawn(move || {
                let mut take = |count: usize| {
                    let mut bytes = vec![0; count];
                    client.read_exact(&mut bytes).ok().map(|()| bytes)
                };
                let methods = take(2)?[1];
                take(usize::from(methods))?;
                client.write_all(&[5, 0]).ok()?;
                let mut head = [0; 4];
                client.read_exact(&mut head).ok()?;
                let host = match head[3] {
                    1 => {
                        let mut ip = [0; 4];
                        client.read_exact(&mut ip).ok()?;
                        ip.map(|b| b.to_string()).join(".")
                    }
                    _ => {
                        let mut length = [0];
                        client.read_exact(&mut length).ok()?;
                        let mut name = vec![0; usize::from(length[0])];
                        client.read_exact(&mut name).ok()?;
                        String::from_utf8(name).ok()?
                    }
                };
                let mut port = [0; 2];
                client.read_exact(&mut port).ok()?;
                let port = u16::from_be_bytes(port);
                asked.lock().unwrap().push(host);
                let server = TcpStream::connect(("127.0.0.1", port)).ok()?;
                client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).ok()?;
                let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let mut server = server;
                std::io::copy(&mut client, &mut server).ok()
            });
        }
    });
    addr
}

#[test]
fn an_interface_that_is_not_there_is_said() {
    let (place, origin) = (Place::new(), Recorder::start());
    let ended = run()
        .arg("--url", &origin.url())
        .arg("--input", &place.file("rows.csv", "id\n1\n"))
        .flags("--interface nowhere0 --retries 0")
        .exits(2);
    ended
        .says("network.interface (--interface) nowhere0: this machine has no such interface, but ");
    assert_eq!(origin.came(), []);
}

#[test]
fn ways_to_a_server() {
    let (place, origin) = (Place::new(), Recorder::start());
    let port = origin.addr().port();
    let asked = std::sync::Arc::default();
    let socks = socks(std::sync::Arc::clone(&asked));
    let input = place.file("rows.csv", "id\n1\n");
    let ask = |url: &str, flags: &str| {
        run().arg("--url", url).arg("--input", &input).flags(flags).exits(0)
    };
    ask(&origin.url(), &format!("--proxy socks5://{socks}"));
    ask(&format!("http://named.example:{port}/"), &format!("--proxy socks5h://{socks}"));
    assert_eq!(*asked.lock().unwrap(), ["127.0.0.1", "named.example"]);
    ask(
        &format!("http://named.example:{port}/"),
        &format!("--resolve named.example:{port}:127.0.0.1"),
    );
    ask(&origin.url(), "--interface lo");
    ask(&origin.url(), "--interface 127.0.0.2");
    assert_eq!(origin.came().len(), 5);
    assert_eq!(origin.came()[4].from.to_string(), "127.0.0.2");
    assert_eq!(origin.came()[2].header("host"), Some(&*format!("named.example:{port}")));
    // A mock speaks HTTP/2 in clear to those who begin with it.
    let mock = crate::harness::plain_mock();
    let ended = run()
        .arg("--url", &format!("{}/echo", mock.url()))
        .arg("--input", &input)
        .flags("--http 2 --extract host?=.headers.host")
        .exits(0);
    assert_eq!(each(&ended.records(), "host"), [serde_json::Value::Null]);
    // A Unix socket in front of the origin.
    let path = place.path("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().ok()?;
        let mut request = [0; 4096];
        let length = client.read(&mut request).ok()?;
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        client.write_all(json(&serde_json::json!(text).to_string()).as_bytes()).ok()
    });
    let ended = run()
        .arg("--url", "http://docker/v1/info")
        .arg("--input", &input)
        .flags(&format!("--unix-socket {path} --extract said=."))
        .exits(0);
    assert!(ended.records()[0]["said"].as_str().unwrap().starts_with("GET /v1/info HTTP/1.1\r\n"));
}
