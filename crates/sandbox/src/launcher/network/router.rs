//! The node's router: a network namespace between the sandboxes that lead out and the host.

use super::netlink::{self, End, Netlink};
use super::rules::{self, Host};
use super::sets::Sets;
use super::{forwarding, within};
use crate::Network;
use base::network::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What sandboxes see of the router: their gateway, and their resolver. All addresses of ours are link-local ones, which
/// nobody can be meant to reach through us.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);
/// The router's end of the way to the host.
pub const UPLINK: &str = "uplink";
const LOOPBACK: u32 = 1;
const UPLINK_INDEX: u32 = 9;
/// Cables are numbered round and round, with a device and an address for each, so that none comes back soon.
const CABLES: u32 = 32_512;
const CABLE_FIRST: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 0);
const CABLE_INDEX_FIRST: u32 = 100;
/// How many numbers are tried whose devices may still be going away.
const CABLE_TRIES: u32 = 64;
/// A sandbox's end of its cable.
const INSIDE: End<'_> = End { name: "eth0", index: 99, group: 0 };
/// Where the uplinks of nodes lie, four addresses each, and how many are tried for one that is free.
const UPLINK_FIRST: Ipv4Addr = Ipv4Addr::new(169, 254, 192, 0);
const UPLINKS: u32 = 2048;
const UPLINK_TRIES: u32 = 64;

/// The router and what of it is in the host.
pub struct Router {
    nft: PathBuf,
    /// Of the device and the table in the host.
    name: String,
    links: Netlink,
    groups: BTreeMap<String, u32>,
    /// The policies with which names are resolved, all or some.
    resolving: BTreeSet<String>,
    cable: u32,
    /// What names are resolved with, until the node has it.
    pub resolvers: Option<Resolvers>,
}

/// What the node resolves names with for those that are led out, all of the router's network.
#[derive(Debug)]
pub struct Resolvers {
    /// For those who may ask for all names, and then for each network that lists names, in the order of [`rules::naming`].
    pub sockets: Vec<(UdpSocket, TcpListener)>,
    pub sets: Sets,
}

impl Resolvers {
    /// As they are handed over: the sets, then the sockets, UDP's before TCP's.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let sockets = self.sockets.iter().flat_map(|(udp, tcp)| [udp.as_fd(), tcp.as_fd()]);
        std::iter::once(self.sets.as_fd()).chain(sockets).collect()
    }

    /// # Errors
    /// Not all of them arrived.
    pub fn received(descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let mut descriptors = descriptors.into_iter();
        let sets = descriptors.next().ok_or(io::ErrorKind::UnexpectedEof)?.into();
        let mut sockets = Vec::new();
        while let (Some(udp), Some(tcp)) = (descriptors.next(), descriptors.next()) {
            sockets.push((udp.into(), tcp.into()));
        }
        Ok(Self { sockets, sets })
    }
}

/// A sandbox's way out; it goes with the sandbox's network.
#[derive(Debug)]
pub struct Wire {
    cable: u32,
    /// The kernel's counts of the devices in the sandbox's network, `/proc/net/dev`. Keeps that network as long as it is
    /// open.
    pub counts: File,
}

impl Router {
    /// Makes the router and its rules, and in the host a device and a table, in the place of those that an earlier
    /// launcher with this `state_dir` left.
    ///
    /// # Errors
    /// What this machine does not give, and what to do.
    pub fn raise(nft: &Path, state_dir: &Path, networks: &BTreeMap<String, Policy>) -> Result<Self, String> {
        let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let name = name(state_dir).map_err(said("name the router"))?;
        let home = super::own().map_err(said("find the host's network"))?;
        let host = Netlink::open().map_err(said("open a netlink socket"))?;
        if let Ok(old) = host.index(&name) {
            host.ask([netlink::remove(old)]).map_err(said("remove an old uplink"))?;
        }
        let inside = super::pool::fresh().map_err(said("make the router's network"))?;
        let (ours, its) = uplink(&name);
        let ports = std::iter::once(53).chain(rules::naming(networks).map(|(_, port, _)| port));
        let (links, resolvers) =
            within(&inside, || furnish(&name, &home, its, ports)).map_err(said("make the router"))?;
        let apart = forwarding::turn_on().map_err(said("turn on net.ipv4.ip_forward"))?;
        let groups = rules::groups(networks).map(|(group, name, _)| (name.to_owned(), group)).collect();
        let resolving = networks.iter().filter(|(_, policy)| policy.resolves()).map(|(name, _)| name.clone()).collect();
        let router = Self { nft: nft.to_owned(), name, links, groups, resolving, cable: 0, resolvers: Some(resolvers) };
        let filled = router.fill(&inside, &host, (ours, its), &apart, networks);
        filled.inspect_err(|_| router.remove()).map(|()| router)
    }

    fn fill(
        &self,
        inside: &OwnedFd,
        host: &Netlink,
        (ours, its): (Ipv4Addr, Ipv4Addr),
        apart: &[String],
        networks: &BTreeMap<String, Policy>,
    ) -> Result<(), String> {
        let addressed =
            host.index(&self.name).and_then(|index| host.ask([netlink::up(index), netlink::address(index, ours, 30)]));
        addressed.map_err(|error| format!("address the uplink: {error}"))?;
        let text = rules::of_router(networks);
        within(inside, || Ok(nft(&self.nft, &text))).map_err(|error| error.to_string())??;
        nft(&self.nft, &rules::of_host(&Host { name: &self.name, router: its, apart }, networks))
    }

    /// Leads a network out, nowhere yet: [`Router::open`] says where to.
    pub fn wire(&mut self, network: &OwnedFd) -> io::Result<Wire> {
        let (inner, counts) = within(network, || {
            // IPv6 leads nowhere: its device has none.
            let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
            Ok((Netlink::open()?, File::open("/proc/thread-self/net/dev")?))
        })?;
        let mut tried = 0;
        loop {
            tried += 1;
            self.cable = self.cable % CABLES + 1;
            let (cable, address) = (self.cable, address(self.cable));
            let near = End { name: &format!("w{cable}"), index: CABLE_INDEX_FIRST + cable, group: 0 };
            let laid = self.links.ask([
                netlink::veth(&near, &INSIDE, network.as_raw_fd()),
                netlink::route_to(CABLE_INDEX_FIRST + cable, address),
            ]);
            match laid {
                Ok(()) => {
                    let addressed = [
                        netlink::up(INSIDE.index),
                        netlink::address(INSIDE.index, address, 32),
                        netlink::route_by(INSIDE.index, GATEWAY),
                    ];
                    return inner.ask(addressed).map(|()| Wire { cable, counts });
                }
                Err(error) if tried < CABLE_TRIES && is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets what comes over the wire go where the policy of this name says.
    pub fn open(&self, wire: &Wire, policy: &str) -> io::Result<()> {
        let group = self.groups.get(policy).ok_or(io::ErrorKind::NotFound)?;
        self.links.ask([netlink::regroup(CABLE_INDEX_FIRST + wire.cable, *group)])
    }

    pub fn knows(&self, policy: &str) -> bool {
        self.groups.contains_key(policy)
    }

    /// Whether who is in this network is to look for a resolver.
    pub fn resolves(&self, network: &Network) -> bool {
        matches!(network, Network::Out(name) if self.resolving.contains(name))
    }

    /// Takes away what is in the host; the rest goes with this process.
    pub fn remove(&self) {
        let _ = nft(&self.nft, &rules::removal(&self.name));
        if let Ok(host) = Netlink::open()
            && let Ok(index) = host.index(&self.name)
        {
            let _ = host.ask([netlink::remove(index)]);
        }
        let _ = forwarding::turn_off();
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EBUSY))
}

fn address(cable: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(CABLE_FIRST.to_bits() + cable - 1)
}

/// The same whenever a launcher works in this directory, and no other's: `wadi-` and eight hex digits, of a directory's
/// number on its disk and the disk's.
fn name(state_dir: &Path) -> io::Result<String> {
    let at = fs::metadata(state_dir)?;
    // Any mixture serves that does not let either number hide.
    let mixed = (at.ino() ^ at.dev().rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Ok(format!("wadi-{:08x}", mixed >> 32))
}

/// A node's two addresses on its way to the host, the host's first: by its name, and free in this network.
fn uplink(name: &str) -> (Ipv4Addr, Ipv4Addr) {
    let start = u32::from_str_radix(name.trim_start_matches("wadi-"), 16).unwrap_or(0);
    let place = |tried: u32| UPLINK_FIRST.to_bits() + start.wrapping_add(tried) % UPLINKS * 4;
    // An address that can be bound is somebody's here already.
    let free = |first: &u32| UdpSocket::bind((Ipv4Addr::from_bits(first + 1), 0)).is_err();
    let first = (0..UPLINK_TRIES).map(place).find(free).unwrap_or_else(|| place(0));
    (Ipv4Addr::from_bits(first + 1), Ipv4Addr::from_bits(first + 2))
}

/// The router's own side, in its network: devices, addresses and what names are asked for on.
fn furnish(
    name: &str,
    home: &OwnedFd,
    its: Ipv4Addr,
    ports: impl Iterator<Item = u16>,
) -> io::Result<(Netlink, Resolvers)> {
    for (setting, value) in
        [("ipv4/ip_forward", "1"), ("ipv4/conf/all/rp_filter", "1"), ("ipv4/conf/default/rp_filter", "1")]
    {
        fs::write(Path::new("/proc/sys/net").join(setting), value)?;
    }
    for scope in ["all", "default"] {
        // Missing where the kernel has no IPv6.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
    let links = Netlink::open()?;
    let (near, far) = (End { name: UPLINK, index: UPLINK_INDEX, group: 0 }, End { name, index: 0, group: 0 });
    links.ask([netlink::up(LOOPBACK), netlink::address(LOOPBACK, GATEWAY, 32)])?;
    links.ask([netlink::veth(&near, &far, home.as_fd().as_raw_fd()), netlink::address(UPLINK_INDEX, its, 30)])?;
    links.ask([netlink::route_by(UPLINK_INDEX, Ipv4Addr::from_bits(its.to_bits() - 1))])?;
    let listen = |port| Ok((UdpSocket::bind((GATEWAY, port))?, TcpListener::bind((GATEWAY, port))?));
    let sockets = ports.map(listen).collect::<io::Result<_>>()?;
    Ok((links, Resolvers { sockets, sets: Sets::open()? }))
}

/// Runs `nft` on a text, in the network that we are in: all of it or nothing is done.
fn nft(program: &Path, text: &str) -> Result<(), String> {
    let run = || {
        let mut child = Command::new(program)
            .args(["-f", "-"])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        child.wait_with_output()
    };
    match run() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("nft: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{}: {error}", program.display())),
    }
}
