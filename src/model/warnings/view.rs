//! A model as the checks look at it: which subnets a table is in force in, and where a table sends a block.

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;

use crate::model::{Destination, Id, Model, Route, RouteTable, Subnet, Target, Vpc};

/// A model, with what several checks ask of it.
pub(super) struct View<'m> {
    pub(super) model: &'m Model,
    /// The subnets, sorted by id, and their tables.
    pub(super) subnets: Vec<(&'m Subnet, &'m RouteTable)>,
    /// The subnets with an ENI or a NAT gateway that has a public address.
    pub(super) public: HashSet<&'m Id>,
}

impl<'m> View<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let mut subnets: Vec<_> = model
            .subnets
            .values()
            .filter_map(|subnet| Some((subnet, model.route_tables.get(&subnet.route_table)?)))
            .collect();
        subnets.sort_unstable_by_key(|(subnet, _)| &subnet.id);
        let mut view = Self { model, subnets, public: HashSet::new() };
        view.public =
            model.public_addresses.values().filter_map(|address| view.place(&address.owner)).collect();
        view
    }

    /// The subnet of an ENI or NAT gateway.
    pub(super) fn place(&self, owner: &str) -> Option<&'m Id> {
        let eni = self.model.enis.get(owner).map(|eni| &eni.subnet);
        eni.or_else(|| self.model.nat_gateways.get(owner).map(|gateway| &gateway.subnet))
    }

    /// The blocks that a route is for.
    pub(super) fn blocks<'r>(&self, route: &'r Route) -> &'r [IpNet]
    where
        'm: 'r,
    {
        match &route.destination {
            Destination::Block(block) => std::slice::from_ref(block),
            Destination::PrefixList(list) => {
                self.model.prefix_lists.get(list).map_or(&[], |list| list.entries.as_slice())
            }
        }
    }

    /// Whether a route is for packets of a family.
    pub(super) fn is_of(&self, route: &Route, ipv6: bool) -> bool {
        self.blocks(route).iter().any(|block| matches!(block, IpNet::V6(_)) == ipv6)
    }

    /// Where a table sends the whole of a block: the longest route around it, of equally long ones the static block, then the
    /// prefix list with the lowest id (RT-4, RT-15).
    pub(super) fn towards(&self, table: &'m RouteTable, block: IpNet) -> Option<&'m Target> {
        let around = table.routes.iter().filter_map(|route| {
            let around = self.blocks(route).iter().filter(|around| around.contains(&block));
            let length = around.map(IpNet::prefix_len).max()?;
            let list = match &route.destination {
                Destination::Block(_) => None,
                Destination::PrefixList(list) => Some(list),
            };
            Some(((std::cmp::Reverse(length), list), &route.target))
        });
        around.min_by_key(|(key, _)| *key).map(|(_, target)| target)
    }

    /// Where a table sends what is outside of its VPC: its route for everything, as the internet is anywhere.
    pub(super) fn outward(&self, table: &'m RouteTable, ipv6: bool) -> Option<&'m Target> {
        let everything = if ipv6 { IpNet::V6(Default::default()) } else { IpNet::V4(Default::default()) };
        self.towards(table, everything)
    }
}

/// A subnet's blocks.
pub(super) fn blocks_of(subnet: &Subnet) -> impl Iterator<Item = IpNet> + use<> {
    subnet.cidr4.map(IpNet::V4).into_iter().chain(subnet.cidr6.map(IpNet::V6))
}

/// Whether a block is inside a VPC's.
pub(super) fn is_inside(vpc: &Vpc, block: IpNet) -> bool {
    match block {
        IpNet::V4(block) => vpc.cidrs4.iter().any(|around| around.contains(&block)),
        IpNet::V6(block) => vpc.cidrs6.iter().any(|around| around.contains(&block)),
    }
}

/// Where the targets of a model's routes are stated: the tables, by target's id.
pub(super) fn users(model: &Model) -> HashMap<&str, &Id> {
    let mut users: HashMap<&str, &Id> = HashMap::new();
    for table in model.route_tables.values() {
        for route in table.routes.iter().filter(|route| route.target != Target::Local) {
            let first = users.entry(route.target.id()).or_insert(&table.id);
            *first = (*first).min(&table.id);
        }
    }
    users
}
