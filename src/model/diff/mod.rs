//! What changed from one model to the next, for people and for the compiler.

mod fields;
mod text;

use std::fmt::{self, Display};

use serde::Serialize;

use super::{BlockPublicAccess, ById, Id, Model};

/// The kinds of resource, in the order in which differences are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A [`DhcpOptions`](super::DhcpOptions).
    DhcpOptions,
    /// A [`Vpc`](super::Vpc).
    Vpc,
    /// A [`Subnet`](super::Subnet).
    Subnet,
    /// A [`SecurityGroup`](super::SecurityGroup).
    SecurityGroup,
    /// A [`NetworkAcl`](super::NetworkAcl).
    NetworkAcl,
    /// A [`RouteTable`](super::RouteTable).
    RouteTable,
    /// A [`Host`](super::Host).
    Host,
    /// An [`Eni`](super::Eni).
    Eni,
    /// A [`FlowLog`](super::FlowLog).
    FlowLog,
    /// A [`MirrorTarget`](super::MirrorTarget).
    TrafficMirrorTarget,
    /// A [`MirrorFilter`](super::MirrorFilter).
    TrafficMirrorFilter,
    /// A [`MirrorSession`](super::MirrorSession).
    TrafficMirrorSession,
    /// A [`PrefixList`](super::PrefixList).
    PrefixList,
    /// An [`InternetGateway`](super::InternetGateway).
    InternetGateway,
    /// An [`EgressOnlyInternetGateway`](super::EgressOnlyInternetGateway).
    EgressOnlyInternetGateway,
    /// A [`NatGateway`](super::NatGateway).
    NatGateway,
    /// A [`PublicAddress`](super::PublicAddress).
    PublicAddress,
    /// A [`Peering`](super::Peering).
    VpcPeeringConnection,
    /// A [`VpnGateway`](super::VpnGateway).
    VpnGateway,
    /// A [`VpnConnection`](super::VpnConnection).
    VpnConnection,
    /// A [`DirectConnectGateway`](super::DirectConnectGateway).
    DirectConnectGateway,
    /// A [`VirtualInterface`](super::VirtualInterface).
    VirtualInterface,
    /// A [`VpcEndpoint`](super::VpcEndpoint).
    VpcEndpoint,
    /// A [`TransitGateway`](super::TransitGateway).
    TransitGateway,
    /// A [`TransitAttachment`](super::TransitAttachment).
    TransitGatewayAttachment,
    /// A [`TransitRouteTable`](super::TransitRouteTable).
    TransitGatewayRouteTable,
    /// A [`MulticastDomain`](super::MulticastDomain).
    TransitGatewayMulticastDomain,
    /// An [`Edge`](super::Edge), by the gateway's id.
    Edge,
    /// A [`Circuit`](super::Circuit).
    Circuit,
    /// The [`BlockPublicAccess`] of the region, whose id is `block-public-access`.
    BlockPublicAccess,
}

/// One resource that was added, removed or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What kind of resource.
    pub kind: Kind,
    /// Its id.
    pub id: Id,
    /// What changed in it; empty for one that was added or removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// One field of a resource that changed, in the words of [`Model`]'s types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The field's name.
    pub field: &'static str,
    /// What it was; `none` for nothing.
    pub old: String,
    /// What it is now; `none` for nothing.
    pub new: String,
}

/// The difference between two models. Lists are sorted by kind, then id.
///
/// Displays one resource per line (`+` added, `-` removed, `~` changed); serializes as the three lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Resources only in the new model.
    pub added: Vec<Change>,
    /// Resources only in the old model.
    pub removed: Vec<Change>,
    /// Resources in both that differ.
    pub changed: Vec<Change>,
    /// The DHCP option sets that were added, removed or changed.
    #[serde(skip)]
    pub dhcp_options: Vec<Id>,
    /// The VPCs that were added, removed or changed.
    #[serde(skip)]
    pub vpcs: Vec<Id>,
    /// The subnets that were added, removed or changed.
    #[serde(skip)]
    pub subnets: Vec<Id>,
    /// The security groups that were added, removed or changed.
    #[serde(skip)]
    pub security_groups: Vec<Id>,
    /// The network ACLs that were added, removed or changed.
    #[serde(skip)]
    pub network_acls: Vec<Id>,
    /// The route tables that were added, removed or changed.
    #[serde(skip)]
    pub route_tables: Vec<Id>,
    /// The hosts that were added, removed or changed.
    #[serde(skip)]
    pub hosts: Vec<Id>,
    /// The ENIs that were added, removed or changed, which includes their attachments.
    #[serde(skip)]
    pub enis: Vec<Id>,
    /// Whether anything changed that leads out of a VPC, or decides what does: a resource of any kind but DHCP option
    /// sets, security groups, network ACLs, hosts, ENIs, flow logs and what mirrors traffic.
    #[serde(skip)]
    pub routing: bool,
}

impl Diff {
    /// Whether the two models are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// The resources of a kind that were added, removed or changed.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Id> {
        [&self.added, &self.removed, &self.changed].into_iter().flat_map(move |changes| {
            // The lists are sorted by kind.
            let start = changes.partition_point(|change| change.kind < kind);
            let rest = changes.get(start..).unwrap_or_default();
            rest.iter().take_while(move |change| change.kind == kind).map(|change| &change.id)
        })
    }
}

impl Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sign, changes) in [('+', &self.added), ('-', &self.removed), ('~', &self.changed)] {
            for change in changes {
                write!(f, "{sign} {}", change.id)?;
                for (index, FieldChange { field, old, new }) in change.fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma} {field} {old} → {new}")?;
                }
                writeln!(f)?;
            }
        }
        write!(
            f,
            "{} added, {} removed, {} changed",
            self.added.len(),
            self.removed.len(),
            self.changed.len()
        )
    }
}

/// What changed from `old` to `new`. One hash lookup per resource; text is made only for what differs.
pub fn diff(old: &Model, new: &Model) -> Diff {
    let mut diff = Diff::default();
    diff.dhcp_options = diff.compare(&old.dhcp_options, &new.dhcp_options);
    diff.vpcs = diff.compare(&old.vpcs, &new.vpcs);
    diff.subnets = diff.compare(&old.subnets, &new.subnets);
    diff.security_groups = diff.compare(&old.security_groups, &new.security_groups);
    diff.network_acls = diff.compare(&old.network_acls, &new.network_acls);
    diff.route_tables = diff.compare(&old.route_tables, &new.route_tables);
    diff.hosts = diff.compare(&old.hosts, &new.hosts);
    diff.enis = diff.compare(&old.enis, &new.enis);
    diff.compare(&old.flow_logs, &new.flow_logs);
    diff.compare(&old.mirror_targets, &new.mirror_targets);
    diff.compare(&old.mirror_filters, &new.mirror_filters);
    diff.compare(&old.mirror_sessions, &new.mirror_sessions);
    let before = diff.len();
    diff.compare(&old.prefix_lists, &new.prefix_lists);
    diff.compare(&old.internet_gateways, &new.internet_gateways);
    diff.compare(&old.egress_only_gateways, &new.egress_only_gateways);
    diff.compare(&old.nat_gateways, &new.nat_gateways);
    diff.compare(&old.public_addresses, &new.public_addresses);
    diff.compare(&old.peerings, &new.peerings);
    diff.compare(&old.vpn_gateways, &new.vpn_gateways);
    diff.compare(&old.vpn_connections, &new.vpn_connections);
    diff.compare(&old.direct_connect_gateways, &new.direct_connect_gateways);
    diff.compare(&old.virtual_interfaces, &new.virtual_interfaces);
    diff.compare(&old.endpoints, &new.endpoints);
    diff.compare(&old.transit_gateways, &new.transit_gateways);
    diff.compare(&old.transit_attachments, &new.transit_attachments);
    diff.compare(&old.transit_tables, &new.transit_tables);
    diff.compare(&old.multicast_domains, &new.multicast_domains);
    diff.compare(&old.edges, &new.edges);
    diff.compare(&old.circuits, &new.circuits);
    diff.public_access(old.block_public_access, new.block_public_access);
    let inside = [&diff.vpcs, &diff.subnets, &diff.route_tables];
    diff.routing = diff.len() > before || inside.iter().any(|ids| !ids.is_empty());
    diff
}

impl Diff {
    /// How many resources differ.
    fn len(&self) -> usize {
        self.added.len() + self.removed.len() + self.changed.len()
    }

    /// Adds the difference of the region's one setting.
    fn public_access(&mut self, old: BlockPublicAccess, new: BlockPublicAccess) {
        let mut fields = Fields(Vec::new());
        fields.note("mode", &old, &new, text);
        if !fields.0.is_empty() {
            let id = Id::from("block-public-access");
            self.changed.push(Change { kind: Kind::BlockPublicAccess, id, fields: fields.0 });
        }
    }

    /// Adds the differences of one kind of resource; returns their ids.
    fn compare<T: Resource>(&mut self, old: &ById<T>, new: &ById<T>) -> Vec<Id> {
        let starts = [self.added.len(), self.removed.len(), self.changed.len()];
        let change = |id: &Id, fields| Change { kind: T::KIND, id: id.clone(), fields };
        let mut kept = 0;
        for (id, new) in new {
            match old.get(id) {
                None => self.added.push(change(id, Vec::new())),
                Some(old) => {
                    kept += 1;
                    if old != new {
                        let mut fields = Fields(Vec::new());
                        old.fields(new, &mut fields);
                        self.changed.push(change(id, fields.0));
                    }
                }
            }
        }
        if kept < old.len() {
            let gone = old.keys().filter(|id| !new.contains_key(*id));
            self.removed.extend(gone.map(|id| change(id, Vec::new())));
        }
        let mut ids = Vec::new();
        for (list, start) in [&mut self.added, &mut self.removed, &mut self.changed].into_iter().zip(starts) {
            if let Some(list) = list.get_mut(start..) {
                list.sort_unstable_by(|a, b| a.id.cmp(&b.id));
                ids.extend(list.iter().map(|change| change.id.clone()));
            }
        }
        ids
    }
}

/// A kind of resource that can tell what differs between two of its states.
trait Resource: PartialEq {
    const KIND: Kind;

    /// Notes each field that differs.
    fn fields(&self, new: &Self, fields: &mut Fields);
}

/// The differences found so far in one resource.
struct Fields(Vec<FieldChange>);

impl Fields {
    /// Notes the field if it differs.
    fn note<T: PartialEq + ?Sized>(
        &mut self,
        field: &'static str,
        old: &T,
        new: &T,
        text: impl Fn(&T) -> String,
    ) {
        if old != new {
            self.0.push(FieldChange { field, old: text(old), new: text(new) });
        }
    }
}

/// The items separated by blanks.
fn list<T: Display>(items: &[T]) -> String {
    join(items.iter().map(ToString::to_string))
}

fn join(items: impl Iterator<Item = String>) -> String {
    let text = items.collect::<Vec<_>>().join(" ");
    if text.is_empty() { "none".to_owned() } else { text }
}

fn optional<T: Display>(item: &Option<T>) -> String {
    item.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn text<T: Display + ?Sized>(item: &T) -> String {
    item.to_string()
}

fn descriptive(item: &super::Descriptive) -> String {
    item.as_ref()
        .map_or_else(|| "none".to_owned(), |map| serde_json::Value::Object((**map).clone()).to_string())
}
