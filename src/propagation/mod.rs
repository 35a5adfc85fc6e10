//! Routes learned by BGP: from FRR, over zebra's FPM channel, to changes of a gateway's table (BGP-1, RT-19).
//!
//! FRR speaks BGP with the routers outside and chooses the best path of each prefix by the attributes; zebra sends what
//! is best to its *forwarding plane manager*, which is this program. A gateway has a network namespace with a zebra and
//! a bgpd of its own, and an [`Intake`] that zebra dials; so routes need no tag that says whose they are, and peers of
//! two gateways may have the same addresses. `configs/frr/` has the other side.
//!
//! Read in this order: [`fpm`] cuts the stream into frames, [`netlink`] reads a frame's routes, [`rib`] is what was
//! learned and what outlives a restart of FRR, [`listener`] has the thread and the socket, [`feed`] tells other hosts of it,
//! [`preference`] ranks what a gateway knows of one prefix from several sources. This is the management's half of the crate: it may allocate and block.

pub mod feed;
pub mod fpm;
pub mod listener;
pub mod netlink;
mod paths;
pub mod preference;
pub mod rib;
mod routes;
mod sorted;

use std::{fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;

pub use listener::{Event, Intake, Settings, What};
pub use preference::{Source, best};
pub use rib::{Change, Rib};
pub use routes::Routes;

/// One way on for a route: a neighbour, and the interface behind which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The interface's index in the gateway's namespace, which says the attachment: an IPv6 neighbour is often named by a
    /// link-local address, which several interfaces may have. 0 if the route names none.
    pub interface: u32,
    /// The neighbour's address, which may be of the other family (RFC 8950); `None` if the destination is on the link.
    pub address: Option<IpAddr>,
}

/// Where a learned route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// To any of these, at equal cost: at least one, sorted, each once.
    Via(Arc<[NextHop]>),
    /// Nowhere: packets are dropped (blackhole, unreachable and prohibit alike).
    Blackhole,
}

/// What a message says of one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update<P = Path> {
    /// The destination, without host bits.
    pub prefix: IpNet,
    /// Its path by BGP now; `None` if it has none.
    pub path: Option<P>,
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("on link")?,
        }
        match self.interface {
            0 => Ok(()),
            interface => write!(f, " interface {interface}"),
        }
    }
}
