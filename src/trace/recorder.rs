//! The sink that writes down what the pipeline does with a packet.

use std::net::{IpAddr, Ipv4Addr};

use super::{Line, Node, Outcome, hex_of};
use crate::{
    compile::{Origin, State, effective},
    model::{self, Id},
    node::manager,
    packet::{Buffer, HeapBuffer, Mac, Outer, Vni, endpoints, macs, parse, unmapped},
    pipeline::{AtEni, AtGateway, Check, Connection, News, Notes, Reason, Request, Sink, Step},
    tables::{
        AclVerdict, Destination, Direction, GatewayKind, LocalEni, Place, PortIndex, Role, Rule, RuleIndex,
        Target,
    },
};

/// Writes down steps and outcomes of one packet.
pub(super) struct Recorder<'a> {
    node: &'a Node,
    /// The ENI that the packet came from.
    from: Option<Id>,
    /// The VPC that the packet is in.
    vni: Option<Vni>,
    /// The address by which the destination was looked for.
    address: Option<IpAddr>,
    /// Whether it has left its sender's subnet by a transit gateway.
    beyond: bool,
    steps: Vec<Line>,
    outcomes: Vec<Outcome>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(node: &'a Node) -> Self {
        Self {
            node,
            from: None,
            vni: None,
            address: None,
            beyond: false,
            steps: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Vec<Line>, Vec<Outcome>) {
        (self.steps, self.outcomes)
    }

    fn line(&mut self, step: &str, rule: Option<&str>, text: String) {
        self.steps.push(Line { step: step.into(), rule: rule.map(str::to_owned), text });
    }

    /// An ENI by network identifier and MAC, which are unique.
    fn eni(&self, vni: Option<Vni>, mac: Mac) -> Option<&'a model::Eni> {
        let model = &self.node.model;
        let vpc = model.vpcs.values().find(|vpc| Some(vpc.vni) == vni)?;
        model.enis.values().find(|eni| eni.mac == mac && eni.vpc == vpc.id)
    }

    fn host_at(&self, address: IpAddr) -> Option<&'a model::Host> {
        self.node.model.hosts.values().find(|host| host.underlay == address)
    }

    fn name_of_host(&self, address: IpAddr) -> String {
        match self.host_at(address) {
            Some(host) => format!("{} ({address})", host.id),
            None => format!("{address}, which is no host's"),
        }
    }

    /// The route by which the sender's subnet reaches an address.
    fn route(&self, address: IpAddr) -> Option<String> {
        let model = &self.node.model;
        let subnet = model.subnets.get(&model.enis.get(self.from.as_ref()?)?.subnet)?;
        let table = model.route_tables.get(&subnet.route_table)?;
        let routes = effective(model, &self.node.learned, table);
        let matching = routes
            .iter()
            .filter(|route| route.destination.contains(&address) && !matches!(route.state, State::Unused(_)));
        let route = matching.max_by_key(|route| route.destination.prefix_len())?;
        let origin = match &route.origin {
            Origin::Local | Origin::Static => String::new(),
            origin => format!(" ({origin})"),
        };
        let why = match &route.state {
            State::Blackhole(why) => format!(", a blackhole: {why}"),
            State::Active | State::Unused(_) => String::new(),
        };
        Some(format!("{}: {} → {}{origin}{why}", table.id, route.destination, route.target))
    }

    /// What a route of another subnet than the sender's leads to.
    fn target(&self, target: Target) -> String {
        let exits = &self.node.tables.exits;
        let name = match target {
            Target::Local => Some("local".to_owned()),
            Target::Blackhole => Some("a blackhole".to_owned()),
            Target::Invalid => Some("what a gateway route table may not lead to".to_owned()),
            Target::Eni(mac) => {
                self.node.model.enis.values().find(|eni| eni.mac == mac).map(|eni| eni.id.to_string())
            }
            Target::Peer(peer) => exits.peers.get(peer.0 as usize).map(|peer| peer.id.to_string()),
            Target::Gateway(gateway) => exits.gateway(gateway).map(|gateway| gateway.id.to_string()),
            Target::Transit(attachment) => exits.attachment(attachment).map(|it| it.gateway.to_string()),
        };
        name.unwrap_or_else(|| "what is gone".to_owned())
    }

    fn came_from(&mut self, eni: &LocalEni) {
        self.from = Some(eni.id.clone());
        self.vni = Some(eni.vni);
        let subnet = self.node.model.enis.get(&eni.id).map_or("?", |eni| &eni.subnet);
        self.line("eni", None, format!("from {} of {subnet} in {}", eni.id, eni.vpc));
    }

    fn arrived(&mut self, outer: &Outer) {
        self.vni = Some(outer.vni);
        let vpc = self.node.model.vpcs.values().find(|vpc| vpc.vni == outer.vni);
        let vpc = vpc.map_or_else(|| "no VPC's".into(), |vpc| vpc.id.to_string());
        let sender = outer.sender.map(|sender| match self.eni(Some(sender.vni), sender.mac) {
            Some(eni) => format!(", sent by {}", eni.id),
            None => format!(", sent by {} in VNI {}, which is no ENI", sender.mac, sender.vni),
        });
        let from = self.name_of_host(unmapped(outer.source));
        let text = format!("from {from}, VNI {} ({vpc}){}", outer.vni, sender.unwrap_or_default());
        self.line("outer", Some("P-2"), text);
    }

    fn check(&mut self, check: Check, made: bool) {
        let (step, rule, passed) = match check {
            Check::SourceMac => ("source_mac", "L2-3", "the source MAC is the ENI's"),
            Check::SourceAddress => ("source_check", "ADDR-5", "the source address is the ENI's"),
            Check::Size => ("mtu", "MTU-2", "the packet fits the ENI's MTU"),
            Check::Origin => ("origin", "P-4", "the sender lives behind the outer source"),
            Check::DestinationAddress => {
                ("destination_check", "ADDR-6", "the destination address is the receiver's")
            }
            Check::Allowance => ("allowance", "ADDR-20", "the ENI has asked for no more than its allowance"),
        };
        if made {
            self.line(step, Some(rule), passed.into());
        } else {
            self.line(step, Some("ADDR-7"), "not checked: SourceDestCheck is false".into());
        }
    }

    fn connection(&mut self, connection: Connection) {
        let (rule, text) = match connection {
            Connection::Known => ("SEC-2", "known: no rule is asked"),
            Connection::New => ("SEC-2", "new, and tracked"),
            Connection::Untracked => ("SEC-4", "not tracked: everything is allowed both ways"),
            Connection::Related => ("SEC-14", "an ICMP error about one that is known"),
        };
        self.line("connection", Some(rule), text.into());
    }

    fn groups(&mut self, eni: &LocalEni, direction: Direction, rule: Option<RuleIndex>) {
        let (way, with) = match direction {
            Direction::Egress => ("out of", "to"),
            Direction::Ingress => ("into", "from"),
        };
        let text = match rule.and_then(|rule| eni.policy.rule(direction, rule)) {
            Some(Rule { name, .. }) => {
                format!("{way} {}: {} allows {} {with} {}", eni.id, name.group, name.traffic, name.peer)
            }
            None => format!("{way} {}: no rule of its security groups allows it", eni.id),
        };
        self.line("groups", Some("SEC-1"), text);
    }

    fn acl(&mut self, eni: &LocalEni, direction: Direction, verdict: Option<AclVerdict>) {
        let name = eni.acl.id.as_deref().unwrap_or("the default network ACL");
        let way = match direction {
            Direction::Egress => "out of",
            Direction::Ingress => "into",
        };
        let text = match verdict {
            None => "allows everything".to_owned(),
            Some(AclVerdict { number: AclVerdict::LAST, .. }) => {
                "no entry allows it: entry * denies".to_owned()
            }
            Some(AclVerdict { number, allow: true }) => format!("entry {number} allows"),
            Some(AclVerdict { number, allow: false }) => format!("entry {number} denies"),
        };
        self.line("acl", Some("NACL-1"), format!("{way} the subnet of {}: {name}, {text}", eni.id));
    }

    fn to(&mut self, to: &Destination) {
        if let Some(address) = self.address {
            let route = self.route(address).unwrap_or_else(|| "the VPC's own block".into());
            self.line("route", Some("FWD-3"), route);
        }
        let name = self.eni(self.vni, to.mac).map_or_else(|| to.mac.to_string(), |eni| eni.id.to_string());
        let place = match to.location.place() {
            Place::Local(port) => format!("at port {} of this host", self.node.port_name(port)),
            Place::Remote(_) => match self.eni(self.vni, to.mac).and_then(|eni| eni.attachment.as_ref()) {
                Some(at) => format!("at {}", at.host),
                None => "at another host".into(),
            },
            Place::Gateway(gateway) => match self.node.tables.exits.gateway(gateway) {
                Some(gateway) => format!("of {}", gateway.id),
                None => "of a gateway".into(),
            },
            Place::Nowhere => "attached nowhere".into(),
        };
        self.line("destination", None, format!("{name}, {place}"));
    }
}

/// The outer header of a frame to the underlay, in words.
fn outer(frame: &[u8]) -> Option<String> {
    let headers = parse(frame).ok()?;
    let (source, destination) = endpoints(frame, headers.network)?;
    let (to, from) = macs(frame);
    Some(format!(
        "{source} → {destination}, UDP {} → {}, {from} → {to}",
        headers.source_port, headers.destination_port
    ))
}

impl Notes for Recorder<'_> {
    fn note(&mut self, step: Step<'_>) {
        match step {
            Step::From(eni) => self.came_from(eni),
            Step::Arrived(outer) => self.arrived(outer),
            Step::Passed(check) => self.check(check, true),
            Step::Waived(check) => self.check(check, false),
            Step::Connection(connection) => self.connection(connection),
            Step::Groups(eni, direction, rule) => self.groups(eni, direction, rule),
            Step::Acl(eni, direction, verdict) => self.acl(eni, direction, verdict),
            Step::ByMac(mac) => {
                self.line(
                    "path",
                    Some("L2-5"),
                    format!("in the subnet, to the MAC {mac}, whatever the address"),
                );
            }
            Step::ByAddress(address) => {
                self.address = Some(address);
                self.line("path", Some("L2-6"), format!("through the router, to the address {address}"));
            }
            Step::To(to) => self.to(to),
            Step::ToLocal(port, eni) => {
                let text = format!("{} at port {}", eni.id, self.node.port_name(port));
                self.line("receiver", None, text);
            }
            // In the subnet of a transit gateway's attachment.
            Step::Route(target) if self.beyond => {
                let text = target.map_or_else(|| "none".into(), |target| self.target(target));
                self.line("route", Some("PT-14"), format!("where it comes in again → {text}"));
            }
            Step::Route(target) => {
                let route = self.address.and_then(|address| self.route(address)).filter(|_| target.is_some());
                self.line("route", Some("RT-13"), route.unwrap_or_else(|| "none".into()));
            }
            Step::Rewritten(to, from) => {
                let text = format!("destination MAC {to}, source MAC {from}, the receiver's router's");
                self.line("rewrite", Some("FWD-6"), text);
            }
            Step::Clamped(mtu) => {
                let text = format!("the SYN tells a segment size that fits the path's {mtu} bytes");
                self.line("mss", Some("MTU-5"), text);
            }
            Step::Fragmented(mtu) => {
                self.line("fragment", Some("MTU-3"), format!("of the path's {mtu} bytes at most"));
            }
            Step::Encapsulated(_, vni) => self.line("encapsulate", Some("P-2"), format!("VNI {vni}")),
            Step::Decapsulated => self.line("decapsulate", Some("P-2"), "the outer header is off".into()),
            Step::Asks(request) => {
                let (rule, text) = match request {
                    Request::Arp => ("L2-10", "ARP"),
                    Request::NeighbourDiscovery => ("L2-21", "neighbour discovery"),
                    Request::Igmp => ("MC-4", "membership in a multicast group"),
                    Request::Dhcp => ("ADDR-12", "DHCP"),
                    Request::Echo => ("ADDR-23", "an echo of the subnet router"),
                    Request::PathMtu => {
                        ("MTU-4", "a packet too big for its path, of which the sender is told")
                    }
                };
                self.line("node", Some(rule), text.into());
            }
            Step::Gateway(gateway) => {
                let text = match gateway.kind {
                    GatewayKind::Internet(_) | GatewayKind::Outside(_) => format!("in {}", gateway.id),
                    GatewayKind::Nat(_) | GatewayKind::EgressOnly(_) => {
                        format!("in {}: a trace knows none of the workers' flows", gateway.id)
                    }
                };
                self.line("gateway", None, text);
            }
            Step::Transit(attachment) => {
                let text = format!("in {}, at {}", attachment.gateway, attachment.id);
                self.beyond = true;
                self.line("transit", Some("PT-11"), text);
            }
            Step::Copied(session) => {
                let target = Ipv4Addr::from_bits(session.target);
                self.line("mirror", Some("MIR-1"), format!("a copy to {target}, by {}", session.id));
            }
            Step::Replicated(fanout) => {
                let text =
                    format!("{} members here, {} other hosts", fanout.local().count(), fanout.hosts().len());
                self.line("multicast", Some("MC-2"), text);
            }
            Step::Peering(peer) => self.line("peering", Some("PT-1"), format!("over {}", peer.id)),
            Step::Translated(source, destination) => {
                self.line("translate", Some("GW-1"), format!("from {source} to {destination}"));
            }
            Step::Bound(inside, outside) => {
                self.line("bind", Some("GW-10"), format!("{inside} inside is {outside} outside"));
            }
            Step::Outside(port, vlan) => {
                let text = format!("out of port {}, VLAN {vlan}", self.node.port_name(port));
                self.line("outside", None, text);
            }
            Step::Service(service, port) => {
                let text = format!("{service:?}, behind port {}", self.node.port_name(port));
                self.line("service", Some("ADDR-17"), text);
            }
            Step::Reply(service) => self.line("service", Some("ADDR-17"), format!("from {service:?}")),
        }
    }
}

impl<B: Buffer> Sink<B> for Recorder<'_> {
    fn transmit(&mut self, port: PortIndex, frame: B) {
        let (name, bytes) = (self.node.port_name(port).to_owned(), hex_of(&frame));
        let uplink = self.node.tables.port(port).is_some_and(|port| matches!(port.role, Role::Uplink(_)));
        if uplink && let Some(text) = outer(frame.data()) {
            self.line("outer", Some("P-2"), text);
        }
        self.outcomes.push(if uplink {
            let outer = parse(frame.data()).ok().and_then(|headers| endpoints(frame.data(), headers.network));
            let host = outer.and_then(|(_, address)| self.host_at(address)).map(|host| host.id.to_string());
            Outcome::Sent { port: name, host, frame: bytes }
        } else {
            let eni = self.node.tables.local_eni(port).map(|eni| eni.id.to_string());
            Outcome::Delivered { port: name, eni, frame: bytes }
        });
    }

    fn owns(&self, _port: PortIndex, _part: u8) -> bool {
        true
    }

    fn hand_over(&mut self, _part: u8, _at: AtEni, _frame: B) {
        // Every part is this worker's.
    }

    fn workers(&self) -> (usize, usize) {
        (0, 1)
    }

    fn hand_share(&mut self, _share: u8, _at: AtGateway, _frame: B) {
        // Every share is this worker's.
    }

    fn punt(&mut self, port: PortIndex, frame: B) -> Result<(), B> {
        // Memberships are the management thread's alone: it takes the message, and answers nothing (MC-4).
        let relayed = self.node.tables.local_eni(port).is_none();
        if relayed || manager::is_membership(frame.data()) {
            return Ok(());
        }
        match manager::answer(&self.node.tables, port, frame.data()) {
            Ok(reply) => self.transmit(port, HeapBuffer::new(&reply)),
            Err(reason) => self.dropped(port, reason, &frame),
        }
        Ok(())
    }

    fn tell(&mut self, _news: News) {}

    fn dropped(&mut self, port: PortIndex, reason: Reason, _frame: &B) {
        self.outcomes.push(Outcome::Dropped {
            port: self.node.port_name(port).into(),
            reason: reason.name().into(),
            meaning: reason.help().into(),
        });
    }
}
