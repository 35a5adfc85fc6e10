//! From an instance: L2, ADDR, FWD, RT and MTU rules.

use warren::{
    packet::{HeapBuffer, Mac},
    pipeline::Reason,
    tables::VlanMode,
};

use crate::{
    frames::{datagram, ethernet, ip, packet, readdressed, tagged, udp},
    lab::*,
};

#[test]
fn l2_1_only_ipv4_arp_and_ipv6_pass() {
    let mut lab = Lab::new(VXLAN);
    // MPLS, LLDP, an 802.3 length, experimental; L2-2 names the first three.
    for kind in [0x8847, 0x88cc, 0x0026, 0x88b5] {
        lab.drops(AT_A, &ethernet(B, A, kind, &[0; 46]), Reason::Ethertype);
    }
}

#[test]
fn l2_2_tags_are_refused_or_stripped_as_the_port_says() {
    let mut lab = Lab::new(VXLAN);
    let frame = datagram(B2, A, "10.0.1.10", "10.0.1.21");
    lab.drops(AT_A, &tagged(&frame, 0x8100), Reason::Vlan);
    lab.drops(AT_A, &tagged(&frame, 0x88a8), Reason::Vlan);

    let mut site = site(VXLAN, 1);
    site.ports[0].vlan = VlanMode::Strip;
    let mut lab = Lab::of(VXLAN, site, Neighbours(true));
    lab.sends(AT_A, &tagged(&frame, 0x8100), AT_B2, &frame);
    // One tag is taken off, no more.
    lab.drops(AT_A, &tagged(&tagged(&frame, 0x8100), 0x8100), Reason::Vlan);
    lab.drops(AT_B2, &tagged(&frame, 0x8100), Reason::Vlan);
}

#[test]
fn l2_3_a_foreign_source_mac_is_refused_even_without_check() {
    let mut lab = Lab::new(VXLAN);
    let vrrp = Mac([0, 0, 0x5e, 0, 1, 7]);
    for from in [B, B2, vrrp] {
        lab.drops(AT_A, &datagram(B2, from, "10.0.1.10", "10.0.1.21"), Reason::SrcMac);
        lab.drops(AT_FW, &datagram(B2, from, "10.0.1.30", "10.0.1.21"), Reason::SrcMac);
        lab.drops(AT_A, &datagram(r1(), from, "2001:db8:0:101::a", "2001:db8:0:101::b"), Reason::SrcMac);
    }
}

#[test]
fn l2_5_the_mac_decides_whatever_the_address() {
    let mut lab = Lab::new(VXLAN);
    // Scenario 19: C's address, B's MAC.
    let to_b = datagram(B, A, "10.0.1.10", "10.0.2.10");
    lab.encapsulates(AT_A, &to_b, 2, &to_b);
    let to_b = datagram(B, A, "2001:db8:0:101::a", "2001:db8:0:102::c");
    lab.encapsulates(AT_A, &to_b, 2, &to_b);
    // On this host: the receiver's own check is next (ADDR-6).
    lab.drops(AT_A, &datagram(B2, A, "10.0.1.10", "10.0.2.10"), Reason::DstCheck);
    lab.drops(AT_A, &datagram(B2, A, "2001:db8:0:101::a", "2001:db8:0:102::c"), Reason::DstCheck);
}

#[test]
fn l2_6_and_fwd_14_through_the_router_also_within_the_subnet() {
    let mut lab = Lab::new(VXLAN);
    let frame = datagram(r1(), A, "10.0.1.10", "10.0.1.20");
    lab.encapsulates(AT_A, &frame, 2, &readdressed(&frame, B, r1()));
    let frame = datagram(r1(), A, "10.0.1.10", "10.0.1.21");
    lab.sends(AT_A, &frame, AT_B2, &readdressed(&frame, B2, r1()));
}

#[test]
fn l2_7_a_mac_of_another_subnet_or_vpc_or_nobody_is_unknown() {
    let mut lab = Lab::new(VXLAN);
    for to in [C, C2, W, W2, r2(), rw(), Mac([2, 9, 9, 9, 9, 9]), Mac::ZERO] {
        lab.drops(AT_A, &datagram(to, A, "10.0.1.10", "10.0.2.10"), Reason::UnknownMac);
        lab.drops(AT_FW, &datagram(to, FW, "10.0.1.10", "10.0.2.10"), Reason::UnknownMac);
    }
}

#[test]
fn l2_8_broadcast_is_dropped_but_dhcp_is_answered_by_the_management_thread() {
    let mut lab = Lab::new(VXLAN);
    lab.drops(AT_A, &datagram(Mac::BROADCAST, A, "10.0.1.10", "10.0.1.255"), Reason::Broadcast);
    lab.drops(AT_A, &datagram(Mac::BROADCAST, A, "10.0.1.10", "10.0.1.21"), Reason::Broadcast);
    let discover = udp(68, 67, &[1; 240]);
    let frame = packet(Mac::BROADCAST, A, (ip("0.0.0.0"), ip("255.255.255.255")), 17, &discover);
    assert_eq!(lab.send(AT_A, &frame), Outcome::Punted(AT_A, frame.clone()));
    lab.sink.busy = true;
    lab.drops(AT_A, &frame, Reason::PuntFull);
    lab.sink.busy = false;
    // An appliance's too, and one to the router itself (a renewal).
    let frame = packet(Mac::BROADCAST, FW, (ip("0.0.0.0"), ip("255.255.255.255")), 17, &discover);
    assert_eq!(lab.send(AT_FW, &frame), Outcome::Punted(AT_FW, frame.clone()));
    let frame = packet(r1(), A, (ip("10.0.1.10"), ip("10.0.1.1")), 17, &discover);
    assert_eq!(lab.send(AT_A, &frame), Outcome::Punted(AT_A, frame.clone()));
}

#[test]
fn l2_9_multicast_is_dropped() {
    let mut lab = Lab::new(VXLAN);
    let group = Mac([1, 0, 0x5e, 0, 0, 18]);
    lab.drops(AT_A, &datagram(group, A, "10.0.1.10", "224.0.0.18"), Reason::Multicast);
    let group = Mac([0x33, 0x33, 0, 0, 0, 0xfb]);
    lab.drops(AT_A, &datagram(group, A, "2001:db8:0:101::a", "ff02::fb"), Reason::Multicast);
    let solicit = udp(546, 547, &[1; 40]);
    let group = Mac([0x33, 0x33, 0, 1, 0, 2]);
    let ends = (A.link_local().into(), ip("ff02::1:2"));
    let frame = packet(group, A, ends, 17, &solicit);
    assert_eq!(lab.send(AT_A, &frame), Outcome::Punted(AT_A, frame.clone()));
}

#[test]
fn l2_25_link_local_unicast_within_the_subnet() {
    let mut lab = Lab::new(VXLAN);
    let ends = |from: &str, to: Mac| {
        (if from.is_empty() { A.link_local().into() } else { ip(from) }, to.link_local().into())
    };
    let frame = packet(B2, A, ends("", B2), 17, &udp(1, 2, b"x"));
    lab.sends(AT_A, &frame, AT_B2, &frame);
    let frame = packet(B, A, ends("", B), 17, &udp(1, 2, b"x"));
    lab.encapsulates(AT_A, &frame, 2, &frame);
    // Not the receiver's link-local address; not the sender's; not routed.
    lab.drops(AT_A, &packet(B2, A, ends("", B), 17, &udp(1, 2, b"x")), Reason::DstCheck);
    lab.drops(AT_A, &packet(B2, A, ends("fe80::1", B2), 17, &udp(1, 2, b"x")), Reason::SrcCheck);
    lab.drops(AT_A, &packet(r1(), A, ends("", B2), 17, &udp(1, 2, b"x")), Reason::InvalidDestination);
}

#[test]
fn addr_2_broadcast_addresses_are_dropped() {
    let mut lab = Lab::new(VXLAN);
    for to in ["10.0.1.255", "255.255.255.255"] {
        lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", to), Reason::Broadcast);
    }
}

#[test]
fn addr_5_the_source_is_one_of_the_enis_addresses() {
    let mut lab = Lab::new(VXLAN);
    for from in ["10.0.1.12", "10.0.1.20", "10.0.1.31", "10.0.1.48", "198.51.100.7", "0.0.0.0"] {
        lab.drops(AT_A, &datagram(r1(), A, from, "10.0.2.10"), Reason::SrcCheck);
        lab.drops(AT_A, &datagram(B, A, from, "10.0.1.20"), Reason::SrcCheck);
    }
    for from in ["2001:db8:0:101::b", "2001:db8:0:101:b::1", "::", "fe80::1"] {
        lab.drops(AT_A, &datagram(r1(), A, from, "2001:db8:0:102::c"), Reason::SrcCheck);
        lab.drops(AT_A, &datagram(B, A, from, "2001:db8:0:101::b"), Reason::SrcCheck);
    }
    // Primary, secondary, of the prefix.
    for from in ["10.0.1.10", "10.0.1.11", "10.0.1.32", "10.0.1.47"] {
        let frame = datagram(r1(), A, from, "10.0.2.10");
        lab.encapsulates(AT_A, &frame, 2, &readdressed(&frame, C, r2()));
    }
}

#[test]
fn addr_6_the_destination_is_one_of_the_receivers_addresses() {
    let mut lab = Lab::new(VXLAN);
    lab.drops(AT_FW, &datagram(A, FW, "10.0.1.30", "10.0.1.99"), Reason::DstCheck);
    for to in ["10.0.1.10", "10.0.1.11", "10.0.1.40", "10.0.1.47"] {
        // The last two are of the /28.
        let frame = datagram(A, FW, "10.0.1.30", to);
        lab.sends(AT_FW, &frame, AT_A, &frame);
    }
}

#[test]
fn addr_7_addr_8_and_fwd_8_without_check_both_address_checks_vanish() {
    let mut lab = Lab::new(VXLAN);
    // FWD-8, scenario 15: A routes 198.51.100.0/24 via FW.
    for to in ["198.51.100.5", "10.0.2.10"] {
        let frame = datagram(FW, A, "10.0.1.10", to);
        lab.sends(AT_A, &frame, AT_FW, &frame);
    }
    let frame = datagram(FW, A, "2001:db8:0:101::a", "2001:db8:9::5");
    lab.sends(AT_A, &frame, AT_FW, &frame);
    // ADDR-8: FW passes on what another ENI of the VPC sent; ADDR-7: or anybody.
    for from in ["10.0.1.10", "198.51.100.5"] {
        let frame = datagram(r1(), FW, from, "10.0.2.10");
        lab.encapsulates(AT_FW, &frame, 2, &readdressed(&frame, C, r2()));
        let frame = datagram(B2, FW, from, "10.0.1.21");
        lab.sends(AT_FW, &frame, AT_B2, &frame);
    }
}

#[test]
fn addr_10_a_delegated_prefix_is_its_enis() {
    let mut lab = Lab::new(VXLAN);
    for to in ["10.0.1.64", "10.0.1.79", "2001:db8:0:101:d::", "2001:db8:0:101:d:ffff:ffff:ffff"] {
        let from = if to.contains(':') { "2001:db8:0:101:a::77" } else { "10.0.1.33" };
        let frame = datagram(r1(), A, from, to);
        lab.encapsulates(AT_A, &frame, 3, &readdressed(&frame, D, r1()));
    }
    for to in ["10.0.1.63", "10.0.1.80"] {
        lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", to), Reason::NoMapping);
    }
    let frame = datagram(r2(), C2, "10.0.2.20", "10.0.1.60");
    lab.encapsulates(AT_C2, &frame, 3, &readdressed(&frame, D, r1()));
    let frame = datagram(r2(), C2, "2001:db8:0:102::c2", "2001:db8:0:101:a::77");
    lab.sends(AT_C2, &frame, AT_A, &readdressed(&frame, A, r1()));
}

#[test]
fn addr_24_and_25_what_is_for_the_router_or_a_service_is_dropped() {
    let mut lab = Lab::new(VXLAN);
    for to in ["10.0.1.1", "169.254.169.254", "169.254.0.1", "169.254.255.255"] {
        lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", to), Reason::Service);
    }
    let router = r1().link_local().to_string();
    for to in ["2001:db8:0:101::1", "fe80:ec2::1", &router, "fd00:ec2::254"] {
        lab.drops(AT_A, &datagram(r1(), A, "2001:db8:0:101::a", to), Reason::Service);
    }
}

#[test]
fn fwd_2_vpcs_with_equal_blocks_are_apart() {
    let mut lab = Lab::new(VXLAN);
    // 10.0.1.20 is B on host-b in V, and W on this very host in the other VPC.
    let frame = datagram(r1(), A, "10.0.1.10", "10.0.1.20");
    lab.encapsulates(AT_A, &frame, 2, &readdressed(&frame, B, r1()));
    // 10.0.2.10 is C in V, nobody in the other.
    lab.drops(AT_W, &datagram(rw(), W, "10.0.1.20", "10.0.2.10"), Reason::NoMapping);
    lab.drops(AT_W, &datagram(A, W, "10.0.1.20", "10.0.1.10"), Reason::UnknownMac);
    // W's own way out is W2's VNI.
    let frame = datagram(rw(), W, "10.0.1.20", "10.0.1.10");
    let Outcome::Sent(UPLINK, outer) = lab.send(AT_W, &frame) else { panic!() };
    assert_eq!(outer[46..49], [0, 0, OTHER as u8]);
    assert_eq!(outer[50..], readdressed(&frame, W2, rw()));
}

#[test]
fn fwd_3_5_and_6_routed_frames_change_their_macs_and_nothing_else() {
    for wire in WIRES {
        let mut lab = Lab::new(wire);
        for (from, to) in [("10.0.1.10", "10.0.2.10"), ("2001:db8:0:101::a", "2001:db8:0:102::c")] {
            // With TTL and hop limit 1, which `frames::packet` writes.
            let frame = datagram(r1(), A, from, to);
            lab.encapsulates(AT_A, &frame, 2, &readdressed(&frame, C, r2()));
        }
        for (from, to) in [("10.0.1.10", "10.0.2.20"), ("2001:db8:0:101::a", "2001:db8:0:102::c2")] {
            let frame = datagram(r1(), A, from, to);
            lab.sends(AT_A, &frame, AT_C2, &readdressed(&frame, C2, r2()));
        }
        // FWD-6: the sender's MAC on the L2 path.
        let frame = datagram(B, A, "10.0.1.10", "10.0.1.20");
        lab.encapsulates(AT_A, &frame, 2, &frame);
        let frame = datagram(B2, A, "10.0.1.10", "10.0.1.21");
        lab.sends(AT_A, &frame, AT_B2, &frame);
    }
}

#[test]
fn fwd_4_an_address_of_the_vpc_without_eni_is_no_mapping() {
    let mut lab = Lab::new(VXLAN);
    for to in ["10.0.1.99", "10.0.2.99", "10.0.77.1", "10.0.2.255"] {
        lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", to), Reason::NoMapping);
    }
    for to in ["2001:db8:0:102::99", "2001:db8:0:1ff::1"] {
        lab.drops(AT_A, &datagram(r1(), A, "2001:db8:0:101::a", to), Reason::NoMapping);
    }
}

#[test]
fn rt_13_no_route_no_way() {
    let mut lab = Lab::new(VXLAN);
    for to in ["10.1.0.1", "8.8.8.8", "223.255.255.255"] {
        lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", to), Reason::NoRoute);
    }
    for to in ["2001:db8:0:200::1", "2600::1", "fd00::1"] {
        lab.drops(AT_A, &datagram(r1(), A, "2001:db8:0:101::a", to), Reason::NoRoute);
    }
}

#[test]
fn fwd_18_any_protocol_passes() {
    let mut lab = Lab::new(VXLAN);
    // IPIP, GRE, ESP, VRRP, SCTP, and one that nobody uses.
    for protocol in [4, 47, 50, 112, 132, 253] {
        for ends in [("10.0.1.10", "10.0.2.20"), ("2001:db8:0:101::a", "2001:db8:0:102::c2")] {
            let frame = packet(r1(), A, (ip(ends.0), ip(ends.1)), protocol, b"opaque");
            lab.sends(AT_A, &frame, AT_C2, &readdressed(&frame, C2, r2()));
        }
    }
}

#[test]
fn fwd_19_to_oneself_is_dropped() {
    let mut lab = Lab::new(VXLAN);
    for to in ["10.0.1.10", "10.0.1.11", "10.0.1.35"] {
        lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", to), Reason::ToSelf);
        lab.drops(AT_A, &datagram(A, A, "10.0.1.10", to), Reason::ToSelf);
    }
    lab.drops(AT_A, &datagram(r1(), A, "2001:db8:0:101::a", "2001:db8:0:101:a::1"), Reason::ToSelf);
}

#[test]
fn fwd_20_what_is_never_routed() {
    let mut lab = Lab::new(VXLAN);
    for to in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.254"] {
        lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", to), Reason::InvalidDestination);
    }
    for to in ["::", "::1", "ff02::1", "ff0e::1", "fe80::1", "febf::1"] {
        lab.drops(AT_A, &datagram(r1(), A, "2001:db8:0:101::a", to), Reason::InvalidDestination);
    }
}

#[test]
fn mtu_2_the_port_bounds_the_packet() {
    let mut lab = Lab::new(VXLAN);
    for (from, to, header) in
        [("10.0.1.10", "10.0.2.20", 20), ("2001:db8:0:101::a", "2001:db8:0:102::c2", 40)]
    {
        let frame =
            |len: usize| packet(r1(), A, (ip(from), ip(to)), 17, &udp(1, 2, &vec![7; len - header - 8]));
        lab.sends(AT_A, &frame(1500), AT_C2, &readdressed(&frame(1500), C2, r2()));
        lab.drops(AT_A, &frame(1501), Reason::OversizeFrame);
    }
}

#[test]
fn unattached_enis_get_nothing_and_empty_ports_send_nothing() {
    let mut lab = Lab::new(VXLAN);
    lab.drops(AT_A, &datagram(r1(), A, "10.0.1.10", "10.0.1.50"), Reason::Unattached);
    lab.drops(AT_A, &datagram(N, A, "10.0.1.10", "10.0.1.50"), Reason::Unattached);
    lab.drops(EMPTY, &datagram(r1(), N, "10.0.1.50", "10.0.1.10"), Reason::NoEni);
}

#[test]
fn the_underlay_may_be_unresolved_unreachable_or_too_small() {
    let frame = datagram(r1(), A, "10.0.1.10", "10.0.2.10");
    Lab::of(VXLAN, site(VXLAN, 1), Neighbours(false)).drops(AT_A, &frame, Reason::UnderlayUnresolved);

    let mut elsewhere = site(VXLAN, 1);
    uplink(&mut elsewhere).on_link = "203.0.113.0/24".parse().unwrap();
    Lab::of(VXLAN, elsewhere, Neighbours(true)).drops(AT_A, &frame, Reason::UnderlayUnreachable);

    for wire in WIRES {
        // The outer IP packet is the uplink's MTU, then one octet more.
        let outer = wire.encapsulation.overhead(wire.ipv6) - 14;
        let mut small = site(wire, 1);
        uplink(&mut small).mtu = (frame.len() + outer) as u16;
        let inner = readdressed(&frame, C, r2());
        Lab::of(wire, small.clone(), Neighbours(true)).encapsulates(AT_A, &frame, 2, &inner);
        uplink(&mut small).mtu -= 1;
        let outcomes = Lab::of(wire, small, Neighbours(true)).burst(AT_A, [HeapBuffer::new(&frame)]);
        assert_eq!(outcomes.last(), Some(&Outcome::Dropped(Reason::MtuDf)));
    }
}

#[test]
fn p_2_padding_travels_and_the_outer_header_never_shows() {
    let mut lab = Lab::new(VXLAN);
    let frame = [datagram(r1(), A, "10.0.1.10", "10.0.2.10"), vec![0; 6]].concat();
    lab.encapsulates(AT_A, &frame, 2, &readdressed(&frame, C, r2()));
}

#[test]
fn a_burst_keeps_its_order_and_every_packet_its_own_fate() {
    let mut lab = Lab::new(VXLAN);
    let numbered = |number: u8, to: Mac, destination: &str| {
        packet(to, A, (ip("10.0.1.10"), ip(destination)), 17, &udp(1, 2, &[number; 30]))
    };
    let kinds: [(Mac, &str); 4] =
        [(B2, "10.0.1.21"), (r1(), "10.0.2.20"), (r1(), "10.0.77.1"), (Mac::BROADCAST, "10.0.1.255")];
    let frames: Vec<_> =
        (0..64).zip(kinds.iter().cycle()).map(|(number, &(mac, to))| numbered(number, mac, to)).collect();
    let mut expected = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        match number % 4 {
            0 => expected.push(Outcome::Sent(AT_B2, frame.clone())),
            1 => expected.push(Outcome::Sent(AT_C2, readdressed(frame, C2, r2()))),
            _ => {}
        }
    }
    for reason in [Reason::Broadcast, Reason::NoMapping] {
        expected.extend((0..16).map(|_| Outcome::Dropped(reason)));
    }
    assert_eq!(lab.burst(AT_A, frames.iter().map(|frame| HeapBuffer::new(frame))), expected);
}
