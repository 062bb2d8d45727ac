//! As much of rtnetlink as networks are made with: devices, addresses, routes. Numbers are those of `linux/rtnetlink.h`,
//! `linux/if_link.h` and `linux/if_addr.h`.

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const REMOVE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// REQUEST and ACK, always; CREATE and EXCL for what must be new.
const REQUEST: u16 = 1 | 4;
const NEW: u16 = REQUEST | 0x400 | 0x200;

const IFF_UP: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// The table, who made it, and its type: main, static, unicast.
const ROUTE: [u8; 2] = [254, 4];
const UNICAST: u8 = 1;
/// The gateway is on the link, whatever other routes say.
const ONLINK: u32 = 4;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;

/// A socket to the network that it was opened in.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

/// One end of a veth pair. With index 0 the kernel chooses one.
pub struct End<'a> {
    pub name: &'a str,
    pub index: u32,
    pub group: u32,
}

pub struct Message(Vec<u8>);

impl Message {
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // A number, and who asks: both the kernel's to ignore or fill.
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        Self(bytes)
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        put(&mut self.0, kind, value);
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

pub fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// `struct ifinfomsg`.
fn link(index: u32, flags: u32) -> Vec<u8> {
    let mut fixed = vec![0; 4];
    fixed.extend(index.to_ne_bytes());
    fixed.extend(flags.to_ne_bytes());
    fixed.extend(flags.to_ne_bytes());
    fixed
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// A veth pair: `near` is up, `far`, in another network, yet to be.
pub fn veth(near: &End<'_>, far: &End<'_>, far_in: i32) -> Message {
    let mut peer = link(far.index, 0);
    put(&mut peer, IFLA_IFNAME, &text(far.name));
    put(&mut peer, IFLA_GROUP, &far.group.to_ne_bytes());
    put(&mut peer, IFLA_NET_NS_FD, &far_in.to_ne_bytes());
    let (mut data, mut info) = (Vec::new(), Vec::new());
    put(&mut data, VETH_INFO_PEER, &peer);
    put(&mut info, IFLA_INFO_KIND, b"veth");
    put(&mut info, IFLA_INFO_DATA, &data);
    Message::new(NEW_LINK, NEW, &link(near.index, IFF_UP))
        .attribute(IFLA_IFNAME, &text(near.name))
        .attribute(IFLA_GROUP, &near.group.to_ne_bytes())
        .attribute(IFLA_LINKINFO, &info)
}

/// Puts a device that is there in a group.
pub fn regroup(index: u32, group: u32) -> Message {
    Message::new(NEW_LINK, REQUEST, &link(index, 0)).attribute(IFLA_GROUP, &group.to_ne_bytes())
}

pub fn up(index: u32) -> Message {
    Message::new(NEW_LINK, REQUEST, &link(index, IFF_UP))
}

/// Removes a device, and with it its other end.
pub fn remove(index: u32) -> Message {
    Message::new(REMOVE_LINK, REQUEST, &link(index, 0))
}

pub fn address(index: u32, address: Ipv4Addr, bits: u8) -> Message {
    let index = index.to_ne_bytes();
    let fixed = [2, bits, 0, SCOPE_UNIVERSE, index[0], index[1], index[2], index[3]];
    Message::new(NEW_ADDRESS, NEW, &fixed)
        .attribute(IFA_LOCAL, &address.octets())
        .attribute(IFA_ADDRESS, &address.octets())
}

/// To one address, which is on the link.
pub fn route_to(index: u32, address: Ipv4Addr) -> Message {
    let fixed = [2, 32, 0, 0, ROUTE[0], ROUTE[1], SCOPE_LINK, UNICAST, 0, 0, 0, 0];
    Message::new(NEW_ROUTE, NEW, &fixed).attribute(RTA_DST, &address.octets()).attribute(RTA_OIF, &index.to_ne_bytes())
}

/// Everything else goes by `gateway`.
pub fn route_by(index: u32, gateway: Ipv4Addr) -> Message {
    let mut fixed = vec![2, 0, 0, 0, ROUTE[0], ROUTE[1], SCOPE_UNIVERSE, UNICAST];
    fixed.extend(ONLINK.to_ne_bytes());
    Message::new(NEW_ROUTE, NEW, &fixed)
        .attribute(RTA_GATEWAY, &gateway.octets())
        .attribute(RTA_OIF, &index.to_ne_bytes())
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        let (family, kind, flags) = (AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC);
        // No protocol is NETLINK_ROUTE, whose number is zero.
        Ok(Self(rustix::net::socket_with(family, kind, flags, None)?))
    }

    /// The number of a device of this network.
    pub fn index(&self, name: &str) -> io::Result<u32> {
        Ok(rustix::net::netdevice::name_to_index(self.0.as_fd(), name)?)
    }

    /// Has the messages done in their order, and stops at none: what the first that failed failed with.
    pub fn ask(&self, messages: impl IntoIterator<Item = Message>) -> io::Result<()> {
        let messages: Vec<_> = messages.into_iter().map(Message::finish).collect();
        rustix::net::send(&self.0, &messages.concat(), SendFlags::empty())?;
        let (mut left, mut came) = (messages.len(), Ok(()));
        let mut buffer = [0; 4096];
        while left > 0 {
            let (length, _) = rustix::net::recv(&self.0, &mut buffer, RecvFlags::empty())?;
            for error in acknowledged(&buffer[..length]) {
                left = left.saturating_sub(1);
                came = came.and(if error == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(-error).into()) });
            }
        }
        came
    }
}

/// The codes of the acknowledgements in what was received: 0, or an error's number below zero.
pub fn acknowledged(mut bytes: &[u8]) -> Vec<i32> {
    let mut codes = Vec::new();
    while let (Some(length), Some(kind)) = (bytes.first_chunk(), bytes.get(4..6)) {
        let length = u32::from_ne_bytes(*length) as usize;
        if let (ERROR, Some(code)) = (u16::from_ne_bytes([kind[0], kind[1]]), bytes.get(16..20)) {
            codes.push(i32::from_ne_bytes([code[0], code[1], code[2], code[3]]));
        }
        match bytes.get(length.max(16).next_multiple_of(4)..) {
            Some(rest) => bytes = rest,
            None => break,
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_padded_and_counted() {
        let bytes = address(9, Ipv4Addr::new(169, 254, 0, 1), 32).finish();
        assert_eq!(bytes.len(), 16 + 8 + 8 + 8);
        assert_eq!(bytes[..4], 40_u32.to_ne_bytes());
        let end = |name| End { name, index: 7, group: 0 };
        let veth = veth(&end("w1"), &end("eth0"), 3).finish();
        assert_eq!(veth.len() % 4, 0);
        assert_eq!(veth[..4], (veth.len() as u32).to_ne_bytes());
    }

    #[test]
    fn every_acknowledgement_is_found() {
        let ack = |code: i32| {
            let mut bytes = 36_u32.to_ne_bytes().to_vec();
            bytes.extend(ERROR.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(code.to_ne_bytes());
            bytes.resize(36, 0);
            bytes
        };
        assert_eq!(acknowledged(&[ack(0), ack(-17), ack(0)].concat()), [0, -17, 0]);
        assert_eq!(acknowledged(&ack(0)[..10]), Vec::<i32>::new());
    }
}
