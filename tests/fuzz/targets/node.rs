//! A whole node: frames at any of its ports, through a real worker and the management thread's answers.
//!
//! It has the topology of `tests/pipeline/state.yaml` on host-a, twice: VXLAN over IPv4 and Geneve over IPv6.

use std::{cell::RefCell, path::Path, rc::Rc, sync::Arc, time::Duration};

use warren::{
    model::{Document, load},
    node::{
        config::HostConfig,
        manager::Manager,
        replay::stand_in_mac,
        worker::{Plan, Receive, Transmit, Worker, WorkerCounters},
    },
    packet::{Buffer, Checked, Encapsulation, HeapBuffer, Outer, macs, parse},
    pipeline::{Burst, Reason},
    rcu::{Publisher, Reader},
    tables::{PortIndex, Role, Tables},
};

use super::packets::repaired;

/// How hosts talk: the encapsulation, and how underlay addresses begin.
#[derive(Clone, Copy)]
pub(crate) struct Wire(Encapsulation, &'static str);

pub(crate) const VXLAN: Wire = Wire(Encapsulation::Vxlan, "192.0.2.");
const GENEVE: Wire = Wire(Encapsulation::Geneve, "2001:db8:ffff::");

/// Ports of the host file.
const PORTS: u16 = 8;
const UPLINK: PortIndex = PortIndex(6);
/// Of the uplink.
const MTU: usize = 1500;

/// The management side of the node.
pub(crate) fn manager(wire: Wire) -> (Manager, Vec<Reader<Tables>>) {
    let Wire(encapsulation, prefix) = wire;
    let name = if encapsulation == Encapsulation::Vxlan { "vxlan" } else { "geneve" };
    let host = include_str!("host-a.toml").replace("ENCAPSULATION", name).replace("UNDERLAY", prefix);
    let config = HostConfig::parse(&host, Path::new(".")).unwrap_or_else(|problems| panic!("{problems:?}"));
    let text = include_str!("../../pipeline/state.yaml").replace("192.0.2.", prefix);
    let model =
        load(&[Document { name: "state.yaml".into(), text }]).unwrap_or_else(|errors| panic!("{errors}"));
    let made = Manager::new(&config, config.site(stand_in_mac), model, 1);
    made.unwrap_or_else(|problems| panic!("{problems:?}"))
}

thread_local! {
    static MANAGERS: [Manager; 2] = [VXLAN, GENEVE].map(|wire| manager(wire).0);
}

/// What waits at a port, and what it sent.
#[derive(Clone, Default)]
struct Queue(Rc<RefCell<Vec<HeapBuffer>>>);

impl Receive<HeapBuffer> for Queue {
    fn receive(&mut self, burst: &mut Burst<HeapBuffer>, _most: usize) {
        burst.extend(self.0.borrow_mut().drain(..));
    }
}

impl Transmit<HeapBuffer> for Queue {
    fn transmit(&mut self, burst: &mut Burst<HeapBuffer>) {
        self.0.borrow_mut().extend(burst.drain(..));
    }
}

/// Frames, each behind three octets: the port (0x07), the wire (0x08, of the first frame), whether to repair its
/// checksums (0x80); and its length.
pub(crate) fn frames(input: &[u8]) {
    let wire = usize::from(input.first().is_some_and(|head| head & 8 != 0));
    MANAGERS.with(|managers| run(&managers[wire], input));
}

fn run(manager: &Manager, mut input: &[u8]) {
    let tables = manager.tables();
    let (_publisher, mut readers) = Publisher::new(tables.clone(), 1);
    let queues = || (0..PORTS).map(|_| Queue::default()).collect::<Vec<_>>();
    let (inputs, outputs) = (queues(), queues());
    let plan = Arc::new(Plan::new([0; PORTS as usize].into(), 1));
    let counters = Arc::new(WorkerCounters::new(PORTS.into()));
    let mut worker = Worker::new(
        0,
        (0..).map(PortIndex).zip(inputs.iter().cloned()).collect(),
        outputs.iter().cloned().map(Some),
        Arc::clone(&plan),
        readers.pop().expect("one reader"),
        Arc::clone(&counters),
        32,
    );
    let dropped =
        |reason| (0..PORTS).map(|port| counters.ports.port(PortIndex(port)).drops(reason)).sum::<u64>();
    let mut now = Duration::from_secs(1);
    while let Some((&[head, high, low], rest)) = input.split_first_chunk() {
        let (frame, behind) = rest.split_at(rest.len().min(u16::from_be_bytes([high, low]).into()));
        input = behind;
        let port = PortIndex(u16::from(head & 7));
        let frame = if head & 0x80 != 0 { repaired(frame) } else { frame.to_vec() };
        let before: Vec<u64> = Reason::ALL.iter().map(|&reason| dropped(reason)).collect();
        inputs[usize::from(port.0)].0.borrow_mut().push(HeapBuffer::new(&frame));
        assert_eq!(worker.round(now), 1);
        now += Duration::from_millis(1);

        let reasons =
            Reason::ALL.iter().copied().zip(before).filter(|(reason, before)| dropped(*reason) > *before);
        let reasons: Vec<Reason> = reasons.map(|(reason, _)| reason).collect();
        let sent: Vec<_> = (0..PORTS)
            .flat_map(|to| {
                outputs[usize::from(to)]
                    .0
                    .borrow_mut()
                    .drain(..)
                    .map(move |frame| (PortIndex(to), frame))
                    .collect::<Vec<_>>()
            })
            .collect();
        for (to, frame) in &sent {
            check_sent(tables, port, *to, frame.data());
        }
        let punted = plan.punted.pop();
        let fate = (sent.len(), reasons.as_slice(), punted.is_some());
        match fate {
            (1, [], false) | (0, [_], false) | (0, [], true) => {}
            // An ICMP error instead; what was cut off, did not help.
            (1, [Reason::MtuDf], false) if sent[0].0 == port => {}
            // Fragments.
            (2.., [], false) if sent.iter().all(|(to, _)| *to == UPLINK) => {}
            _ => panic!("{fate:?} of {frame:02x?} from port {}", port.0),
        }
        if let Some((asker, frame)) = punted
            && let Ok(reply) = manager.reply(asker, frame.data())
        {
            check_sent(tables, asker, asker, &reply);
        }
        while plan.news.pop().is_some() {}
    }
}

/// What holds for everything that leaves the node.
fn check_sent(tables: &Tables, from: PortIndex, to: PortIndex, frame: &[u8]) {
    let headers = parse(frame).unwrap_or_else(|reason| panic!("{reason}: {frame:02x?}"));
    let (destination, _) = macs(frame);
    match &tables.port(to).expect("a port").role {
        // L2-8, L2-9, L2-18: only the node's own answers go to a group.
        Role::Instance(Some(eni)) => assert!(destination == eni.mac || from == to && destination.is_group()),
        Role::Instance(None) => panic!("nobody is there"),
        // An answer to who asked.
        Role::Uplink(_) | Role::Service(_) if from == to => {}
        Role::Uplink(uplink) => {
            assert!(headers.end() <= 14 + MTU && headers.end() == frame.len(), "{headers:?}");
            let outer =
                Outer::parse(frame, &headers, tables.encapsulation, Checked::Unknown).expect("own frame");
            assert!(tables.hosts.at(outer.destination).is_some() && outer.source == uplink.mapped);
            assert!(parse(&frame[outer.inner.into()..]).is_ok());
        }
        Role::Service(service) => assert_eq!(destination, service.peer),
        Role::Gateway(_) | Role::Control(_) => panic!("the node has none"),
    }
}
