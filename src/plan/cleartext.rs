//! Secrets without TLS stay on this machine unless the job says otherwise. Pure.

use std::net::IpAddr;

use http::Uri;

use super::Job;

/// Whether secrets may go over a network in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleartext {
    /// To any host.
    Allowed,
    /// To this machine only.
    Here,
}

impl Cleartext {
    /// The setting of a job. A Unix socket leads to this machine.
    pub fn of(job: &Job) -> Cleartext {
        if job.network.allow_plain || job.network.unix_socket.is_some() {
            Cleartext::Allowed
        } else {
            Cleartext::Here
        }
    }

    /// Refuses a URL that would take a secret over a network in clear.
    pub fn check(self, uri: &Uri) -> Result<(), String> {
        if self == Cleartext::Allowed || uri.scheme_str() != Some("http") || is_here(uri) {
            Ok(())
        } else {
            Err(format!(
                "a secret would go to {} over http://, for anyone on the way to read: use https://, or network.allow-plain (--allow-plain) if that network is yours",
                uri.host().unwrap_or_default()
            ))
        }
    }
}

/// Whether a host is this machine.
fn is_here(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_here_without_tls() {
        for (url, here) in [
            ("https://api.h/", true),
            ("http://127.0.0.1:8/", true),
            ("http://[::1]/", true),
            ("http://localhost/", true),
            ("http://api.h/", false),
            ("http://localhost.evil/", false),
            ("http://10.0.0.1/", false),
        ] {
            let uri = url.parse().unwrap();
            assert_eq!(Cleartext::Here.check(&uri).is_ok(), here, "{url}");
            Cleartext::Allowed.check(&uri).unwrap();
        }
    }
}
