//! What becomes of a frame: through the sender's node, over the underlay, through the receiver's node, to a port.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};
use warren::{model::Model, node::learned::Heard, packet::macs, propagation::Change};

use super::{
    dhcp::says,
    fields,
    frame::Frame,
    state::{Names, Stated, attach, merge, merged, patch, place, settle},
    suite::{Family, Placement, Run, Scenario, Step, Suite},
    underlay::{Wire, into_tunnel, out_of_copy, out_of_tunnel},
};

/// The port towards the underlay. Instance ports are named as the ENI at them.
pub const UPLINK: &str = "up";

/// The port towards the host's own services.
pub const SERVICES: &str = "services";

/// The port of an edge that leads outside: the internet, and circuits as VLANs.
pub const GATEWAY_PORT: &str = "inet";

/// The name that drops have at whichever edge they are.
const EDGE: &str = "edge";

/// Times that a frame may cross the underlay: to an edge, to the edge that has its flow, to one that translates it again,
/// and to an ENI.
const CROSSINGS: usize = 4;

/// What a node did with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It sent a frame out of a port.
    Sent { port: String, frame: Vec<u8> },
    /// It dropped one, counted at a port.
    Dropped { port: String, reason: String },
}

/// One host's node: what the suite is run against.
pub trait Node {
    /// Takes a frame in at a port; says what is wrong where it is lost without a trace.
    fn inject(&mut self, port: &str, frame: &[u8], now: Duration) -> Result<Vec<Outcome>, String>;

    /// Does what is due by now.
    fn tick(&mut self, now: Duration) -> Vec<Outcome>;

    /// Puts a state in force, or says what is wrong with it.
    fn apply(&mut self, state: &Stated) -> Result<(), String>;

    /// As [`Node::apply`], on several nodes.
    fn apply_to_all<'a>(mut nodes: impl Iterator<Item = &'a mut Self>, state: &Stated) -> Result<(), String>
    where
        Self: 'a,
    {
        nodes.try_for_each(|node| node.apply(state))
    }

    /// Takes in what it is told of gateways' routes by BGP.
    fn learn(&mut self, _heard: Vec<Heard>) {
        unreachable!("scenarios in which routes are learned run on the pipeline alone");
    }

    /// Lets time pass for all nodes, if it doesn't pass by a parameter.
    fn pass(_time: Duration) {}
}

/// Nodes that share an underlay.
pub struct Fabric<'a, N> {
    pub suite: &'a Suite,
    pub wire: Wire,
    /// By host.
    pub nodes: BTreeMap<String, N>,
    /// What is in force, as a value without settled hosts, with them, and read.
    stated: Value,
    state: Value,
    model: Arc<Model>,
    placement: &'a Placement,
    /// The routes by BGP that are not withdrawn, by gateway.
    learned: BTreeSet<(String, IpNet)>,
    /// What expectations gave names to.
    named: BTreeMap<String, Value>,
    /// Frames from outside so far.
    entries: usize,
    now: Duration,
}

/// A frame that came to rest at an instance's port.
struct Arrival {
    host: String,
    port: String,
    frame: Vec<u8>,
}

/// All that came of a step.
#[derive(Default)]
struct Seen {
    arrivals: Vec<Arrival>,
    /// Host, port and reason.
    drops: Vec<(String, String, String)>,
    /// What is wrong whatever the scenario expects.
    faults: Vec<String>,
}

impl<'a, N: Node> Fabric<'a, N> {
    /// Nodes in which a state is in force.
    pub fn new(suite: &'a Suite, wire: Wire, nodes: BTreeMap<String, N>, state: Value) -> Self {
        let model = Arc::new(Stated::of(&state).model.unwrap_or_else(|errors| panic!("{errors}")));
        let placement = suite.hosts.placements.values().next().expect("a placement");
        let (stated, now) = (state.clone(), Duration::from_secs(1));
        let (learned, named) = (BTreeSet::new(), BTreeMap::new());
        Self { suite, wire, nodes, stated, state, model, placement, learned, named, entries: 0, now }
    }

    /// Runs a scenario once; says what is not as expected.
    pub fn run(&mut self, scenario: &Scenario, run: Run<'_>) -> Result<(), String> {
        let wire = self.wire;
        let suite = self.suite;
        self.placement = &suite.hosts.placements[run.placement];
        self.named.clear();
        for (gateway, prefix) in std::mem::take(&mut self.learned) {
            self.learn(&gateway, vec![(prefix, Vec::new())]);
        }
        self.entries = 0;
        let start = place(&suite.state, &suite.hosts, run.placement, |number| wire.address(number));
        // Nodes forget what they know of an ENI when it leaves, and of a gateway, and limits are of a second.
        let mut empty = start.clone();
        empty["Warren"]["Attachments"] = Value::Array(Vec::new());
        self.put_in_force(&empty)?;
        let mut start = start;
        scenario.with.iter().for_each(|part| patch(&mut start, &suite.parts[part]));
        self.put_in_force(&start)?;
        self.now += Duration::from_secs(10);
        self.tick(&mut Seen::default());
        for (step, number) in scenario.steps.iter().zip(1..) {
            self.step(step, run.family).map_err(|fault| format!("step {number}: {fault}"))?;
        }
        Ok(())
    }

    fn put_in_force(&mut self, stated: &Value) -> Result<(), String> {
        let state = settle(stated, self.placement);
        if self.state != state {
            let read = Stated::of(&state);
            N::apply_to_all(self.nodes.values_mut(), &read)?;
            self.model = Arc::new(read.model?);
            self.state = state;
        }
        self.stated = stated.clone();
        Ok(())
    }

    fn step(&mut self, step: &Step, family: Family) -> Result<(), String> {
        let mut seen = Seen::default();
        if !step.after.is_zero() {
            self.now += step.after;
            N::pass(step.after);
            self.tick(&mut seen);
        }
        self.change(step)?;
        for (gateway, routes) in &step.learn {
            self.learn(gateway, routes.iter().flat_map(|(prefix, over)| prefixes(prefix, &over.0)).collect());
        }
        self.tick(&mut seen);
        match (step.flows, &step.send) {
            (Some(flows), Some(frame)) => self.share(step, flows, frame, family),
            (_, frame) => self.exchange(step, frame.as_ref(), family, seen).map(drop),
        }
    }

    /// Sends a frame as so many flows, each twice: a flow keeps to its way, and each of the ways has its share of flows, of which
    /// half is enough.
    fn share(&mut self, step: &Step, flows: u16, frame: &Value, family: Family) -> Result<(), String> {
        let mut taken = BTreeMap::<String, u16>::new();
        for flow in 0..flows {
            let mut frame = frame.clone();
            fields::add_to_source_port(&mut frame, flow);
            let mut send = || self.exchange(step, Some(&frame), family, Seen::default());
            let (first, again) = (send()?, send()?);
            if first != again {
                return Err(format!("flow {flow} arrives at {first:?}, then at {again:?}"));
            }
            first.into_iter().for_each(|place| *taken.entry(place).or_default() += 1);
        }
        let ways = step.expect.0.iter().flat_map(places).collect::<BTreeSet<_>>();
        let least = flows / (2 * ways.len().max(1) as u16);
        match ways.iter().find(|way| taken.get(*way).is_none_or(|taken| *taken < least)) {
            Some(way) => Err(format!("of {flows} flows {way} has less than {least}: {taken:?}")),
            None => Ok(()),
        }
    }

    /// Sends a frame, if there is one, and compares what comes of it with what the step expects. Returns where it arrived.
    fn exchange(
        &mut self,
        step: &Step,
        frame: Option<&Value>,
        family: Family,
        mut seen: Seen,
    ) -> Result<Vec<String>, String> {
        let state = Arc::clone(&self.model);
        let names = Names { model: &state, suite: self.suite, family };
        let mut sent = Sent::default();
        if let Some(value) = frame {
            let value = fill(value, &self.named)?;
            let frame = Frame::parse(&value)?;
            let inner = frame.build(&names, &[]);
            let outside = frame.from.as_deref().filter(|from| names.is_outside(from));
            let (host, port, bytes) = match (&frame.underlay, outside) {
                (Some(underlay), _) => {
                    let outer = self.wire.around(&inner, underlay, &names, &self.suite.hosts);
                    (underlay.to.clone(), UPLINK.to_owned(), outer)
                }
                (None, Some(from)) => {
                    let (host, vlan) = self.entry(from, frame.edge.as_deref(), &state);
                    let number = self.suite.hosts.hosts[&host].number;
                    let tunnel = names.tunnel(from).filter(|_| !frame.bare);
                    let inner =
                        tunnel.map_or(inner.clone(), |(here, there)| into_tunnel(&inner, there, here));
                    (host, GATEWAY_PORT.to_owned(), self.wire.enter(&inner, number, vlan))
                }
                (None, None) => {
                    let at = names.eni(frame.sender()).attachment.as_ref();
                    let at = at.ok_or("the sender is attached nowhere")?;
                    let port = if frame.service { SERVICES } else { &*at.port };
                    (at.host.to_string(), port.to_owned(), inner.clone())
                }
            };
            for _ in 0..step.times {
                self.travel(&host, &port, &bytes, frame.marked, &mut seen);
            }
            let place = match &*port {
                UPLINK => host.clone(),
                SERVICES => port.clone(),
                GATEWAY_PORT => EDGE.to_owned(),
                _ => frame.sender().to_owned(),
            };
            sent = Sent { value, bytes: inner, at: Some((host, port)), place: Some(place) };
        }
        let seen = Comparison { seen: &seen, names: &names, wire: self.wire, placement: self.placement };
        seen.compare(step, &sent, &mut self.named)
    }

    /// Where a frame from outside comes in: the host, and the VLAN. From the internet, at one edge that serves a gateway after the other.
    fn entry(&mut self, from: &str, edge: Option<&str>, model: &Model) -> (String, Option<u16>) {
        if let Some(circuit) = model.circuits.get(from) {
            return (circuit.host.to_string(), circuit.vlan);
        }
        let serves = |host: &&String| {
            model.edges.values().any(|edge| edge.hosts.iter().any(|served| **served == ***host))
        };
        let all = &self.placement.edges;
        let edges: Vec<_> = all.iter().filter(serves).collect();
        let host = match edge {
            Some(edge) => self.placement.host(edge),
            None if edges.is_empty() => &all[0],
            None => edges[self.entries % edges.len()],
        };
        self.entries += 1;
        (host.to_owned(), None)
    }

    /// Changes the state.
    fn change(&mut self, step: &Step) -> Result<(), String> {
        if step.apply.is_none() && step.moves.is_empty() {
            return Ok(());
        }
        let mut state = self.stated.clone();
        if let Some(changes) = &step.apply {
            patch(&mut state, changes);
        }
        for (eni, host) in &step.moves {
            attach(&mut state, eni, host.as_deref().map(|host| self.placement.host(host)));
        }
        let Some(resource) = &step.refused else { return self.put_in_force(&state) };
        let stated = Stated::of(&settle(&state, self.placement));
        for (host, node) in &mut self.nodes {
            match node.apply(&stated) {
                Err(mistakes) if mistakes.contains(&format!("({resource})")) => {}
                Err(mistakes) => {
                    return Err(format!("{host} refuses it, but not for {resource}: {mistakes}"));
                }
                Ok(()) => return Err(format!("{host} does not refuse it")),
            }
        }
        Ok(())
    }

    /// Tells all nodes of routes by BGP, each over some circuits or withdrawn, as a host does whose routing daemon has them.
    fn learn(&mut self, gateway: &str, routes: Vec<(IpNet, Vec<Arc<str>>)>) {
        let mut changes = Vec::new();
        for (prefix, circuits) in routes {
            let route = (gateway.to_owned(), prefix);
            if circuits.is_empty() {
                self.learned.remove(&route);
                changes.push(Change { prefix, old: None, new: None });
            } else {
                self.learned.insert(route);
                changes.push(Change { prefix, old: None, new: Some(circuits.into()) });
            }
        }
        for node in self.nodes.values_mut() {
            let speaker = SocketAddr::from(([192, 0, 2, 255], 179));
            node.learn(vec![Heard::Host(speaker, gateway.into(), changes.clone())]);
        }
    }

    /// What nodes send on their own.
    fn tick(&mut self, seen: &mut Seen) {
        let now = self.now;
        let due = self.nodes.iter_mut().map(|(host, node)| (host.clone(), node.tick(now)));
        let due: Vec<_> = due.filter(|(_, outcomes)| !outcomes.is_empty()).collect();
        for (host, outcomes) in due {
            let mut waiting = VecDeque::new();
            self.sort((&host, 0), outcomes, &mut waiting, seen);
            self.deliver(waiting, None, seen);
        }
    }

    /// Follows a frame, and all that comes of it, until all have come to rest.
    fn travel(&mut self, host: &str, port: &str, frame: &[u8], marked: Option<u8>, seen: &mut Seen) {
        let first = Leg { host: host.to_owned(), port: port.to_owned(), frame: frame.to_vec(), hops: 0 };
        self.deliver(VecDeque::from([first]), marked, seen);
    }

    fn deliver(&mut self, mut waiting: VecDeque<Leg>, marked: Option<u8>, seen: &mut Seen) {
        while let Some(Leg { host, port, mut frame, hops }) = waiting.pop_front() {
            if hops > CROSSINGS {
                seen.faults.push(format!("a frame crosses the underlay {hops} times, to {host}"));
                continue;
            }
            if let Some(mark) = marked.filter(|_| port == UPLINK) {
                self.wire.mark(&mut frame, mark);
            }
            let node = self.nodes.get_mut(&host).unwrap_or_else(|| panic!("no host {host}"));
            match node.inject(&port, &frame, self.now) {
                Ok(outcomes) => {
                    self.sort((&host, hops), outcomes, &mut waiting, seen);
                }
                Err(fault) => seen.faults.push(format!("{host}: {fault}: {}", dump(&frame))),
            }
        }
    }

    /// Tells what came to rest from what goes on.
    fn sort(
        &self,
        (host, hops): (&str, usize),
        outcomes: Vec<Outcome>,
        waiting: &mut VecDeque<Leg>,
        seen: &mut Seen,
    ) {
        for outcome in outcomes {
            match outcome {
                Outcome::Dropped { port, reason } => seen.drops.push((host.to_owned(), port, reason)),
                // P-1: two hosts, and nothing but gateways in between.
                Outcome::Sent { port, .. } if port == UPLINK && hops > 0 && !self.placement.is_edge(host) => {
                    seen.faults.push(format!("{host} sends on what came from another host"));
                }
                Outcome::Sent { port, frame } if port == UPLINK => {
                    let (destination, _) = macs(&frame);
                    let mut hosts = self.suite.hosts.hosts.iter();
                    match hosts.find(|(_, known)| self.wire.mac(known.number) == destination) {
                        Some((next, _)) => waiting.push_back(Leg {
                            host: next.clone(),
                            port: UPLINK.to_owned(),
                            frame,
                            hops: hops + 1,
                        }),
                        None => seen.faults.push(format!("{host} sends to nobody: {}", dump(&frame))),
                    }
                }
                Outcome::Sent { port, frame } => {
                    seen.arrivals.push(Arrival { host: host.to_owned(), port, frame });
                }
            }
        }
    }
}

/// A frame on its way into a node.
struct Leg {
    host: String,
    port: String,
    frame: Vec<u8>,
    /// Times that it has crossed the underlay.
    hops: usize,
}

/// What a step sent.
#[derive(Default)]
struct Sent {
    value: Value,
    bytes: Vec<u8>,
    /// Host and port.
    at: Option<(String, String)>,
    /// Where its drops are counted if nothing is said.
    place: Option<String>,
}

/// What was seen, against what is expected.
struct Comparison<'a> {
    seen: &'a Seen,
    names: &'a Names<'a>,
    wire: Wire,
    placement: &'a Placement,
}

impl Comparison<'_> {
    /// Against what the step expects. Returns where the frames arrived.
    fn compare(
        &self,
        step: &Step,
        sent: &Sent,
        named: &mut BTreeMap<String, Value>,
    ) -> Result<Vec<String>, String> {
        let names = self.names;
        let mut at = Vec::new();
        let mut faults = self.seen.faults.clone();
        let mut arrived = self.arrived(&mut faults);
        let asked = sent.value["nd"]["type"] == "router-solicitation";
        for expected in &step.expect.0 {
            let mut value = if expected.get("new").is_some() { Value::Null } else { sent.value.clone() };
            for key in ["underlay", "marked", "service", "edge", "bare"] {
                value.as_object_mut().map(|value| value.remove(key));
            }
            merge(&mut value, &fill(expected, named)?);
            // Of several places, where it is doesn't matter.
            let places = places(&value);
            value["at"].take();
            if places.is_empty() {
                return Err("an expectation without `at`".to_owned());
            }
            let frame = Frame::parse(&value)?;
            let differences = |(place, actual): &(String, Vec<u8>)| {
                let value = merged(&value, &json!({ "at": place }));
                self.differences(&value, sent, actual)
            };
            for _ in 0..frame.count.unwrap_or(1) {
                let here = |it: &&(String, Vec<u8>)| places.contains(&it.0);
                if let Some(index) = arrived.iter().position(|it| here(&it) && differences(it).is_empty()) {
                    let (place, actual) = arrived.remove(index);
                    for (name, field) in &frame.names {
                        let value = match &**field {
                            "at" => place.clone().into(),
                            field => fields::read(&actual, field)?.into(),
                        };
                        named.insert(name.clone(), value);
                    }
                    at.push(place);
                    continue;
                }
                let nothing = (places[0].clone(), Vec::new());
                let first = differences(arrived.iter().find(here).unwrap_or(&nothing));
                faults.push(format!("not seen at {}: {}", places.join(" or "), first.join("\n      ")));
                break;
            }
        }
        for (at, frame) in arrived {
            if !asked && is_unasked_advertisement(&frame, &at, names) {
                continue;
            }
            faults.push(format!("not expected at {at}: {}", dump(&frame)));
        }
        self.compare_drops(step, sent, &mut faults)?;
        if faults.is_empty() { Ok(at) } else { Err(faults.join("\n    ")) }
    }

    /// The frames that came to rest, and where. What is outside of the packet of those that left at a gateway port, is looked
    /// at here.
    fn arrived(&self, faults: &mut Vec<String>) -> Vec<(String, Vec<u8>)> {
        let mut arrived = Vec::new();
        for Arrival { host, port, frame } in &self.seen.arrivals {
            if port != GATEWAY_PORT {
                arrived.push((self.names.at(host, port).unwrap_or(port).to_owned(), frame.clone()));
                continue;
            }
            let number = self.names.suite.hosts.hosts[host].number;
            match self.wire.leave(frame, number) {
                Ok((vlan, frame)) => match self.names.outside(host, vlan) {
                    Some(place) => {
                        let inner = self.names.tunnel(place).map(|ends| out_of_tunnel(&frame, ends));
                        match inner.unwrap_or(Ok(frame)) {
                            Ok(frame) => arrived.push((place.to_owned(), frame)),
                            Err(fault) => faults.push(format!("{place}: {fault}")),
                        }
                    }
                    None => faults.push(format!("{host} sends on VLAN {vlan:?}, where nothing is")),
                },
                Err(fault) => faults.push(format!("{host}: {fault}: {}", dump(frame))),
            }
        }
        arrived
    }

    /// How a frame differs from a description; empty if it doesn't.
    fn differences(&self, value: &Value, sent: &Sent, actual: &[u8]) -> Vec<String> {
        let mut value = value.clone();
        let describe = |value: &Value| Frame::parse(value).unwrap_or_else(|error| panic!("{error}"));
        for field in describe(&value).names.into_values().filter(|field| field != "at") {
            match fields::read(actual, &field) {
                Ok(number) if number >= 1024 => fields::set(&mut value, &field, number),
                Ok(number) => return vec![format!("{field} is {number}")],
                Err(fault) if !actual.is_empty() => return vec![fault],
                Err(_) => {}
            }
        }
        let mut frame = describe(&value);
        let at = frame.at.clone().unwrap_or_default();
        if at == SERVICES {
            frame.eth.src = Some("services-router".to_owned());
            frame.eth.dst = Some("services".to_owned());
        } else if self.names.is_outside(&at) {
            frame.eth.src = Some("gateway".to_owned());
            frame.eth.dst = Some("outside".to_owned());
        } else if frame.routed {
            let receiver = self.names.eni(&at);
            frame.eth.src = Some(format!("router({})", receiver.subnet));
            frame.eth.dst = Some(format!("mac({at})"));
        }
        let inner = frame.copy.as_ref().map(|copied| out_of_copy(actual, copied, &at, self.names));
        let inner = match inner.transpose() {
            Ok(inner) => inner,
            Err(fault) => return vec![fault],
        };
        let actual = inner.as_deref().unwrap_or(actual);
        let exact = frame.build(self.names, &sent.bytes);
        match (says(&exact), says(actual)) {
            (Some(wanted), Some(told)) => differences(&wanted, &told, &frame.absent()),
            _ if *actual == fields::with_any(&exact, actual, &value) => Vec::new(),
            _ => vec![dump(&exact)],
        }
    }

    fn compare_drops(&self, step: &Step, sent: &Sent, faults: &mut Vec<String>) -> Result<(), String> {
        let mut left: Vec<(String, bool, &str)> = Vec::new();
        for (host, port, reason) in &self.seen.drops {
            let at = match &**port {
                UPLINK => host,
                port => self.names.at(host, port).unwrap_or(port),
            };
            // A gateway counts a packet where it came from: another host, outside, or an instance of its own.
            let sender = sent.at.as_ref().is_some_and(|at| (&at.0, &at.1) == (host, port));
            let at_edge =
                self.placement.is_edge(host) && (sender || [UPLINK, GATEWAY_PORT].contains(&&**port));
            left.push((at.to_owned(), at_edge, reason));
        }
        for expected in &step.drop.0 {
            let at = expected.at.clone().or_else(|| sent.place.clone()).ok_or("a drop of nothing")?;
            for _ in 0..expected.count {
                let is = |(place, at_edge, reason): &(String, bool, &str)| {
                    *reason == expected.reason && (*place == at || at == EDGE && *at_edge)
                };
                match left.iter().position(is) {
                    Some(index) => drop(left.remove(index)),
                    None => faults.push(format!("no {} at {at}", expected.reason)),
                }
            }
        }
        faults.extend(left.into_iter().map(|(at, _, reason)| format!("{reason} at {at}")));
        Ok(())
    }
}

/// The prefixes that a step names, with their circuits, by id.
fn prefixes(text: &str, circuits: &[String]) -> Vec<(IpNet, Vec<Arc<str>>)> {
    let (first, count) = text.split_once('+').unwrap_or((text, "1"));
    let first: Ipv4Net = first.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut circuits: Vec<Arc<str>> = circuits.iter().map(|id| (&**id).into()).collect();
    circuits.sort_unstable();
    let nth = |number: u32| {
        let address = first.network().to_bits() + (number << (32 - first.prefix_len()));
        Ipv4Net::new_assert(address.into(), first.prefix_len()).into()
    };
    (0..count.parse().expect("a count")).map(|number| (nth(number), circuits.clone())).collect()
}

/// The places that an expectation names.
fn places(expected: &Value) -> Vec<String> {
    match &expected["at"] {
        Value::Array(places) => places.iter().map(text).collect(),
        Value::Null => Vec::new(),
        place => vec![text(place)],
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// With what expectations gave names to in place of `$name`.
fn fill(value: &Value, named: &BTreeMap<String, Value>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix('$') {
            Some(name) => named.get(name).ok_or(format!("nothing is named {text}"))?.clone(),
            None => value.clone(),
        },
        Value::Array(items) => items.iter().map(|item| fill(item, named)).collect::<Result<_, _>>()?,
        Value::Object(map) => {
            let filled = map.iter().map(|(key, value)| Ok((key.clone(), fill(value, named)?)));
            Value::Object(filled.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

/// What a message says otherwise than it should, or not at all, or though it may not.
fn differences(
    wanted: &BTreeMap<String, String>,
    told: &BTreeMap<String, String>,
    absent: &[u16],
) -> Vec<String> {
    let other = wanted.iter().filter(|(key, value)| told.get(*key) != Some(value));
    let other = other.map(|(key, value)| format!("{key}: wanted {value}, got {:?}", told.get(key)));
    let absent = absent.iter().map(|code| format!("option {code}"));
    let excess = absent.filter(|key| told.contains_key(key)).map(|key| format!("{key}: not wanted"));
    other.chain(excess).collect()
}

/// Whether a frame is a router advertisement that an ENI gets of its router unasked, which may be at any time.
fn is_unasked_advertisement(frame: &[u8], at: &str, names: &Names<'_>) -> bool {
    let is_message = frame.len() > 54 && frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 134;
    let Some(eni) = names.model.enis.get(at).filter(|_| is_message) else { return false };
    macs(frame) == (eni.mac, names.mac(&format!("router({})", eni.subnet)))
}

/// The first bytes of a frame, for people.
fn dump(frame: &[u8]) -> String {
    let mut text = format!("{} bytes", frame.len());
    for (index, byte) in frame.iter().take(160).enumerate() {
        let blank = if index % 16 == 0 {
            "\n      "
        } else if index % 2 == 0 {
            " "
        } else {
            ""
        };
        let _ = write!(text, "{blank}{byte:02x}");
    }
    text
}
