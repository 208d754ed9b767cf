//! The settings of sending: bounds, the network, and TLS.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The `[send]` part of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Maximum time from sending a request to the end of its answer.
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::DurationText"))]
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Maximum time between two parts of a body; none if it is left out.
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Maximum time of name resolution, TCP, proxy and TLS together.
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::DurationText"))]
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Maximum size of a decompressed body: 10 MiB if none is given, and for a body that goes
    /// to a file as it comes, none.
    #[cfg_attr(
        feature = "cli",
        schemars(with = "Option<crate::limit::schema::Either<u64, String>>")
    )]
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::exact_size::serialize"
    )]
    pub max_body: Option<ByteSize>,
    /// Maximum number of redirects in a row; each is an attempt of its own.
    pub follow: u32,
    /// Whether a body in gzip whose head doesn't say so stays as it is.
    #[serde(skip)]
    pub keep_gzip: bool,
}

/// Maximum size of a decompressed body, where the job gives none.
const MAX_BODY: ByteSize = ByteSize::mib(10);

impl Settings {
    /// Maximum size in bytes of a decompressed body that is held in memory.
    #[must_use]
    pub fn max_held_body(&self) -> u64 {
        self.max_body.unwrap_or(MAX_BODY).as_u64()
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timeout: Duration::from_secs(30),
            idle_timeout: None,
            connect_timeout: Duration::from_secs(10),
            max_body: None,
            follow: 0,
            keep_gzip: false,
        }
    }
}

/// The `[network]` part of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Network {
    /// `http://`, `socks5://` or `socks5h://`, instead of the environment's proxy;
    /// `none` for no proxy.
    pub proxy: Option<String>,
    /// `HOST:PORT:ADDRESS`, or several addresses separated by commas.
    pub resolve: Vec<String>,
    /// The name of an interface, or the address of one, to send from.
    pub interface: Option<String>,
    /// A Unix socket for all requests.
    pub unix_socket: Option<PathBuf>,
    /// The version of HTTP.
    pub http: Http,
    /// Whether rows and redirects to private addresses are allowed.
    pub allow_private: bool,
    /// Whether secrets can be sent to other machines without TLS.
    pub allow_plain: bool,
}

/// The version of HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Http {
    /// HTTP/2 if the server offers it over TLS, else HTTP/1.1.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1.
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2, also without TLS, by prior knowledge.
    #[serde(rename = "2")]
    Two,
}

/// The `[tls]` part of a job: trusted certificates, and the client's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Tls {
    /// Certificates (PEM) to trust instead of the platform's.
    pub ca_cert: Option<PathBuf>,
    /// The client certificate (PEM), for servers that require one.
    pub cert: Option<PathBuf>,
    /// The private key (PEM); if absent, it is in the certificate's file.
    pub key: Option<PathBuf>,
    /// The oldest version of TLS that is accepted.
    pub min_version: Version,
    /// Whether certificates are left unchecked.
    pub insecure: bool,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Version {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}
