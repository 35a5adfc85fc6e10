//! From the underlay, and to an instance: where a packet really came from, and whether the ENI takes it.

use arrayvec::ArrayVec;

use super::{
    Burst, Context, MAX_BURST, Reason, Sink,
    egress::{answer, parse_frame},
};
use crate::{
    packet::{
        Buffer, Checked, Headers, Mac, Network, Outer, Vni, ipv4_addresses, ipv6_addresses, macs, parse,
    },
    services::{Answer, Station, arp, nd},
    tables::{HostIndex, LocalEni, MacKey, PortIndex, Role, Tables, Uplink, V4Key, V6Key, VlanMode},
};

/// What a frame of the uplink is, after the first stage.
enum Class {
    /// Of the overlay: its outer header, and the inner frame's headers.
    Overlay(Outer, Headers),
    /// For the node itself.
    Arp,
    /// For the node itself.
    NeighbourDiscovery(Headers),
    /// For nobody.
    Refused(Reason),
}

/// Takes the packets of an uplink through the ingress stages.
#[inline]
pub(super) fn process<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    vlan: VlanMode,
    uplink: &Uplink,
    burst: &mut Burst<B>,
) {
    burst.iter().for_each(Buffer::prefetch);
    let mut classified: ArrayVec<Class, MAX_BURST> = ArrayVec::new();
    for frame in burst.iter_mut() {
        classified.push(classify(ctx.tables, vlan, uplink, frame).unwrap_or_else(Class::Refused));
    }
    let station = Station { mac: uplink.mac, addresses: std::slice::from_ref(&uplink.address) };
    for (class, frame) in classified.into_iter().zip(burst.drain(..)) {
        match class {
            Class::Overlay(outer, headers) => receive(ctx, port, &outer, &headers, frame),
            Class::Refused(reason) => ctx.drop(port, reason, frame),
            Class::Arp => answer_uplink(ctx, port, frame, |frame| arp::answer_uplink(frame, &station)),
            Class::NeighbourDiscovery(headers) => {
                answer_uplink(ctx, port, frame, |frame| nd::answer_uplink(frame, &headers, &station));
            }
        }
    }
}

/// First stage: the outer and the inner headers. Asks for the memory of the origin check.
#[inline]
fn classify<B: Buffer>(
    tables: &Tables,
    vlan: VlanMode,
    uplink: &Uplink,
    frame: &mut B,
) -> Result<Class, Reason> {
    let headers = parse_frame(vlan, frame)?;
    match headers.network {
        Network::Arp => return Ok(Class::Arp),
        Network::Ipv6 if nd::is_for_node(&headers) => return Ok(Class::NeighbourDiscovery(headers)),
        Network::Ipv4 | Network::Ipv6 => {}
    }
    if frame.l4_checksum() == Checked::Bad {
        return Err(Reason::UnderlayChecksum);
    }
    let (destination, _) = macs(frame.data());
    if destination != uplink.mac {
        return Err(Reason::UnderlayDestination);
    }
    let outer = Outer::parse(frame.data(), &headers, tables.encapsulation, frame.ip_checksum())?;
    if outer.destination != uplink.mapped {
        return Err(Reason::UnderlayDestination);
    }
    let inner = frame.data().get(outer.inner.into()..outer.end.into()).ok_or(Reason::Truncated)?;
    let headers = parse(inner)?;
    prefetch_sender(tables, &outer, &headers, inner);
    Ok(Class::Overlay(outer, headers))
}

/// Asks for the memory in which [`is_from`] will look for the sender.
#[inline]
fn prefetch_sender(tables: &Tables, outer: &Outer, headers: &Headers, inner: &[u8]) {
    let enis = &tables.enis;
    match headers.network {
        Network::Ipv4 => enis.v4.prefetch(enis.v4.hash(&V4Key::exact(outer.vni, ipv4_addresses(inner).0))),
        Network::Ipv6 => enis.v6.prefetch(enis.v6.hash(&V6Key::exact(outer.vni, ipv6_addresses(inner).0))),
        Network::Arp => {}
    }
    let mac = outer.sender.map_or(macs(inner).1, |sender| sender.mac);
    enis.mac.prefetch(enis.mac.hash(&MacKey::new(outer.vni, mac)));
}

/// Second stage: the receiver, the origin check, delivery.
#[inline]
fn receive<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    outer: &Outer,
    headers: &Headers,
    mut frame: B,
) {
    let checked = frame.data().get(outer.inner.into()..).ok_or(Reason::Truncated);
    let receiver = checked.and_then(|inner| receiver(ctx.tables, outer, headers, inner));
    match receiver.and_then(|receiver| outer.strip(&mut frame).map(|()| receiver)) {
        Ok(receiver) => deliver_parsed(ctx, port, receiver, outer.vni, headers, frame),
        Err(reason) => ctx.drop(port, reason, frame),
    }
}

/// The port of the ENI that an inner frame is for, if the frame's sender is where it came from.
#[inline]
fn receiver(tables: &Tables, outer: &Outer, headers: &Headers, inner: &[u8]) -> Result<PortIndex, Reason> {
    let host = tables.hosts.at(outer.source).ok_or(Reason::UnderlaySpoof)?;
    let (destination, source) = macs(inner);
    let Some(&port) = tables.local.get(&(outer.vni, destination)) else {
        return Err(elsewhere(tables, outer.vni, destination));
    };
    let Some(eni) = local_eni(tables, port) else { return Err(Reason::NotHere) };
    // No node sends these: it answers them (L2-10).
    if headers.network == Network::Arp {
        return Err(Reason::ArpUnanswered);
    }
    if is_from(tables, host, outer, headers, inner, source, eni) {
        Ok(port)
    } else {
        Err(Reason::UnderlaySpoof)
    }
}

/// Why an inner frame to a MAC that is not here goes nowhere.
#[cold]
fn elsewhere(tables: &Tables, vni: Vni, destination: Mac) -> Reason {
    if !tables.vnis.contains(&vni) {
        Reason::UnknownVni
    } else if destination == Mac::BROADCAST {
        Reason::Broadcast
    } else if destination.is_group() {
        Reason::Multicast
    } else if tables.enis.get_mac(vni, destination).is_some() {
        Reason::NotHere
    } else {
        Reason::UnknownMac
    }
}

/// P-4: whether the inner sender lives behind the outer source. What the sending node wrote tells the path: the router's
/// MAC of the receiver's subnet if it routed, the sender's if not.
#[inline]
fn is_from(
    tables: &Tables,
    host: HostIndex,
    outer: &Outer,
    headers: &Headers,
    inner: &[u8],
    source: Mac,
    receiver: &LocalEni,
) -> bool {
    let routed = source == receiver.router_mac;
    let by_address = || match headers.network {
        Network::Ipv4 => tables.enis.get_v4(outer.vni, ipv4_addresses(inner).0),
        Network::Ipv6 => tables.enis.get_v6(outer.vni, ipv6_addresses(inner).0),
        Network::Arp => None,
    };
    // Geneve names the sender, which makes the check exact.
    let named = outer.sender.map(|sender| (sender, tables.enis.get_mac(sender.vni, sender.mac)));
    match (named, routed) {
        (Some((_, None)), _) => false,
        (Some((sender, Some(eni))), true) => {
            let has_address = || by_address().is_some_and(|owner| owner.mac == sender.mac);
            sender.vni == outer.vni && eni.location.is_at(host) && (!eni.source_dest_check || has_address())
        }
        (Some((sender, _)), false) if sender.mac != source || sender.vni != outer.vni => false,
        (None, true) => {
            by_address().is_some_and(|eni| eni.location.is_at(host))
                || tables.hosts.forwards_for(outer.vni, host)
        }
        (_, false) => tables
            .enis
            .get_mac(outer.vni, source)
            .is_some_and(|eni| eni.location.is_at(host) && eni.subnet == receiver.subnet),
    }
}

/// Delivers a frame that another worker handed over for the ENI behind `port`, in the VPC `vni`.
pub fn deliver<B: Buffer, S: Sink<B>>(ctx: &mut Context<'_, S>, port: PortIndex, vni: Vni, frame: B) {
    match parse(frame.data()) {
        Ok(headers) => finish(ctx, port, port, vni, &headers, frame),
        Err(reason) => ctx.drop(port, reason, frame),
    }
}

/// Delivers a frame with these headers to the ENI behind the port `to`: here, or by the worker that owns it. `from` is
/// the port that it came from.
#[inline]
pub(super) fn deliver_parsed<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    from: PortIndex,
    to: PortIndex,
    vni: Vni,
    headers: &Headers,
    frame: B,
) {
    if ctx.sink.owns(to) {
        finish(ctx, from, to, vni, headers, frame);
    } else {
        ctx.sink.hand_over(to, vni, frame);
    }
}

#[inline]
fn finish<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    from: PortIndex,
    to: PortIndex,
    vni: Vni,
    headers: &Headers,
    frame: B,
) {
    match admit(ctx.tables, to, vni, headers, frame.data()) {
        Ok(()) => ctx.sink.transmit(to, frame),
        Err(reason) => ctx.drop(from, reason, frame),
    }
}

/// Last check before an instance gets a frame: that the ENI behind the port is still the one it was meant for (tables may
/// have changed while it was handed over), and that the address is the ENI's.
#[inline]
fn admit(tables: &Tables, port: PortIndex, vni: Vni, headers: &Headers, frame: &[u8]) -> Result<(), Reason> {
    let eni = local_eni(tables, port).ok_or(Reason::NotHere)?;
    let (destination, _) = macs(frame);
    if eni.vni != vni || eni.mac != destination {
        return Err(Reason::NotHere);
    }
    // ADDR-6, ADDR-7.
    let has_address = || match headers.network {
        Network::Ipv4 => eni.v4.contain(ipv4_addresses(frame).1),
        Network::Ipv6 => eni.v6.contain(ipv6_addresses(frame).1),
        Network::Arp => false,
    };
    if eni.source_dest_check && !has_address() { Err(Reason::DstCheck) } else { Ok(()) }
}

#[inline]
fn local_eni(tables: &Tables, port: PortIndex) -> Option<&LocalEni> {
    match &tables.port(port)?.role {
        Role::Instance(eni) => eni.as_deref(),
        Role::Uplink(_) => None,
    }
}

/// As [`answer`], and passes on what the message told of a neighbour.
fn answer_uplink<B: Buffer, S: Sink<B>>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    frame: B,
    service: impl FnOnce(&mut B) -> (Answer, Option<crate::services::Learned>),
) {
    let mut learned = None;
    answer(ctx, port, frame, |frame| {
        let (answer, heard) = service(frame);
        learned = heard;
        answer
    });
    if let Some(neighbour) = learned {
        ctx.sink.learned(port, neighbour);
    }
}
