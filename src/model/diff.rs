//! What changed from one model to the next, for people and for the compiler.

use std::fmt::{self, Display};

use serde::Serialize;

use super::{
    Attachment, ById, DhcpOptions, Eni, Host, Id, Model, NameServer, Permission, RouteTable, SecurityGroup,
    Subnet, Traffic, Vpc, VpcDhcp,
};

/// The kinds of resource, in the order in which differences are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A [`DhcpOptions`].
    DhcpOptions,
    /// A [`Vpc`].
    Vpc,
    /// A [`Subnet`].
    Subnet,
    /// A [`SecurityGroup`].
    SecurityGroup,
    /// A [`RouteTable`].
    RouteTable,
    /// A [`Host`].
    Host,
    /// An [`Eni`].
    Eni,
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
    /// The route tables that were added, removed or changed.
    #[serde(skip)]
    pub route_tables: Vec<Id>,
    /// The hosts that were added, removed or changed.
    #[serde(skip)]
    pub hosts: Vec<Id>,
    /// The ENIs that were added, removed or changed, which includes their attachments.
    #[serde(skip)]
    pub enis: Vec<Id>,
}

impl Diff {
    /// Whether the two models are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
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
    diff.route_tables = diff.compare(&old.route_tables, &new.route_tables);
    diff.hosts = diff.compare(&old.hosts, &new.hosts);
    diff.enis = diff.compare(&old.enis, &new.enis);
    diff
}

impl Diff {
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

impl Resource for DhcpOptions {
    const KIND: Kind = Kind::DhcpOptions;

    fn fields(&self, new: &Self, fields: &mut Fields) {
        fields.note("domain_name", &self.domain_name, &new.domain_name, optional);
        fields.note("domain_name_servers", &self.domain_name_servers, &new.domain_name_servers, |v| list(v));
        fields.note("ntp_servers", &self.ntp_servers, &new.ntp_servers, |v| list(v));
        fields
            .note("netbios_name_servers", &self.netbios_name_servers, &new.netbios_name_servers, |v| list(v));
        fields.note("netbios_node_type", &self.netbios_node_type, &new.netbios_node_type, optional);
        fields.note("preferred_lifetime6", &self.preferred_lifetime6, &new.preferred_lifetime6, optional);
        fields.note("descriptive", &self.descriptive, &new.descriptive, descriptive);
    }
}

impl Resource for Vpc {
    const KIND: Kind = Kind::Vpc;

    fn fields(&self, new: &Self, fields: &mut Fields) {
        fields.note("vni", &self.vni, &new.vni, text);
        fields.note("cidrs4", &self.cidrs4, &new.cidrs4, |v| list(v));
        fields.note("cidrs6", &self.cidrs6, &new.cidrs6, |v| list(v));
        fields.note("dhcp_options", &self.dhcp_options, &new.dhcp_options, text);
        fields.note("descriptive", &self.descriptive, &new.descriptive, descriptive);
    }
}

impl Resource for Subnet {
    const KIND: Kind = Kind::Subnet;

    fn fields(&self, new: &Self, fields: &mut Fields) {
        fields.note("vpc", &self.vpc, &new.vpc, text);
        fields.note("zone", &self.zone, &new.zone, text);
        fields.note("cidr4", &self.cidr4, &new.cidr4, optional);
        fields.note("cidr6", &self.cidr6, &new.cidr6, optional);
        fields.note("route_table", &self.route_table, &new.route_table, text);
        fields.note("descriptive", &self.descriptive, &new.descriptive, descriptive);
    }
}

impl Resource for Eni {
    const KIND: Kind = Kind::Eni;

    fn fields(&self, new: &Self, fields: &mut Fields) {
        fields.note("vpc", &self.vpc, &new.vpc, text);
        fields.note("subnet", &self.subnet, &new.subnet, text);
        fields.note("mac", &self.mac, &new.mac, text);
        fields.note("primary4", &self.primary4, &new.primary4, optional);
        fields.note("secondary4", &self.secondary4, &new.secondary4, |v| list(v));
        fields.note("prefixes4", &self.prefixes4, &new.prefixes4, |v| list(v));
        fields.note("addresses6", &self.addresses6, &new.addresses6, |v| list(v));
        fields.note("prefixes6", &self.prefixes6, &new.prefixes6, |v| list(v));
        fields.note("source_dest_check", &self.source_dest_check, &new.source_dest_check, text);
        fields.note("groups", &self.groups, &new.groups, |v| list(v));
        fields.note("attachment", &self.attachment, &new.attachment, optional);
        fields.note("descriptive", &self.descriptive, &new.descriptive, descriptive);
    }
}

impl Resource for RouteTable {
    const KIND: Kind = Kind::RouteTable;

    fn fields(&self, new: &Self, fields: &mut Fields) {
        fields.note("vpc", &self.vpc, &new.vpc, text);
        fields.note("main", &self.main, &new.main, text);
        fields.note("subnets", &self.subnets, &new.subnets, |v| list(v));
        fields.note("routes", &self.routes, &new.routes, |v| list(v));
        fields.note("descriptive", &self.descriptive, &new.descriptive, descriptive);
    }
}

impl Resource for Host {
    const KIND: Kind = Kind::Host;

    fn fields(&self, new: &Self, fields: &mut Fields) {
        fields.note("underlay", &self.underlay, &new.underlay, text);
    }
}

impl Resource for SecurityGroup {
    const KIND: Kind = Kind::SecurityGroup;

    fn fields(&self, new: &Self, fields: &mut Fields) {
        fields.note("vpc", &self.vpc, &new.vpc, text);
        fields.note("ingress", &self.ingress, &new.ingress, |v| list(v));
        fields.note("egress", &self.egress, &new.egress, |v| list(v));
        fields.note("descriptive", &self.descriptive, &new.descriptive, descriptive);
    }
}

impl Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.port)?;
        if self.metadata_hop_limit == Self::METADATA_HOP_LIMIT {
            return Ok(());
        }
        write!(f, " (metadata hop limit {})", self.metadata_hop_limit)
    }
}

impl Display for VpcDhcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Region => "the region's",
            Self::None => "none",
            Self::Set(id) => id,
        })
    }
}

impl Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AmazonProvided => f.write_str(Self::AMAZON_PROVIDED),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Display for super::Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.destination, self.target)
    }
}

impl Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.ranges4.iter().map(|p| text(&p.peer));
        let peers = peers.chain(self.ranges6.iter().map(|p| text(&p.peer)));
        let peers = peers.chain(self.prefix_lists.iter().chain(&self.groups).map(|p| text(&p.peer)));
        write!(f, "[{}: {}]", self.traffic, join(peers))
    }
}

impl Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::All => f.write_str("all"),
            Self::Ports { protocol, from, to } => {
                let name = if protocol == 6 { "tcp" } else { "udp" };
                if from == to { write!(f, "{name} {from}") } else { write!(f, "{name} {from}-{to}") }
            }
            Self::Icmp { protocol, kind, code } => {
                let name = if protocol == 1 { "icmp" } else { "icmpv6" };
                match (kind, code) {
                    (None, _) => f.write_str(name),
                    (Some(kind), None) => write!(f, "{name} {kind}"),
                    (Some(kind), Some(code)) => write!(f, "{name} {kind}/{code}"),
                }
            }
            Self::Protocol(number) => write!(f, "protocol {number}"),
        }
    }
}
