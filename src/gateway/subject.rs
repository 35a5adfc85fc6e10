//! Which flow a packet belongs to, for gateways that remember flows: also of the later fragments of a datagram, and of ICMP
//! errors, which belong to the flow of the packet that they quote.

use std::time::Duration;

use super::{nat, stateful::Flows, way::Way};
use crate::{
    flow::{Datagram, Endpoint, Flow, Protocol, Told},
    packet::{
        Address, Fragment, Headers, Network, Tuple, fragment::identification, is_error, mapped, quoted,
    },
    pipeline::Reason,
    tables::{Gateway, GatewayKind, share_of_flow, share_of_port},
};

/// What a packet, or the packet that an ICMP error quotes, tells of its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    /// Addresses, as both families write them, and ports: of the packet, or of the quoted one.
    pub(super) tuple: Tuple<u128>,
    /// The protocol of its transport header.
    pub(super) protocol: u8,
    /// Whether the packet is an ICMP error, so that `tuple` is of the packet that it quotes.
    pub(super) is_error: bool,
    /// [`crate::packet::flow_hash`] of the flow, the same in both directions.
    pub(super) hash: u32,
}

impl Subject {
    /// Of a packet to a gateway that remembers flows, or in one.
    ///
    /// # Errors
    ///
    /// Why the gateway does not take it, whatever it remembers.
    pub(super) fn of(
        flows: &mut Flows,
        now: Duration,
        gateway: &Gateway,
        way: &Way<'_>,
        frame: &[u8],
    ) -> Result<Self, Reason> {
        if let GatewayKind::Nat(_) = gateway.kind {
            nat::takes(way)?;
        }
        let datagram = (way.headers.fragment != Fragment::Whole).then(|| Datagram {
            scope: gateway.number,
            source: mapped(way.source),
            destination: mapped(way.destination),
            identification: identification(frame, &way.headers).unwrap_or_default(),
            protocol: if way.headers.network == Network::Ipv4 { way.headers.protocol } else { 0 },
        });
        let read = match way.headers.network {
            Network::Ipv4 => Self::read::<u32>,
            Network::Ipv6 => Self::read::<u128>,
            Network::Arp => return Err(Reason::GatewayFamily),
        };
        read(flows, now, datagram, &way.headers, frame)
    }

    fn read<A: Address>(
        flows: &mut Flows,
        now: Duration,
        datagram: Option<Datagram>,
        headers: &Headers,
        frame: &[u8],
    ) -> Result<Self, Reason> {
        if is_error(headers) {
            let quote = quoted::<A>(frame, headers).ok_or(Reason::Malformed)?;
            return Ok(Self::new(&quote.addresses(), quote.protocol, true));
        }
        let tuple = Tuple::<A>::of(frame, headers).ok_or(Reason::Malformed)?;
        let Some(datagram) = datagram else { return Ok(Self::new(&tuple, headers.protocol, false)) };
        if headers.fragment == Fragment::First {
            let told = Told { protocol: headers.protocol, ports: tuple.ports() };
            flows.fragments.remember(now, datagram, told);
            return Ok(Self::new(&tuple, headers.protocol, false));
        }
        let Told { protocol, ports } = flows.fragments.find(now, &datagram).ok_or(Reason::FragOrphan)?;
        let (source_port, destination_port) = ports;
        Ok(Self::new(&Tuple { source_port, destination_port, ..tuple }, protocol, false))
    }

    fn new<A: Address>(tuple: &Tuple<A>, protocol: u8, is_error: bool) -> Self {
        Self { tuple: tuple.mapped(), protocol, is_error, hash: tuple.flow_hash(protocol) }
    }

    /// The share of the gateway's flows that the packet is in: to a NAT gateway's own address, by the port that the flow was
    /// given; else by the flow, whichever direction.
    pub(super) fn share(&self, gateway: &Gateway, way: &Way<'_>) -> u8 {
        let port = match &gateway.kind {
            GatewayKind::Nat(nat) if nat.has(way.destination) => {
                if self.is_error { self.tuple.source_port } else { self.tuple.destination_port }.into()
            }
            _ => None,
        };
        port.and_then(share_of_port).unwrap_or_else(|| share_of_flow(self.hash))
    }

    /// The flow, in the direction of the packet, or of the quoted one.
    pub(super) fn flow(&self, gateway: &Gateway) -> Flow {
        let Tuple { source, destination, source_port, destination_port } = self.tuple;
        let (protocol, ports) = match Protocol::of(self.protocol) {
            Some(protocol) => (protocol, (source_port, destination_port)),
            None => (Protocol::Other, (self.protocol.into(), self.protocol.into())),
        };
        Flow {
            gateway: gateway.number,
            protocol,
            source: Endpoint { address: source, port: ports.0 },
            destination: Endpoint { address: destination, port: ports.1 },
        }
    }
}
