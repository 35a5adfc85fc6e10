//! The management thread's part of multicast: memberships in, queries, relays and tables out.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use hashbrown::HashMap;

use super::manager::OwnFrame;
use crate::{
    compile::Compiler,
    model::{Id, Model},
    packet::{Buffer, Checked, HeapBuffer, Outer, Sender, flow_hash, macs, parse},
    pipeline::Reason,
    services::igmp::{Local, Memberships, Origin, Outgoing},
    tables::{EniKey, Multicast, Place, PortIndex, Role, Tables},
};

/// Receivers of queries and relays of one tick: what a worker's inbox takes beside its work.
const A_TICK: usize = 32;

/// A membership by IGMP.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The multicast domain.
    pub domain: Id,
    /// The group.
    pub group: Ipv4Addr,
    /// The member.
    pub eni: EniKey,
    /// How long it still counts without another report.
    pub left: Duration,
}

/// The memberships of a node.
#[derive(Default)]
pub(super) struct Groups {
    memberships: Memberships,
}

impl Groups {
    /// Takes in a new state, of which `tables` were made.
    pub(super) fn set_state(
        &mut self,
        now: Duration,
        compiler: &mut Compiler,
        model: &Model,
        tables: &Tables,
    ) {
        let domains = compiler.multicast_domains(model);
        let locals: Vec<Local> = (0..tables.ports.len() as u16)
            .map(PortIndex)
            .filter_map(|port| Some(Local::new(port, tables.local_eni(port)?)))
            .collect();
        let locate = |(vni, mac)| tables.enis.get_mac(vni, mac).map(|eni| (eni.subnet, eni.location.place()));
        self.memberships.set_domains(now, domains, locals, locate);
    }

    /// The workers' table, if it has changed.
    pub(super) fn changed(&mut self) -> Option<Arc<Multicast>> {
        self.memberships.changed()
    }

    /// The memberships by IGMP, of members anywhere.
    pub(super) fn joined(&self, now: Duration, compiler: &Compiler, model: &Model) -> Vec<Joined> {
        let domains = model.multicast_domains.keys();
        let domains: HashMap<_, _> =
            domains.filter_map(|id| Some((compiler.multicast_domain_index(id)?, id))).collect();
        let joined = self.memberships.members().filter_map(|(domain, group, eni, origin)| match origin {
            Origin::Igmp(expires) => Some(Joined {
                domain: Id::clone(domains.get(&domain)?),
                group,
                eni,
                left: expires.saturating_sub(now),
            }),
            Origin::Registered => None,
        });
        joined.collect()
    }

    /// Takes an IGMP message that a worker gave to the management thread: of an ENI of this node, or, still with its outer
    /// header, of another's.
    pub(super) fn heard(
        &mut self,
        now: Duration,
        tables: &Tables,
        port: PortIndex,
        frame: &[u8],
    ) -> Result<(), Reason> {
        match &tables.port(port).ok_or(Reason::NotHere)?.role {
            Role::Instance(Some(eni)) => {
                self.memberships.heard(now, (eni.vni, eni.mac), eni.subnet, Place::Local(port), frame)
            }
            Role::Uplink(_) => {
                let outer = Outer::parse(frame, &parse(frame)?, tables.encapsulation, Checked::Unknown)?;
                let inner = frame.get(outer.inner.into()..outer.end.into()).ok_or(Reason::Truncated)?;
                let (_, mac) = macs(inner);
                let eni = tables.enis.get_mac(outer.vni, mac).ok_or(Reason::Multicast)?;
                let host = tables.hosts.at(outer.source).filter(|&host| eni.location.is_at(host));
                let place = Place::Remote(host.ok_or(Reason::UnderlaySpoof)?);
                self.memberships.heard(now, (outer.vni, mac), eni.subnet, place, inner)
            }
            _ => Err(Reason::Multicast),
        }
    }

    /// The queries and relays that are due, ready to be sent.
    pub(super) fn tick(&mut self, now: Duration, tables: &Tables) -> Vec<(PortIndex, OwnFrame)> {
        let mut frames = Vec::new();
        for outgoing in self.memberships.tick(now, A_TICK) {
            match outgoing {
                Outgoing::Port(port, frame) => frames.push((port, frame.to_vec())),
                Outgoing::Hosts(hosts, (vni, mac), frame) => {
                    let flow = parse(&frame).map_or(0, |headers| flow_hash(&frame, &headers));
                    for host in hosts.iter().filter_map(|&host| tables.hosts.get(host)) {
                        let mut copy = HeapBuffer::new(&frame);
                        let sender = Sender { vni, mac };
                        let sendable = host.refuses(frame.len()).is_none();
                        if sendable && host.template.encapsulate(&mut copy, vni, sender, flow).is_ok() {
                            frames.push((host.uplink, copy.data().to_vec()));
                        }
                    }
                }
            }
        }
        frames
    }
}
