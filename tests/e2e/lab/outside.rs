//! What is outside of a cloud: the internet, with a server on it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{fleet::Fleet, inside::Server, netns::Netns, wait_for};

/// The server's addresses.
pub const WEB4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
pub const WEB6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xcafe, 0, 0, 0, 0, 0x80);

/// The internet, behind the router 198.51.100.254 and 2001:db8:ffff::fe of a link with the edge nodes, which has public
/// addresses too.
pub struct Internet {
    pub namespace: Netns,
    _server: Server,
}

impl Internet {
    /// Joins the ports `wan` of edge nodes.
    #[track_caller]
    pub fn new(fleet: &Fleet) -> Self {
        let namespace = Netns::new("internet");
        namespace.ip("link add br0 type bridge");
        namespace.ip("link set br0 up");
        let mut to_vpcs = String::from("-6 route add 2001:db8:b0::/44");
        for (node, number) in fleet.nodes.iter().filter(|node| node.is_edge).zip(1..) {
            node.namespace.ip(&format!("link set wan netns {} name wan{number}", namespace.name));
            // The port behind it keeps the MAC that it had.
            namespace.ip(&format!("link set wan{number} address 02:00:00:00:ff:{number:02} master br0 up"));
            to_vpcs += &format!(" nexthop via 2001:db8:ffff::{number}");
        }
        for address in ["198.51.100.254/24", "2001:db8:ffff::fe/64 nodad"] {
            namespace.ip(&format!("addr add {address} dev br0"));
        }
        namespace.ip(&format!("addr add {WEB4}/32 dev lo"));
        namespace.ip(&format!("addr add {WEB6}/128 dev lo"));
        namespace.ip(&to_vpcs);
        // A flow's replies may leave by another link of the bridge than the one before.
        namespace.sysctl("net.ipv6.fib_multipath_hash_policy=1");
        let resolved = |log: &str| log.matches("neighbour outside resolved port=wan").count() >= 2;
        for node in fleet.nodes.iter().filter(|node| node.is_edge) {
            wait_for("the edge to resolve its next hops", || resolved(&node.daemon.log()));
        }
        let server = Server::start(&namespace);
        Self { namespace, _server: server }
    }
}
