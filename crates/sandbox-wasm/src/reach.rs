//! What a policy means for sockets: asked of the resolved address, at the moment at which it is used.

use base::network::{Policy, Protocol, Verdict};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use wasmtime_wasi::sockets::SocketAddrUse;

/// Whether a guest may connect or send there, which is what `name` was resolved to a moment ago.
pub fn may_reach(policy: &Policy, protocol: Protocol, name: Option<&str>, to: SocketAddr) -> bool {
    match policy.verdict(protocol, to) {
        Verdict::Allowed => true,
        Verdict::AllowedUnlessOwn => !is_own(to),
        Verdict::Refused => name.is_some_and(|name| is_named(policy, protocol, name, to)),
    }
}

fn is_named(policy: &Policy, protocol: Protocol, name: &str, to: SocketAddr) -> bool {
    let IpAddr::V4(address) = to.ip().to_canonical() else { return false };
    policy.leads_by_name(name, protocol, address, to.port()) && !is_own(to)
}

/// Whether a guest's socket may be used so. It sends and connects; nobody connects to it.
pub fn may_use(policy: &Policy, address: SocketAddr, usage: SocketAddrUse) -> bool {
    match usage {
        SocketAddrUse::TcpConnect => may_reach(policy, Protocol::Tcp, None, address),
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => may_reach(policy, Protocol::Udp, None, address),
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
    fn names_lead_where_they_are_listed_and_not_near() {
        let allow = ["*.example tcp 443", "10.9.0.0/16 tcp 80"];
        let allow = allow.iter().map(|text| text.parse().expect("listed")).collect();
        let list = Policy { allow, ..Policy::NONE };
        let may = |name, text: &str| may_reach(&list, Protocol::Tcp, name, text.parse().expect("an address"));
        assert!(may(Some("a.example"), "192.0.2.77:443") && may(Some("a.example"), "10.9.0.1:80"));
        for (name, text) in [
            (None, "192.0.2.77:443"),
            (Some("example"), "192.0.2.77:443"),
            (Some("a.example"), "192.0.2.77:80"),
            (Some("a.example"), "10.9.0.1:443"),
            (Some("a.example"), "127.0.0.1:443"),
            (Some("a.example"), "169.254.169.254:443"),
            (Some("a.example"), "[2001:db8::1]:443"),
        ] {
            assert!(!may(name, text), "{name:?} {text}");
        }
    }

    #[test]
    fn the_hosts_own_addresses_are_known() {
        assert!(is_own("127.0.0.1:1".parse().expect("an address")));
        assert!(!is_own("192.0.2.77:1".parse().expect("an address")));
    }
}
