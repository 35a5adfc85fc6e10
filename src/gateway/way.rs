//! A packet on its way beyond its VPC's ENIs, and the steps that it takes between nodes.

use std::net::IpAddr;

use super::{
    internet, load_balancer, outside,
    route::{End, resolve},
    stateful,
    subject::Subject,
    too_big,
};
use crate::{
    flow::connections::{self, Passage},
    flowlogs::path,
    packet::{Buffer, Headers, Mac, Network, Sender, Vni, endpoints, flow_hash, macs, parse, set_macs, tcp},
    pipeline::{
        AtGateway, Context, Notes, Packet, Reason, Sink, Step, fit, mirror, pass_on, path_mtu, send_to, tell,
    },
    tables::{
        Destination, Direction, Gateway, GatewayIndex, GatewayKind, HostIndex, LocalEni, Location,
        OutsideKind, Place, PortIndex, Seat, SubnetIndex, Tables, Target, ZoneIndex, share_of_flow,
    },
};

/// A packet on its way.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    /// The port that it came from, where it is counted if it goes nowhere.
    pub(super) port: PortIndex,
    /// Who sends it, for the node that receives it: an ENI, then the last gateway.
    pub(super) sender: Sender,
    /// The VPC that it is in.
    pub(super) vni: Vni,
    /// Its headers.
    pub(super) headers: Headers,
    /// Its source address.
    pub(super) source: IpAddr,
    /// Its destination address.
    pub(super) destination: IpAddr,
    /// [`flow_hash`] of it.
    pub(super) flow: u32,
    /// The sending ENI while the packet is at its node: who hears if it is too long.
    pub(super) eni: Option<&'a LocalEni>,
    /// How it came in from outside, if it came in at this node: whom to tell if it is too long.
    pub(super) entry: Option<Entry>,
    /// The zone that it is in, if it is in one (PT-14).
    pub(super) zone: Option<ZoneIndex>,
    /// The largest IP packet that its way carries, as far as it has come, in bytes.
    pub(super) mtu: u16,
    /// Whether it comes from another node that serves the gateway, which goes no further than this.
    pub(super) passed_on: bool,
    /// How many NAT gateways it has passed at this node.
    pub(super) gateways: u8,
    /// The entry of its connection, all of whose packets go the way that this one is found to go; `None` from where it is changed on.
    pub(super) connection: Option<u32>,
    /// Its path as flow logs number it, as soon as that is known.
    pub(super) path: u8,
}

/// How a packet came in at a gateway port.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The VLAN; 0 for none.
    pub(super) vlan: u16,
    /// Whom its sender sent it to.
    pub(super) destination: IpAddr,
}

impl Way<'_> {
    /// Of a frame whose packet is not ARP, at its entry; `None` for ARP.
    pub(super) fn new(
        port: PortIndex,
        sender: Sender,
        vni: Vni,
        headers: Headers,
        frame: &[u8],
    ) -> Option<Self> {
        let (source, destination) = endpoints(frame, headers.network)?;
        let flow = flow_hash(frame, &headers);
        Some(Self {
            port,
            sender,
            vni,
            headers,
            source,
            destination,
            flow,
            eni: None,
            entry: None,
            zone: None,
            mtu: u16::MAX,
            passed_on: false,
            gateways: 0,
            connection: None,
            path: 0,
        })
    }

    /// Of a frame that has not been parsed yet, as [`Way::new`].
    ///
    /// # Errors
    ///
    /// What its headers are dropped for; [`Reason::NotServed`] for ARP.
    pub(super) fn read(port: PortIndex, sender: Sender, vni: Vni, frame: &[u8]) -> Result<Self, Reason> {
        Self::new(port, sender, vni, parse(frame)?, frame).ok_or(Reason::NotServed)
    }

    /// Reads addresses and flow again, after they were changed.
    pub(super) fn readdressed(&mut self, frame: &[u8]) {
        if let Some((source, destination)) = endpoints(frame, self.headers.network) {
            (self.source, self.destination) = (source, destination);
        }
        self.flow = flow_hash(frame, &self.headers);
    }

    /// Remembers where packets of its connection go, and with which MACs: over a way for packets of `mtu` bytes.
    fn remember<S>(&self, ctx: &mut Context<'_, S>, to: Location, (mac, router): (Mac, Mac), mtu: u16) {
        let Some(entry) = self.connection else { return };
        let passage = Passage { vni: self.vni, mtu: mtu.min(self.mtu), path: self.path };
        let way = connections::Way { to, mac, router, rewrites: true };
        ctx.connections.decide_beyond(entry, ctx.tables.generation, &way, &passage);
    }

    /// Where the packet is, to be handed to another worker.
    pub(super) fn at(&self, gateway: GatewayIndex) -> AtGateway {
        AtGateway { port: self.port, gateway, vni: self.vni }
    }
}

/// Takes a packet of an ENI to where its subnet's route table sends it.
#[inline(never)]
pub(crate) fn leave<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    packet: &Packet,
    target: Target,
    frame: B,
) {
    let sender = Sender { vni: eni.vni, mac: eni.mac };
    let way = match Way::read(port, sender, eni.vni, frame.data()) {
        Ok(way) => way,
        Err(reason) => return ctx.drop(port, reason, frame),
    };
    let zone = ctx.tables.exits.subnet(eni.subnet).map(|subnet| subnet.zone);
    // What is for the MAC of a gateway goes there, and what is for the router perhaps elsewhere.
    let connection = packet.entry.filter(|_| macs(frame.data()).0 == eni.router_mac);
    let way = Way { flow: packet.flow, eni: Some(eni), zone, connection, ..way };
    let may = |ctx: &mut Context<'_, S>, stays: bool, path: u8, frame: &B| {
        if !stays {
            packet.leave(ctx, eni)?;
        }
        packet.passed(ctx, eni, path);
        mirror(ctx, port, eni, Direction::Egress, frame);
        Ok(())
    };
    go_from(ctx, way, (eni.subnet, target), may, frame);
}

/// Takes a packet that the node made for an ENI, of a flow, to where a route of the ENI's subnet leads. Nobody is asked, and nobody told.
#[inline(never)]
pub(crate) fn send<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    flow: u32,
    target: Target,
    frame: B,
) {
    let zone = ctx.tables.exits.subnet(eni.subnet).map(|subnet| subnet.zone);
    match Way::read(port, Sender { vni: eni.vni, mac: eni.mac }, eni.vni, frame.data()) {
        Ok(way) => go(ctx, Way { flow, zone, ..way }, target, frame),
        Err(reason) => ctx.drop(port, reason, frame),
    }
}

/// Takes a packet on from a subnet. `may` says whether it goes on, given whether it stays in the subnet, its path as flow logs
/// number it, and the frame.
pub(super) fn go_from<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    mut way: Way<'_>,
    (subnet, target): (SubnetIndex, Target),
    may: impl FnOnce(&mut Context<'_, S>, bool, u8, &B) -> Result<(), Reason>,
    frame: B,
) {
    let end = resolve(ctx.tables, &mut way, target, ctx.sink).and_then(|end| {
        let stays = matches!(&end, End::Eni(to) if to.subnet == subnet);
        way.path = path(ctx.tables, target, end);
        may(ctx, stays, way.path, &frame).map(|()| end)
    });
    match end {
        Ok(end) => on(ctx, way, end, frame),
        Err(reason) => ctx.drop(way.port, reason, frame),
    }
}

/// The path of a packet over a target, as flow logs number it (FL-10).
fn path(tables: &Tables, target: Target, end: End<'_>) -> u8 {
    let gateway = match (target, end) {
        (Target::Peer(_), _) => return path::PEERING,
        (Target::Transit(_), _) => return path::OTHER,
        (_, End::Eni(_)) => return path::SAME_VPC,
        (_, End::Gateway(gateway)) => tables.exits.gateway(gateway),
    };
    match gateway.map(|gateway| &gateway.kind) {
        Some(GatewayKind::Internet(_)) => path::INTERNET,
        Some(GatewayKind::Nat(_) | GatewayKind::LoadBalancer(_)) => path::SAME_VPC,
        Some(GatewayKind::Outside(outside)) => match outside.kind {
            OutsideKind::Private => path::PRIVATE_GATEWAY,
            OutsideKind::Endpoint => path::INTERNET,
            OutsideKind::Transit => path::OTHER,
        },
        Some(GatewayKind::EgressOnly(_)) | None => path::OTHER,
    }
}

/// Whether connections over a target are tracked whatever the rules (SEC-5).
pub(crate) fn always_tracked(tables: &Tables, target: Target) -> bool {
    match target {
        Target::Transit(_) => true,
        Target::Gateway(index) => tables.exits.gateway(index).is_some_and(|gateway| match gateway.kind {
            GatewayKind::Nat(_) | GatewayKind::EgressOnly(_) | GatewayKind::LoadBalancer(_) => true,
            GatewayKind::Internet(_) | GatewayKind::Outside(_) => false,
        }),
        _ => false,
    }
}

/// Takes a packet on from where it is.
pub(super) fn go<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    mut way: Way<'_>,
    target: Target,
    frame: B,
) {
    match resolve(ctx.tables, &mut way, target, ctx.sink) {
        Ok(end) => on(ctx, way, end, frame),
        Err(reason) => ctx.drop(way.port, reason, frame),
    }
}

/// Takes a packet to the end of its walk.
fn on<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, way: Way<'_>, end: End<'_>, frame: B) {
    match end {
        End::Eni(to) => to_eni(ctx, &way, to, frame),
        End::Gateway(gateway) => to_gateway(ctx, way, gateway, frame),
    }
}

/// Delivers a packet to an ENI.
pub(super) fn to_eni<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    to: &Destination,
    mut frame: B,
) {
    ctx.sink.note(Step::To(to));
    set_macs(frame.data_mut(), to.mac, to.router_mac);
    ctx.sink.note(Step::Rewritten(to.mac, to.router_mac));
    match to.location.place() {
        Place::Local(port) => {
            let vni = way.vni;
            way.remember(ctx, to.location, (to.mac, to.router_mac), u16::MAX);
            fit_to(ctx, way, u16::MAX, frame, |ctx, frame| pass_on(ctx, port, vni, frame));
        }
        Place::Remote(host) => {
            way.remember(ctx, to.location, (to.mac, to.router_mac), mtu_of(ctx.tables, host));
            to_host(ctx, way, host, frame);
        }
        Place::Nowhere | Place::Gateway(_) => ctx.drop(way.port, Reason::Unattached, frame),
    }
}

/// Takes a packet to one of the nodes that serve a gateway.
pub(super) fn to_gateway<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    index: GatewayIndex,
    mut frame: B,
) {
    let tables = ctx.tables;
    let Some(gateway) = tables.exits.gateway(index) else {
        return ctx.drop(way.port, Reason::Blackhole, frame);
    };
    let seat = match &gateway.kind {
        GatewayKind::Internet(_) | GatewayKind::Outside(_) => gateway.seat(share_of_flow(way.flow)),
        GatewayKind::EgressOnly(_) | GatewayKind::Nat(_) | GatewayKind::LoadBalancer(_) => {
            match Subject::of(ctx.flows, ctx.now, gateway, &way, frame.data()) {
                Ok(subject) => seat_of(ctx, &way, gateway, &subject),
                Err(reason) => return ctx.drop(way.port, reason, frame),
            }
        }
    };
    match seat {
        Seat::Here => {
            // What is too long for the gateway, is so at the sender's.
            let limit = way.mtu;
            fit_to(ctx, &way, limit, frame, |ctx, frame| match parse(frame.data()) {
                // Of what was cut, each fragment has its own.
                Ok(headers) => enter(ctx, Way { headers, connection: None, ..way }, index, frame),
                Err(reason) => ctx.drop(way.port, reason, frame),
            });
        }
        Seat::Host(host) => {
            set_macs(frame.data_mut(), gateway.mac, way.sender.mac);
            ctx.sink.note(Step::Gateway(gateway));
            way.remember(
                ctx,
                Place::Remote(host).into(),
                (gateway.mac, way.sender.mac),
                mtu_of(tables, host),
            );
            to_host(ctx, &way, host, frame);
        }
        Seat::Nobody => ctx.drop(way.port, Reason::Blackhole, frame),
    }
}

/// Who has a flow of a gateway.
fn seat_of<S: Notes>(ctx: &mut Context<'_, S>, way: &Way<'_>, gateway: &Gateway, subject: &Subject) -> Seat {
    let GatewayKind::LoadBalancer(balancer) = &gateway.kind else {
        return gateway.seat(subject.share(gateway, way));
    };
    balancer.appliance(subject.hash).map_or(Seat::Nobody, |appliance| {
        ctx.sink.note(Step::Appliance(gateway, appliance));
        appliance.seat
    })
}

/// The largest IP packet that goes to a host, in bytes; 0 if it can't be reached now.
fn mtu_of(tables: &Tables, host: HostIndex) -> u16 {
    tables.hosts.get(host).map_or(0, path_mtu)
}

/// Encapsulates a packet towards another host, in the VPC that it is in.
pub(super) fn to_host<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    host: HostIndex,
    frame: B,
) {
    let tables = ctx.tables;
    let Some(host) = tables.hosts.get(host) else {
        return ctx.drop(way.port, Reason::UnderlayUnreachable, frame);
    };
    let &Way { port, vni, sender, flow, .. } = way;
    fit_to(ctx, way, path_mtu(host), frame, |ctx, frame| {
        if let Err((reason, frame)) = send_to(ctx.sink, host, vni, sender, flow, frame) {
            ctx.drop(port, reason, frame);
        }
    });
}

/// Sends a packet on, in fragments if it is longer than its way and `limit` carry, or tells its sender that it is.
pub(super) fn fit_to<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: &Way<'_>,
    limit: u16,
    mut frame: B,
    mut on: impl FnMut(&mut Context<'_, S>, B),
) {
    // Of a host that can't be reached, the way out says so.
    let mtu = if limit == 0 { way.mtu } else { way.mtu.min(limit) };
    if way.eni.is_some_and(|eni| mtu < eni.mtu)
        && tcp::may_be_syn(frame.data())
        && tcp::clamp_mss(frame.data_mut(), &way.headers, mtu)
    {
        ctx.sink.note(Step::Clamped(mtu));
    }
    if way.headers.ip_len <= u32::from(mtu) {
        return on(ctx, frame);
    }
    fit(ctx, (way.port, mtu), &way.headers, frame, on, |ctx, frame| match way.eni {
        Some(eni) => tell(ctx, way.port, eni, mtu, &way.headers, frame),
        None => too_big::refuse(ctx, way, mtu, frame),
    });
}

/// Takes a packet into a gateway that this node serves.
pub(super) fn enter<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    way: Way<'_>,
    index: GatewayIndex,
    frame: B,
) {
    let tables = ctx.tables;
    let Some(gateway) = tables.exits.gateway(index).filter(|gateway| gateway.served_here) else {
        return ctx.drop(way.port, Reason::NotServed, frame);
    };
    ctx.sink.note(Step::Gateway(gateway));
    match &gateway.kind {
        GatewayKind::Internet(internet) => internet::leave(ctx, way, (gateway, internet), frame),
        GatewayKind::EgressOnly(_) | GatewayKind::Nat(_) => {
            stateful::enter(ctx, way, (index, gateway), frame);
        }
        GatewayKind::Outside(outside) => outside::leave(ctx, way, (gateway, outside), frame),
        GatewayKind::LoadBalancer(balancer) => load_balancer::enter(ctx, way, (gateway, balancer), frame),
    }
}

/// Takes a packet of the overlay, in the VPC `vni`, to the MAC of a gateway into it.
pub(crate) fn from_underlay<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    vni: Vni,
    index: GatewayIndex,
    frame: B,
) {
    let tables = ctx.tables;
    let Some(gateway) = tables.exits.gateway(index) else {
        return ctx.drop(port, Reason::NotServed, frame);
    };
    let (_, source) = macs(frame.data());
    let way = match Way::read(port, Sender { vni, mac: gateway.mac }, vni, frame.data()) {
        Ok(way) => way,
        Err(reason) => return ctx.drop(port, reason, frame),
    };
    enter(ctx, Way { passed_on: source == gateway.mac, ..way }, index, frame);
}

/// Whether a frame of the overlay with a packet of `network`, to the MAC of a gateway, comes from where it may: P-4.
pub(crate) fn is_from(
    tables: &Tables,
    (host, vni): (HostIndex, Vni),
    sender: Option<Sender>,
    gateway: GatewayIndex,
    (frame, network): (&[u8], Network),
) -> bool {
    let exits = &tables.exits;
    let (_, source_mac) = macs(frame);
    let Some((source, _)) = endpoints(frame, network) else { return false };
    // Another node that serves it, or another gateway whose packets come into the VPC.
    if exits.edges.contains(&(gateway, host)) || exits.edges_of.contains(&(vni, host)) {
        return true;
    }
    let lives = |vni: Vni| tables.owner(vni, source).is_some_and(|eni| eni.location.is_at(host));
    let forwards = |vni: Vni| {
        tables.hosts.forwards_for(vni, host)
            && tables
                .enis
                .get_mac(vni, source_mac)
                .is_some_and(|eni| !eni.source_dest_check && eni.location.is_at(host))
    };
    let named = |vni: Vni| sender.is_none_or(|sender| sender.vni == vni);
    let may = |of: Vni| named(of) && (lives(of) || forwards(of));
    may(vni)
        || exits.origins(vni, source).any(may)
        || exits.joined_to(vni).any(|of| named(of) && forwards(of))
}
