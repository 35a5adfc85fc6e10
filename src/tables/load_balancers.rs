//! Gateway Load Balancer endpoints: which appliance has a flow.

use std::{net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;

use super::{PortIndex, Seat, SubnetIndex};
use crate::packet::{GwlbTemplate, Vni};

/// How many lots the flows of a Gateway Load Balancer endpoint are split into.
///
/// Each lot belongs to one of the appliances, as [`super::SHARES`] do to hosts; there are more of them, since there are more appliances
/// than edge nodes, which are to have about the same number of flows.
pub const LOTS: usize = 1024;

/// A Gateway Load Balancer endpoint (GW-23).
#[derive(Clone)]
pub struct LoadBalancer {
    /// The endpoint's subnet, whose route table what comes back follows.
    pub subnet: SubnetIndex,
    /// What appliances know the endpoint by.
    pub number: u64,
    /// The appliances that can take packets, by id.
    pub appliances: Arc<[Appliance]>,
    /// Whose each lot is: positions in `appliances`.
    pub lots: Arc<[u16; LOTS]>,
}

impl LoadBalancer {
    /// The appliance of a flow, by [`crate::packet::flow_hash`], which is the same in both directions.
    #[inline]
    pub fn appliance(&self, flow: u32) -> Option<&Appliance> {
        let lot = (flow >> (u32::BITS - LOTS.ilog2())) as usize;
        self.appliances.get(usize::from(*self.lots.get(lot)?))
    }

    /// What an appliance has to send back with the packets of a flow.
    #[inline]
    pub fn cookie(&self, flow: u32) -> u32 {
        ((self.number ^ u64::from(flow)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }

    /// Whether one of its appliances is at a port of this node.
    pub fn is_behind(&self, port: PortIndex) -> bool {
        self.appliances.iter().any(|it| it.here.as_ref().is_some_and(|here| here.port == port))
    }
}

/// An appliance behind a Gateway Load Balancer endpoint.
#[derive(Clone)]
pub struct Appliance {
    /// The id of its ENI, for operators.
    pub eni: Arc<str>,
    /// Where it is.
    pub seat: Seat,
    /// How it gets packets, if it is at this node.
    pub here: Option<LocalAppliance>,
}

/// An appliance at this node.
#[derive(Clone)]
pub struct LocalAppliance {
    /// Its port.
    pub port: PortIndex,
    /// Its VPC.
    pub vni: Vni,
    /// The largest IP packet that it can be given, in bytes.
    pub mtu: u16,
    /// The outer header.
    pub template: GwlbTemplate,
}

/// The address that a load balancer has towards the appliances in a subnet: the block's base plus three, which is reserved and
/// nobody's (ADDR-1, GW-23).
pub fn load_balancer_of(block: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(block.network().to_bits() | 3)
}
