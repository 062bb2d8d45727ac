//! As much of nfnetlink as the addresses of names are opened with: elements of the router's sets, each with the time after
//! which the kernel takes it out again. Numbers are those of `linux/netfilter/nfnetlink.h` and `nf_tables.h`.

use super::netlink::{Message, put};
use super::rules::TABLE;
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFTABLES: u16 = 10;
const NEW_ELEMENT: u16 = NFTABLES << 8 | 12;
const REMOVE_ELEMENT: u16 = NFTABLES << 8 | 14;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
/// `NFPROTO_INET`, the family of the router's table.
const INET: u8 = 1;
const NESTED: u16 = 0x8000;
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3 | NESTED;
const ELEMENT: u16 = 1 | NESTED;
const ELEMENT_KEY: u16 = 1 | NESTED;
const ELEMENT_TIMEOUT: u16 = 4;
const VALUE: u16 = 1;
/// The kernel answers at once; nobody waits for ever if it does not.
const PATIENCE: Duration = Duration::from_secs(1);

/// A socket to the rules of the network that it was opened in. It keeps that network.
#[derive(Debug)]
pub struct Sets(OwnedFd);

impl From<OwnedFd> for Sets {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl AsFd for Sets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Sets {
    pub fn open() -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(NETFILTER))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Has each set hold the addresses for so many seconds from now on, whether it held them before or not: all of it or nothing.
    ///
    /// # Errors
    /// `ENFILE` where a set is full.
    pub fn hold(&self, sets: &[String], addresses: &[(Ipv4Addr, u32)]) -> io::Result<()> {
        if sets.is_empty() || addresses.is_empty() {
            return Ok(());
        }
        // What an earlier one, which failed, has left unread.
        while rustix::net::recv(&self.0, &mut [0; 4096], RecvFlags::DONTWAIT).is_ok() {}
        rustix::net::send(&self.0, &batch(sets, addresses), SendFlags::empty())?;
        let mut buffer = [0; 4096];
        let (length, _) = rustix::net::recv(&self.0, &mut buffer, RecvFlags::empty())?;
        match super::netlink::acknowledged(&buffer[..length]).first() {
            Some(0) => Ok(()),
            Some(error) => Err(Errno::from_raw_os_error(-error).into()),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// The kernel keeps an element's old time where one is added again, so each is added, taken out, and added.
fn batch(sets: &[String], addresses: &[(Ipv4Addr, u32)]) -> Vec<u8> {
    let frame = |kind| Message::new(kind, REQUEST, &general(0, NFTABLES)).finish();
    let mut bytes = frame(BATCH_BEGIN);
    for (number, set) in sets.iter().enumerate() {
        let last = if number + 1 == sets.len() { ACK } else { 0 };
        for (kind, flags) in [(NEW_ELEMENT, CREATE), (REMOVE_ELEMENT, 0), (NEW_ELEMENT, CREATE | last)] {
            bytes.extend(elements(kind, REQUEST | flags, set, addresses));
        }
    }
    bytes.extend(frame(BATCH_END));
    bytes
}

fn elements(kind: u16, flags: u16, set: &str, addresses: &[(Ipv4Addr, u32)]) -> Vec<u8> {
    let mut list = Vec::new();
    for (address, seconds) in addresses {
        let (mut value, mut element) = (Vec::new(), Vec::new());
        put(&mut value, VALUE, &address.octets());
        put(&mut element, ELEMENT_KEY, &value);
        if kind == NEW_ELEMENT {
            put(&mut element, ELEMENT_TIMEOUT, &(u64::from(*seconds) * 1000).to_be_bytes());
        }
        put(&mut list, ELEMENT, &element);
    }
    let text = |name: &str| [name.as_bytes(), &[0]].concat();
    Message::new(kind, flags, &general(INET, 0))
        .attribute(LIST_TABLE, &text(TABLE))
        .attribute(LIST_SET, &text(set))
        .attribute(LIST_ELEMENTS, &list)
        .finish()
}

/// `struct nfgenmsg`.
fn general(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}
