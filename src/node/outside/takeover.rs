//! Who takes over a public address on a link says so there.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::IpNet;

use super::OwnFrame;
use crate::{
    packet::{Mac, arp},
    tables::{PortIndex, Role, Tables},
};

/// The announcements (RFC 5227 §3) of the public IPv4 addresses on links of the internet that this node answers for now and
/// did not before, with the ports to send them on. Neighbours there may still know the node that answered until now, which
/// need not serve the gateway any more.
pub(in crate::node) fn announcements(before: &Tables, now: &Tables) -> Vec<(PortIndex, OwnFrame)> {
    if Arc::ptr_eq(&before.exits, &now.exits) {
        return Vec::new();
    }
    let publics = now.exits.publics.keys().map(|&address| Ipv4Addr::from_bits(address));
    let taken = publics.filter(|&address| answers(now, address) && !answers(before, address));
    taken.flat_map(|address| on_links(now, address)).collect()
}

fn answers(tables: &Tables, address: Ipv4Addr) -> bool {
    let gateway = tables.exits.publics.get(&address.to_bits()).and_then(|private| private.gateway);
    gateway.is_some_and(|gateway| tables.exits.answers(gateway, address.into()))
}

/// The announcements of an address on the links whose prefixes have it.
fn on_links(tables: &Tables, address: Ipv4Addr) -> impl Iterator<Item = (PortIndex, OwnFrame)> {
    let on = move |link: &IpNet| link.contains(&IpAddr::from(address));
    tables.exits.internet.iter().filter_map(move |&port| match &tables.port(port)?.role {
        Role::Gateway(outside) if outside.addresses.iter().any(on) => {
            Some((port, announcement(outside.mac, address).to_vec()))
        }
        _ => None,
    })
}

fn announcement(mac: Mac, address: Ipv4Addr) -> [u8; arp::FRAME] {
    let announcement = arp::Arp {
        operation: arp::Operation::Request,
        sender_mac: mac,
        sender_ip: address,
        target_mac: Mac::ZERO,
        target_ip: address,
    };
    announcement.frame(Mac::BROADCAST)
}
