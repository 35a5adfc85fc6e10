//! The tables of `warren show`.

mod allowances;
mod connections;
mod edge;
mod flow_logs;
mod flows;
mod multicast;
mod routes;
mod security;

use std::{net::IpAddr, sync::Arc};

use serde_json::{Value, json};

pub use allowances::allowances;
pub use connections::connections;
pub use edge::{bgp, gateways, nat};
pub use flow_logs::flow_logs;
pub use flows::{FlowFilter, Top, flows};
pub use multicast::multicast;
pub use routes::routes;
pub use security::{rules, security};

use super::Table;
use crate::{
    compile::Learned,
    flowlogs::LogStatus,
    model::{Id, Model, router_mac},
    node::{manager::Identity, multicast::Joined, propagation::Session, worker::WorkerCounters},
    packet::Mac,
    pipeline::{Counter, Reason},
    services::neighbours::Neighbour,
    tables::{Exits, LocalEni, PortIndex},
};

/// How a node is at one moment.
pub struct Snapshot {
    /// The host that it is.
    pub host: Id,
    /// The model in force.
    pub model: Arc<Model>,
    /// What gateways have learned.
    pub learned: Learned,
    /// How many tables have been published.
    pub generation: u64,
    /// Memory of the tables, in bytes.
    pub table_bytes: usize,
    /// The ports' names, by index.
    pub port_names: Vec<Arc<str>>,
    /// By port: the ENI attached to it and its VPC.
    pub occupants: Vec<Option<(Id, Id)>>,
    /// The ENIs attached to this node.
    pub enis: Vec<Arc<LocalEni>>,
    /// The ports' devices, by index.
    pub devices: Vec<Device>,
    /// The CPUs of the workers.
    pub cpus: Vec<usize>,
    /// The generation each worker may still use, where it isn't the newest.
    pub laggards: Vec<usize>,
    /// What each worker has counted; after them, the management thread.
    pub counters: Vec<Arc<WorkerCounters>>,
    /// The underlay's neighbours.
    pub neighbours: Vec<Neighbour>,
    /// What addresses of ENIs are on the service ports.
    pub identities: Vec<Identity>,
    /// The memberships in multicast groups by IGMP that the node knows of.
    pub joined: Vec<Joined>,
    /// What leads out of VPCs.
    pub exits: Arc<Exits>,
    /// Where routes by BGP come from.
    pub sessions: Vec<Session>,
    /// How each flow log is doing.
    pub flow_logs: Vec<LogStatus>,
    /// By host: the uplink and next hop that lead to it.
    pub ways: Vec<(Id, Option<(PortIndex, IpAddr)>)>,
    /// Time-stamp-counter cycles of a second.
    pub cycles_per_second: u64,
}

/// A port's device.
#[derive(Clone, Debug)]
pub struct Device {
    /// The role, as the host file says.
    pub role: &'static str,
    /// The device string.
    pub device: String,
    /// The driver's name.
    pub driver: String,
    /// The device's link-layer address.
    pub mac: Mac,
    /// The MTU, in bytes.
    pub mtu: u16,
    /// Whether the link is up.
    pub link_up: bool,
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// The worker that owns the ENI behind it, and sends for workers without a queue on it.
    pub worker: usize,
    /// Packets that the device lost for want of descriptors.
    pub rx_missed: u64,
    /// Packets that the device found faulty.
    pub rx_errors: u64,
    /// Packets that the device lost for want of buffers.
    pub rx_no_buffer: u64,
    /// Packets that the device could not send.
    pub tx_errors: u64,
}

fn sorted<T>(resources: &crate::model::ById<T>) -> Vec<&T> {
    let mut entries: Vec<_> = resources.iter().collect();
    entries.sort_unstable_by_key(|(id, _)| *id);
    entries.into_iter().map(|(_, resource)| resource).collect()
}

fn texts(items: impl IntoIterator<Item = impl ToString>) -> Value {
    items.into_iter().map(|item| Value::String(item.to_string())).collect()
}

/// The hosts, and whether they can be reached.
pub fn hosts(snapshot: &Snapshot) -> Table {
    let mut table = Table::new(&["host", "underlay_address", "uplink", "next_hop", "mac", "state", "enis"]);
    let mut enis = hashbrown::HashMap::<&Id, u64>::new();
    for eni in snapshot.model.enis.values() {
        if let Some(at) = &eni.attachment {
            *enis.entry(&at.host).or_default() += 1;
        }
    }
    for host in sorted(&snapshot.model.hosts) {
        let way = snapshot.ways.iter().find(|(id, _)| *id == host.id).and_then(|(_, way)| *way);
        let neighbour = way.and_then(|(uplink, next_hop)| {
            snapshot.neighbours.iter().find(|known| known.link.port == uplink && known.address == next_hop)
        });
        let state = match (host.id == snapshot.host, way, neighbour) {
            (true, ..) => json!("self"),
            (_, None, _) => json!("unreachable"),
            (_, Some(_), neighbour) => json!(neighbour.map(|neighbour| neighbour.state)),
        };
        table.row([
            json!(host.id),
            json!(host.underlay),
            json!(way.and_then(|(uplink, _)| snapshot.port_names.get(usize::from(uplink.0)))),
            json!(way.map(|(_, next_hop)| next_hop)),
            json!(neighbour.and_then(|neighbour| neighbour.mac)),
            state,
            json!(enis.get(&host.id).copied().unwrap_or(0)),
        ]);
    }
    table
}

/// The VPCs.
pub fn vpcs(model: &Model) -> Table {
    let mut table = Table::new(&["vpc", "vni", "cidr_blocks", "ipv6_cidr_blocks", "subnets", "enis"]);
    let mut counts = hashbrown::HashMap::<&Id, (u64, u64)>::new();
    model.subnets.values().for_each(|subnet| counts.entry(&subnet.vpc).or_default().0 += 1);
    model.enis.values().for_each(|eni| counts.entry(&eni.vpc).or_default().1 += 1);
    for vpc in sorted(&model.vpcs) {
        let (subnets, enis) = counts.get(&vpc.id).copied().unwrap_or_default();
        table.row([
            json!(vpc.id),
            json!(vpc.vni.get()),
            texts(&vpc.cidrs4),
            texts(&vpc.cidrs6),
            json!(subnets),
            json!(enis),
        ]);
    }
    table
}

/// The subnets.
pub fn subnets(model: &Model) -> Table {
    let columns =
        ["subnet", "vpc", "zone", "cidr_block", "ipv6_cidr_block", "route_table", "router_mac", "enis"];
    let mut table = Table::new(&columns);
    let mut enis = hashbrown::HashMap::<&Id, u64>::new();
    model.enis.values().for_each(|eni| *enis.entry(&eni.subnet).or_default() += 1);
    for subnet in sorted(&model.subnets) {
        table.row([
            json!(subnet.id),
            json!(subnet.vpc),
            json!(subnet.zone),
            json!(subnet.cidr4),
            json!(subnet.cidr6),
            json!(subnet.route_table),
            json!(router_mac(&subnet.id)),
            json!(enis.get(&subnet.id).copied().unwrap_or(0)),
        ]);
    }
    table
}

/// The network interfaces.
pub fn enis(model: &Model) -> Table {
    let columns = [
        "eni",
        "vpc",
        "subnet",
        "mac",
        "addresses",
        "prefixes",
        "source_dest_check",
        "groups",
        "host",
        "port",
    ];
    let mut table = Table::new(&columns);
    for eni in sorted(&model.enis) {
        let addresses = eni.primary4.iter().chain(&eni.secondary4).map(ToString::to_string);
        let prefixes = eni.prefixes4.iter().map(ToString::to_string);
        table.row([
            json!(eni.id),
            json!(eni.vpc),
            json!(eni.subnet),
            json!(eni.mac),
            texts(addresses.chain(eni.addresses6.iter().map(ToString::to_string))),
            texts(prefixes.chain(eni.prefixes6.iter().map(ToString::to_string))),
            json!(eni.source_dest_check),
            texts(&eni.groups),
            json!(eni.attachment.as_ref().map(|at| &at.host)),
            json!(eni.attachment.as_ref().map(|at| &at.port)),
        ]);
    }
    table
}

/// The node's ports.
pub fn ports(snapshot: &Snapshot) -> Table {
    let columns = [
        "port",
        "role",
        "eni",
        "vpc",
        "device",
        "driver",
        "mac",
        "mtu",
        "link",
        "rx_queues",
        "tx_queues",
        "worker",
        "rx_missed",
        "rx_errors",
        "rx_no_buffer",
        "tx_errors",
    ];
    let mut table = Table::new(&columns);
    for ((name, occupant), device) in
        snapshot.port_names.iter().zip(&snapshot.occupants).zip(&snapshot.devices)
    {
        table.row([
            json!(name),
            json!(device.role),
            json!(occupant.as_ref().map(|(eni, _)| eni)),
            json!(occupant.as_ref().map(|(_, vpc)| vpc)),
            json!(device.device),
            json!(device.driver),
            json!(device.mac),
            json!(device.mtu),
            json!(if device.link_up { "up" } else { "down" }),
            json!(device.rx_queues),
            json!(device.tx_queues),
            json!(device.worker),
            json!(device.rx_missed),
            json!(device.rx_errors),
            json!(device.rx_no_buffer),
            json!(device.tx_errors),
        ]);
    }
    table
}

/// Whom the services of the host see: the identity of each address of this node's ENIs.
pub fn services(snapshot: &Snapshot) -> Table {
    let mut table = Table::new(&["service_port", "identity", "eni", "vpc", "address", "port"]);
    for identity in &snapshot.identities {
        table.row([
            json!(identity.service_port),
            json!(identity.identity),
            json!(identity.eni),
            json!(identity.vpc),
            json!(identity.address),
            json!(identity.port),
        ]);
    }
    table
}

/// The workers.
pub fn workers(snapshot: &Snapshot) -> Table {
    let columns = [
        "worker",
        "cpu",
        "rounds",
        "busy_rounds",
        "busy_cycles",
        "packets",
        "packets_per_busy_round",
        "cycles_per_packet",
        "ns_per_packet",
        "handed_over",
        "tables",
        "captures",
    ];
    let mut table = Table::new(&columns);
    for (worker, (counters, cpu)) in snapshot.counters.iter().zip(&snapshot.cpus).enumerate() {
        let (packets, cycles) = (counters.packets.get(), counters.busy_cycles.get());
        let per = |total: u64, count: u64| {
            (count != 0).then(|| (total as f64 / count as f64 * 10.0).round() / 10.0)
        };
        let generation = snapshot.generation;
        table.row([
            json!(worker),
            json!(cpu),
            json!(counters.rounds.get()),
            json!(counters.busy_rounds.get()),
            json!(cycles),
            json!(packets),
            json!(per(packets, counters.busy_rounds.get())),
            json!(per(cycles, packets)),
            json!(per((cycles as f64 * 1e9 / snapshot.cycles_per_second as f64) as u64, packets)),
            json!(counters.handed_over.get()),
            json!(if snapshot.laggards.contains(&worker) {
                format!("older than {generation}")
            } else {
                generation.to_string()
            }),
            json!(counters.captures.get()),
        ]);
    }
    table
}

fn sum(counters: &[Arc<WorkerCounters>], of: impl Fn(&WorkerCounters) -> u64) -> u64 {
    counters.iter().map(|worker| of(worker)).sum()
}

/// The packets dropped, by port and reason; only what has been dropped.
pub fn drops(names: &[Arc<str>], counters: &[Arc<WorkerCounters>], occupants: &[Option<(Id, Id)>]) -> Table {
    let mut table = Table::new(&["port", "eni", "vpc", "reason", "packets", "meaning"]);
    for (index, name) in names.iter().enumerate() {
        let port = PortIndex(index as u16);
        let occupant = occupants.get(index).and_then(Option::as_ref);
        for reason in Reason::ALL {
            let packets = sum(counters, |worker| worker.ports.port(port).drops(*reason));
            if packets > 0 {
                table.row([
                    json!(name),
                    json!(occupant.map(|(eni, _)| eni)),
                    json!(occupant.map(|(_, vpc)| vpc)),
                    json!(reason.name()),
                    json!(packets),
                    json!(reason.help()),
                ]);
            }
        }
    }
    table
}

/// The packets and bytes of each port.
pub fn stats(names: &[Arc<str>], counters: &[Arc<WorkerCounters>]) -> Table {
    let mut table =
        Table::new(&["port", "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "punted", "dropped"]);
    for (index, name) in names.iter().enumerate() {
        let port = PortIndex(index as u16);
        let count = |of: fn(&crate::pipeline::PortCounters) -> &Counter| {
            json!(sum(counters, |worker| of(worker.ports.port(port)).get()))
        };
        let dropped: u64 = Reason::ALL
            .iter()
            .map(|reason| sum(counters, |worker| worker.ports.port(port).drops(*reason)))
            .sum();
        table.row([
            json!(name),
            count(|port| &port.rx_packets),
            count(|port| &port.rx_bytes),
            count(|port| &port.tx_packets),
            count(|port| &port.tx_bytes),
            count(|port| &port.punted),
            json!(dropped),
        ]);
    }
    table
}
