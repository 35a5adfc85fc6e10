//! Which packets of an ENI are copied, and where to: traffic mirroring (MIR-1 to MIR-7).

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::Direction;
use crate::{
    model::MirrorRule,
    packet::{Fragment, OuterTemplate, Vni, protocol},
};

/// What is copied of an ENI's packets.
#[derive(Clone, Debug)]
pub struct Mirrors {
    /// By number: of those that take a packet, the first copies it (MIR-2).
    pub sessions: Box<[MirrorSession]>,
}

/// A session.
#[derive(Clone, Debug)]
pub struct MirrorSession {
    /// Its id, for operators.
    pub id: Arc<str>,
    /// The address that copies go to, in host order.
    pub target: u32,
    /// The header in front of copies, from the ENI to its target by VXLAN over IPv4. Its MACs are those of a frame to the router.
    pub template: OuterTemplate,
    /// The VNI of copies.
    pub vni: Vni,
    /// The longest copy, in bytes, without that header.
    pub longest: u16,
    /// Rules by [`Direction`], by number: the first that matches decides.
    pub rules: [Box<[MirrorRule]>; 2],
    /// Whether the resolver's packets are copied, whatever the rules.
    pub dns: bool,
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Mirrored {
    /// Which way the packet goes.
    pub direction: Direction,
    /// Its protocol.
    pub protocol: u8,
    /// Its addresses.
    pub source: IpAddr,
    /// See `source`.
    pub destination: IpAddr,
    /// Its ports, of TCP and UDP.
    pub ports: (u16, u16),
    /// Whether it is a fragment: a later one has no ports, and no rule for ports matches it.
    pub fragment: Fragment,
    /// Whether it is to or from the resolver.
    pub dns: bool,
}

impl Mirrors {
    /// The session that copies a packet.
    pub fn session(&self, packet: &Mirrored) -> Option<&MirrorSession> {
        self.sessions.iter().find(|session| session.takes(packet))
    }
}

impl MirrorSession {
    fn takes(&self, packet: &Mirrored) -> bool {
        if packet.dns {
            return self.dns;
        }
        let [ingress, egress] = &self.rules;
        let rules = if packet.direction == Direction::Ingress { ingress } else { egress };
        rules.iter().find(|rule| matches(rule, packet)).is_some_and(|rule| rule.accept)
    }
}

fn matches(rule: &MirrorRule, packet: &Mirrored) -> bool {
    const ALL: std::ops::RangeInclusive<u16> = 0..=u16::MAX;
    let has_ports = matches!(packet.protocol, protocol::TCP | protocol::UDP);
    let named = (&rule.source_ports, &rule.destination_ports) != (&ALL, &ALL);
    let by_ports = || match (has_ports, packet.fragment) {
        (true, Fragment::Whole | Fragment::First) => {
            rule.source_ports.contains(&packet.ports.0) && rule.destination_ports.contains(&packet.ports.1)
        }
        (true, Fragment::Later) => false,
        // Ports say something of TCP and UDP only.
        (false, _) => true,
    };
    let within = |block: &IpNet, address: IpAddr| block.contains(&address);
    rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && within(&rule.source, packet.source)
        && within(&rule.destination, packet.destination)
        && (!named || by_ports())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(number: u16, accept: bool, source: &str) -> MirrorRule {
        MirrorRule {
            number,
            accept,
            protocol: None,
            source: source.parse().unwrap(),
            destination: "0.0.0.0/0".parse().unwrap(),
            source_ports: 0..=u16::MAX,
            destination_ports: 0..=u16::MAX,
        }
    }

    fn session(vni: u32, ingress: Vec<MirrorRule>) -> MirrorSession {
        MirrorSession {
            id: "tms".into(),
            target: 0,
            template: OuterTemplate::NONE,
            vni: Vni::new(vni).unwrap(),
            longest: 100,
            rules: [ingress.into(), Box::default()],
            dns: false,
        }
    }

    const PACKET: Mirrored = Mirrored {
        direction: Direction::Ingress,
        protocol: protocol::UDP,
        source: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        destination: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, 1)),
        ports: (1000, 53),
        fragment: Fragment::Whole,
        dns: false,
    };

    fn copied_by(sessions: &[MirrorSession], packet: &Mirrored) -> Option<u32> {
        let mirrors = Mirrors { sessions: sessions.into() };
        mirrors.session(packet).map(|session| session.vni.get())
    }

    #[test]
    fn mir_2_the_first_session_that_takes_a_packet_copies_it() {
        let one = session(1, vec![rule(1, false, "10.0.0.0/16"), rule(2, true, "0.0.0.0/0")]);
        let two = session(2, vec![rule(1, true, "0.0.0.0/0")]);
        let sessions = [one, two];
        assert_eq!(copied_by(&sessions, &PACKET), Some(2), "the first session's first rule rejects it");
        let other = Mirrored { source: "10.1.0.1".parse().unwrap(), ..PACKET };
        assert_eq!(copied_by(&sessions, &other), Some(1));
        assert_eq!(copied_by(&sessions, &Mirrored { direction: Direction::Egress, ..other }), None);
        // MIR-5: the resolver's packets are a matter of their own.
        let resolver = Mirrored { dns: true, direction: Direction::Egress, ..other };
        assert_eq!(copied_by(&sessions, &resolver), None);
        assert_eq!(copied_by(&[MirrorSession { dns: true, ..session(3, vec![]) }], &resolver), Some(3));
    }

    #[test]
    fn ports_are_of_tcp_and_udp_and_of_packets_that_have_them() {
        let ports = MirrorRule { destination_ports: 53..=53, ..rule(1, true, "0.0.0.0/0") };
        let sessions = [session(1, vec![ports])];
        let copied = |packet| copied_by(&sessions, &packet).is_some();
        assert!(copied(PACKET) && !copied(Mirrored { ports: (53, 54), ..PACKET }));
        assert!(copied(Mirrored { fragment: Fragment::First, ..PACKET }));
        assert!(!copied(Mirrored { fragment: Fragment::Later, ports: (0, 0), ..PACKET }));
        assert!(copied(Mirrored { protocol: protocol::ICMP, ports: (0, 0), ..PACKET }));
        let all = [session(1, vec![rule(1, true, "0.0.0.0/0")])];
        assert!(copied_by(&all, &Mirrored { fragment: Fragment::Later, ..PACKET }).is_some());
    }
}
