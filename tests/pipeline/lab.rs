//! A host of the topology in `state.yaml`, without devices: tables, counters, and a sink that remembers.
//!
//! host-a has A (10.0.1.10, a secondary address, delegated prefixes), B2 (10.0.1.21) and FW (10.0.1.30, check off) of
//! subnet S1, C2 (10.0.2.20) of S2 and W (10.0.1.20 of another VPC); host-b has B (10.0.1.20), C (10.0.2.10) and W2;
//! host-c has D (10.0.1.60, delegated prefixes) and FW2 (10.0.2.30, check off). N (10.0.1.50) is attached nowhere.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use warren::{
    compile::{Compiler, Resolve, Site, SitePort, SiteRole, SiteUplink},
    flow::Connections,
    flowlogs::FlowRing,
    gateway::{Flows, resume},
    model::{AttachmentOptions, Document, Model, Peer, diff, load, router_mac},
    packet::{Buffer, Encapsulation, HeapBuffer, Mac, OuterChecksum, Vni, macs},
    pipeline::{
        Allowances, AtEni, AtGateway, Burst, Context, Counters, News, Notes, Reason, Sink, Step, process,
        take_over,
    },
    services::Learned,
    tables::{PortIndex, Tables, VlanMode},
};

use crate::frames::Outer;

/// MACs of the ENIs, see `state.yaml`.
pub(crate) const A: Mac = Mac([2, 0, 0, 0, 1, 0x0a]);
pub(crate) const B: Mac = Mac([2, 0, 0, 0, 1, 0x0b]);
pub(crate) const B2: Mac = Mac([2, 0, 0, 0, 1, 0xb2]);
pub(crate) const D: Mac = Mac([2, 0, 0, 0, 1, 0x0d]);
pub(crate) const FW: Mac = Mac([2, 0, 0, 0, 1, 0x0f]);
pub(crate) const N: Mac = Mac([2, 0, 0, 0, 1, 0x0e]);
pub(crate) const C: Mac = Mac([2, 0, 0, 0, 2, 0x0c]);
pub(crate) const C2: Mac = Mac([2, 0, 0, 0, 2, 0xc2]);
pub(crate) const FW2: Mac = Mac([2, 0, 0, 0, 2, 0x0f]);
pub(crate) const W: Mac = Mac([2, 0, 0, 0, 3, 0x0a]);
pub(crate) const W2: Mac = Mac([2, 0, 0, 0, 3, 0x0b]);

/// Ports of host-a, by the ENI behind them; every host has as many.
pub(crate) const AT_A: PortIndex = PortIndex(0);
pub(crate) const AT_B2: PortIndex = PortIndex(1);
pub(crate) const AT_FW: PortIndex = PortIndex(2);
pub(crate) const AT_W: PortIndex = PortIndex(3);
pub(crate) const AT_C2: PortIndex = PortIndex(4);
pub(crate) const EMPTY: PortIndex = PortIndex(5);
pub(crate) const UPLINK: PortIndex = PortIndex(6);

/// VNIs.
pub(crate) const V: u32 = 100;
pub(crate) const OTHER: u32 = 200;

/// How hosts talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) encapsulation: Encapsulation,
    /// Whether the underlay is IPv6.
    pub ipv6: bool,
}

pub(crate) const VXLAN: Wire = Wire { encapsulation: Encapsulation::Vxlan, ipv6: false };
pub(crate) const GENEVE: Wire = Wire { encapsulation: Encapsulation::Geneve, ipv6: false };
pub(crate) const WIRES: [Wire; 4] =
    [VXLAN, GENEVE, Wire { ipv6: true, ..VXLAN }, Wire { ipv6: true, ..GENEVE }];

/// The routers' MACs of the subnets.
pub(crate) fn r1() -> Mac {
    router_mac("subnet-s1")
}
pub(crate) fn r2() -> Mac {
    router_mac("subnet-s2")
}
pub(crate) fn rw() -> Mac {
    router_mac("subnet-w1")
}

/// The MAC of a host's uplink.
pub(crate) const fn uplink_mac(host: u8) -> Mac {
    Mac([2, 0xfa, 0, 0, 0, host])
}

/// The underlay address of a host: 1 is host-a.
pub(crate) fn underlay(wire: Wire, host: u8) -> IpAddr {
    if wire.ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, host.into()).into()
    } else {
        Ipv4Addr::new(192, 0, 2, host).into()
    }
}

/// Everybody's MAC, or nobody's.
#[derive(Clone, Copy)]
pub(crate) struct Neighbours(pub bool);

impl Resolve for Neighbours {
    fn resolve(&self, _uplink: PortIndex, next_hop: IpAddr) -> Option<Mac> {
        let host = match next_hop {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        self.0.then_some(uplink_mac(host))
    }
}

/// The state, with its hosts on that kind of underlay.
pub(crate) fn model(wire: Wire) -> Model {
    load(&[state(wire)]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn state(wire: Wire) -> Document {
    let text = include_str!("state.yaml");
    let text = if wire.ipv6 { text.replace("192.0.2.", "2001:db8:ffff::") } else { text.to_owned() };
    Document { name: "state.yaml".to_owned(), text }
}

/// The host with a number.
pub(crate) fn site(wire: Wire, host: u8) -> Site {
    let port = |name: &str, role| SitePort { name: name.into(), mtu: 1500, vlan: VlanMode::Refuse, role };
    let uplink = SiteUplink {
        mac: uplink_mac(host),
        address: underlay(wire, host),
        on_link: IpNet::new(underlay(wire, 0), if wire.ipv6 { 64 } else { 24 }).unwrap(),
        gateway: None,
        mtu: 1600,
        checksum: OuterChecksum::Zero,
    };
    let instances = ["vm0", "vm1", "vm2", "vm3", "vm4", "vm5"].map(|name| port(name, SiteRole::Instance));
    Site {
        host: ["host-a", "host-b", "host-c"][usize::from(host) - 1].into(),
        encapsulation: wire.encapsulation,
        workers: 8,
        ports: instances.into_iter().chain([port("up0", SiteRole::Uplink(uplink))]).collect(),
    }
}

/// The uplink of a host.
pub(crate) fn uplink(site: &mut Site) -> &mut SiteUplink {
    match &mut site.ports[usize::from(UPLINK.0)].role {
        SiteRole::Uplink(uplink) => uplink,
        _ => panic!("no uplink"),
    }
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It left through a port.
    Sent(PortIndex, Vec<u8>),
    /// It was given to the worker that has a part of an ENI's flows.
    HandedOver(u8, AtEni, Vec<u8>),
    /// It was given to the worker that has a share of a gateway's flows.
    HandedShare(u8, AtGateway, Vec<u8>),
    /// It was given to the management thread.
    Punted(PortIndex, Vec<u8>),
    /// It was dropped, and counted at the port that it came from.
    Dropped(Reason),
}

/// Remembers what the pipeline does.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) learned: Vec<(PortIndex, Learned)>,
    /// The addresses whose MAC an ENI was told.
    pub(crate) told: Vec<(PortIndex, IpAddr, Mac)>,
    /// Whether the management thread takes no packets.
    pub(crate) busy: bool,
    /// Ports of another worker.
    pub(crate) foreign: Vec<PortIndex>,
    /// Which part it has of each ENI's flows; all if `None`.
    pub(crate) part: Option<u8>,
    /// Which worker this is, and of how many.
    pub(crate) worker: (usize, usize),
    /// Packets that were looked at by themselves, from an ENI or from the underlay.
    pub(crate) decided: usize,
}

impl Notes for Recorder {
    fn note(&mut self, step: Step<'_>) {
        self.decided += usize::from(matches!(step, Step::From(_) | Step::Arrived(_)));
    }
}

impl<B: Buffer> Sink<B> for Recorder {
    fn transmit(&mut self, port: PortIndex, frame: B) {
        self.outcomes.push(Outcome::Sent(port, frame.data().to_vec()));
    }

    fn owns(&self, port: PortIndex, part: u8) -> bool {
        !self.foreign.contains(&port) && self.part.is_none_or(|own| own == part)
    }

    fn hand_over(&mut self, part: u8, at: AtEni, frame: B) {
        self.outcomes.push(Outcome::HandedOver(part, at, frame.data().to_vec()));
    }

    fn workers(&self) -> (usize, usize) {
        let (worker, workers) = self.worker;
        (worker, workers.max(1))
    }

    fn hand_share(&mut self, share: u8, at: AtGateway, frame: B) {
        self.outcomes.push(Outcome::HandedShare(share, at, frame.data().to_vec()));
    }

    fn punt(&mut self, port: PortIndex, frame: B) -> Result<(), B> {
        if self.busy {
            return Err(frame);
        }
        self.outcomes.push(Outcome::Punted(port, frame.data().to_vec()));
        Ok(())
    }

    fn tell(&mut self, news: News) {
        match news {
            News::Neighbour(uplink, neighbour) => self.learned.push((uplink, neighbour)),
            News::Told(port, address, mac) => self.told.push((port, address, mac)),
            News::Outside(..) | News::Wanted(..) => {}
        }
    }
}

/// A host.
pub(crate) struct Lab {
    pub(crate) wire: Wire,
    pub(crate) tables: Tables,
    pub(crate) counters: Counters,
    pub(crate) sink: Recorder,
    /// The time since the node's start.
    pub(crate) now: Duration,
    allowances: Allowances,
    pub(crate) flows: Flows,
    pub(crate) connections: Connections,
    compiler: Compiler,
    model: Model,
    renewed: u32,
}

impl Lab {
    /// host-a.
    pub(crate) fn new(wire: Wire) -> Self {
        Self::of(wire, site(wire, 1), Neighbours(true))
    }

    /// host-a, where ENIs are open to the addresses of the VPC, so that connections are tracked (SEC-4); eni-a has options.
    pub(crate) fn tracking(options: AttachmentOptions) -> Self {
        let mut lab = Self::new(VXLAN);
        lab.change(|model| {
            for permission in &mut model.security_groups.get_mut("sg-v").unwrap().ingress {
                permission.ranges4 = vec![Peer { peer: "10.0.0.0/16".parse().unwrap(), description: None }];
            }
            let at = model.enis.get_mut("eni-a").unwrap().attachment.as_mut().unwrap();
            at.options = Some(Box::new(options));
        });
        lab
    }

    /// Any host, as the site describes it.
    pub(crate) fn of(wire: Wire, site: Site, neighbours: Neighbours) -> Self {
        let model = model(wire);
        let ports = site.ports.len();
        let counters = Counters::new(ports);
        let allowances = Allowances::new(ports);
        let mut compiler = Compiler::new(site);
        let tables = compiler.build(&model, &neighbours);
        let (sink, now) = (Recorder::default(), Duration::ZERO);
        Self {
            wire,
            tables,
            counters,
            sink,
            now,
            allowances,
            flows: Flows::new(64),
            connections: Connections::new(1024).with_ports(ports),
            compiler,
            model,
            renewed: 0,
        }
    }

    /// Adds to the state.
    pub(crate) fn add(&mut self, text: &str) {
        let model = load(&[state(self.wire), Document { name: "more.yaml".into(), text: text.into() }]);
        self.change(|old| *old = model.unwrap_or_else(|errors| panic!("{errors}")));
    }

    /// Adds to the state, and has its flow logs told into the rings.
    pub(crate) fn log(&mut self, text: &str, rings: &Arc<[FlowRing]>) {
        self.add(text);
        self.connections = Connections::new(1024).with_logs(Arc::clone(rings), 0, self.tables.ports.len());
        self.round();
    }

    /// What a worker does once a round.
    pub(crate) fn round(&mut self) {
        self.connections.log(self.now, self.tables.generation, || self.tables.logged());
    }

    /// Lets so many seconds pass.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.connections.advance(self.now, u32::MAX);
    }

    /// Makes it as if the tables had just been replaced by equal ones: nothing decided before is at hand. The upper half of the
    /// generation is for this, the lower one is counted by the compiler.
    pub(crate) fn decide_anew(&mut self) {
        self.renewed += 1;
        self.tables.generation = self.renewed << 16 | self.tables.generation & 0xffff;
    }

    /// Changes the state.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Model)) {
        let mut new = self.model.clone();
        change(&mut new);
        let difference = diff(&self.model, &new);
        self.tables = self.compiler.update(&self.tables, &self.model, &new, &difference, &Neighbours(true));
        self.model = new;
    }

    /// What the pipeline does with frames of a port, drops last.
    pub(crate) fn burst<X: Buffer>(
        &mut self,
        from: PortIndex,
        frames: impl IntoIterator<Item = X>,
    ) -> Vec<Outcome> {
        let mut burst: Burst<X> = frames.into_iter().collect();
        self.observe(|ctx| process(ctx, from, &mut burst))
    }

    /// What the pipeline does with a frame that another worker handed over.
    pub(crate) fn take_over(&mut self, at: AtEni, frame: &[u8]) -> Outcome {
        let mut burst: Burst<HeapBuffer> = [HeapBuffer::new(frame)].into_iter().collect();
        only(self.observe(|ctx| take_over(ctx, at, &mut burst)))
    }

    /// What the pipeline does with a packet in a gateway that another worker handed over.
    pub(crate) fn resume(&mut self, at: AtGateway, frame: &[u8]) -> Outcome {
        only(self.observe(|ctx| resume(ctx, at, HeapBuffer::new(frame))))
    }

    fn observe(&mut self, action: impl FnOnce(&mut Context<'_, Recorder>)) -> Vec<Outcome> {
        // At whichever port: what an ENI does not take, counts at its own.
        let ports = 0..self.tables.ports.len() as u16;
        let drops = |counters: &Counters| {
            let of = |reason| ports.clone().map(|port| counters.port(PortIndex(port)).drops(reason)).sum();
            Reason::ALL.iter().map(|&reason| of(reason)).collect()
        };
        let before: Vec<u64> = drops(&self.counters);
        self.connections.settle(self.tables.generation, || self.tables.tenants());
        action(&mut Context {
            tables: &self.tables,
            counters: &self.counters,
            now: self.now,
            allowances: &mut self.allowances,
            flows: &mut self.flows,
            connections: &mut self.connections,
            sink: &mut self.sink,
        });
        let after: Vec<u64> = drops(&self.counters);
        let mut outcomes = std::mem::take(&mut self.sink.outcomes);
        for ((&reason, before), after) in Reason::ALL.iter().zip(before).zip(after) {
            outcomes.extend((before..after).map(|_| Outcome::Dropped(reason)));
        }
        outcomes
    }

    /// What the pipeline does with one frame.
    pub(crate) fn send(&mut self, from: PortIndex, frame: &[u8]) -> Outcome {
        only(self.burst(from, [HeapBuffer::new(frame)]))
    }

    /// Expects a frame to leave through a port, with those very octets.
    #[track_caller]
    pub(crate) fn sends(&mut self, from: PortIndex, frame: &[u8], to: PortIndex, expected: &[u8]) {
        assert_eq!(self.send(from, frame), Outcome::Sent(to, expected.to_vec()));
    }

    /// Expects a frame to be dropped, by that name.
    #[track_caller]
    pub(crate) fn drops(&mut self, from: PortIndex, frame: &[u8], reason: Reason) {
        assert_eq!(self.send(from, frame), Outcome::Dropped(reason));
    }

    /// Expects a frame of an ENI of VPC V to leave for a host as `inner`. All of the outer header is fixed but for what
    /// comes from the flow.
    #[track_caller]
    pub(crate) fn encapsulates(&mut self, from: PortIndex, frame: &[u8], host: u8, inner: &[u8]) {
        let (_, sender) = macs(frame);
        let Outcome::Sent(UPLINK, outer) = self.send(from, frame) else { panic!("not sent to the uplink") };
        let udp = if self.wire.ipv6 { 54 } else { 34 };
        let port = u16::from_be_bytes([outer[udp], outer[udp + 1]]);
        assert!(port >= 49_152, "{port} is no dynamic port (RFC 7348 §5)");
        let first = u32::from_be_bytes([outer[14], outer[15], outer[16], outer[17]]);
        let expected = Outer {
            to: host,
            port,
            label: first & 0xf_ffff,
            ..Outer::new(self.wire, 1, V, Some((V, sender)))
        };
        assert_eq!(outer, expected.around(inner));
    }
}

/// A VNI in a test.
pub(crate) fn vni_of(vni: u32) -> Vni {
    Vni::new(vni).unwrap()
}

#[track_caller]
fn only(mut outcomes: Vec<Outcome>) -> Outcome {
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes.remove(0)
}
