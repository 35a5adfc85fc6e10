//! Whether an ENI's security groups and connections, and its subnet's network ACL, let a packet through.
//!
//! A packet of a tracked connection passes whatever the rules say (SEC-2, SEC-6); the first one is judged by the rules, and so
//! is every packet of a flow that is not tracked (SEC-4). Nothing here is on the path of a packet for which a decision is at
//! hand (see `egress` and `ingress`).

use std::net::{IpAddr, Ipv4Addr};

use super::{Connection, Context, Notes, Reason, Step, limits};
use crate::{
    flow::{
        Datagram, Phase, Side, Tcp, Told,
        connections::{Ends, Logged, Opening},
    },
    flowlogs::Action,
    packet::{
        Address, ETHERNET, Fragment, Headers, Network, Plain, Tuple, fragment::identification,
        ipv4_addresses, macs, parse, protocol, quoted, tcp, unmapped,
    },
    tables::{
        Acl, AclVerdict, Destination, Direction, Grant, GroupIndex, LocalEni, PortIndex, Shown, Tables,
    },
};

/// What a packet is to connection tracking.
#[derive(Clone, Copy, Debug)]
enum Subject {
    /// Of a flow.
    Flow(Ends),
    /// An ICMP error about a flow.
    Error(Ends),
    /// Of none: a message that neither asks nor answers.
    Single,
    /// A later fragment whose first one has not been seen.
    Orphan,
}

/// A packet of an ENI, as the checks see it.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    direction: Direction,
    subject: Subject,
    shown: Shown,
    port: PortIndex,
    /// The ends, of a later fragment perhaps without ports.
    ends: Ends,
    bytes: u32,
    tcp_flags: u8,
    /// Where it is in its TCP connection, if its ENI has that checked.
    segment: Option<tcp::Segment>,
}

/// A packet of an ENI of this node that its security groups let through.
pub(crate) struct Packet {
    /// As the checks see it.
    pub(super) seen: Seen,
    /// [`crate::packet::flow_hash`] of it.
    pub(crate) flow: u32,
    /// The entry of its connection, if it has one.
    pub(crate) entry: Option<u32>,
}

impl Packet {
    /// [`leave`], of it.
    pub(crate) fn leave<S: Notes>(&self, ctx: &mut Context<'_, S>, eni: &LocalEni) -> Result<(), Reason> {
        leave(ctx, eni, &self.seen)
    }

    /// [`passed`], of it.
    pub(crate) fn passed<S>(&self, ctx: &mut Context<'_, S>, eni: &LocalEni, path: u8) {
        passed(ctx, eni, &self.seen, self.entry, path);
    }
}

impl Seen {
    /// Of a packet of an ENI at a port which [`crate::packet::parse`] found in a frame.
    ///
    /// # Errors
    ///
    /// `malformed`.
    pub(super) fn of<S>(
        ctx: &mut Context<'_, S>,
        direction: Direction,
        (port, eni): (PortIndex, &LocalEni),
        headers: &Headers,
        frame: &[u8],
    ) -> Result<Self, Reason> {
        let seen = match Plain::of(frame) {
            Some(plain) => Self::plain(direction, port, &plain, frame),
            None => Self::of_any(ctx, direction, port, headers, frame)?,
        };
        let segment = if eni.tcp_window_check { tcp::Segment::of(frame, headers) } else { None };
        Ok(Self { segment, ..seen })
    }

    /// Of the usual packet.
    fn plain(direction: Direction, port: PortIndex, plain: &Plain, frame: &[u8]) -> Self {
        let &Plain { ports, ip_len, protocol, .. } = plain;
        let (source_port, destination_port) = ((ports >> 16) as u16, ports as u16);
        let source = (Ipv4Addr::from_bits(plain.source()).into(), source_port);
        let destination = (Ipv4Addr::from_bits(plain.destination()).into(), destination_port);
        let ends = Ends::between(direction, source, destination, protocol);
        Self {
            direction,
            subject: Subject::Flow(ends),
            shown: Shown { remote: ends.remote, protocol, port: destination_port },
            port,
            ends,
            bytes: ip_len.into(),
            tcp_flags: tcp::plain_flags(protocol, frame, ETHERNET + 20),
            segment: None,
        }
    }

    fn of_any<S>(
        ctx: &mut Context<'_, S>,
        direction: Direction,
        port: PortIndex,
        headers: &Headers,
        frame: &[u8],
    ) -> Result<Self, Reason> {
        match headers.network {
            Network::Ipv4 => Self::read::<u32, S>(ctx, direction, port, headers, frame),
            Network::Ipv6 => Self::read::<u128, S>(ctx, direction, port, headers, frame),
            Network::Arp => Err(Reason::Ethertype),
        }
    }

    fn read<A: Address, S>(
        ctx: &mut Context<'_, S>,
        direction: Direction,
        port: PortIndex,
        headers: &Headers,
        frame: &[u8],
    ) -> Result<Self, Reason> {
        let tuple = Tuple::<A>::of(frame, headers).ok_or(Reason::Malformed)?.mapped();
        let whole = headers.fragment == Fragment::Whole;
        let in_frame = Told { protocol: headers.protocol, ports: tuple.ports() };
        let told =
            if whole { Some(in_frame) } else { Self::told(ctx, direction, port, headers, frame, &tuple) };
        let Told { protocol, ports } = told.unwrap_or(in_frame);
        let tuple = Tuple { source_port: ports.0, destination_port: ports.1, ..tuple };
        let ends = Ends::of(direction, &tuple, protocol);
        let is_icmp = matches!(protocol, protocol::ICMP | protocol::ICMPV6);
        let shown_port = match headers.fragment {
            Fragment::Later if is_icmp => echo(headers.network, ports),
            Fragment::Later => ports.1,
            _ => headers.destination_port,
        };
        let subject = match quoted::<A>(frame, headers) {
            // The packet that it quotes went the other way.
            Some(quote) => {
                Subject::Error(Ends::of(direction.opposite(), &quote.addresses().mapped(), quote.protocol))
            }
            None if told.is_none() => Subject::Orphan,
            None if is_icmp && ports == (0, 0) => Subject::Single,
            None => Subject::Flow(ends),
        };
        let shown = Shown { remote: ends.remote, protocol, port: shown_port };
        let (bytes, tcp_flags) = (headers.ip_len, tcp::flags(frame, headers));
        Ok(Self { direction, subject, shown, port, ends, bytes, tcp_flags, segment: None })
    }

    /// What [`crate::packet::flow_hash`] is of the unfragmented packets of its flow, or of that which it is about; `None` if it is
    /// of none, or that is not known.
    pub(super) fn flow_hash(&self) -> Option<u32> {
        match &self.subject {
            Subject::Flow(ends) | Subject::Error(ends) => ends.flow_hash(),
            Subject::Single | Subject::Orphan => None,
        }
    }

    /// The address of the other end.
    pub(super) fn remote(&self) -> IpAddr {
        self.shown.remote
    }

    /// As flow logs count it.
    fn logged(&self, path: u8) -> Logged {
        Logged { direction: self.direction, bytes: self.bytes, tcp_flags: self.tcp_flags, path }
    }

    /// What network ACLs say of a packet to an ENI, if it comes from another subnet: it was routed, and not by an ENI's own
    /// to the router for another of the subnet (NACL-3). To a group nothing is routed; whether a copy leaves the sender's subnet
    /// is known only here, so that both subnets' ACLs are asked (MC-7). Returns whether one was asked, or allows everything.
    ///
    /// # Errors
    ///
    /// As [`Seen::cross`].
    fn enter(&self, tables: &Tables, eni: &LocalEni, frame: &[u8]) -> Result<bool, Reason> {
        let (destination, source) = macs(frame);
        let group = destination.is_group();
        // Whoever it comes from.
        if eni.acl.allows_all() && !group {
            return Ok(source == eni.router_mac);
        }
        let owner = match (group, source == eni.router_mac) {
            (true, _) => owner(tables, eni, self.shown.remote),
            (false, true) => tables.owner(eni.vni, self.shown.remote),
            (false, false) => return Ok(false),
        };
        if owner.is_some_and(|owner| owner.subnet == eni.subnet) || eni.is_load_balancer(self.shown.remote) {
            return Ok(false);
        }
        if let Some(left) = owner.filter(|_| group).and_then(|owner| tables.exits.subnet(owner.subnet)) {
            let remote = Ipv4Addr::from_bits(ipv4_addresses(frame).1).into();
            let shown = Shown { remote, ..self.shown };
            Self { direction: Direction::Egress, shown, ..*self }.cross(&left.acl)?;
        }
        self.cross(&eni.acl).map(|()| true)
    }

    /// [`cross`] of it.
    ///
    /// # Errors
    ///
    /// As [`cross`]; `frag_orphan`, where that depends on ports which nobody knows (NACL-6).
    fn cross(&self, acl: &Acl) -> Result<(), Reason> {
        match self.subject {
            Subject::Orphan if !acl.allows_all() => Err(Reason::FragOrphan),
            _ => cross(acl, self.direction, &self.shown),
        }
    }

    /// What the first fragment of a datagram told, which is remembered if it is this one (SEC-15).
    fn told<S>(
        ctx: &mut Context<'_, S>,
        direction: Direction,
        port: PortIndex,
        headers: &Headers,
        frame: &[u8],
        tuple: &Tuple<u128>,
    ) -> Option<Told> {
        let datagram = datagram(direction, port, headers, frame, tuple);
        let fragments = ctx.flows.fragments();
        if headers.fragment == Fragment::First {
            let told = Told { protocol: headers.protocol, ports: tuple.ports() };
            fragments.remember(ctx.now, datagram, told);
            return Some(told);
        }
        fragments.find(ctx.now, &datagram)
    }
}

/// The datagram that a fragment is of, at an ENI.
fn datagram(
    direction: Direction,
    port: PortIndex,
    headers: &Headers,
    frame: &[u8],
    tuple: &Tuple<u128>,
) -> Datagram {
    Datagram {
        // Apart from those of gateways, and by direction: a router's ENI may see a datagram twice.
        scope: 1 << 31 | u32::from(port.0) << 1 | direction as u32,
        source: tuple.source,
        destination: tuple.destination,
        identification: identification(frame, headers).unwrap_or_default(),
        protocol: if headers.network == Network::Ipv4 { headers.protocol } else { 0 },
    }
}

/// [`datagram`] of a frame that has not been parsed yet.
pub(super) fn datagram_of(direction: Direction, port: PortIndex, frame: &[u8]) -> Option<Datagram> {
    let headers = parse(frame).ok()?;
    let tuple = match headers.network {
        Network::Ipv4 => Tuple::<u32>::of(frame, &headers)?.mapped(),
        Network::Ipv6 => Tuple::<u128>::of(frame, &headers)?.mapped(),
        Network::Arp => return None,
    };
    Some(datagram(direction, port, &headers, frame, &tuple))
}

/// Type and code of the ICMP echo that a later fragment is of.
fn echo(network: Network, (asks, _): (u16, u16)) -> u16 {
    let kind: u16 = match (network, asks != 0) {
        (Network::Ipv6, true) => 128,
        (Network::Ipv6, false) => 129,
        (_, true) => 8,
        (_, false) => 0,
    };
    kind << 8
}

impl Ends {
    /// Of a packet that goes a way.
    fn of(direction: Direction, tuple: &Tuple<u128>, protocol: u8) -> Self {
        let source = (unmapped(tuple.source), tuple.source_port);
        let destination = (unmapped(tuple.destination), tuple.destination_port);
        Self::between(direction, source, destination, protocol)
    }

    /// Of a packet that goes a way, from and to an address and a port.
    fn between(
        direction: Direction,
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
        protocol: u8,
    ) -> Self {
        let ((local, local_port), (remote, remote_port)) = match direction {
            Direction::Egress => (source, destination),
            Direction::Ingress => (destination, source),
        };
        Self { local, remote, local_port, remote_port, protocol }
    }

    /// What [`crate::packet::flow_hash`] is of its packets; `None` if it has ends of two families.
    fn flow_hash(&self) -> Option<u32> {
        let &Self { local_port: source_port, remote_port: destination_port, protocol, .. } = self;
        match (self.local, self.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let (source, destination) = (local.to_bits(), remote.to_bits());
                Some(Tuple { source, destination, source_port, destination_port }.flow_hash(protocol))
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let (source, destination) = (local.to_bits(), remote.to_bits());
                Some(Tuple { source, destination, source_port, destination_port }.flow_hash(protocol))
            }
            _ => None,
        }
    }
}

/// Lets a packet of an ENI through, or not: SEC-1 to SEC-15. `always_tracked`: whether its flow is one that is tracked whatever
/// the rules (SEC-5), which is asked of new ones only.
///
/// # Errors
///
/// `sg_out`, `sg_in`, `tcp_window`, `connections_limited` or `conntrack_full`.
pub(super) fn admit<S: Notes>(
    ctx: &mut Context<'_, S>,
    port: PortIndex,
    eni: &LocalEni,
    seen: &Seen,
    flow: u32,
    always_tracked: impl FnOnce() -> bool,
) -> Result<Option<u32>, Reason> {
    let direction = seen.direction;
    let ends = match seen.subject {
        Subject::Flow(ends) => ends,
        Subject::Error(about) => {
            let related = !eni.strict_icmp && is_tracked(ctx, port, eni, &about);
            if related {
                ctx.sink.note(Step::Connection(Connection::Related));
                return Ok(None);
            }
            return judge(ctx, eni, seen).map(|_| None);
        }
        Subject::Single | Subject::Orphan => return judge(ctx, eni, seen).map(|_| None),
    };
    let segment = seen.segment.as_ref();
    let key = ctx.connections.key(port, &ends);
    let found = ctx.connections.find(&key, ctx.now).filter(|&entry| keep(ctx, eni, entry, seen));
    if let Some(entry) = found {
        let generation = ctx.tables.generation;
        let hot = ctx.connections.hot(entry).ok_or(Reason::ConntrackFull)?;
        let side = hot.side(direction);
        let tracked = hot.is_tracked();
        let fresh = tracked || hot.is_decided(direction, generation);
        if fresh {
            if !ctx.connections.expects(entry, side, segment) {
                return Err(Reason::TcpWindow);
            }
            ctx.sink.note(Step::Connection(if tracked { Connection::Known } else { Connection::Untracked }));
            ctx.connections.track(entry, ctx.now, &eni.timeouts, side, seen.tcp_flags);
            return Ok(Some(entry));
        }
    }
    let grant = judge(ctx, eni, seen);
    let (Ok(grant), false) = (&grant, Tcp::resets(seen.tcp_flags) && found.is_none()) else {
        if let (Some(entry), Err(_)) = (found, &grant) {
            ctx.connections.close(entry);
        }
        // A reset opens nothing.
        return grant.map(|_| None);
    };
    let has_ports = matches!(ends.protocol, protocol::TCP | protocol::UDP);
    // SEC-4: of the flow's two directions, that of the replies has to be open.
    let hot = found.and_then(|entry| ctx.connections.hot(entry));
    let is_reply = hot.is_some_and(|hot| hot.side(direction) == Side::Responder);
    let replies = if is_reply { direction } else { direction.opposite() };
    let untracked = has_ports
        && grant.everywhere
        && eni.policy.is_open(replies, ends.protocol, ends.remote.is_ipv6())
        && !always_tracked();
    ctx.sink.note(Step::Connection(if untracked { Connection::Untracked } else { Connection::New }));
    if let (Some(entry), true) = (found, untracked) {
        ctx.connections.track(entry, ctx.now, &eni.timeouts, Side::Initiator, 0);
        return Ok(Some(entry));
    }
    if !untracked {
        limits::connect(ctx, port, eni)?;
    }
    // SEC-7: one that is tracked from now on begins with this packet.
    let opening = Opening {
        direction,
        tracked: !untracked,
        tcp_flags: seen.tcp_flags,
        eni: eni.stay,
        flow,
        segment: segment.copied().filter(|_| !untracked),
    };
    match ctx.connections.open(&key, ctx.now, &eni.timeouts, &opening) {
        Ok(entry) => Ok(Some(entry)),
        // SEC-10: what is not tracked needs no entry.
        Err(_) if untracked => Ok(None),
        Err(_) => Err(Reason::ConntrackFull),
    }
}

/// Whether a packet belongs to the connection of an entry: not that of another ENI's stay, nor one that has ended where a new
/// one begins. What it doesn't belong to is removed.
fn keep<S>(ctx: &mut Context<'_, S>, eni: &LocalEni, entry: u32, seen: &Seen) -> bool {
    let stays = ctx.connections.cold(entry).is_some_and(|cold| cold.eni == eni.stay);
    let mut reopens = || {
        Tcp::opens(seen.tcp_flags)
            && ctx.connections.hot(entry).and_then(|hot| hot.phase()) == Some(Phase::Closed)
    };
    let kept = stays && !reopens();
    if !kept {
        ctx.connections.close(entry);
    }
    kept
}

/// Whether a connection that an ICMP error is about is known (SEC-14).
fn is_tracked<S>(ctx: &mut Context<'_, S>, port: PortIndex, eni: &LocalEni, about: &Ends) -> bool {
    let key = ctx.connections.key(port, about);
    let Some(entry) = ctx.connections.find(&key, ctx.now) else { return false };
    ctx.connections.cold(entry).is_some_and(|cold| cold.eni == eni.stay)
        && ctx.connections.hot(entry).is_some_and(|hot| hot.is_tracked())
}

/// What the security groups of an ENI say of a packet by itself.
///
/// # Errors
///
/// `sg_out` or `sg_in`; `frag_orphan`, where that depends on ports which nobody knows.
pub(super) fn judge<S: Notes>(
    ctx: &mut Context<'_, S>,
    eni: &LocalEni,
    seen: &Seen,
) -> Result<Grant, Reason> {
    if let Subject::Orphan = seen.subject {
        // SEC-15: rules that allow everything need no ports.
        let v6 = seen.shown.remote.is_ipv6();
        let open = |protocol| eni.policy.is_open(seen.direction, protocol, v6);
        if !(open(protocol::TCP) && open(protocol::UDP)) {
            return Err(Reason::FragOrphan);
        }
    }
    let groups = if eni.policy.needs_groups(seen.direction) {
        groups_of(ctx.tables, eni, seen.shown.remote)
    } else {
        &[]
    };
    let grant = eni.policy.find(seen.direction, &seen.shown, groups);
    ctx.sink.note(Step::Groups(eni, seen.direction, grant.map(|grant| grant.rule)));
    match grant {
        Some(grant) => {
            eni.policy.hit(seen.direction, grant.rule);
            Ok(grant)
        }
        None => Err(refuse(
            ctx,
            eni,
            seen,
            match seen.direction {
                Direction::Egress => Reason::SgOut,
                Direction::Ingress => Reason::SgIn,
            },
        )),
    }
}

/// Counts a packet that security groups and network ACLs let pass, by the entry of its connection if it has one. `path`: as in
/// [`FlowRecord`](crate::flowlogs::FlowRecord).
pub(super) fn passed<S>(ctx: &mut Context<'_, S>, eni: &LocalEni, seen: &Seen, entry: Option<u32>, path: u8) {
    match entry {
        Some(entry) => ctx.connections.count(entry, &seen.logged(path)),
        None => count(ctx, eni, seen, Action::Accept, path),
    }
}

/// What the network ACL of an ENI's subnet says of a packet of the ENI that leaves the subnet.
///
/// # Errors
///
/// `nacl_out` or `frag_orphan`.
pub(super) fn leave<S: Notes>(ctx: &mut Context<'_, S>, eni: &LocalEni, seen: &Seen) -> Result<(), Reason> {
    ctx.sink.note(Step::Acl(eni, seen.direction, verdict(eni, seen)));
    seen.cross(&eni.acl).map_err(|reason| refuse(ctx, eni, seen, reason))
}

/// What network ACLs say of a packet to an ENI.
///
/// # Errors
///
/// `nacl_in` or `frag_orphan`; `nacl_out` of a copy that leaves its sender's subnet.
pub(super) fn enter<S: Notes>(
    ctx: &mut Context<'_, S>,
    eni: &LocalEni,
    seen: &Seen,
    frame: &[u8],
) -> Result<(), Reason> {
    let entered = seen.enter(ctx.tables, eni, frame);
    if entered != Ok(false) {
        ctx.sink.note(Step::Acl(eni, seen.direction, verdict(eni, seen)));
    }
    entered.map(|_| ()).map_err(|reason| refuse(ctx, eni, seen, reason))
}

/// What the network ACL of an ENI's subnet says of a packet; `None` of one that allows everything.
fn verdict(eni: &LocalEni, seen: &Seen) -> Option<AclVerdict> {
    (!eni.acl.allows_all()).then(|| eni.acl.find(seen.direction, &seen.shown))
}

/// Counts a packet that they refuse (FL-5), but for want of knowledge.
fn refuse<S>(ctx: &mut Context<'_, S>, eni: &LocalEni, seen: &Seen, reason: Reason) -> Reason {
    if reason != Reason::FragOrphan {
        count(ctx, eni, seen, Action::Reject, 0);
    }
    reason
}

/// Counts a packet without an entry.
fn count<S>(ctx: &mut Context<'_, S>, eni: &LocalEni, seen: &Seen, action: Action, path: u8) {
    if eni.logged {
        let from = (seen.port, eni.stay);
        ctx.connections.count_loose(from, &seen.ends, &seen.logged(path), action, ctx.now);
    }
}

/// The security groups of who has an address, as the ENI sees it (SEC-12).
fn groups_of<'t>(tables: &'t Tables, eni: &LocalEni, remote: IpAddr) -> &'t [GroupIndex] {
    owner(tables, eni, remote).map_or(&[], |owner| tables.group_sets.get(owner.groups))
}

/// Who has an address, as the ENI sees it: in its VPC, or in one that is joined to it (PT-7).
fn owner<'t>(tables: &'t Tables, eni: &LocalEni, remote: IpAddr) -> Option<&'t Destination> {
    let beyond = || tables.exits.origins(eni.vni, remote).find_map(|vni| tables.owner(vni, remote));
    tables.owner(eni.vni, remote).or_else(beyond)
}

/// Whether the ENI's security groups let a packet through that leaves nothing behind: one to a group (MC-7).
///
/// # Errors
///
/// `sg_out`, `sg_in` or `frag_orphan`.
pub(crate) fn permits<S: Notes>(
    ctx: &mut Context<'_, S>,
    direction: Direction,
    (port, eni): (PortIndex, &LocalEni),
    headers: &Headers,
    frame: &[u8],
) -> Result<(), Reason> {
    let seen = Seen::of(ctx, direction, (port, eni), headers, frame)?;
    judge(ctx, eni, &seen)?;
    passed(ctx, eni, &seen, None, 0);
    Ok(())
}

/// What a network ACL says of a packet that crosses the subnet's edge: NACL-1 to NACL-8.
///
/// # Errors
///
/// `nacl_out` or `nacl_in`.
pub(crate) fn cross(acl: &Acl, direction: Direction, shown: &Shown) -> Result<(), Reason> {
    if acl.allows_all() || acl.find(direction, shown).allow {
        return Ok(());
    }
    Err(match direction {
        Direction::Egress => Reason::NaclOut,
        Direction::Ingress => Reason::NaclIn,
    })
}
