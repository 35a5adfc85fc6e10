//! Transit gateways and their attachments.

use hashbrown::{HashMap, HashSet};

use super::{Item, Source, Validation, each, in_order, value};
use crate::model::{
    AttachmentKind, ById, ConnectPeer, Errors, Id, Model, Session, TransitAttachment, TransitGateway, raw,
};

/// What `TransitGatewayAttachments` may be of.
pub(super) const KINDS: [&str; 5] = ["vpc", "peering", "connect", "vpn", "direct-connect-gateway"];

/// Whether rules may name groups of other VPCs (PT-19).
const REFERENCES: &str = "Options.SecurityGroupReferencingSupport";

/// Most peers of a Connect attachment.
const PEERS: usize = 4;

pub(super) fn transit_gateways(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    for (item, raw) in gateways_in_force(sources) {
        let ecmp = item.optional(&raw.options.vpn_ecmp, "Options.VpnEcmpSupport", value::enabled, errors);
        let multicast =
            item.optional(&raw.options.multicast, "Options.MulticastSupport", value::enabled, errors);
        let references = item.optional(&raw.options.references, REFERENCES, value::enabled, errors);
        let known = &mut model.transit_gateways;
        if let Some(id) = item.new_id(&raw.id, "TransitGatewayId", "tgw-hub", known, errors) {
            let gateway = TransitGateway {
                id: id.clone(),
                vpn_ecmp: ecmp.unwrap_or(true),
                multicast: multicast.unwrap_or(false),
                group_references: references.unwrap_or(false),
                descriptive: raw.notes.descriptive(),
            };
            known.insert(id, gateway);
        }
    }
}

pub(super) fn gateways_in_force<'s, 'a: 's>(
    sources: &'s [Source<'a>],
) -> impl Iterator<Item = (Item<'s>, &'s raw::TransitGateway<'a>)> {
    let all = each(sources, "TransitGateways", |raw| &raw.transit_gateways, |raw| &raw.id);
    all.filter(|(_, raw)| raw.state.in_force())
}

pub(super) fn other_attachments(sources: &[Source<'_>], state: &mut Validation) {
    peerings(sources, state);
    others(sources, state);
    connects(sources, state);
}

/// The attachment as the gateway has it: one of the two halves of a peering.
pub(super) fn of_gateway<'m>(
    attachments: &'m ById<TransitAttachment>,
    id: &str,
    gateway: &str,
) -> Option<&'m TransitAttachment> {
    let whole = attachments.get(id);
    if let Some(attachment) = whole
        && !matches!(attachment.kind, AttachmentKind::Peering { .. })
    {
        return whole;
    }
    whole
        .filter(|attachment| *attachment.gateway == *gateway)
        .or_else(|| attachments.get(&*format!("{id}@{gateway}")))
        // The half of a transit gateway that is not known, in a model that is thrown away.
        .or_else(|| attachments.get(&*format!("{id}@")))
}

/// Whether an attachment is `available`, as it is if nothing is stated.
fn available(state: &raw::Text<'_>) -> bool {
    matches!(state.get(), None | Some("available" | "modifying"))
}

/// The transit gateway that a key names.
fn gateway<'m>(
    item: &Item<'_>,
    text: &raw::Text<'_>,
    key: &str,
    model: &'m Model,
    errors: &mut Errors,
) -> Option<&'m Id> {
    let known = &model.transit_gateways;
    item.reference(text, key, "tgw-hub", "TransitGateways", known, errors).map(|(id, _)| id)
}

/// An attachment without a route table.
fn attachment(
    id: Id,
    gateway: Option<Id>,
    state: &raw::Text<'_>,
    kind: AttachmentKind,
    notes: &raw::Notes<'_>,
) -> TransitAttachment {
    TransitAttachment {
        id,
        gateway: gateway.unwrap_or_default(),
        available: available(state),
        kind,
        table: None,
        descriptive: notes.descriptive(),
    }
}

/// Attachments of VPCs, which rules of security groups depend on (PT-19).
pub(super) fn vpc_attachments(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let mut attached: HashSet<(Id, Id)> = HashSet::new();
    let all = each(sources, "TransitGatewayVpcAttachments", |raw| &raw.transit_vpcs, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let gateway = gateway(&item, &raw.gateway, "TransitGatewayId", model, errors).cloned();
        let vpc = item.reference(&raw.vpc, "VpcId", "vpc-blue", "Vpcs", &model.vpcs, errors);
        let vpc = vpc.map(|(id, _)| id.clone());
        if let (Some(gateway), Some(vpc)) = (&gateway, &vpc)
            && !attached.insert((gateway.clone(), vpc.clone()))
        {
            let problem =
                format!("{vpc} is attached to {gateway} already (DuplicateTransitGatewayAttachment)");
            item.wrong("VpcId", problem, "attach a VPC once", errors);
        }
        let subnets = subnets(&item, raw, vpc.as_ref(), model, errors);
        let options = &raw.options;
        let key = "Options.ApplianceModeSupport";
        let appliance_mode = item.optional(&options.appliance_mode, key, value::enabled, errors);
        let ipv6 = item.optional(&options.ipv6, "Options.Ipv6Support", value::enabled, errors);
        let references = item.optional(&options.references, REFERENCES, value::enabled, errors);
        let known = &mut model.transit_attachments;
        let id = item.new_id(&raw.id, "TransitGatewayAttachmentId", "tgw-attach-blue", known, errors);
        let Some(id) = id else { continue };
        let kind = AttachmentKind::Vpc {
            vpc: vpc.unwrap_or_default(),
            subnets,
            appliance_mode: appliance_mode.unwrap_or(false),
            ipv6: ipv6.unwrap_or(false),
            group_references: references.unwrap_or(true),
        };
        known.insert(id.clone(), attachment(id, gateway, &raw.state, kind, &raw.notes));
    }
}

/// The subnets of a VPC attachment, of one zone each (PT-10).
fn subnets(
    item: &Item<'_>,
    raw: &raw::TransitVpcAttachment<'_>,
    vpc: Option<&Id>,
    model: &Model,
    errors: &mut Errors,
) -> Vec<Id> {
    let mut zones: HashMap<&str, &Id> = HashMap::new();
    let mut subnets = Vec::new();
    for (index, text) in raw.subnets.items().iter().enumerate() {
        let key = format!("SubnetIds[{index}]");
        let found = item.reference(text, &key, "subnet-tgw-a", "Subnets", &model.subnets, errors);
        let Some((id, subnet)) = found else { continue };
        if let Some(vpc) = vpc
            && subnet.vpc != *vpc
        {
            let problem = format!("{id} is in {}, the attachment of {vpc}", subnet.vpc);
            item.wrong(&key, problem, "choose subnets of the attached VPC", errors);
        } else if let Some(other) = zones.insert(&subnet.zone, id) {
            let problem = format!("{id} is in {}, as {other} is (DuplicateSubnetsInSameZone)", subnet.zone);
            item.wrong(key, problem, "choose one subnet in a zone (PT-10)", errors);
        }
        subnets.push(id.clone());
    }
    if raw.subnets.items().is_empty() && !matches!(raw.subnets, raw::List::Wrong(_)) {
        item.wrong("SubnetIds", "has no subnet", "list a subnet in each zone that uses it", errors);
    }
    subnets
}

fn peerings(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let all = each(sources, "TransitGatewayPeeringAttachments", |raw| &raw.transit_peerings, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force() && raw.status.code.in_force()) {
        let key = "RequesterTgwInfo.TransitGatewayId";
        let ours = gateway(&item, &raw.requester.gateway, key, model, errors).cloned();
        let key = "AccepterTgwInfo.TransitGatewayId";
        let theirs = gateway(&item, &raw.accepter.gateway, key, model, errors).cloned();
        if ours.is_some() && ours == theirs {
            item.wrong(key, "is both transit gateways", "name another transit gateway", errors);
        }
        let known = &mut model.transit_attachments;
        let id = item.new_id(&raw.id, "TransitGatewayAttachmentId", "tgw-attach-peer", known, errors);
        let Some(id) = id else { continue };
        let (ours, theirs) = (ours.unwrap_or_default(), theirs.unwrap_or_default());
        let other = Id::from(format!("{id}@{theirs}"));
        let halves = [(&id, &other, &ours, &theirs), (&other, &id, &theirs, &ours)];
        for (id, peer_attachment, gateway, peer) in halves {
            let kind =
                AttachmentKind::Peering { peer: peer.clone(), peer_attachment: peer_attachment.clone() };
            let half = attachment(id.clone(), Some(gateway.clone()), &raw.state, kind, &raw.notes);
            known.insert(id.clone(), half);
        }
    }
}

/// Attachments of VPN connections and Direct Connect gateways; of the others, `TransitGatewayAttachments` repeats what is
/// stated elsewhere.
fn others(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    for (item, raw) in in_force(sources) {
        let example = "vpn";
        let words = |text| value::one_of(text, &KINDS.map(|kind| (kind, kind)));
        let kind = match item.required(&raw.kind, "ResourceType", example, words, errors) {
            Some("vpn") => {
                let known = &model.vpn_connections;
                let key = "ResourceId";
                item.reference(&raw.resource, key, "vpn-office", "VpnConnections", known, errors)
                    .map(|(id, _)| AttachmentKind::Vpn(id.clone()))
            }
            Some("direct-connect-gateway") => {
                let (key, known) = ("ResourceId", &model.direct_connect_gateways);
                item.reference(&raw.resource, key, "dxgw-office", "directConnectGateways", known, errors)
                    .map(|(id, _)| AttachmentKind::DirectConnect(id.clone()))
            }
            _ => continue,
        };
        let gateway = gateway(&item, &raw.gateway, "TransitGatewayId", model, errors).cloned();
        if let (Some(kind), Some(gateway)) = (&kind, &gateway) {
            ends_there(&item, kind, gateway, model, errors);
        }
        let known = &mut model.transit_attachments;
        let id = item.new_id(&raw.id, "TransitGatewayAttachmentId", "tgw-attach-office", known, errors);
        if let Some(id) = id {
            let kind = kind.unwrap_or(AttachmentKind::Vpn(Id::default()));
            known.insert(id.clone(), attachment(id, gateway, &raw.state, kind, &raw.notes));
        }
    }
}

/// What `TransitGatewayAttachments` has that counts.
pub(super) fn in_force<'s, 'a: 's>(
    sources: &'s [Source<'a>],
) -> impl Iterator<Item = (Item<'s>, &'s raw::TransitAttachment<'a>)> {
    let all = each(sources, "TransitGatewayAttachments", |raw| &raw.transit_attachments, |raw| &raw.id);
    all.filter(|(_, raw)| raw.state.in_force())
}

/// Notes a VPN connection or Direct Connect gateway that ends elsewhere than the attachment says.
fn ends_there(item: &Item<'_>, kind: &AttachmentKind, gateway: &Id, model: &Model, errors: &mut Errors) {
    let (id, ends, fix) = match kind {
        AttachmentKind::Vpn(id) => {
            let ends = model.vpn_connections.get(id).is_none_or(|connection| {
                connection.terminal == crate::model::Terminal::TransitGateway(gateway.clone())
            });
            (id, ends, "make its TransitGatewayId the same")
        }
        AttachmentKind::DirectConnect(id) => {
            let known = model.direct_connect_gateways.get(id);
            let ends = known.is_none_or(|known| known.transit_gateways.contains(gateway));
            (id, ends, "add the association to directConnectGatewayAssociations")
        }
        _ => return,
    };
    if !ends {
        item.wrong("TransitGatewayId", format!("{id} does not end at {gateway}"), fix, errors);
    }
}

fn connects(sources: &[Source<'_>], state: &mut Validation) {
    let mut peers = connect_peers(sources, state);
    let Validation { model, errors, .. } = state;
    let all = each(sources, "TransitGatewayConnects", |raw| &raw.transit_connects, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let gateway = gateway(&item, &raw.gateway, "TransitGatewayId", model, errors).cloned();
        let gre = |text| value::one_of(text, &[("gre", ())]);
        item.optional(&raw.options.protocol, "Options.Protocol", gre, errors);
        let (key, known) = ("TransportTransitGatewayAttachmentId", &model.transit_attachments);
        let section = "TransitGatewayVpcAttachments";
        let transport = item.reference(&raw.transport, key, "tgw-attach-blue", section, known, errors);
        if let Some((id, transport)) = transport {
            if !matches!(transport.kind, AttachmentKind::Vpc { .. } | AttachmentKind::DirectConnect(_)) {
                let fix = "name an attachment of a VPC or Direct Connect gateway";
                item.wrong(key, format!("{id} cannot carry it"), fix, errors);
            } else if gateway.as_ref().is_some_and(|gateway| *gateway != transport.gateway) {
                let problem = format!("{id} is of {}", transport.gateway);
                item.wrong(key, problem, "name an attachment of the same transit gateway", errors);
            }
        }
        let transport = transport.map(|(id, _)| id.clone()).unwrap_or_default();
        let peers: Vec<ConnectPeer> =
            peers.remove(item.id).unwrap_or_default().into_iter().map(|(_, peer)| peer).collect();
        if peers.len() > PEERS {
            let problem = format!("has {} Connect peers", peers.len());
            item.wrong("", problem, format!("a Connect attachment has at most {PEERS}"), errors);
        }
        let known = &mut model.transit_attachments;
        let id = item.new_id(&raw.id, "TransitGatewayAttachmentId", "tgw-attach-sdwan", known, errors);
        if let Some(id) = id {
            let kind = AttachmentKind::Connect { transport, peers };
            known.insert(id.clone(), attachment(id, gateway, &raw.state, kind, &raw.notes));
        }
    }
    let start = errors.0.len();
    for (id, peers) in peers {
        for (item, _) in peers {
            let wrong = value::unresolved(id, "TransitGatewayConnects");
            errors.0.push(item.error("TransitGatewayAttachmentId", wrong));
        }
    }
    in_order(errors, start);
}

/// The Connect peers by attachment.
fn connect_peers<'s>(
    sources: &'s [Source<'_>],
    state: &mut Validation,
) -> HashMap<&'s str, Vec<(Item<'s>, ConnectPeer)>> {
    let errors = &mut state.errors;
    let mut peers: HashMap<&str, Vec<_>> = HashMap::new();
    let mut known: ById<()> = ById::new();
    let section = "TransitGatewayConnectPeers";
    let all = each(sources, section, |raw| &raw.transit_connect_peers, |raw| &raw.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let key = "TransitGatewayAttachmentId";
        let attachment = item.required(&raw.attachment, key, "tgw-attach-sdwan", value::id, errors);
        let key = "ConnectPeerConfiguration.TransitGatewayAddress";
        let configuration = &raw.configuration;
        let address = item.required(&configuration.address, key, "192.0.2.10", value::public4, errors);
        let key = "ConnectPeerConfiguration.PeerAddress";
        let peer = item.required(&configuration.peer, key, "10.0.1.20", value::public4, errors);
        if address.is_some() && address == peer {
            item.wrong(key, "is both ends", "write the appliance's address", errors);
        }
        let sessions = sessions(&item, &configuration.sessions, errors);
        let id = item.new_id(&raw.id, "TransitGatewayConnectPeerId", "tgw-connect-peer-1", &known, errors);
        let (Some(attachment), Some(id)) = (attachment, id) else { continue };
        known.insert(id.clone(), ());
        let (Some(address), Some(peer)) = (address, peer) else { continue };
        peers.entry(attachment).or_default().push((item, ConnectPeer { id, address, peer, sessions }));
    }
    peers
}

/// The BGP sessions inside a Connect peer's tunnel.
fn sessions(
    item: &Item<'_>,
    raw: &raw::List<raw::BgpConfiguration<'_>>,
    errors: &mut Errors,
) -> Vec<Session> {
    let mut sessions = Vec::new();
    for (index, session) in raw.items().iter().enumerate() {
        let key = |end| format!("ConnectPeerConfiguration.BgpConfigurations[{index}].{end}");
        let (ours, theirs) = (key("TransitGatewayAddress"), key("PeerAddress"));
        let address = item.required(&session.address, &ours, "169.254.6.2", value::neighbour, errors);
        let peer = item.required(&session.peer, &theirs, "169.254.6.1", value::neighbour, errors);
        sessions.extend(address.zip(peer).map(|(address, peer)| Session { address, peer }));
    }
    sessions
}
