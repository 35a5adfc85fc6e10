//! The management thread's part of learned routes: next hops become circuits, and what several hosts know becomes one table.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use crate::{
    compile::{Ends, LearnedTable, preferred},
    model::{self, Id, Model},
    propagation::{self, Change, NextHop, Path, feed::Circuits},
    tables::CircuitSet,
};

/// What was heard of a gateway's routes.
#[derive(Clone, Debug)]
pub enum Heard {
    /// From the gateway's own zebra.
    Zebra(Id, Vec<Change>),
    /// From another host.
    Host(SocketAddr, Id, Vec<Change<Circuits>>),
}

/// What other hosts are to be told: the routes of a gateway by its zebra here.
pub type Tell = (Id, Vec<(IpNet, Option<Circuits>)>);

/// The routes of gateways by BGP, with where they are from.
#[derive(Default)]
pub(super) struct Routes {
    gateways: BTreeMap<Id, Gateway>,
    /// Next hops on no circuit, which have been said.
    said: HashSet<(Id, NextHop)>,
}

/// A gateway.
struct Gateway {
    /// From its zebra.
    local: propagation::Routes<Path>,
    /// From other hosts.
    hosts: BTreeMap<SocketAddr, propagation::Routes<Circuits>>,
    table: LearnedTable,
}

/// The circuits of a gateway, with what a next hop is compared with.
struct Links<'m> {
    gateway: &'m Id,
    circuits: Vec<&'m model::Circuit>,
    /// The other ends of sessions inside tunnels.
    inside: Vec<(IpAddr, &'m Id)>,
}

impl<'m> Links<'m> {
    fn new(model: &'m Model, gateway: &'m Id, table: &LearnedTable) -> Self {
        let circuits: Vec<_> = table.circuits.iter().filter_map(|id| model.circuits.get(id)).collect();
        let inside = circuits.iter().flat_map(|circuit| {
            let sessions = model.connect_peer(circuit).map(|peer| peer.sessions.as_slice());
            sessions.unwrap_or_default().iter().map(|session| (session.peer, &circuit.id))
        });
        Self { gateway, inside: inside.collect(), circuits }
    }

    /// The circuit that a next hop is on: that whose other end it is, also inside a tunnel, or on whose prefix. A link-local address is on every link;
    /// it says which only where one circuit has IPv6.
    fn circuit(&self, hop: NextHop) -> Option<&'m Id> {
        let address = hop.address?;
        if let Some((_, id)) = self.inside.iter().find(|(peer, _)| *peer == address) {
            return Some(id);
        }
        let peer = || self.circuits.iter().find(|circuit| circuit.peer == address);
        let on_link = || self.circuits.iter().find(|circuit| circuit.address.contains(&address));
        let only = || {
            let mut v6 = self.circuits.iter().filter(|circuit| circuit.peer.is_ipv6());
            let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
            v6.next().filter(|_| link_local && v6.next().is_none())
        };
        peer().or_else(on_link).or_else(only).map(|circuit| &circuit.id)
    }

    /// The circuits that a path leads over; `None` if it is of no use.
    fn resolve(&self, path: &Path, said: &mut HashSet<(Id, NextHop)>, prefix: IpNet) -> Option<Circuits> {
        let hops = match path {
            Path::Blackhole => return Some(Circuits::default()),
            Path::Via(hops) => hops,
        };
        let mut circuits: Vec<Id> = Vec::new();
        for &hop in hops.iter() {
            match self.circuit(hop) {
                Some(id) => circuits.push(Arc::clone(id)),
                None => {
                    if said.insert((Arc::clone(self.gateway), hop)) {
                        tracing::error!(
                            gateway = %self.gateway, %prefix, next_hop = %hop,
                            "a route's next hop is on no circuit of the gateway, so the route is not used over it; \
                             make it a circuit's PeerAddress in Warren.Circuits, or have FRR announce a global next hop"
                        );
                    }
                }
            }
        }
        circuits.sort_unstable();
        circuits.dedup();
        (!circuits.is_empty()).then(|| circuits.into())
    }
}

impl Gateway {
    fn new(ends: &Ends, id: &Id) -> Self {
        let (local, hosts) = (propagation::Routes::default(), BTreeMap::new());
        Self { local, hosts, table: LearnedTable::new(ends, id) }
    }

    /// The circuits over which anybody has a route to a prefix; `None` if nobody has one.
    fn known(&self, links: &Links<'_>, said: &mut HashSet<(Id, NextHop)>, prefix: IpNet) -> Option<Circuits> {
        let local = self.local.get(prefix).and_then(|path| links.resolve(path, said, prefix));
        let mut hosts = self.hosts.values().filter_map(|origin| origin.get(prefix).cloned());
        let first = local.or_else(|| hosts.next())?;
        // Most often there is one origin, whose set is shared.
        let Some(second) = hosts.next() else { return Some(first) };
        let others = [first, second].into_iter().chain(hosts);
        let all: BTreeSet<Id> = others.flat_map(|circuits| circuits.to_vec()).collect();
        Some(all.into_iter().collect())
    }

    fn is_empty(&self) -> bool {
        self.local.is_empty() && self.hosts.values().all(propagation::Routes::is_empty)
    }

    fn prefixes(&self) -> BTreeSet<IpNet> {
        let hosts = self.hosts.values().flat_map(|origin| origin.iter().map(|(prefix, _)| prefix));
        self.local.iter().map(|(prefix, _)| prefix).chain(hosts).collect()
    }

    /// Puts what is known of some prefixes into the table.
    fn update(
        &mut self,
        (model, ends): (&Model, &Ends),
        id: &Id,
        said: &mut HashSet<(Id, NextHop)>,
        prefixes: impl IntoIterator<Item = IpNet>,
    ) {
        let links = Links::new(model, id, &self.table);
        let mut sets: HashMap<Circuits, CircuitSet> = HashMap::new();
        let changes: Vec<_> = prefixes
            .into_iter()
            .map(|prefix| {
                let known = self.known(&links, said, prefix);
                let set = known.and_then(|circuits| {
                    let blackhole = circuits.is_empty();
                    let preferred = |circuits: &Circuits| preferred(model, ends, id, circuits);
                    let set = *sets.entry(circuits).or_insert_with_key(preferred);
                    // Of circuits that the state has not, there is no way.
                    (blackhole || set.0 != 0).then_some(set)
                });
                (prefix, set)
            })
            .collect();
        self.table.routes = self.table.routes.apply(changes);
    }
}

impl Routes {
    /// Takes in what was heard. Returns the tables that changed, and what other hosts are to be told.
    pub(super) fn hear(
        &mut self,
        model: &Model,
        heard: Vec<Heard>,
    ) -> (Vec<(Id, Option<LearnedTable>)>, Vec<Tell>) {
        let ends = Ends::new(model);
        let mut touched: BTreeMap<Id, Vec<IpNet>> = BTreeMap::new();
        let mut tell: Vec<Tell> = Vec::new();
        for heard in heard {
            let (Heard::Zebra(id, _) | Heard::Host(_, id, _)) = &heard;
            let id = Arc::clone(id);
            let gateway = self.gateways.entry(Arc::clone(&id)).or_insert_with(|| Gateway::new(&ends, &id));
            let prefixes = touched.entry(Arc::clone(&id)).or_default();
            match heard {
                Heard::Zebra(_, changes) => {
                    let links = Links::new(model, &id, &gateway.table);
                    let mut told = Vec::with_capacity(changes.len());
                    for Change { prefix, new, .. } in changes {
                        let circuits =
                            new.as_ref().and_then(|path| links.resolve(path, &mut self.said, prefix));
                        told.push((prefix, circuits));
                        gateway.local.set(prefix, new);
                        prefixes.push(prefix);
                    }
                    tell.push((id, told));
                }
                Heard::Host(host, _, changes) => {
                    let origin = gateway.hosts.entry(host).or_default();
                    for Change { prefix, new, .. } in changes {
                        origin.set(prefix, new);
                        prefixes.push(prefix);
                    }
                }
            }
        }
        let mut tables = Vec::with_capacity(touched.len());
        for (id, prefixes) in touched {
            let Some(gateway) = self.gateways.get_mut(&id) else { continue };
            gateway.update((model, &ends), &id, &mut self.said, prefixes);
            if gateway.is_empty() {
                self.gateways.remove(&id);
                tables.push((id, None));
            } else {
                tables.push((id, Some(gateway.table.clone())));
            }
        }
        (tables, tell)
    }

    /// Takes in a new state, which may have other circuits. As [`Routes::hear`].
    pub(super) fn set_state(&mut self, model: &Model) -> (Vec<(Id, Option<LearnedTable>)>, Vec<Tell>) {
        self.said.clear();
        let ends = Ends::new(model);
        let (mut tables, mut tell) = (Vec::new(), Vec::new());
        for (id, gateway) in &mut self.gateways {
            gateway.table = LearnedTable::new(&ends, id);
            let prefixes = gateway.prefixes();
            gateway.update((model, &ends), id, &mut self.said, prefixes);
            tables.push((Arc::clone(id), Some(gateway.table.clone())));
            let links = Links::new(model, id, &gateway.table);
            let local = gateway.local.iter();
            let local = local.map(|(prefix, path)| (prefix, links.resolve(path, &mut self.said, prefix)));
            tell.push((Arc::clone(id), local.collect()));
        }
        (tables, tell)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gateways.is_empty()
    }
}

/// Whether two states may read learned routes differently.
pub(super) fn differ(old: &Model, new: &Model) -> bool {
    old.circuits != new.circuits
        || old.vpn_connections != new.vpn_connections
        || old.virtual_interfaces != new.virtual_interfaces
        || old.direct_connect_gateways != new.direct_connect_gateways
        || old.vpn_gateways != new.vpn_gateways
        || old.transit_gateways != new.transit_gateways
        || old.transit_attachments != new.transit_attachments
}

#[cfg(test)]
mod tests;
