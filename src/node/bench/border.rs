//! The same packets through the C API: what it costs a program to have Warren in it, which does what the worker loop does besides.

use super::generator::Generator;
use crate::{
    compile::Resolve,
    dpdk::{Mbuf, TxQueue},
    ffi::plugin::Called,
    model::Model,
    node::{
        clock::Clock,
        config::HostConfig,
        embedded::{Device, Node, OpenError, Setup},
        fleet::{self, Fleet},
        worker::{Receive, Transmit},
    },
    pipeline::Burst,
    tables::PortIndex,
};

/// A program's loop: one port's packets.
pub(super) struct Border {
    /// Closed after the worker.
    worker: Called,
    host: Node<Mbuf>,
    from: PortIndex,
    generator: Generator,
    outputs: [Option<TxQueue>; 3],
    burst: Burst<Mbuf>,
}

impl Border {
    /// A host of the fleet, with the queues of its ports and room for so many connections.
    pub(super) fn new(
        fleet: &Fleet,
        (from, generator): (PortIndex, Generator),
        outputs: [Option<TxQueue>; 3],
        connections: u32,
    ) -> Result<Self, String> {
        let host = host(fleet, connections)?;
        let worker = host.worker(0, |_| None).ok_or("the host's worker is taken")?;
        let worker = Called::new(worker, host.config().ports.len());
        Ok(Self { worker, host, from, generator, outputs, burst: Burst::new() })
    }

    /// One round.
    #[inline]
    pub(super) fn round(&mut self, most: usize, clock: Clock) -> usize {
        let Self { worker, generator, outputs, burst, from, .. } = self;
        generator.receive(burst, most);
        let found = burst.len();
        let now = clock.now().time.as_nanos() as u64;
        worker.process(*from, burst, now, |port, burst| {
            if let Some(Some(tx)) = outputs.get_mut(usize::from(port.0)) {
                tx.transmit(burst);
            }
        });
        found
    }

    /// The first port at which packets were dropped, and how many.
    pub(super) fn dropped(&self) -> Option<(PortIndex, u64)> {
        let ports = (0..self.host.config().ports.len() as u16).map(PortIndex);
        let dropped = |port| self.host.counters(port).map_or(0, |counted| counted.drops.iter().sum());
        ports.map(|port| (port, dropped(port))).find(|(_, packets)| *packets > 0)
    }
}

/// The fleet's first host, by a host file as a program has it.
fn host(fleet: &Fleet, connections: u32) -> Result<Node<Mbuf>, String> {
    let neighbors: String = (1..=fleet.hosts())
        .map(fleet::underlay)
        .filter_map(|address| Some((address, fleet.neighbours().resolve(fleet::UPLINK, address.into())?)))
        .map(|(address, mac)| format!("{{ address = \"{address}\", mac = \"{mac}\" }},\n"))
        .collect();
    let file = format!(
        "host = \"host-0\"\nstate = \"-\"\nworkers = {{ cores = [0], connections = {connections} }}\n\
         [[port]]\nname = \"vm0\"\nrole = \"instance\"\ndevice = \"-\"\n\
         [[port]]\nname = \"vm1\"\nrole = \"instance\"\ndevice = \"-\"\n\
         [[port]]\nname = \"uplink\"\nrole = \"uplink\"\ndevice = \"-\"\nmac = \"{}\"\naddress = \"{}/8\"\nneighbors = [{neighbors}]\n",
        fleet::UPLINK_MAC,
        fleet::underlay(0),
    );
    let config =
        HostConfig::parse(&file, std::path::Path::new(".")).map_err(|problems| problems.join("\n"))?;
    let setup = Setup {
        devices: vec![Device::default(); config.ports.len()],
        config,
        model: Model::clone(fleet.model()),
        workers: 1,
        cpus: Vec::new(),
        control: false,
        log: None,
    };
    Node::open(setup).map_err(|(OpenError::Host(problem) | OpenError::System(problem))| problem)
}
