//! What the management thread knows and decides, without threads or I/O: the daemon and the replay both drive it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use super::{
    config::HostConfig,
    learned::{self, Heard, Routes, Tell},
    multicast::{Groups, Joined},
    outside::{self, Outside},
};
use crate::{
    compile::{Compiler, Resolve, Site, SitePort, SiteRole},
    model::{self, Diff, Id, Model},
    packet::{Mac, igmp, parse},
    pipeline::{News, Reason},
    rcu::{Publisher, Reader},
    services::{
        Learned,
        advertiser::Advertiser,
        dhcp,
        neighbours::{Hop, Link, Neighbour, Neighbours, build_request},
        told::{self, Told},
    },
    tables::{Asker, LocalEni, PortIndex, Role, Tables},
    trace::Node,
};

/// The model in force, its tables, and the neighbours on the links.
pub struct Manager {
    compiler: Compiler,
    tables: Publisher<Tables>,
    model: Arc<Model>,
    neighbours: Neighbours,
    told: Told,
    advertiser: Advertiser,
    groups: Groups,
    outside: Outside,
    routes: Routes,
    /// What other hosts are to be told of learned routes.
    tell: Vec<Tell>,
    /// The last time that it was told.
    now: Duration,
    /// Frames to send at the next tick.
    pending: Vec<(PortIndex, OwnFrame)>,
}

impl Resolve for Neighbours {
    fn resolve(&self, uplink: PortIndex, next_hop: IpAddr) -> Option<Mac> {
        self.resolved(Link::untagged(uplink), next_hop)
    }
}

/// What an address of an ENI is on a service port.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The service port's name.
    pub service_port: Arc<str>,
    /// The address that the services see.
    pub identity: IpAddr,
    /// The name of the ENI's port.
    pub port: Arc<str>,
    /// The ENI.
    pub eni: Id,
    /// Its VPC.
    pub vpc: Id,
    /// The address in the VPC.
    pub address: IpAddr,
}

/// A frame that the node itself sends.
pub type OwnFrame = Vec<u8>;

impl Manager {
    /// Compiles the model for the node and publishes the tables to that many workers.
    ///
    /// # Errors
    ///
    /// What is wrong between the host file and the state: the host is not in it, with this underlay address; an ENI is
    /// attached to a port that the host has not, or that is none for instances.
    pub fn new(
        config: &HostConfig,
        site: Site,
        model: Model,
        workers: usize,
    ) -> Result<(Self, Vec<Reader<Tables>>), Vec<String>> {
        let problems = check_site(&site, &model);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut neighbours = Neighbours::default();
        let uplinks = config.ports.iter().zip(0..).filter_map(|(port, index)| Some((index, port.uplink()?)));
        neighbours.set_static(uplinks.flat_map(|(index, uplink)| {
            let link = Link::untagged(PortIndex(index));
            uplink.neighbors.iter().map(move |neighbor| ((link, neighbor.address), neighbor.mac))
        }));
        let mut outside = Outside::new(config, &site, &model);
        let mut compiler = Compiler::new(site);
        neighbours.set_wanted(next_hops(&compiler, &model));
        let tables = compiler.build(&model, &neighbours);
        let mut advertiser = Advertiser::default();
        advertiser.set_enis(local_enis(&tables));
        let mut groups = Groups::default();
        groups.set_state(Duration::ZERO, &mut compiler, &model, &tables);
        let tables = Tables {
            multicast: groups.changed().unwrap_or_default(),
            outside: outside.changed().unwrap_or_default(),
            ..tables
        };
        let (tables, readers) = Publisher::new(tables, workers);
        let (model, told, pending, now) = (Arc::new(model), Told::default(), Vec::new(), Duration::ZERO);
        let (routes, tell) = (Routes::default(), Vec::new());
        let manager = Self {
            compiler,
            tables,
            model,
            neighbours,
            told,
            advertiser,
            groups,
            outside,
            routes,
            tell,
            now,
            pending,
        };
        Ok((manager, readers))
    }

    /// The model in force.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The tables in force.
    pub fn tables(&self) -> &Tables {
        self.tables.current()
    }

    /// The node.
    pub fn site(&self) -> &Site {
        self.compiler.site()
    }

    /// What gateways have learned by BGP.
    pub fn learned_routes(&self) -> &crate::compile::Learned {
        self.compiler.learned()
    }

    /// The node as a trace sees it: the tables in force, with their names.
    pub fn node(&self) -> Node {
        Node {
            tables: self.tables.current().clone(),
            model: Arc::clone(&self.model),
            site: Arc::new(self.compiler.site().clone()),
            learned: self.compiler.learned().clone(),
        }
    }

    /// What of the state in force is legal but surely wrong on this node.
    pub fn warnings(&self) -> Vec<String> {
        outside::warnings(self.compiler.site(), &self.model)
    }

    /// How many tables have been published.
    pub fn generation(&self) -> u64 {
        self.tables.generation()
    }

    /// The underlay's neighbours.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.neighbours.snapshot()
    }

    /// The neighbours on the links of gateway ports.
    pub fn neighbours_outside(&self) -> Vec<Neighbour> {
        self.outside.neighbours()
    }

    /// Puts a validated model in force, whole, and says what that changed. The workers adopt it within a round each.
    ///
    /// # Errors
    ///
    /// As [`Manager::new`]; nothing has changed then.
    pub fn apply(&mut self, model: Model) -> Result<Diff, Vec<String>> {
        let problems = check_site(self.compiler.site(), &model);
        if !problems.is_empty() {
            return Err(problems);
        }
        let diff = model::diff(&self.model, &model);
        if !diff.hosts.is_empty() {
            self.neighbours.set_wanted(next_hops(&self.compiler, &model));
        }
        let mut tables =
            self.compiler.update(self.tables.current(), &self.model, &model, &diff, &self.neighbours);
        if !self.routes.is_empty() && learned::differ(&self.model, &model) {
            let (learned, tell) = self.routes.set_state(&model);
            self.tell.extend(tell);
            tables = self.compiler.update_learned(&tables, &model, learned);
        }
        self.advertiser.set_enis(local_enis(&tables));
        if model.circuits != self.model.circuits {
            self.outside.set_state(self.compiler.site(), &model);
            if let Some(outside) = self.outside.changed() {
                tables.outside = outside;
            }
        }
        if !(model.multicast_domains.is_empty() && self.model.multicast_domains.is_empty()) {
            self.groups.set_state(self.now, &mut self.compiler, &model, &tables);
            if let Some(multicast) = self.groups.changed() {
                tables.multicast = multicast;
            }
        }
        self.pending.extend(outside::announcements(self.tables.current(), &tables));
        self.tables.publish(tables);
        self.model = Arc::new(model);
        self.correct_neighbours();
        Ok(diff)
    }

    /// L2-17: tells instances of addresses that moved to another ENI of their subnet.
    fn correct_neighbours(&mut self) {
        let tables = self.tables.current();
        let asker = |port| {
            let eni = tables.local_eni(port)?;
            let primary = eni.v4.single().first().map(|&address| Ipv4Addr::from_bits(address));
            Some(told::Asker { mac: eni.mac, primary })
        };
        let owner = |port, address| tables.owner_in_subnet(tables.local_eni(port)?, address);
        self.pending.extend(self.told.corrections(asker, owner));
    }

    /// Takes in what a worker tells.
    pub fn hear(&mut self, now: Duration, news: News) {
        self.now = now;
        match news {
            News::Neighbour(uplink, heard) => self.learned(now, uplink, heard),
            News::Outside(port, vlan, heard) => {
                if self.outside.learned(now, Link { port, vlan }, heard) {
                    tracing::info!(port = %self.port_name(port), vlan, address = %heard.address, mac = %heard.mac, "neighbour outside resolved");
                }
            }
            News::Wanted(port, vlan, address) => self.outside.wanted(Link { port, vlan }, address),
            News::Told(port, address, mac) => {
                let tables = self.tables.current();
                let Some(eni) = tables.local_eni(port) else { return };
                self.told.note(port, eni.mac, address, mac);
                // The worker may have answered with older tables.
                if tables.owner_in_subnet(eni, address).is_some_and(|owner| owner != mac) {
                    self.correct_neighbours();
                }
            }
        }
    }

    /// Puts in force what has been heard of gateways' routes by BGP.
    pub fn learn(&mut self, heard: Vec<Heard>) {
        let (learned, tell) = self.routes.hear(&self.model, heard);
        self.tell.extend(tell);
        let tables = self.compiler.update_learned(self.tables.current(), &self.model, learned);
        self.tables.publish(tables);
    }

    /// What other hosts are to be told of learned routes since the last time.
    pub fn take_tell(&mut self) -> Vec<Tell> {
        std::mem::take(&mut self.tell)
    }

    /// What the management thread answers to a packet of an instance by itself, changing nothing: DHCP.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub fn reply(&self, port: PortIndex, frame: &[u8]) -> Result<OwnFrame, Reason> {
        answer(self.tables.current(), port, frame)
    }

    /// Takes a packet that a worker gave to the management thread; returns the answer, if there is one.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub fn answer(&mut self, port: PortIndex, frame: &[u8]) -> Result<Option<OwnFrame>, Reason> {
        let tables = self.tables.current();
        match tables.local_eni(port) {
            Some(_) if !is_membership(frame) => self.reply(port, frame).map(Some),
            _ => {
                self.groups.heard(self.now, tables, port, frame)?;
                self.publish_groups();
                Ok(None)
            }
        }
    }

    /// Publishes the multicast groups, if they have changed.
    fn publish_groups(&mut self) {
        if let Some(multicast) = self.groups.changed() {
            self.tables.publish(Tables { multicast, ..self.tables.current().clone() });
        }
    }

    /// Publishes the neighbours outside, if they have changed: once for all that was heard before.
    pub fn publish_outside(&mut self) {
        if let Some(outside) = self.outside.changed() {
            self.tables.publish(Tables { outside, ..self.tables.current().clone() });
        }
    }

    fn learned(&mut self, now: Duration, uplink: PortIndex, heard: Learned) {
        if self.neighbours.learned(now, Link::untagged(uplink), heard.address, heard.mac) {
            tracing::info!(uplink = %self.port_name(uplink), address = %heard.address, mac = %heard.mac, "underlay neighbour resolved");
            self.publish_hosts();
        }
    }

    /// Does what is due by `now`; returns the frames to send, with the ports to send them on.
    pub fn tick(&mut self, now: Duration) -> Vec<(PortIndex, OwnFrame)> {
        self.now = now;
        let groups = self.groups.tick(now, self.tables.current());
        self.publish_groups();
        let due = self.neighbours.tick(now);
        if due.changed {
            self.publish_hosts();
        }
        let outside = self.outside.tick(now);
        self.publish_outside();
        let site = self.compiler.site();
        let frame = |request| {
            let request: &crate::services::neighbours::Request = request;
            let port = request.link.port;
            let uplink = site.uplink(port)?;
            Some((port, build_request(uplink.mac, uplink.address, request)?.to_vec()))
        };
        let requests = due.requests.iter().filter_map(frame);
        let advertisements =
            self.advertiser.tick(now).into_iter().map(|(port, due)| (port, due.frame().to_vec()));
        self.pending.drain(..).chain(requests).chain(outside).chain(advertisements).chain(groups).collect()
    }

    /// Frees tables that no worker sees any more. Returns the generation that replaced the oldest one still kept, and the
    /// workers that may see it.
    pub fn collect(&mut self) -> Option<(u64, Vec<usize>)> {
        match self.tables.collect() {
            0 => None,
            kept => {
                let oldest = self.tables.generation() + 1 - kept as u64;
                Some((oldest, self.tables.laggards(oldest).collect()))
            }
        }
    }

    /// The workers which may still use tables older than `generation`.
    pub fn laggards(&self, generation: u64) -> Vec<usize> {
        self.tables.laggards(generation).collect()
    }

    /// By port: the ENI attached to it and its VPC.
    pub fn occupants(&self) -> Vec<Option<(Id, Id)>> {
        let occupant = |port: &crate::tables::Port| match &port.role {
            Role::Instance(Some(eni)) => Some((Arc::clone(&eni.id), Arc::clone(&eni.vpc))),
            _ => None,
        };
        self.tables.current().ports.iter().map(occupant).collect()
    }

    /// The ENIs attached to this node.
    pub fn enis(&self) -> Vec<Arc<LocalEni>> {
        let eni = |port: &crate::tables::Port| match &port.role {
            Role::Instance(eni) => eni.clone(),
            _ => None,
        };
        self.tables.current().ports.iter().filter_map(eni).collect()
    }

    /// The memberships in multicast groups by IGMP that this node knows of.
    pub fn joined(&self) -> Vec<Joined> {
        self.groups.joined(self.now, &self.compiler, &self.model)
    }

    /// The identities that addresses of this node's ENIs have on its service ports; of a delegated prefix, the first.
    pub fn identities(&self) -> Vec<Identity> {
        let tables = self.tables.current();
        let mut identities = Vec::new();
        for (port, index) in tables.ports.iter().zip(0..) {
            let Role::Instance(Some(eni)) = &port.role else { continue };
            for service in &tables.ports {
                let Role::Service(behind) = &service.role else { continue };
                let asker = |position| Asker { port: PortIndex(index), position, in_vpc: false };
                let v4 = eni.v4.single().iter().chain(eni.v4.delegated()).filter_map(|&address| {
                    let identity = behind.identity_v4(asker(eni.v4.position(address)?))?;
                    Some((Ipv4Addr::from_bits(identity).into(), Ipv4Addr::from_bits(address).into()))
                });
                let v6 = eni.v6.single().iter().chain(eni.v6.delegated()).filter_map(|&address| {
                    let identity = behind.identity_v6(asker(eni.v6.position(address)?))?;
                    Some((Ipv6Addr::from_bits(identity).into(), Ipv6Addr::from_bits(address).into()))
                });
                identities.extend(v4.chain(v6).map(|(identity, address)| Identity {
                    service_port: Arc::clone(&service.name),
                    identity,
                    port: Arc::clone(&port.name),
                    eni: Arc::clone(&eni.id),
                    vpc: Arc::clone(&eni.vpc),
                    address,
                }));
            }
        }
        identities
    }

    /// Whether every worker uses the tables of `generation` or newer ones.
    pub fn is_adopted(&self, generation: u64) -> bool {
        self.tables.is_adopted(generation)
    }

    fn publish_hosts(&mut self) {
        let tables = self.compiler.update_hosts(self.tables.current(), &self.model, &self.neighbours);
        self.tables.publish(tables);
    }

    fn port_name(&self, port: PortIndex) -> &str {
        self.compiler.site().ports.get(usize::from(port.0)).map_or("?", |port| &port.name)
    }
}

/// The ENIs attached to the node, with their ports.
fn local_enis(tables: &Tables) -> impl Iterator<Item = (PortIndex, &LocalEni)> {
    (0..tables.ports.len() as u16).map(PortIndex).filter_map(|port| Some((port, tables.local_eni(port)?)))
}

fn next_hops(compiler: &Compiler, model: &Model) -> Vec<Hop> {
    let hops = compiler.next_hops(model).into_iter();
    hops.map(|(uplink, next_hop)| (Link::untagged(uplink), next_hop)).collect()
}

/// Whether a frame of an instance is an IGMP message.
pub(crate) fn is_membership(frame: &[u8]) -> bool {
    parse(frame).is_ok_and(|headers| igmp::is_igmp(&headers))
}

/// As [`Manager::answer`], with any tables.
pub(crate) fn answer(tables: &Tables, port: PortIndex, frame: &[u8]) -> Result<OwnFrame, Reason> {
    let eni = tables.local_eni(port).ok_or(Reason::NoEni)?;
    dhcp::answer(frame, &eni.lease)
}

/// What is wrong between a node's host file and a state.
pub(crate) fn check_site(site: &Site, model: &Model) -> Vec<String> {
    let host = &site.host;
    let Some(stated) = model.hosts.get(host) else {
        let known: Vec<&Id> = model.hosts.keys().take(5).collect();
        return vec![format!(
            "host `{host}` is not in the state's Warren.Hosts; add it, or set `host` to one of {known:?}"
        )];
    };
    let mut problems = Vec::new();
    let addresses: Vec<IpAddr> = site.uplinks().map(|(_, uplink)| uplink.address).collect();
    if !addresses.is_empty() && !addresses.contains(&stated.underlay) {
        problems.push(format!(
            "host `{host}`: the state says UnderlayAddress {}, but its uplinks have {addresses:?}; make one of them equal",
            stated.underlay
        ));
    }
    for eni in model.enis.values() {
        let Some(at) = eni.attachment.as_ref().filter(|at| at.host == *host) else { continue };
        match site.port(&at.port).and_then(|index| site.ports.get(usize::from(index.0))) {
            None => problems.push(format!(
                "{}: attached to port `{}` of `{host}`, whose host file has no such port; add a [[port]] or change the attachment",
                eni.id, at.port
            )),
            Some(SitePort { role: SiteRole::Instance, .. }) => {}
            Some(_) => problems.push(format!(
                "{}: attached to port `{}` of `{host}`, which is none for instances; attach it to a port with role = \"instance\"",
                eni.id, at.port
            )),
        }
    }
    problems.extend(outside::check_circuits(site, model));
    problems.sort();
    problems
}
