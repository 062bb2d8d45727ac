//! What functions may reach of the network. One definition: the kernel's rules for processes are written from it, and a
//! component's calls are held against it.
//!
//! A [`Policy`] says what one function may reach; [`Networks`] are the policies that a node has, by name. Only IPv4 leads
//! out of a sandbox, so an IPv6 address is never allowed.

mod listed;
mod name;
mod named;

pub use listed::{Block, Listed, Protocol, Whither};
pub use name::Name;
pub use named::{Ceiling, Networks, Reach};

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Entries of one list.
pub const ALLOW_MAX: usize = 256;

/// Networks of a node that list names: each has sockets of its own to be asked on.
pub const NAMING_MAX: usize = 32;

/// What is not the internet, and only ever reached by who lists it: this host, private and shared ranges, link-local
/// (where clouds keep their metadata), protocol assignments, benchmarks, multicast, reserved and broadcast.
pub const CLOSED: [Block; 11] = [
    Block::new(Ipv4Addr::new(0, 0, 0, 0), 8),
    Block::new(Ipv4Addr::new(10, 0, 0, 0), 8),
    Block::new(Ipv4Addr::new(100, 64, 0, 0), 10),
    Block::new(Ipv4Addr::new(127, 0, 0, 0), 8),
    Block::new(Ipv4Addr::new(169, 254, 0, 0), 16),
    Block::new(Ipv4Addr::new(172, 16, 0, 0), 12),
    Block::new(Ipv4Addr::new(192, 0, 0, 0), 24),
    Block::new(Ipv4Addr::new(192, 168, 0, 0), 16),
    Block::new(Ipv4Addr::new(198, 18, 0, 0), 15),
    Block::new(Ipv4Addr::new(224, 0, 0, 0), 4),
    Block::new(Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// What one function may reach, beside its own Runtime API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The node's own endpoint.
    pub platform: bool,
    /// Everything but [`CLOSED`] and the host's own addresses.
    pub internet: bool,
    /// Names are resolved, by the node, whichever they are. Those that are listed are without this.
    pub resolver: bool,
    /// Reached whatever else is closed.
    pub allow: Vec<Listed>,
}

/// What a policy says to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is listed.
    Allowed,
    /// It is the internet's, unless it is one of this host's own.
    AllowedUnlessOwn,
    Refused,
}

impl Policy {
    pub const NONE: Self = Self { platform: false, internet: false, resolver: false, allow: Vec::new() };
    pub const PLATFORM: Self = Self { platform: true, internet: false, resolver: false, allow: Vec::new() };
    pub const INTERNET: Self = Self { platform: true, internet: true, resolver: true, allow: Vec::new() };

    /// Whether there is a way out of the sandbox at all.
    pub fn leads_out(&self) -> bool {
        self.internet || self.resolver || !self.allow.is_empty()
    }

    /// First what is listed, then what is closed, then the rest: in this order the kernel's rules are written too. What names
    /// stand for is [`Policy::leads_by_name`]'s to say.
    pub fn verdict(&self, protocol: Protocol, to: SocketAddr) -> Verdict {
        let IpAddr::V4(address) = to.ip().to_canonical() else { return Verdict::Refused };
        if self.allow.iter().any(|listed| listed.covers(protocol, address, to.port())) {
            return Verdict::Allowed;
        }
        match self.internet && !CLOSED.iter().any(|block| block.contains(address)) {
            true => Verdict::AllowedUnlessOwn,
            false => Verdict::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_internet_is_not_what_is_near() {
        let near = [
            "0.0.0.0:80",
            "10.1.2.3:80",
            "100.64.0.1:80",
            "100.127.255.255:80",
            "127.0.0.1:80",
            "169.254.169.254:80",
            "172.16.0.1:80",
            "172.31.255.255:80",
            "192.168.1.1:80",
            "198.19.0.1:80",
            "224.0.0.251:5353",
            "255.255.255.255:67",
            "[::1]:80",
            "[fd00:ec2::254]:80",
            "[2001:db8::1]:80",
            "[::ffff:10.0.0.1]:80",
            "[::ffff:127.0.0.1]:80",
        ];
        for address in near {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                assert_eq!(Policy::INTERNET.verdict(protocol, to(address)), Verdict::Refused, "{address}");
            }
        }
        for address in ["1.1.1.1:443", "100.63.255.255:80", "172.32.0.1:80", "192.0.2.1:80", "[::ffff:1.1.1.1]:443"] {
            assert_eq!(Policy::INTERNET.verdict(Protocol::Tcp, to(address)), Verdict::AllowedUnlessOwn, "{address}");
            assert_eq!(Policy::PLATFORM.verdict(Protocol::Tcp, to(address)), Verdict::Refused, "{address}");
        }
    }

    #[test]
    fn lists_open_what_they_name_and_no_more() {
        let allow = ["10.0.5.0/24 tcp 5432-5433", "169.254.169.254 udp", "203.0.113.7"];
        let allow = allow.iter().map(|text| text.parse().expect("listed")).collect();
        let list = Policy { allow, ..Policy::NONE };
        assert!(list.leads_out() && !Policy::PLATFORM.leads_out() && Policy::INTERNET.leads_out());
        let says = |protocol, text: &str| list.verdict(protocol, to(text)) == Verdict::Allowed;
        assert!(says(Protocol::Tcp, "10.0.5.1:5432") && says(Protocol::Tcp, "10.0.5.255:5433"));
        assert!(says(Protocol::Udp, "169.254.169.254:53") && says(Protocol::Udp, "203.0.113.7:1"));
        for (protocol, text) in [
            (Protocol::Udp, "10.0.5.1:5432"),
            (Protocol::Tcp, "10.0.5.1:5434"),
            (Protocol::Tcp, "10.0.6.1:5432"),
            (Protocol::Tcp, "169.254.169.254:80"),
            (Protocol::Tcp, "203.0.113.8:1"),
            (Protocol::Tcp, "1.1.1.1:443"),
        ] {
            assert_eq!(list.verdict(protocol, to(text)), Verdict::Refused, "{text}");
        }
    }
}
