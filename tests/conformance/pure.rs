//! A node without devices: what `warren replay` runs, frame by frame.

use std::{cell::RefCell, collections::BTreeMap, fs, rc::Rc, sync::Arc, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use warren::{
    gateway::Flows,
    node::{
        chores::Chores,
        config::HostConfig,
        learned::Heard,
        manager::Manager,
        replay::stand_in_mac,
        worker::{Plan, Receive, Transmit, Worker, WorkerCounters},
    },
    packet::{Buffer, HeapBuffer},
    pipeline::{Burst, Reason},
    tables::PortIndex,
    trace::{self, Trace},
};

use super::{
    frame::hex,
    journey::{Fabric, Node, Outcome},
    state::{Stated, place},
    suite::Suite,
    underlay::Wire,
};

/// What a worker receives in the coming round.
#[derive(Clone, Default)]
struct Feed(Rc<RefCell<Burst<HeapBuffer>>>);

impl Receive<HeapBuffer> for Feed {
    fn receive(&mut self, burst: &mut Burst<HeapBuffer>, _most: usize) {
        burst.extend(self.0.borrow_mut().drain(..));
    }
}

/// What it sent.
#[derive(Clone, Default)]
struct Sent(Rc<RefCell<Vec<Vec<u8>>>>);

impl Transmit<HeapBuffer> for Sent {
    fn transmit(&mut self, burst: &mut Burst<HeapBuffer>) {
        self.0.borrow_mut().extend(burst.drain(..).map(|frame| frame.data().to_vec()));
    }
}

/// A node.
pub struct PureNode {
    ports: Vec<Arc<str>>,
    manager: Manager,
    worker: Worker<HeapBuffer, Feed, Sent>,
    plan: Arc<Plan<HeapBuffer>>,
    counters: Arc<WorkerCounters>,
    feeds: Vec<Feed>,
    sent: Vec<Sent>,
    /// Drops that have been told, by port and reason.
    told: Vec<Vec<u64>>,
    /// Whether fragments may wait for their first one.
    held: bool,
}

impl PureNode {
    fn new(suite: &Suite, wire: Wire, host: &str, state: &Value) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("host.toml");
        fs::write(&file, wire.host_file(suite, host, |index, _| format!("net_null{index}"))).unwrap();
        let config = HostConfig::read(&file).unwrap_or_else(|error| panic!("{error}"));
        let model = Stated::of(state).model.unwrap_or_else(|errors| panic!("{errors}"));
        let (manager, mut readers) =
            Manager::new(&config, config.site(stand_in_mac), model, 1).unwrap_or_else(|it| panic!("{it:?}"));
        let ports = config.ports.len();
        let plan = Arc::new(Plan::new(vec![0; ports].into(), 1));
        let counters = Arc::new(WorkerCounters::new(ports));
        let feeds = vec![(); ports].iter().map(|()| Feed::default()).collect::<Vec<_>>();
        let sent = vec![(); ports].iter().map(|()| Sent::default()).collect::<Vec<_>>();
        let queues = feeds.iter().zip(0..).map(|(feed, index)| (PortIndex(index), feed.clone())).collect();
        let outputs: Vec<_> = sent.iter().map(|sent| Some(sent.clone())).collect();
        let worker = Worker::new(
            0,
            queues,
            outputs,
            Arc::clone(&plan),
            readers.pop().unwrap(),
            Arc::clone(&counters),
            config.workers.burst,
        )
        .with_flows(Flows::new(config.bindings));
        let told = vec![vec![0; Reason::COUNT]; ports];
        let ports = config.ports.iter().map(|port| Arc::clone(&port.name)).collect();
        Self { ports, manager, worker, plan, counters, feeds, sent, told, held: false }
    }

    /// What the management thread does.
    fn chores<T>(
        &mut self,
        chore: impl FnOnce(&mut Chores<'_, HeapBuffer, fn(&[u8]) -> Option<HeapBuffer>>) -> T,
    ) -> T {
        let frame = |frame: &[u8]| Some(HeapBuffer::new(frame));
        let (plan, manager, counters) = (&*self.plan, &mut self.manager, &self.counters.ports);
        chore(&mut Chores { plan, manager, counters, frame })
    }

    /// What the worker does in a round, and the management thread after it.
    fn round(&mut self, now: Duration) -> Vec<Outcome> {
        self.worker.round(now);
        if self.chores(|chores| chores.attend(now)) {
            self.worker.round(now);
        }
        self.manager.collect();
        let mut outcomes = Vec::new();
        for ((port, sent), (told, index)) in
            self.ports.iter().zip(&self.sent).zip(self.told.iter_mut().zip(0..))
        {
            for frame in sent.0.borrow_mut().drain(..) {
                outcomes.push(Outcome::Sent { port: port.to_string(), frame });
            }
            let counters = self.counters.ports.port(PortIndex(index));
            for (reason, told) in Reason::ALL.iter().zip(told) {
                let now = counters.drops(*reason);
                let new = std::mem::replace(told, now)..now;
                let drop = |_| Outcome::Dropped { port: port.to_string(), reason: reason.to_string() };
                outcomes.extend(new.map(drop));
            }
        }
        outcomes
    }
}

/// That `warren trace` says of a packet what the data path does: the same verdicts, the same bytes.
fn agree(trace: &Trace, outcomes: &[Outcome], held: bool) -> Result<(), String> {
    // A trace has the whole allowance, the data path what is left: it may do less, by name.
    let limited = |outcome: &Outcome| matches!(outcome, Outcome::Dropped { reason, .. } if ["answers_limited", "dns_pps", "conntrack_full", "pps", "mirror_limited"].contains(&&**reason));
    // Nor has it the flows of NAT and egress-only internet gateways: another port is free, a reply is unknown, a
    // fragment's first one has not been seen.
    let flows = |line: &trace::Line| line.step == "gateway" && line.text.contains("knows none");
    let orphan = |outcome: &trace::Outcome| matches!(outcome, trace::Outcome::Dropped { reason, .. } if reason == "frag_orphan");
    // Nor has it connections, whose packets pass without a rule.
    let denies = |reason: &str| reason.starts_with("sg_");
    let denied = |outcome: &trace::Outcome| matches!(outcome, trace::Outcome::Dropped { reason, .. } if denies(reason));
    let denying = |outcome: &Outcome| matches!(outcome, Outcome::Dropped { reason, .. } if denies(reason));
    let remembered = trace.outcomes.iter().any(denied) && !outcomes.iter().any(denying);
    let unknown = remembered || trace.steps.iter().any(flows) || trace.outcomes.iter().any(orphan);
    if outcomes.iter().any(limited) || unknown {
        return Ok(());
    }
    // Nor the memberships in multicast groups, which the management thread keeps.
    let igmp = |outcome: &&Outcome| matches!(outcome, Outcome::Dropped { reason, .. } if reason.starts_with("igmp_"));
    let outcomes: Vec<_> = outcomes.iter().filter(|outcome| !igmp(outcome)).cloned().collect();
    let traced = trace.outcomes.iter().map(|outcome| match outcome {
        trace::Outcome::Delivered { port, frame, .. } | trace::Outcome::Sent { port, frame, .. } => {
            Outcome::Sent { port: port.clone(), frame: hex(frame) }
        }
        trace::Outcome::Dropped { port, reason, .. } => {
            Outcome::Dropped { port: port.clone(), reason: reason.clone() }
        }
    });
    let sorted = |outcomes: Vec<Outcome>| {
        let mut texts: Vec<_> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
        texts.sort();
        texts
    };
    let (mut traced, done) = (sorted(traced.collect()), sorted(outcomes));
    if done.iter().any(|text| text.contains("\"mtu_df\"")) && done.len() < traced.len() {
        // Without an ICMP error left, the packet is just dropped.
        traced.retain(|text| done.contains(text));
    }
    // Nor fragments that have waited for this one.
    let all = held && traced.iter().all(|text| done.contains(text));
    if traced == done || all { Ok(()) } else { Err(format!("traced: {traced:#?}\n  done: {done:#?}")) }
}

impl Node for PureNode {
    fn inject(&mut self, port: &str, frame: &[u8], now: Duration) -> Result<Vec<Outcome>, String> {
        let index = self.ports.iter().position(|known| **known == *port);
        let index = index.unwrap_or_else(|| panic!("no port {port}"));
        let trace = self.manager.node().trace_frame(PortIndex(index as u16), frame);
        self.feeds[index].0.borrow_mut().push(HeapBuffer::new(frame));
        let outcomes = self.round(now);
        agree(&trace, &outcomes, self.held)?;
        let orphan = |outcome: &trace::Outcome| matches!(outcome, trace::Outcome::Dropped { reason, .. } if reason == "frag_orphan");
        self.held |= trace.outcomes.iter().any(orphan) && outcomes.is_empty();
        Ok(outcomes)
    }

    fn tick(&mut self, now: Duration) -> Vec<Outcome> {
        self.chores(|chores| chores.tick(now));
        self.round(now)
    }

    fn learn(&mut self, heard: Vec<Heard>) {
        self.manager.learn(heard);
    }

    fn apply(&mut self, state: &Stated) -> Result<(), String> {
        self.manager.apply(state.model.clone()?).map_err(|problems| problems.join("\n"))?;
        Ok(())
    }
}

/// All hosts' nodes.
pub fn fabric(suite: &Suite, wire: Wire) -> Fabric<'_, PureNode> {
    let placement = suite.hosts.placements.keys().next().expect("a placement");
    let state = place(&suite.state, &suite.hosts, placement, |number| wire.address(number));
    let hosts = suite.hosts.hosts.keys();
    let nodes: BTreeMap<_, _> =
        hosts.map(|host| (host.clone(), PureNode::new(suite, wire, host, &state))).collect();
    Fabric::new(suite, wire, nodes, state)
}
