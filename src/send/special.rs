//! Addresses outside the public internet: the IANA registries of special-purpose
//! addresses (IPv4 and IPv6, as of October 2025), multicast, and reserved ones. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The use of a block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Globally reachable by the registry.
    Public,
    /// A use that is not a server of the public internet.
    Special(&'static str),
    /// Each stands for the IPv4 address in its last four bytes.
    Ipv4,
}

use Use::{Ipv4, Public, Special};

/// The first address of a block, the length of its prefix in bits, and its use. The
/// longest matching prefix decides.
type ReservedBlock<Bits> = (Bits, u32, Use);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u32 {
    Ipv4Addr::new(a, b, c, d).to_bits()
}

/// An IPv6 address by its first four groups; the last four are zero.
const fn v6(a: u16, b: u16, c: u16, d: u16) -> u128 {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_bits()
}

/// Use of the anycast addresses of 192.0.0.0/24 and 2001:1::/32, which the registry
/// calls reachable: they stand for a service of the local network.
const NEAREST: Use = Special("a service of the local network");

const V4: [ReservedBlock<u32>; 21] = [
    (v4(0, 0, 0, 0), 8, Special("this network")),
    (v4(10, 0, 0, 0), 8, Special("private use")),
    (v4(100, 64, 0, 0), 10, Special("a provider's own network")),
    (v4(127, 0, 0, 0), 8, Special("this machine")),
    (v4(169, 254, 0, 0), 16, Special("link-local")),
    (v4(172, 16, 0, 0), 12, Special("private use")),
    (v4(192, 0, 0, 0), 24, Special("protocol assignments")),
    (v4(192, 0, 0, 9), 32, NEAREST),
    (v4(192, 0, 0, 10), 32, NEAREST),
    (v4(192, 0, 2, 0), 24, Special("documentation")),
    (v4(192, 31, 196, 0), 24, Public),
    (v4(192, 52, 193, 0), 24, Public),
    (v4(192, 88, 99, 0), 24, Special("deprecated 6to4 relays")),
    (v4(192, 168, 0, 0), 16, Special("private use")),
    (v4(192, 175, 48, 0), 24, Public),
    (v4(198, 18, 0, 0), 15, Special("benchmarks")),
    (v4(198, 51, 100, 0), 24, Special("documentation")),
    (v4(203, 0, 113, 0), 24, Special("documentation")),
    (v4(224, 0, 0, 0), 4, Special("multicast")),
    (v4(240, 0, 0, 0), 4, Special("reserved")),
    (v4(255, 255, 255, 255), 32, Special("broadcast")),
];

const V6: [ReservedBlock<u128>; 32] = [
    // Public addresses are in 2000::/3; the rest is reserved, with these exceptions.
    (v6(0, 0, 0, 0), 3, Special("reserved")),
    (v6(0x4000, 0, 0, 0), 2, Special("reserved")),
    (v6(0x8000, 0, 0, 0), 1, Special("reserved")),
    (v6(0, 0, 0, 0), 128, Special("unspecified")),
    (1, 128, Special("this machine")),
    (v6(0, 0, 0, 0), 96, Special("deprecated IPv4-compatible")),
    (0xffff << 32, 96, Ipv4),
    (0xffff << 48, 96, Special("IPv4-translated")),
    (v6(0x64, 0xff9b, 0, 0), 96, Ipv4),
    (v6(0x64, 0xff9b, 1, 0), 48, Special("local IPv4 translation")),
    (v6(0x100, 0, 0, 0), 64, Special("discarded")),
    (v6(0x100, 0, 0, 1), 64, Special("a dummy")),
    (v6(0x2001, 0, 0, 0), 23, Special("protocol assignments")),
    (v6(0x2001, 0, 0, 0), 32, Special("Teredo")),
    (v6(0x2001, 1, 0, 0) + 1, 128, NEAREST),
    (v6(0x2001, 1, 0, 0) + 2, 128, NEAREST),
    (v6(0x2001, 1, 0, 0) + 3, 128, NEAREST),
    (v6(0x2001, 2, 0, 0), 48, Special("benchmarks")),
    (v6(0x2001, 3, 0, 0), 32, Public),
    (v6(0x2001, 4, 0x112, 0), 48, Public),
    (v6(0x2001, 0x10, 0, 0), 28, Special("deprecated hashes")),
    (v6(0x2001, 0x20, 0, 0), 28, Public),
    (v6(0x2001, 0x30, 0, 0), 28, Public),
    (v6(0x2001, 0xdb8, 0, 0), 32, Special("documentation")),
    (v6(0x2002, 0, 0, 0), 16, Special("6to4")),
    (v6(0x2620, 0x4f, 0x8000, 0), 48, Public),
    (v6(0x3fff, 0, 0, 0), 20, Special("documentation")),
    (v6(0x5f00, 0, 0, 0), 16, Special("segment routing")),
    (v6(0xfc00, 0, 0, 0), 7, Special("private use")),
    (v6(0xfe80, 0, 0, 0), 10, Special("link-local")),
    (v6(0xfec0, 0, 0, 0), 10, Special("deprecated site-local")),
    (v6(0xff00, 0, 0, 0), 8, Special("multicast")),
];

/// The use of an address, if it is outside the public internet.
pub fn special_use(address: IpAddr) -> Option<&'static str> {
    let found = match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    };
    match found {
        Special(name) => Some(name),
        Public | Ipv4 => None,
    }
}

fn of_v4(address: Ipv4Addr) -> Use {
    let bits = address.to_bits();
    let holds = |line: &&ReservedBlock<u32>| (bits ^ line.0).leading_zeros() >= line.1;
    most_special(V4.iter().filter(holds))
}

fn of_v6(address: Ipv6Addr) -> Use {
    let bits = address.to_bits();
    let holds = |line: &&ReservedBlock<u128>| (bits ^ line.0).leading_zeros() >= line.1;
    match most_special(V6.iter().filter(holds)) {
        Ipv4 => {
            let [.., a, b, c, d] = address.octets();
            of_v4(Ipv4Addr::new(a, b, c, d))
        }
        other => other,
    }
}

fn most_special<'a, Bits: 'a>(holding: impl Iterator<Item = &'a ReservedBlock<Bits>>) -> Use {
    let line = holding.max_by_key(|line| line.1);
    line.map_or(Public, |line| line.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block per line: its first and last address, the addresses before and after
    /// it, and its use. The neighbours are public, or with a star have another special
    /// use.
    const LINES: &str = "
        0.0.0.0 0.255.255.255 - 1.0.0.0 this network
        10.0.0.0 10.255.255.255 9.255.255.255 11.0.0.0 private use
        100.64.0.0 100.127.255.255 100.63.255.255 100.128.0.0 a provider's own network
        127.0.0.0 127.255.255.255 126.255.255.255 128.0.0.0 this machine
        169.254.0.0 169.254.255.255 169.253.255.255 169.255.0.0 link-local
        172.16.0.0 172.31.255.255 172.15.255.255 172.32.0.0 private use
        192.0.0.0 192.0.0.255 191.255.255.255 192.0.1.0 protocol assignments
        192.0.0.9 192.0.0.9 *192.0.0.8 *192.0.0.11 a service of the local network
        192.0.0.10 192.0.0.10 *192.0.0.8 *192.0.0.11 a service of the local network
        192.0.2.0 192.0.2.255 192.0.1.255 192.0.3.0 documentation
        192.31.196.0 192.31.196.255 192.31.195.255 192.31.197.0 public
        192.52.193.0 192.52.193.255 192.52.192.255 192.52.194.0 public
        192.88.99.0 192.88.99.255 192.88.98.255 192.88.100.0 deprecated 6to4 relays
        192.168.0.0 192.168.255.255 192.167.255.255 192.169.0.0 private use
        192.175.48.0 192.175.48.255 192.175.47.255 192.175.49.0 public
        198.18.0.0 198.19.255.255 198.17.255.255 198.20.0.0 benchmarks
        198.51.100.0 198.51.100.255 198.51.99.255 198.51.101.0 documentation
        203.0.113.0 203.0.113.255 203.0.112.255 203.0.114.0 documentation
        224.0.0.0 239.255.255.255 223.255.255.255 *240.0.0.0 multicast
        240.0.0.0 255.255.255.254 *239.255.255.255 - reserved
        255.255.255.255 255.255.255.255 *255.255.255.254 - broadcast
        0:0:0:1:: 1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff - 2000:: reserved
        4000:: 7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff *3fff:: - reserved
        8000:: fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff - *fc00:: reserved
        :: :: - *::1 unspecified
        ::1 ::1 *:: *::2 this machine
        ::2 ::ffff:ffff *::1 *::1:0:0 deprecated IPv4-compatible
        ::ffff:0:0 ::ffff:0.255.255.255 *::fffe:ffff:ffff *::1:0:0:0 this network
        ::ffff:0:0:0 ::ffff:0:255.255.255.255 *::fffe:ffff:ffff:ffff *::ffff:1:0:0 IPv4-translated
        64:ff9b:: 64:ff9b::0.255.255.255 *64:ff9a::1 *64:ff9b::1:0:0 this network
        64:ff9b:1:: 64:ff9b:1:ffff:ffff:ffff:ffff:ffff *64:ff9b:0:ffff:: *64:ff9b:2:: local IPv4 translation
        100:: 100::ffff:ffff:ffff:ffff *ff:ffff:: *100:0:0:1:: discarded
        100:0:0:1:: 100:0:0:1:ffff:ffff:ffff:ffff *100::1 *100:0:0:2:: a dummy
        2001:5:: 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2000:ffff:: 2001:200:: protocol assignments
        2001:: 2001:0:ffff:ffff:ffff:ffff:ffff:ffff 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff *2001:1:: Teredo
        2001:1::1 2001:1::1 *2001:1:: *2001:1::4 a service of the local network
        2001:1::2 2001:1::2 *2001:1:: *2001:1::4 a service of the local network
        2001:1::3 2001:1::3 *2001:1:: *2001:1::4 a service of the local network
        2001:2:: 2001:2:0:ffff:ffff:ffff:ffff:ffff *2001:1:ffff:: *2001:2:1:: benchmarks
        2001:3:: 2001:3:ffff:ffff:ffff:ffff:ffff:ffff *2001:2:ffff:: *2001:4:: public
        2001:4:112:: 2001:4:112:ffff:ffff:ffff:ffff:ffff *2001:4:111:: *2001:4:113:: public
        2001:10:: 2001:1f:ffff:ffff:ffff:ffff:ffff:ffff *2001:f:: 2001:20:: deprecated hashes
        2001:20:: 2001:2f:ffff:ffff:ffff:ffff:ffff:ffff *2001:1f:: 2001:30:: public
        2001:30:: 2001:3f:ffff:ffff:ffff:ffff:ffff:ffff 2001:2f:: *2001:40:: public
        2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 2001:db7:ffff:: 2001:db9:: documentation
        2002:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:ffff:: 2003:: 6to4
        2620:4f:8000:: 2620:4f:8000:ffff:ffff:ffff:ffff:ffff 2620:4f:7fff:: 2620:4f:8001:: public
        3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff 3ffe:ffff:: 3fff:1000:: documentation
        5f00:: 5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff *5eff:: *5f01:: segment routing
        fc00:: fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff *fbff:: *fe00:: private use
        fe80:: febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff *fe7f:: *fec0:: link-local
        fec0:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff *febf:: *ff00:: deprecated site-local
        ff00:: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff *feff:: - multicast
    ";

    fn use_of(text: &str) -> &'static str {
        special_use(text.parse().unwrap()).unwrap_or("public")
    }

    #[test]
    fn each_line_is_for_its_addresses_and_no_others() {
        let lines: Vec<&str> = LINES.trim().lines().collect();
        assert_eq!(lines.len(), V4.len() + V6.len(), "a line has no test");
        for line in lines {
            let line: Vec<&str> = line.trim().splitn(5, ' ').collect();
            let [first, last, before, after, name] = line[..] else {
                panic!("{line:?} lacks something")
            };
            for inside in [first, last] {
                assert_eq!(use_of(inside), name, "{inside}");
            }
            for outside in [before, after].into_iter().filter(|text| *text != "-") {
                match outside.strip_prefix('*') {
                    None => assert_eq!(use_of(outside), "public", "{outside}"),
                    Some(other) => assert!(![name, "public"].contains(&use_of(other)), "{other}"),
                }
            }
        }
    }

    #[test]
    fn an_address_within_an_address_is_judged() {
        for (text, name) in [
            ("::ffff:10.0.0.1", "private use"),
            ("::ffff:93.184.216.34", "public"),
            ("64:ff9b::169.254.169.254", "link-local"),
            ("64:ff9b::93.184.216.34", "public"),
            ("::127.0.0.1", "deprecated IPv4-compatible"),
            ("2002:7f00:1::", "6to4"),
            ("2001:0:7f00:1::", "Teredo"),
        ] {
            assert_eq!(use_of(text), name, "{text}");
        }
    }
}
