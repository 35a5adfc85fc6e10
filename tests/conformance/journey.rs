//! What becomes of a frame: through the sender's node, over the underlay, through the receiver's node, to a port.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    time::Duration,
};

use serde_json::Value;
use warren::{model::Model, packet::macs};

use super::{
    dhcp::says,
    frame::Frame,
    state::{Names, Stated, attach, merge, patch, place},
    suite::{Family, Run, Scenario, Step, Suite},
    underlay::Wire,
};

/// The port towards the underlay. Instance ports are named as the ENI at them.
pub const UPLINK: &str = "up";

/// The port towards the host's own services.
pub const SERVICES: &str = "services";

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

    /// Lets time pass for all nodes, if it doesn't pass by a parameter.
    fn pass(_time: Duration) {}
}

/// Nodes that share an underlay.
pub struct Fabric<'a, N> {
    pub suite: &'a Suite,
    pub wire: Wire,
    /// By host.
    pub nodes: BTreeMap<String, N>,
    /// What is in force, as a value and read.
    state: Value,
    model: Model,
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
        let model = Stated::of(&state).model.unwrap_or_else(|errors| panic!("{errors}"));
        Self { suite, wire, nodes, state, model, now: Duration::from_secs(1) }
    }

    /// Runs a scenario once; says what is not as expected.
    pub fn run(&mut self, scenario: &Scenario, run: Run<'_>) -> Result<(), String> {
        let wire = self.wire;
        let suite = self.suite;
        let start = place(&suite.state, &suite.hosts, run.placement, |number| wire.address(number));
        // Nodes forget what they know of an ENI when it leaves, and limits are of a second.
        let mut empty = start.clone();
        empty["Warren"]["Attachments"] = Value::Array(Vec::new());
        self.put_in_force(&empty)?;
        self.put_in_force(&start)?;
        self.now += Duration::from_secs(10);
        self.tick(&mut Seen::default());
        for (step, number) in scenario.steps.iter().zip(1..) {
            self.step(step, run.family).map_err(|fault| format!("step {number}: {fault}"))?;
        }
        Ok(())
    }

    fn put_in_force(&mut self, state: &Value) -> Result<(), String> {
        if self.state != *state {
            let stated = Stated::of(state);
            for node in self.nodes.values_mut() {
                node.apply(&stated)?;
            }
            self.model = stated.model?;
            self.state = state.clone();
        }
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
        self.tick(&mut seen);
        let state = self.model.clone();
        let names = Names { model: &state, suite: self.suite, family };
        let mut sent = (Value::Null, Vec::new(), None);
        if let Some(value) = &step.send {
            let frame = Frame::parse(value)?;
            let bytes = frame.build(&names, &[]);
            let (host, port, bytes) = match &frame.underlay {
                Some(underlay) => {
                    let outer = self.wire.around(&bytes, underlay, &names, &self.suite.hosts);
                    (underlay.to.clone(), UPLINK.to_owned(), outer)
                }
                None => {
                    let at = names.eni(frame.sender()).attachment.as_ref();
                    let at = at.ok_or("the sender is attached nowhere")?;
                    let port = if frame.service { SERVICES } else { &*at.port };
                    (at.host.to_string(), port.to_owned(), bytes)
                }
            };
            for _ in 0..step.times {
                self.travel(&host, &port, &bytes, frame.marked, &mut seen);
            }
            let (place, inner) = match &*port {
                UPLINK => (host, frame.build(&names, &[])),
                SERVICES => (port, bytes),
                _ => (frame.sender().to_owned(), bytes),
            };
            sent = (value.clone(), inner, Some(place));
        }
        seen.compare(step, &sent, &names)
    }

    /// Changes the state.
    fn change(&mut self, step: &Step) -> Result<(), String> {
        if step.apply.is_none() && step.moves.is_empty() {
            return Ok(());
        }
        let mut state = self.state.clone();
        if let Some(changes) = &step.apply {
            patch(&mut state, changes);
        }
        for (eni, host) in &step.moves {
            attach(&mut state, eni, host.as_deref());
        }
        let Some(resource) = &step.refused else { return self.put_in_force(&state) };
        let stated = Stated::of(&state);
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

    /// What nodes send on their own.
    fn tick(&mut self, seen: &mut Seen) {
        let now = self.now;
        let due = self.nodes.iter_mut().map(|(host, node)| (host.clone(), node.tick(now)));
        let due: Vec<_> = due.filter(|(_, outcomes)| !outcomes.is_empty()).collect();
        for (host, outcomes) in due {
            let mut waiting = VecDeque::new();
            sort(&self.wire, &self.suite.hosts.hosts, (&host, 0), outcomes, &mut waiting, seen);
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
            // P-1: two edges, nothing in between.
            if hops > 1 {
                seen.faults.push(format!("a frame reaches a third host, {host}"));
                continue;
            }
            if let Some(mark) = marked.filter(|_| port == UPLINK) {
                self.wire.mark(&mut frame, mark);
            }
            let node = self.nodes.get_mut(&host).unwrap_or_else(|| panic!("no host {host}"));
            match node.inject(&port, &frame, self.now) {
                Ok(outcomes) => {
                    sort(&self.wire, &self.suite.hosts.hosts, (&host, hops), outcomes, &mut waiting, seen);
                }
                Err(fault) => seen.faults.push(format!("{host}: {fault}: {}", dump(&frame))),
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

/// Tells what came to rest from what goes on.
fn sort(
    wire: &Wire,
    hosts: &BTreeMap<String, super::suite::Host>,
    (host, hops): (&str, usize),
    outcomes: Vec<Outcome>,
    waiting: &mut VecDeque<Leg>,
    seen: &mut Seen,
) {
    for outcome in outcomes {
        match outcome {
            Outcome::Dropped { port, reason } => seen.drops.push((host.to_owned(), port, reason)),
            Outcome::Sent { port, frame } if port == UPLINK => {
                let (destination, _) = macs(&frame);
                let next = hosts.iter().find(|(_, known)| wire.mac(known.number) == destination);
                match next {
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

impl Seen {
    /// Against what the step expects.
    fn compare(
        &self,
        step: &Step,
        (sent, bytes, place): &(Value, Vec<u8>, Option<String>),
        names: &Names<'_>,
    ) -> Result<(), String> {
        let mut faults = self.faults.clone();
        let mut arrived: Vec<(String, &[u8])> = Vec::new();
        for Arrival { host, port, frame } in &self.arrivals {
            let at = names.at(host, port).unwrap_or(port);
            arrived.push((at.to_owned(), frame));
        }
        let asked = sent["nd"]["type"] == "router-solicitation";
        for expected in &step.expect.0 {
            let mut value = if expected.get("new").is_some() { Value::Null } else { sent.clone() };
            for key in ["underlay", "marked", "service"] {
                value.as_object_mut().map(|value| value.remove(key));
            }
            merge(&mut value, expected);
            let mut frame = Frame::parse(&value)?;
            let at = frame.at.clone().ok_or("an expectation without `at`")?;
            if at == SERVICES {
                frame.eth.src = Some("services-router".to_owned());
                frame.eth.dst = Some("services".to_owned());
            } else if frame.routed {
                let receiver = names.eni(&at);
                frame.eth.src = Some(format!("router({})", receiver.subnet));
                frame.eth.dst = Some(format!("mac({at})"));
            }
            let exact = frame.build(names, bytes);
            let absent = frame.absent();
            let differences = |actual: &[u8]| match (says(&exact), says(actual)) {
                (Some(wanted), Some(told)) => differences(&wanted, &told, &absent),
                _ if *actual == with_any(&exact, actual, &value) => Vec::new(),
                _ => vec![dump(&exact)],
            };
            for _ in 0..frame.count.unwrap_or(1) {
                let mut here = arrived.iter().enumerate().filter(|(_, (place, _))| *place == at);
                if let Some((index, _)) = here.find(|(_, (_, frame))| differences(frame).is_empty()) {
                    arrived.remove(index);
                    continue;
                }
                let first = arrived.iter().find(|(place, _)| *place == at);
                let first = first.map_or_else(|| vec![dump(&exact)], |(_, frame)| differences(frame));
                faults.push(format!("not seen at {at}: {}", first.join("\n      ")));
                break;
            }
        }
        for (at, frame) in arrived {
            if !asked && is_unasked_advertisement(frame, &at, names) {
                continue;
            }
            faults.push(format!("not expected at {at}: {}", dump(frame)));
        }
        let mut drops: BTreeMap<(String, &str), isize> = BTreeMap::new();
        for (host, port, reason) in &self.drops {
            let at = if port == UPLINK { host } else { names.at(host, port).unwrap_or(port) };
            *drops.entry((at.to_owned(), reason)).or_default() += 1;
        }
        for expected in &step.drop.0 {
            let at = expected.at.clone().or_else(|| place.clone()).ok_or("a drop of nothing")?;
            *drops.entry((at, &expected.reason)).or_default() -= expected.count as isize;
        }
        for ((at, reason), count) in drops.into_iter().filter(|(_, count)| *count != 0) {
            faults.push(format!("{count:+} {reason} at {at}"));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n    ")) }
    }
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

/// The expected bytes with those of the actual frame where any will do.
fn with_any(expected: &[u8], actual: &[u8], value: &Value) -> Vec<u8> {
    let mut bytes = expected.to_vec();
    let Some(any) = value["any"].as_array() else { return bytes };
    if bytes.len() != actual.len() {
        return bytes;
    }
    let v4 = bytes[12..14] == [8, 0];
    for field in any {
        let range = match (field.as_str(), v4) {
            (Some("ip.id"), true) => 18..20,
            (Some("ip.ttl"), true) => 22..23,
            (Some("ip.ttl"), false) => 21..22,
            (Some("ip.df"), true) => 20..21,
            (Some("ip.id" | "ip.df"), false) => continue,
            other => panic!("any: {other:?}"),
        };
        bytes[range.clone()].copy_from_slice(&actual[range]);
    }
    if v4 {
        bytes[24..26].fill(0);
        let checksum = warren::packet::checksum::Sum::of(&bytes[14..34]).checksum();
        bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
    bytes
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
