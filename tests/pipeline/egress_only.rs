//! Egress-only internet gateways (GW-21).

use std::{sync::Arc, time::Duration};

use warren::{model::BlockPublicAccess, pipeline::Reason, tables::GatewayKind};

use crate::{
    edge::*,
    frames::{ACK, RST, SYN, readdressed},
    lab::*,
};

fn request6(protocol: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    sound(r1(), A, (CLIENT6, SERVER6), protocol, &segment(protocol, ports, flags))
}

fn response6(protocol: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    sound(OUT_MAC, ROUTER, (SERVER6, CLIENT6), protocol, &segment(protocol, ports, flags))
}

/// A packet as it is on the other side.
fn out(frame: &[u8]) -> Vec<u8> {
    readdressed(frame, ROUTER, OUT_MAC)
}

fn inside(frame: &[u8]) -> Vec<u8> {
    readdressed(frame, A, r1())
}

#[test]
fn replies_come_in_and_nothing_else_gw_21() {
    for wire in WIRES {
        let mut lab = edge(wire, 1);
        for protocol in [6, 17, 58] {
            let to = if protocol == 58 { 0 } else { 80 };
            let back = if protocol == 58 { (0, 40_000) } else { (80, 40_000) };
            let (request, reply) =
                (request6(protocol, (40_000, to), SYN), response6(protocol, back, SYN | ACK));
            lab.drops(OUT, &reply, Reason::EigwUnsolicited);
            lab.sends(AT_A, &request, OUT, &out(&request));
            lab.sends(OUT, &reply, AT_A, &inside(&reply));
            let other = if protocol == 58 {
                response6(58, (40_000, 0), 0)
            } else {
                response6(protocol, (81, 40_000), 0)
            };
            lab.drops(OUT, &other, Reason::EigwUnsolicited);
            lab.now += Duration::from_secs(350);
            lab.drops(OUT, &reply, Reason::EigwUnsolicited);
        }
    }
}

#[test]
fn any_protocol_has_its_replies_gw_21() {
    let mut lab = edge(GENEVE, 1);
    let packet = |ends, protocol| sound(r1(), A, ends, protocol, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let request = packet((CLIENT6, SERVER6), 50);
    lab.sends(AT_A, &request, OUT, &out(&request));
    let from = |protocol| readdressed(&packet((SERVER6, CLIENT6), protocol), OUT_MAC, ROUTER);
    lab.sends(OUT, &from(50), AT_A, &inside(&from(50)));
    lab.drops(OUT, &from(132), Reason::EigwUnsolicited);
}

#[test]
fn errors_about_what_went_out_come_in_gw_21() {
    let mut lab = edge(GENEVE, 1);
    let request = request6(17, (40_000, 80), 0);
    let error = |about: &[u8]| {
        let error = [&[2, 0, 0, 0, 0, 0, 5, 0][..], &about[14..]].concat();
        sound(OUT_MAC, ROUTER, ("2001:db8:77::1", CLIENT6), 58, &error)
    };
    lab.drops(OUT, &error(&request), Reason::EigwUnsolicited);
    lab.sends(AT_A, &request, OUT, &out(&request));
    lab.sends(OUT, &error(&request), AT_A, &inside(&error(&request)));
    lab.drops(OUT, &error(&request6(17, (40_001, 80), 0)), Reason::EigwUnsolicited);
    // About a packet that is not the receiver's.
    let foreign = sound(r1(), A, ("2001:db8:0:101::b2", SERVER6), 17, &segment(17, (40_000, 80), 0));
    lab.drops(OUT, &error(&foreign), Reason::EigwUnsolicited);
}

#[test]
fn a_connection_in_its_middle_goes_on_gw_21() {
    let mut lab = edge(GENEVE, 1);
    let (request, reply) = (request6(6, (40_000, 80), ACK), response6(6, (80, 40_000), ACK));
    lab.drops(OUT, &reply, Reason::EigwUnsolicited);
    lab.sends(AT_A, &request, OUT, &out(&request));
    lab.sends(OUT, &reply, AT_A, &inside(&reply));
    let reset = request6(6, (40_001, 80), RST);
    lab.sends(AT_A, &reset, OUT, &out(&reset));
}

#[test]
fn only_addresses_of_the_vpc_pass_gw_9() {
    let mut lab = edge(GENEVE, 1);
    // FW's source check is off.
    let foreign = sound(r1(), FW, ("2001:db8:9::1", SERVER6), 17, &segment(17, (1, 2), 0));
    lab.drops(AT_FW, &foreign, Reason::EdgeToEdge);
    // With a source of the VPC, from outside: no packet from inside.
    let false_source = sound(OUT_MAC, ROUTER, ("2001:db8:0:101::b", CLIENT6), 17, &segment(17, (1, 2), 0));
    lab.drops(OUT, &false_source, Reason::EdgeToEdge);
}

#[test]
fn blocked_public_access_gw_25() {
    for (mode, passes) in [(BlockPublicAccess::Ingress, true), (BlockPublicAccess::Bidirectional, false)] {
        let mut lab = edge(GENEVE, 1);
        change(&mut lab, |exits| {
            let gateways = Arc::make_mut(&mut exits.gateways);
            let GatewayKind::EgressOnly(internet) = &mut gateways[2].kind else { panic!() };
            internet.blocked = mode;
        });
        let request = request6(17, (40_000, 80), 0);
        if passes {
            lab.sends(AT_A, &request, OUT, &out(&request));
        } else {
            lab.drops(AT_A, &request, Reason::Bpa);
        }
    }
}
