//! From a gateway port: what is for the node itself, and what comes in from outside.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use super::{
    internet, outside,
    tunnel::{self, Inside},
    way::{Entry, Way},
};
use crate::{
    packet::{
        Buffer, Headers, Mac, Network, Sender, Vni, arp::Arp, endpoints, macs, nd as messages, parse,
        strip_vlan,
    },
    pipeline::{Burst, Context, News, Reason, Sink},
    services::{Answer, Learned, Station, arp, nd},
    tables::{Circuit, GatewayPort, PortIndex, Tables, Tunnel, Wire},
};

/// What a packet's VPC and sender are until it is known which gateway it came in by.
const OUTSIDE: Sender = Sender { vni: Vni::FIRST, mac: Mac::ZERO };

/// Takes the packets of a gateway port in.
#[inline(never)]
pub(crate) fn arrive<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    outside: &GatewayPort,
    burst: &mut Burst<B>,
) {
    burst.iter().for_each(Buffer::prefetch);
    for mut frame in burst.drain(..) {
        let vlan = strip_vlan(&mut frame).unwrap_or(0);
        if !frame.is_contiguous() {
            ctx.drop(port, Reason::MultiSegment, frame);
            continue;
        }
        match parse(frame.data()) {
            Ok(headers) => take(ctx, (port, outside), vlan, headers, frame),
            Err(reason) => ctx.drop(port, reason, frame),
        }
    }
}

fn take<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    (port, outside): (PortIndex, &GatewayPort),
    vlan: u16,
    headers: Headers,
    mut frame: B,
) {
    let tables = ctx.tables;
    let Some(wire) = tables.exits.wires.get(&(port, vlan)) else {
        return ctx.drop(port, Reason::GatewayPort, frame);
    };
    let link = Link { port, vlan, outside, wire };
    let resolution =
        headers.network == Network::Arp || nd::is_for_node(&headers) || messages::is_message(&headers);
    if resolution {
        return link.neighbour(ctx, &headers, frame);
    }
    let (to, _) = macs(frame.data());
    if to != outside.mac {
        return ctx.drop(port, Reason::GatewayPort, frame);
    }
    let destination = endpoints(frame.data(), headers.network).map(|(_, to)| to);
    let own = destination.is_some_and(|to| link.is_own(tables, to));
    let headers = match link.tunnel(tables) {
        None if own => return link.to_control(ctx, frame),
        None => headers,
        Some(tunnel) => match tunnel::open(tunnel, &headers, &mut frame) {
            Ok(Inside::Packet(inner)) => inner,
            Ok(Inside::Control) => return link.to_control(ctx, frame),
            // What is no part of the tunnel, is the routing daemon's as on any link.
            Err(Reason::UnderlayProtocol) if own => return link.to_control(ctx, frame),
            Err(reason) => return ctx.drop(port, reason, frame),
        },
    };
    let Some(way) = Way::new(port, OUTSIDE, OUTSIDE.vni, headers, frame.data()) else {
        return ctx.drop(port, Reason::GatewayPort, frame);
    };
    let way = Way { entry: Some(Entry { vlan, destination: way.destination }), ..way };
    match wire {
        Wire::Internet => internet::arrive(ctx, way, frame),
        Wire::Circuit(circuit, leads_to) => outside::arrive(ctx, way, (*circuit, leads_to), frame),
    }
}

/// A VLAN of a gateway port.
struct Link<'t> {
    port: PortIndex,
    vlan: u16,
    outside: &'t GatewayPort,
    wire: &'t Wire,
}

impl Link<'_> {
    /// Whether an address is the node's own on the link.
    fn is_own(&self, tables: &Tables, address: IpAddr) -> bool {
        match self.wire {
            Wire::Internet => self.outside.has_address(address),
            Wire::Circuit(circuit, _) => {
                let own = |circuit: &Circuit| {
                    let tunnel = circuit.tunnel.as_ref();
                    circuit.address == address || tunnel.is_some_and(|it| it.address == address)
                };
                tables.exits.circuit(*circuit).is_some_and(own)
            }
        }
    }

    /// The tunnel that the link's packets are in.
    fn tunnel<'t>(&self, tables: &'t Tables) -> Option<&'t Tunnel> {
        match self.wire {
            Wire::Internet => None,
            Wire::Circuit(circuit, _) => tables.exits.circuit(*circuit)?.tunnel.as_deref(),
        }
    }

    /// Gives a frame to the routing daemon, which speaks as this port.
    fn to_control<B: Buffer, S: Sink<B>>(&self, ctx: &mut Context<'_, S>, frame: B) {
        match self.outside.control {
            Some(control) => self.send(ctx, control, frame),
            None => ctx.drop(self.port, Reason::Service, frame),
        }
    }

    /// Sends a frame with the link's tag out of a port.
    fn send<B: Buffer, S: Sink<B>>(&self, ctx: &mut Context<'_, S>, to: PortIndex, frame: B) {
        outside::send_tagged(ctx, self.port, (to, self.vlan), frame);
    }

    /// Who is where on the link: learns it, and answers for what the node has there, unless a routing daemon does.
    fn neighbour<B: Buffer, S: Sink<B>>(&self, ctx: &mut Context<'_, S>, headers: &Headers, mut frame: B) {
        let asked = asked(frame.data(), headers);
        let mut addresses: ArrayVec<IpAddr, 1> = ArrayVec::new();
        if let Some(address) = asked.filter(|&address| self.answers_for(ctx, address)) {
            addresses.push(address);
        }
        let own = asked.is_none_or(|address| self.is_own(ctx.tables, address));
        let station = Station { mac: self.outside.mac, addresses: &addresses };
        let by_daemon = self.outside.control.is_some() && own;
        let (answer, learned) = match (by_daemon, headers.network) {
            // Read only; the daemon answers.
            (true, _) => (Answer::Drop(Reason::UnderlayNeighbour), learned(&frame, headers, &station)),
            (false, Network::Arp) => arp::answer_uplink(&mut frame, &station),
            (false, _) => nd::answer_uplink(&mut frame, headers, &station),
        };
        if let Some(neighbour) = learned {
            ctx.sink.tell(News::Outside(self.port, self.vlan, neighbour));
        }
        match answer {
            _ if by_daemon => self.to_control(ctx, frame),
            Answer::Reply => self.send(ctx, self.port, frame),
            Answer::Drop(reason) => ctx.drop(self.port, reason, frame),
        }
    }

    /// Whether the node answers for an address on the link: its own ones, and the public ones on the link's prefix.
    fn answers_for<S>(&self, ctx: &Context<'_, S>, address: IpAddr) -> bool {
        let on_link = || self.outside.addresses.iter().any(|link| link.contains(&address));
        self.is_own(ctx.tables, address)
            || matches!(self.wire, Wire::Internet)
                && on_link()
                && internet::inward_gateway(ctx, address)
                    .is_some_and(|index| ctx.tables.exits.answers(index, address))
    }
}

/// The address that a request for a link-layer address asks for.
fn asked(frame: &[u8], headers: &Headers) -> Option<IpAddr> {
    if headers.network == Network::Arp {
        return Arp::parse(frame).ok().map(|arp| arp.target_ip.into());
    }
    match messages::parse(frame, headers) {
        Ok(messages::Message::Solicitation { target, .. }) => Some(target.into()),
        _ => endpoints(frame, headers.network).map(|(_, to)| to).filter(|to| !to.is_multicast()),
    }
}

/// What a message tells of a neighbour, the frame unchanged.
fn learned<B: Buffer>(frame: &B, headers: &Headers, station: &Station<'_>) -> Option<Learned> {
    if headers.network == Network::Arp {
        let arp = Arp::parse(frame.data()).ok()?;
        return station.learn(arp.sender_ip.into(), arp.sender_mac);
    }
    match messages::parse(frame.data(), headers) {
        Ok(messages::Message::Advertisement { target, mac, .. }) => station.learn(target.into(), mac?),
        Ok(messages::Message::Solicitation { source, mac, .. }) => station.learn(source.into(), mac?),
        _ => None,
    }
}
