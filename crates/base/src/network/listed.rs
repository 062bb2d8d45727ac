//! Entries of a list: `10.0.5.0/24 tcp 5432-5433` or `api.example.com tcp 443`, with the protocol, and with it the ports, left
//! away for all.

use super::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    first: Ipv4Addr,
    bits: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whither {
    Block(Block),
    /// What its name stands for, from the moment at which it is resolved.
    Name(Name),
}

/// One entry: all that it does not narrow is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Listed {
    pub to: Whither,
    /// `None` is every protocol, those without ports included.
    pub protocol: Option<Protocol>,
    /// `0..=65535` where none is given.
    pub ports: RangeInclusive<u16>,
}

const ALL_PORTS: RangeInclusive<u16> = 0..=u16::MAX;

impl Block {
    /// `first` has no bit set beyond the first `bits`, of which there are 32 at most.
    pub(super) const fn new(first: Ipv4Addr, bits: u8) -> Self {
        Self { first, bits }
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let bits = |address: Ipv4Addr| address.to_bits().checked_shr(32 - u32::from(self.bits)).unwrap_or(0);
        bits(address) == bits(self.first)
    }
}

impl Listed {
    /// Whether it lists this address as such.
    pub fn covers(&self, protocol: Protocol, address: Ipv4Addr, port: u16) -> bool {
        self.block().is_some_and(|block| block.contains(address)) && self.passes(protocol, port)
    }

    /// Whether it is about this port, wherever.
    pub fn passes(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol.is_none_or(|own| own == protocol && self.ports.contains(&port))
    }

    pub fn block(&self) -> Option<&Block> {
        match &self.to {
            Whither::Block(block) => Some(block),
            Whither::Name(_) => None,
        }
    }

    pub fn name(&self) -> Option<&Name> {
        match &self.to {
            Whither::Block(_) => None,
            Whither::Name(name) => Some(name),
        }
    }

    /// Whether ports narrow it.
    pub fn has_ports(&self) -> bool {
        self.ports != ALL_PORTS
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Whither::Block(block) => write!(f, "{block}")?,
            Whither::Name(name) => write!(f, "{name}")?,
        }
        if let Some(protocol) = self.protocol {
            write!(f, " {protocol}")?;
        }
        match (self.has_ports(), self.ports.start() == self.ports.end()) {
            (false, _) => Ok(()),
            (true, true) => write!(f, " {}", self.ports.start()),
            (true, false) => write!(f, " {}-{}", self.ports.start(), self.ports.end()),
        }
    }
}

impl From<Listed> for String {
    fn from(listed: Listed) -> Self {
        listed.to_string()
    }
}

impl TryFrom<String> for Listed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let first: Ipv4Addr = address.parse().map_err(|_| match address.contains(':') {
            true => format!("{text:?}: only IPv4 leads out of a sandbox"),
            false => format!("{text:?} is no address"),
        })?;
        let bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32).ok_or(format!("{text:?}: not /0 to /32"))?;
        match first.to_bits().trailing_zeros() + u32::from(bits) >= 32 {
            true => Ok(Self { first, bits }),
            false => Err(format!("{text:?} has bits set beyond its /{bits}")),
        }
    }
}

impl FromStr for Whither {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A name has no slash, and no last part that is a number.
        text.parse().map(Self::Name).or_else(|said: String| {
            match text.contains(['/', ':']) || text.parse::<Ipv4Addr>().is_ok() {
                true => text.parse().map(Self::Block),
                false => Err(said),
            }
        })
    }
}

impl FromStr for Listed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let to = words.next().unwrap_or_default().parse()?;
        let protocol = match words.next() {
            None => None,
            Some("tcp") => Some(Protocol::Tcp),
            Some("udp") => Some(Protocol::Udp),
            Some(other) => return Err(format!("{text:?}: {other:?} is neither tcp nor udp")),
        };
        let ports = words.next().map_or(Ok(ALL_PORTS), |word| {
            let (from, to) = word.split_once('-').unwrap_or((word, word));
            match (from.parse(), to.parse()) {
                (Ok(from), Ok(to)) if from <= to => Ok(from..=to),
                _ => Err(format!("{text:?}: {word:?} is no port and no range of ports")),
            }
        })?;
        match words.next() {
            None => Ok(Self { to, protocol, ports }),
            Some(more) => {
                Err(format!("{text:?}: {more:?} is one word too many (ADDRESS[/BITS]|NAME [tcp|udp [PORT[-PORT]]])"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_are_written() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("1.2.3.4", "1.2.3.4/32"),
            ("0.0.0.0/0 udp", "0.0.0.0/0 udp"),
            ("10.0.5.0/24  tcp  5432", "10.0.5.0/24 tcp 5432"),
            ("10.0.5.0/24 tcp 5432-5433", "10.0.5.0/24 tcp 5432-5433"),
            ("API.Example.com.  tcp 443", "api.example.com tcp 443"),
            ("*.example.com", "*.example.com"),
        ] {
            let listed: Listed = text.parse().expect(text);
            assert_eq!(listed.to_string(), written);
            assert_eq!(written.parse::<Listed>().expect(written), listed);
        }
        let all: Block = "0.0.0.0/0".parse().expect("a block");
        assert!(all.contains(Ipv4Addr::BROADCAST) && all.contains(Ipv4Addr::UNSPECIFIED));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, wrong) in [
            ("", "is no address"),
            ("1.2.3", "is no address"),
            ("*", "is no address"),
            ("example.com icmp", "neither tcp nor udp"),
            ("fd00::/8", "only IPv4"),
            ("10.0.0.0/33", "not /0 to /32"),
            ("10.0.0.1/8", "beyond its /8"),
            ("10.0.0.0/8 icmp", "neither tcp nor udp"),
            ("10.0.0.0/8 tcp 70000", "no port"),
            ("10.0.0.0/8 tcp 9-8", "no port"),
            ("10.0.0.0/8 tcp 9 10", "one word too many"),
        ] {
            let said = text.parse::<Listed>().expect_err(text);
            assert!(said.contains(wrong), "{text}: {said}");
        }
    }
}
