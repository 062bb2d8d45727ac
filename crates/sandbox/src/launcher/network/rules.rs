//! The text of the rules, for `nft`: the router's, which say what who may reach, and the host's, which keep the router's
//! traffic apart from everything else.

use super::router::{GATEWAY, UPLINK};
use base::network::{CLOSED, Listed, Policy, Whither};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// Connections of one sandbox that the kernel follows at once, and of all of a node's. More would fill the host's table of
/// connections, which the host's own need too.
const FLOWS_MAX: u32 = 1024;
const FLOWS_ALL_MAX: u32 = 32 * 1024;
/// Questions for names of one sandbox that the kernel follows, each for half a minute.
const QUESTIONS_MAX: u32 = 4096;

/// The router's table.
pub const TABLE: &str = "wadi";
/// Addresses that one entry's names stand for at once. A set that is full takes no more: the name is not resolved then.
const ADDRESSES_MAX: u32 = 4096;
/// The port that a group's questions are led to, where names are listed: that and the group.
const NAMING_PORT: u16 = 10_000;

/// The device group of each policy's cables; that of the policy of this name is its place in the map, from 1 on.
pub fn groups(networks: &BTreeMap<String, Policy>) -> impl Iterator<Item = (u32, &str, &Policy)> {
    (1..).zip(networks).map(|(group, (name, policy))| (group, name.as_str(), policy))
}

/// The groups whose policies list names, and on which port of the router's each is asked for them: so who asks is told by
/// the rules, from the device that a question came by.
pub fn naming(networks: &BTreeMap<String, Policy>) -> impl Iterator<Item = (u32, u16, &Policy)> {
    let listing = groups(networks).filter(|(_, _, policy)| policy.lists_names());
    listing.map(|(group, _, policy)| (group, NAMING_PORT + group as u16, policy))
}

/// The set of the addresses that the names of a policy's entry at this place stand for now.
pub fn set(group: u32, place: usize) -> String {
    format!("names-{group}-{place}")
}

/// The router's: what is not let through is dropped.
pub fn of_router(networks: &BTreeMap<String, Policy>) -> String {
    let mut text = format!(
        "table inet {TABLE} {{\n  set flows {{ type ipv4_addr; size 65535; flags dynamic; }}
  set questions {{ type ipv4_addr; size 65535; flags dynamic; }}\n"
    );
    for (group, _, policy) in groups(networks) {
        for (place, _) in policy.allow.iter().enumerate().filter(|(_, listed)| listed.name().is_some()) {
            let set = set(group, place);
            let _ = writeln!(text, "  set {set} {{ type ipv4_addr; size {ADDRESSES_MAX}; flags timeout; }}");
        }
        let _ = write!(text, "  chain policy-{group} {{\n{}  }}\n", of_policy(group, policy));
    }
    let (mut asking, mut asked) = (String::new(), String::new());
    for (group, port, _) in naming(networks) {
        let _ = writeln!(
            asking,
            "    meta iifgroup {group} ip daddr {GATEWAY} meta l4proto {{ tcp, udp }} th dport 53 dnat ip to {GATEWAY}:{port}"
        );
        let _ = writeln!(
            asked,
            "    meta iifgroup {group} fib saddr . iif oif != 0 ip daddr {GATEWAY} meta l4proto {{ tcp, udp }} th dport {port} accept"
        );
    }
    let resolving: Vec<_> =
        groups(networks).filter(|(_, _, policy)| policy.resolver).map(|(group, ..)| group.to_string()).collect();
    let resolver = match resolving.is_empty() {
        true => String::new(),
        false => format!(
            "    meta iifgroup {{ {} }} fib saddr . iif oif != 0 ip daddr {GATEWAY} meta l4proto {{ tcp, udp }} th dport 53 accept\n",
            resolving.join(", ")
        ),
    };
    let jumps: Vec<_> = groups(networks).map(|(group, ..)| format!("{group} : jump policy-{group}")).collect();
    let _ = write!(
        text,
        "  chain input {{\n    type filter hook input priority filter; policy drop;\n    iifname \"lo\" accept
    ct state new add @questions {{ ip saddr ct count over {QUESTIONS_MAX} }} drop\n{resolver}{asked}  }}
  chain ask {{\n    type nat hook prerouting priority dstnat;\n{asking}  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    meta nfproto != ipv4 drop
    iifname \"{UPLINK}\" ct state established,related accept
    iifname \"{UPLINK}\" drop
    oifname != \"{UPLINK}\" drop
    fib saddr . iif oif 0 drop
    ct state established,related accept
    ct state invalid drop
    ct count over {FLOWS_ALL_MAX} drop
    add @flows {{ ip saddr ct count over {FLOWS_MAX} }} drop
    meta iifgroup vmap {{ {} }}
  }}
  chain leave {{ type nat hook postrouting priority srcnat; oifname \"{UPLINK}\" masquerade; }}
}}
",
        jumps.join(", ")
    );
    text
}

/// In the order of [`Policy::verdict`], and what names stand for after what is closed.
fn of_policy(group: u32, policy: &Policy) -> String {
    let mut text = blocks(policy).map(|listed| format!("    {listed} accept\n")).collect::<String>();
    if policy.internet || policy.lists_names() {
        let closed: Vec<_> = CLOSED.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "    ip daddr {{ {} }} drop", closed.join(", "));
    }
    for (place, listed) in policy.allow.iter().enumerate().filter(|(_, listed)| listed.name().is_some()) {
        let _ = writeln!(text, "    {} accept", matching(&format!("@{}", set(group, place)), listed));
    }
    if policy.internet {
        text.push_str("    accept\n");
    }
    text
}

/// What is listed as addresses.
fn blocks(policy: &Policy) -> impl Iterator<Item = String> {
    policy.allow.iter().filter_map(|listed| match &listed.to {
        Whither::Block(block) => Some(matching(&block.to_string(), listed)),
        Whither::Name(_) => None,
    })
}

fn matching(to: &str, listed: &Listed) -> String {
    let to = format!("ip daddr {to}");
    match (listed.protocol, listed.has_ports()) {
        (None, _) => to,
        (Some(protocol), false) => format!("{to} meta l4proto {protocol}"),
        (Some(protocol), true) => format!("{to} {protocol} dport {}-{}", listed.ports.start(), listed.ports.end()),
    }
}

/// What the host's table is made of.
pub struct Host<'a> {
    /// Of the table and of the host's end of the router's uplink.
    pub name: &'a str,
    /// The router's end.
    pub router: Ipv4Addr,
    /// Devices between which this host has not forwarded before us, nor is to because of us.
    pub apart: &'a [String],
}

/// The host's: from the router only what is listed reaches the host itself, and nothing reaches the router unasked. The
/// table replaces the one that an earlier node of the same name left.
pub fn of_host(host: &Host<'_>, networks: &BTreeMap<String, Policy>) -> String {
    let Host { name, router, apart } = host;
    let listed: String =
        networks.values().flat_map(blocks).map(|listed| format!("    iifname \"{name}\" {listed} accept\n")).collect();
    let apart = match apart.is_empty() {
        true => String::new(),
        false => {
            let devices: Vec<_> = apart.iter().map(|device| format!("\"{device}\"")).collect();
            format!(
                "    oifname != \"wadi-*\" iifname {{ {} }} ct state new ct status & dnat == 0 drop\n",
                devices.join(", ")
            )
        }
    };
    format!(
        "{}table inet {name} {{
  chain input {{
    type filter hook input priority filter - 5; policy accept;
    iifname \"{name}\" ct state established,related accept
    iifname \"{name}\" fib daddr type != local drop
{listed}    iifname \"{name}\" drop
  }}
  chain forward {{
    type filter hook forward priority filter - 5; policy accept;
    iifname \"{name}\" oifname \"wadi-*\" drop
    iifname \"{name}\" ip saddr != {router} drop
    oifname \"{name}\" ct state established,related accept
    oifname \"{name}\" drop
    iifname \"{name}\" tcp flags syn tcp option maxseg size set rt mtu
{apart}  }}
  chain leave {{ type nat hook postrouting priority srcnat; ip saddr {router} oifname != \"{name}\" masquerade; }}
}}
",
        removal(name)
    )
}

/// Removes the host's table, whether it is there or not.
pub fn removal(name: &str) -> String {
    format!("table inet {name}\ndelete table inet {name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> BTreeMap<String, Policy> {
        let allow = ["10.0.5.0/24 tcp 5432-5433", "10.9.0.0/16 udp", "203.0.113.7"];
        let allow = allow.iter().map(|text| text.parse().expect("listed")).collect();
        BTreeMap::from([("db".to_owned(), Policy { allow, ..Policy::NONE }), ("internet".to_owned(), Policy::INTERNET)])
    }

    #[test]
    fn lists_come_first_then_what_is_closed_then_the_rest() {
        let text = of_router(&networks());
        let after = |what: &str| text.split_once(what).unwrap_or_else(|| panic!("no {what:?} in {text}")).1;
        let list = after("chain policy-1 {\n");
        let want = "    ip daddr 10.0.5.0/24 tcp dport 5432-5433 accept
    ip daddr 10.9.0.0/16 meta l4proto udp accept
    ip daddr 203.0.113.7/32 accept
  }\n";
        assert!(list.starts_with(want), "{list}");
        let internet = after("chain policy-2 {\n");
        assert!(internet.starts_with("    ip daddr { 0.0.0.0/8, 10.0.0.0/8, "), "{internet}");
        assert!(internet.split_once(" drop\n").is_some_and(|(_, rest)| rest.starts_with("    accept\n  }\n")));
        assert!(text.contains("vmap { 1 : jump policy-1, 2 : jump policy-2 }"));
        assert!(text.contains("meta iifgroup { 2 } fib"), "the list has no resolver");
    }

    #[test]
    fn what_names_stand_for_comes_after_what_is_closed() {
        let allow = ["10.0.5.0/24 tcp 5432", "api.example tcp 443", "*.example"];
        let allow = allow.iter().map(|text| text.parse().expect("listed")).collect();
        let named = BTreeMap::from([
            ("internet".to_owned(), Policy::INTERNET),
            ("names".to_owned(), Policy { allow, ..Policy::NONE }),
        ]);
        let text = of_router(&named);
        let chain = text.split_once("chain policy-2 {\n").expect("a chain").1;
        let lines: Vec<_> = chain.lines().take(4).map(str::trim).collect();
        assert_eq!(lines[0], "ip daddr 10.0.5.0/24 tcp dport 5432-5432 accept");
        assert!(lines[1].starts_with("ip daddr { 0.0.0.0/8, ") && lines[1].ends_with(" drop"));
        assert_eq!(lines[2..], ["ip daddr @names-2-1 tcp dport 443-443 accept", "ip daddr @names-2-2 accept"]);
        assert!(text.contains("set names-2-1 {") && text.contains("set names-2-2 {") && !text.contains("names-2-0"));
        assert!(text.contains(
            "meta iifgroup 2 ip daddr 169.254.0.1 meta l4proto { tcp, udp } th dport 53 dnat ip to 169.254.0.1:10002"
        ));
        assert!(!of_host(&Host { name: "wadi-1", router: GATEWAY, apart: &[] }, &named).contains("names-"));
    }

    #[test]
    fn the_hosts_devices_are_kept_apart_only_where_they_were() {
        let of = |apart: &[String]| {
            of_host(&Host { name: "wadi-1", router: Ipv4Addr::new(169, 254, 200, 2), apart }, &networks())
        };
        assert!(of(&["eth0".to_owned()]).contains("iifname { \"eth0\" } ct state new"));
        assert!(!of(&[]).contains("dnat"));
        assert!(
            of(&[]).contains("    iifname \"wadi-1\" ip daddr 203.0.113.7/32 accept\n    iifname \"wadi-1\" drop\n")
        );
    }
}
