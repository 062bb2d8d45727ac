//! Names in a list: `example.com`, or `*.example.com` for every name below it.

use super::{CLOSED, Policy, Protocol};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// As RFC 1035 has it, without the last dot.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// One name, or all below one; small letters, no dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    name: String,
    is_above: bool,
}

impl Name {
    /// Whether it stands for this name, however that is written: `a.b.example.com.` for `*.example.com`, which does not stand
    /// for `example.com`.
    pub fn covers(&self, asked: &str) -> bool {
        let asked = asked.strip_suffix('.').unwrap_or(asked);
        let Some(above) = asked.len().checked_sub(self.name.len()) else { return false };
        let (below, same) = asked.as_bytes().split_at(above);
        same.eq_ignore_ascii_case(self.name.as_bytes())
            && match self.is_above {
                false => below.is_empty(),
                true => below.len() > 1 && below.ends_with(b"."),
            }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_above { "*." } else { "" }, self.name)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_above, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let of_names = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let is_label = |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(of_names);
        // A last label without a letter would be read as an address by many programs.
        let is_address = name.rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
        match name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label) && !is_address {
            true => Ok(Self { name, is_above }),
            false => Err(format!("{text:?} is no address, block of addresses, name or `*.NAME`")),
        }
    }
}

impl Policy {
    /// Whether who is in such a network has somebody to ask for names: for all of them, or for those that are listed.
    pub fn resolves(&self) -> bool {
        self.resolver || self.lists_names()
    }

    pub fn lists_names(&self) -> bool {
        self.allow.iter().any(|listed| listed.name().is_some())
    }

    /// The entries that stand for a name, by their places in the list.
    pub fn naming(&self, name: &str) -> impl Iterator<Item = usize> {
        let standing =
            self.allow.iter().enumerate().filter(|(_, listed)| listed.name().is_some_and(|n| n.covers(name)));
        standing.map(|(place, _)| place)
    }

    /// Whether a name that is listed may stand for this address: not for what is near, whoever answers so.
    pub fn may_stand_for(address: Ipv4Addr) -> bool {
        !CLOSED.iter().any(|block| block.contains(address))
    }

    /// Whether what a listed name has been resolved to may be reached there, unless it is one of this host's own.
    pub fn leads_by_name(&self, name: &str, protocol: Protocol, address: Ipv4Addr, port: u16) -> bool {
        Self::may_stand_for(address) && self.naming(name).any(|place| self.allow[place].passes(protocol, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_themselves_or_for_what_is_below() {
        let covers = |text: &str, asked: &str| text.parse::<Name>().expect(text).covers(asked);
        for (text, asked) in [
            ("example.com", "example.com"),
            ("Example.COM.", "eXample.com."),
            ("*.example.com", "a.example.com"),
            ("*.example.com", "a.B.example.com."),
            ("_x.example.com", "_x.example.com"),
            ("localhost", "localhost"),
        ] {
            assert!(covers(text, asked), "{text} {asked}");
        }
        for (text, asked) in [
            ("example.com", "a.example.com"),
            ("example.com", "example.com.."),
            ("example.com", "notexample.com"),
            ("example.com", "com"),
            ("example.com", ""),
            ("*.example.com", "example.com"),
            ("*.example.com", ".example.com"),
            ("*.example.com", "aexample.com"),
            ("*.example.com", "example.com.evil"),
        ] {
            assert!(!covers(text, asked), "{text} {asked}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = ["a"; 128].join(".");
        for text in ["", "*", "*.", "a..b", "-.*.b", "a b", "a.*.b", "1.2.3.4", "a.1", "1", "ä.example", "a/b", &long]
        {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_leads_by_its_ports_and_never_near() {
        let allow = ["api.example tcp 443", "*.example udp", "10.0.0.0/8 tcp 80"];
        let policy = Policy { allow: allow.iter().map(|t| t.parse().expect("listed")).collect(), ..Policy::NONE };
        assert!(policy.leads_out() && policy.resolves() && !policy.resolver);
        let far = Ipv4Addr::new(203, 0, 113, 7);
        let leads = |name: &str, protocol, address, port| policy.leads_by_name(name, protocol, address, port);
        assert!(leads("api.example", Protocol::Tcp, far, 443) && leads("x.example", Protocol::Udp, far, 1));
        assert!(leads("api.example", Protocol::Udp, far, 443), "by the other entry");
        assert!(!leads("api.example", Protocol::Tcp, far, 80) && !leads("x.example", Protocol::Tcp, far, 443));
        for near in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0"] {
            assert!(!leads("api.example", Protocol::Tcp, near.parse().expect("an address"), 443), "{near}");
        }
    }
}
