//! What a packet meets beyond the ENIs of its VPC: route targets, peerings, transit gateways, gateways, the outside.
//!
//! ```text
//!  instance ─► [way] ─► [route]: the walk through route tables ─┬► an ENI, of any VPC ────────────► its node
//!                          ▲                                    └► a gateway ─► a node that serves it
//!                          └───────────────┐                                              │
//!  gateway port ─► [arrive] ─► [internet], [nat], [egress_only], [outside] ◄──────────────┘
//! ```
//!
//! Peerings and transit gateways are no places: the sender's node walks through their tables ([`route`]). Gateways are
//! places: the nodes with gateway ports that serve them, each a share of the flows ([`crate::tables::SHARES`]). A packet
//! travels there in the VPC that it is in, to the gateway's MAC, and goes on from there by the same walk.
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
mod way;

pub(crate) use arrive::arrive;
pub use stateful::{Flows, resume};
pub(crate) use way::{from_underlay, is_from, leave};
