//! The addresses that are allowed for hosts that the job does not name. Pure.

use std::collections::HashSet;
use std::net::IpAddr;

use http::Uri;

use super::special::special_use;
use crate::render::Hosts;
use crate::wording::worded;

/// Keeps rows and redirects away from private addresses.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    /// The hosts that the job names literally.
    named: HashSet<String>,
    hosts: Hosts,
    allows_private: bool,
    /// Whether a stranger has named the hosts, so that none is trusted.
    distrusts_names: bool,
}

impl AddressPolicy {
    /// The policy of a job that names these URLs and allows these hosts.
    pub fn new<'a>(
        named: impl Iterator<Item = &'a Uri>,
        hosts: Hosts,
        allows_private: bool,
    ) -> AddressPolicy {
        let host = |uri: &Uri| uri.host().map(|host| bare(host).to_ascii_lowercase());
        let named = named.filter_map(host).collect();
        AddressPolicy { named, hosts, allows_private, distrusts_names: false }
    }

    /// The policy of a job that a stranger has written: no host is trusted by its name.
    pub fn distrusting_names(self) -> AddressPolicy {
        AddressPolicy { distrusts_names: true, ..self }
    }

    /// Whether a redirect to this host is allowed.
    pub fn allows_host(&self, uri: &Uri) -> bool {
        let host = bare(uri.host().unwrap_or_default()).to_ascii_lowercase();
        self.hosts.is_empty() || self.named.contains(&host) || self.hosts.allows(uri)
    }

    /// Refuses the address of a host that the job does not name, if it is private.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), String> {
        let is_named = self.named.contains(host) || self.names(host);
        if self.allows_private || (is_named && !self.distrusts_names) {
            return Ok(());
        }
        match special_use(address) {
            None => Ok(()),
            Some(name) if self.distrusts_names => Err(format!(
                "{host} has the address {address}, which is private ({name}), and the job is sandboxed"
            )),
            Some(name) => Err(worded(format!(
                "{host} has the address {address}, which is private ({name}), and comes from a row or a redirect (network.allow-private or --allow-private would allow it)"
            ))),
        }
    }

    /// Whether a host is allowed by name and its name is its address.
    fn names(&self, host: &str) -> bool {
        let host = bare(host);
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => self.hosts.names_host(&format!("[{host}]")),
            Ok(IpAddr::V4(_)) => self.hosts.names_host(host),
            Err(_) => host == "localhost" && self.hosts.names_host(host),
        }
    }
}

/// Whether a host is this machine's, or one of a private network, as far as its name says.
pub fn is_local(host: &str) -> bool {
    let host = bare(host);
    match host.parse::<IpAddr>() {
        Ok(address) => special_use(address).is_some(),
        Err(_) => {
            let ends = [".localhost", ".local", ".internal", ".test"];
            !host.contains('.') || ends.iter().any(|end| host.ends_with(end))
        }
    }
}

/// A host for a socket: an IPv6 address without the brackets of a URL.
pub fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> AddressPolicy {
        let hosts = ["10.1.1.1", "localhost", "*.shop.example", "[fd00::2]"].map(String::from);
        let named = ["http://intra.example/", "http://[::1]:8080/"].map(|uri| uri.parse().unwrap());
        AddressPolicy::new(named.iter(), Hosts::new(&hosts).unwrap(), false)
    }

    #[test]
    fn names_and_addresses_of_private_networks_are_local() {
        for host in ["localhost", "127.0.0.1", "[::1]", "10.1.2.3", "model", "db.internal"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["api.example", "93.184.216.34", "localhost.example"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn private_addresses_are_for_hosts_that_the_job_names() {
        for (address, public) in [
            ("93.184.216.34", true),
            ("2606:2800:220:1::1", true),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("192.88.99.1", false),
            ("fec0::1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(guard().check("evil.shop.example", address).is_ok(), public, "{address}");
            guard().check("intra.example", address).unwrap();
            guard().check("localhost", address).unwrap();
        }
        for written in ["10.1.1.1", "::1", "fd00::2"] {
            guard().check(written, written.parse().unwrap()).unwrap();
        }
        let refused = guard().check("10.1.1.2", "10.1.1.2".parse().unwrap()).unwrap_err();
        assert!(refused.contains("--allow-private"), "{refused}");
    }

    #[test]
    fn a_name_with_changing_addresses_is_judged_by_each() {
        let flips = ["93.184.216.34", "127.0.0.1"].map(|text| text.parse().unwrap());
        let judged = flips.map(|address| guard().check("evil.example", address).is_ok());
        assert_eq!(judged, [true, false]);
    }

    #[test]
    fn redirects_keep_to_the_allowed_hosts_where_there_are_any() {
        let allows = |guard: &AddressPolicy, url: &str| guard.allows_host(&url.parse().unwrap());
        assert!(allows(&guard(), "https://a.shop.example/"));
        assert!(allows(&guard(), "https://intra.example/"));
        assert!(!allows(&guard(), "https://other.example/"));
        assert!(allows(&AddressPolicy::default(), "https://other.example/"));
    }
}
