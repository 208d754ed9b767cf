//! TCP and Unix sockets: name resolution, and the local interface.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::guard::AddressPolicy;
use super::names::Names;
use super::settings::Network;
use super::{Delivery, SendError};
use crate::error::Error;
use crate::record::FailureKind;
use crate::wording::worded;

/// Opens sockets as the job wants it.
#[derive(Default)]
pub struct Dialer {
    resolve: HashMap<(String, u16), Vec<IpAddr>>,
    interface: Option<Interface>,
    guard: AddressPolicy,
    names: Names,
    /// Whether something failed that is the same for all hosts.
    has_no_way: AtomicBool,
}

/// Where packets leave this machine.
enum Interface {
    Name(String),
    Address(IpAddr),
}

/// The interfaces of this machine, where the system has such a directory.
const INTERFACES: &str = "/sys/class/net";

impl Interface {
    /// Checks that this machine has the interface or the address.
    fn check(&self) -> Result<(), Error> {
        match self {
            Interface::Name(name) => check_name(name),
            Interface::Address(address) => {
                UdpSocket::bind((*address, 0)).map(drop).map_err(|error| {
                    Error::plan(format!("network.interface (--interface) {address}: {error}"))
                })
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(INTERFACES) else {
        return Ok(());
    };
    let mut names: Vec<String> =
        entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    if names.iter().any(|own| own == name) {
        return Ok(());
    }
    names.sort();
    Err(Error::plan(format!(
        "network.interface (--interface) {name}: this machine has no such interface, but {}",
        names.join(", ")
    )))
}

impl Dialer {
    pub fn new(settings: &Network, guard: AddressPolicy) -> Result<Dialer, Error> {
        let interface = settings.interface.as_ref().map(|name| match name.parse() {
            Ok(address) => Interface::Address(address),
            Err(_) => Interface::Name(name.clone()),
        });
        if let Some(interface) = &interface {
            interface.check()?;
        }
        Ok(Dialer {
            resolve: settings
                .resolve
                .iter()
                .map(|text| resolved(text))
                .collect::<Result<_, _>>()?,
            interface,
            guard,
            names: Names::default(),
            has_no_way: AtomicBool::new(false),
        })
    }

    /// Whether something failed on the way to every host: the proxy, the interface, the
    /// socket, or the certificates to trust.
    pub fn has_no_way(&self) -> bool {
        self.has_no_way.load(Ordering::Relaxed)
    }

    /// From now on nothing that fails is one host's trouble alone.
    pub fn no_way(&self) {
        self.has_no_way.store(true, Ordering::Relaxed);
    }

    /// The addresses of a host that may be asked, as the job or the system tells.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, SendError> {
        let found: Vec<SocketAddr> = match self.resolve.get(&(host.to_owned(), port)) {
            Some(given) => given.iter().map(|ip| SocketAddr::new(*ip, port)).collect(),
            None => self.names.addresses(host, port).await?,
        };
        for address in &found {
            self.guard.check(host, address.ip()).map_err(|why| SendError {
                kind: FailureKind::Input,
                detail: why,
                delivery: Delivery::Final,
            })?;
        }
        Ok(found)
    }

    /// A connection to the first of a host's addresses that takes one.
    pub async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, SendError> {
        let addresses = self.addresses(host, port).await?;
        self.first_of(addresses.into_iter(), host, port).await
    }

    /// A connection to a proxy, which the job or the environment names: it may well
    /// be private.
    pub async fn proxy(&self, host: &str, port: u16) -> Result<TcpStream, SendError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let reached = match self.names.addresses(bare, port).await {
            Ok(found) => self.first_of(found.into_iter(), host, port).await,
            Err(trouble) => Err(trouble),
        };
        reached.inspect_err(|_| self.no_way())
    }

    /// A connection to the Unix socket that stands for all hosts.
    pub async fn unix(&self, path: &Path) -> Result<UnixStream, SendError> {
        unix(path).await.inspect_err(|_| self.no_way())
    }

    async fn first_of(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, SendError> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        for address in addresses {
            match self.connect(address).await {
                Ok(stream) => {
                    // Requests are written whole: nothing is won by waiting for more.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        self.names.forget(super::guard::bare(host), port);
        Err(unreached(host, port, &last))
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(interface) = &self.interface else {
            return TcpStream::connect(address).await;
        };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        let bound = match interface {
            Interface::Address(own) => socket.bind(SocketAddr::new(*own, 0)),
            Interface::Name(name) => bind_device(&socket, name),
        };
        bound.inspect_err(|_| self.no_way())?;
        socket.connect(address).await
    }
}

#[cfg(target_os = "linux")]
fn bind_device(socket: &TcpSocket, name: &str) -> io::Result<()> {
    let bound = socket.bind_device(Some(name.as_bytes()));
    bound.map_err(|error| {
        io::Error::new(error.kind(), format!("network.interface (--interface) {name}: {error}"))
    })
}

#[cfg(not(target_os = "linux"))]
fn bind_device(_: &TcpSocket, name: &str) -> io::Result<()> {
    Err(io::Error::other(format!(
        "network.interface (--interface) {name}: here only an interface's address can be given"
    )))
}

/// A connection to a Unix socket.
async fn unix(path: &Path) -> Result<UnixStream, SendError> {
    UnixStream::connect(path).await.map_err(|error| SendError {
        kind: kind(&error),
        detail: worded(format!(
            "{} (network.unix-socket or --unix-socket): {error}",
            path.display()
        )),
        delivery: Delivery::NotSent,
    })
}

/// `HOST:PORT:ADDRESS,ADDRESS`
fn resolved(text: &str) -> Result<((String, u16), Vec<IpAddr>), Error> {
    let parse = || {
        let (host, rest) = text.split_once(':')?;
        let (port, addresses) = rest.split_once(':')?;
        let address = |text: &str| text.trim_matches(['[', ']']).parse().ok();
        let addresses: Option<Vec<IpAddr>> = addresses.split(',').map(address).collect();
        Some(((host.to_ascii_lowercase(), port.parse().ok()?), addresses?))
    };
    parse().ok_or_else(|| {
        Error::plan(format!(
            "network.resolve (--resolve): {text:?} is not HOST:PORT:ADDRESS, such as api.example:443:192.0.2.7"
        ))
    })
}

/// The kind of a failed connection; also if the process or the system has no descriptor left.
fn kind(error: &io::Error) -> FailureKind {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => FailureKind::NoDescriptor,
        _ => FailureKind::Connect,
    }
}

fn unreached(host: &str, port: u16, error: &io::Error) -> SendError {
    SendError {
        kind: kind(error),
        detail: format!("{host}:{port}: {error}"),
        delivery: Delivery::NotSent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortage_of_descriptors_is_waited_for() {
        for (errno, expected) in [
            (Errno::MFILE, FailureKind::NoDescriptor),
            (Errno::NFILE, FailureKind::NoDescriptor),
            (Errno::CONNREFUSED, FailureKind::Connect),
        ] {
            assert_eq!(kind(&errno.into()), expected, "{errno}");
        }
    }

    #[test]
    fn names_get_the_addresses_that_the_job_gives() {
        let ((host, port), addresses) = resolved("API.h:443:192.0.2.7,[::1]").unwrap();
        assert_eq!((host.as_str(), port), ("api.h", 443));
        assert_eq!(addresses, ["192.0.2.7", "::1"].map(|text| text.parse::<IpAddr>().unwrap()));
        for text in ["h", "h:80", "h:80:nowhere", "h:p:1.1.1.1", "h:80:"] {
            resolved(text).unwrap_err();
        }
    }
}
