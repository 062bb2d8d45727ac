//! What a policy means for sockets: asked of the resolved address, at the moment at which it is used.

use base::network::{Policy, Protocol, Verdict};
use std::net::{SocketAddr, UdpSocket};
use wasmtime_wasi::sockets::SocketAddrUse;

/// Whether a guest may connect or send there.
pub fn may_reach(policy: &Policy, protocol: Protocol, to: SocketAddr) -> bool {
    match policy.verdict(protocol, to) {
        Verdict::Allowed => true,
        Verdict::AllowedUnlessOwn => !is_own(to),
        Verdict::Refused => false,
    }
}

/// Whether a guest's socket may be used so. It sends and connects; nobody connects to it.
pub fn may_use(policy: &Policy, address: SocketAddr, usage: SocketAddrUse) -> bool {
    match usage {
        SocketAddrUse::TcpConnect => may_reach(policy, Protocol::Tcp, address),
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => may_reach(policy, Protocol::Udp, address),
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => address.ip().is_unspecified() && address.port() == 0,
        _ => false,
    }
}

/// Whether it is an address of this host: those can be bound, and no others.
fn is_own(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip().to_canonical(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_connect_where_the_policy_says_and_listen_nowhere() {
        let allow = vec!["127.0.0.2 tcp 80".parse().expect("listed")];
        let list = Policy { allow, ..Policy::NONE };
        let may = |text: &str, usage| may_use(&list, text.parse().expect("an address"), usage);
        assert!(may("127.0.0.2:80", SocketAddrUse::TcpConnect));
        assert!(!may("127.0.0.2:80", SocketAddrUse::UdpSend));
        assert!(!may("127.0.0.2:81", SocketAddrUse::TcpConnect) && !may("127.0.0.1:80", SocketAddrUse::TcpConnect));
        assert!(may("0.0.0.0:0", SocketAddrUse::TcpBind) && may("0.0.0.0:0", SocketAddrUse::UdpBind));
        assert!(!may("0.0.0.0:80", SocketAddrUse::TcpBind) && !may("127.0.0.1:0", SocketAddrUse::UdpBind));
        assert!(!may("0.0.0.0:0", SocketAddrUse::TcpListen));
    }

    #[test]
    fn the_hosts_own_addresses_are_known() {
        assert!(is_own("127.0.0.1:1".parse().expect("an address")));
        assert!(!is_own("192.0.2.77:1".parse().expect("an address")));
    }
}
