//! What a job says of sending: bounds, the network, and TLS.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The `[send]` part of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The longest time from sending a request to the end of its answer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// The longest time for name resolution, TCP, proxy and TLS together.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The largest body, counted after decompression.
    pub max_body: ByteSize,
    /// How many redirects in a row are followed; each is an attempt of its own.
    pub follow: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            max_body: ByteSize::mib(10),
            follow: 0,
        }
    }
}

/// The `[network]` part of a job: how servers are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Network {
    /// `http://`, `socks5://` or `socks5h://`, rather than what the environment
    /// names; `none` for none at all.
    pub proxy: Option<String>,
    /// `HOST:PORT:ADDRESS`, or several addresses with commas between them.
    pub resolve: Vec<String>,
    /// The name of an interface, or the address of one, to send from.
    pub interface: Option<String>,
    /// A Unix socket that everything is sent to.
    pub unix_socket: Option<PathBuf>,
    /// Which HTTP is spoken.
    pub http: Http,
    /// Whether rows and redirects may lead to private addresses.
    pub allow_private: bool,
    /// Whether secrets may go to other machines without TLS.
    pub allow_plain: bool,
}

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Http {
    /// HTTP/2 where the server offers it over TLS, HTTP/1.1 otherwise.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1.
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2, also in clear, without asking first.
    #[serde(rename = "2")]
    Two,
}

/// The `[tls]` part of a job: whom to trust, and how to prove who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Tls {
    /// Certificates (PEM) to trust instead of the platform's.
    pub ca_cert: Option<PathBuf>,
    /// Our own certificate (PEM), for servers that ask for one.
    pub cert: Option<PathBuf>,
    /// Its private key (PEM); if absent, it is in the same file.
    pub key: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: Version,
    /// Whether certificates are left unchecked.
    pub insecure: bool,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}
