//! Flags of the network and of TLS.

use clap::Args;
use serde_json::{Value, json};

/// The connections to servers.
#[derive(Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkFlags {
    /// http://, socks5:// or socks5h://HOST:PORT, or none [default: the environment's]
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// The address of a host (repeat)
    #[arg(long, value_name = "HOST:PORT:ADDRESS")]
    resolve: Vec<String>,
    /// Send from this interface, by name or address
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Send everything to this Unix socket
    #[arg(long, value_name = "PATH")]
    unix_socket: Option<String>,
    /// auto, 1.1, or 2: HTTP/2 also without TLS, by prior knowledge [default: auto]
    #[arg(long, value_parser = ["auto", "1.1", "2"])]
    http: Option<String>,
    /// Allow rows and redirects to private addresses
    #[arg(long)]
    allow_private: bool,
    /// Allow secrets to be sent to other machines without TLS
    #[arg(long)]
    allow_plain: bool,
}

/// The certificates of servers, and of the client.
#[derive(Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsFlags {
    /// Certificates (PEM) to trust instead of the platform's
    #[arg(long, value_name = "FILE")]
    cacert: Option<String>,
    /// The client certificate (PEM)
    #[arg(long, value_name = "FILE")]
    cert: Option<String>,
    /// Its private key (PEM), if it is in another file
    #[arg(long, value_name = "FILE")]
    cert_key: Option<String>,
    /// The oldest version of TLS [default: 1.2]
    #[arg(long, value_name = "VERSION", value_parser = ["1.2", "1.3"])]
    tls_min: Option<String>,
    /// Leave certificates unchecked: anyone on the way can read and change everything
    #[arg(long)]
    insecure: bool,
}

impl NetworkFlags {
    pub fn tree(&self) -> Value {
        json!({
            "proxy": self.proxy,
            "resolve": Some(&self.resolve).filter(|all| !all.is_empty()),
            "interface": self.interface,
            "unix-socket": self.unix_socket,
            "http": self.http,
            "allow-private": self.allow_private.then_some(true),
            "allow-plain": self.allow_plain.then_some(true),
        })
    }
}

impl TlsFlags {
    pub fn tree(&self) -> Value {
        json!({
            "ca-cert": self.cacert,
            "cert": self.cert,
            "key": self.cert_key,
            "min-version": self.tls_min,
            "insecure": self.insecure.then_some(true),
        })
    }
}
