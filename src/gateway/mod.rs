//! What a packet meets beyond the ENIs of its VPC: route targets, peerings, transit gateways, gateways, the outside.
//!
//! ```text
//!  instance ─► [way] ─► [route]: the walk through route tables ─┬► an ENI, of any VPC ────────────► its node
//!                          ▲                                    └► a gateway ─► a node that serves it
//!                          └───────────────┐                                              │
//!  gateway port ─► [arrive] ─► [internet], [nat], [egress_only], [outside] ◄──────────────┘
//! ```
//!
//! Peerings and transit gateways are no places: the sender's node walks through their tables (`route`). Gateways are
//! places: the nodes with gateway ports that serve them, each a share of the flows ([`crate::tables::SHARES`]). A packet
//! travels there in the VPC that it is in, to the gateway's MAC, and goes on from there by the same walk.
//!
//! # Flows that are remembered
//!
//! NAT gateways and egress-only internet gateways remember flows ([`Flows`]), each at one worker of one node: the one that has
//! the flow's share ([`crate::tables::SHARES`]). All nodes compute the same share for all packets of a flow (`subject`): from
//! its hash, and for what comes back to a NAT gateway's address from the port, as each share has ports of its own. So nodes
//! and workers have no state in common, and none is ever moved:
//!
//! - A node that fails takes its shares' flows with it, and no other flow. Their next packets are another's: a TCP connection
//!   through a NAT gateway is reset, as after its idle time (GW-12), UDP and echo get a new port. What is not translated is
//!   picked up where it was (GW-21), by the next packet from inside.
//! - A node that comes back takes shares over, with the same consequence for the flows in them.
//! - A packet that was sent by older tables is passed on to the node that has its share now, once.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod arrive;
mod egress_only;
mod internet;
pub(crate) mod multicast;
mod nat;
mod nat64;
mod outside;
mod route;
mod stateful;
mod subject;
mod too_big;
mod tunnel;
mod way;

pub(crate) use arrive::arrive;
pub use stateful::{Flows, resume};
pub(crate) use way::{always_tracked, from_underlay, is_from, leave, send};
