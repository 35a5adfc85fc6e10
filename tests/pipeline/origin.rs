//! P-4: an inner sender that does not live behind the outer source is a spoof.

use warren::{packet::Mac, pipeline::Reason};

use crate::{
    frames::{Outer, datagram},
    lab::*,
};

/// A frame of a host in a VPC.
fn from(wire: Wire, host: u8, vni: u32, sender: Option<(u32, Mac)>, inner: &[u8]) -> Vec<u8> {
    Outer::new(wire, host, vni, sender).around(inner)
}

/// On the L3 path from an address to A.
fn routed(source: &str) -> Vec<u8> {
    datagram(A, r1(), source, if source.contains(':') { "2001:db8:0:101::a" } else { "10.0.1.10" })
}

/// On the L2 path from a MAC to A.
fn direct(mac: Mac, source: &str) -> Vec<u8> {
    datagram(A, mac, source, "10.0.1.10")
}

const SPOOF: Reason = Reason::UnderlaySpoof;

#[test]
fn p_4_an_unknown_host_is_refused() {
    for wire in WIRES {
        let mut lab = Lab::new(wire);
        lab.drops(UPLINK, &from(wire, 99, V, Some((V, C)), &routed("10.0.2.10")), SPOOF);
        lab.drops(UPLINK, &from(wire, 99, V, Some((V, B)), &direct(B, "10.0.1.20")), SPOOF);
        // This very host, from outside.
        lab.drops(UPLINK, &from(wire, 1, V, Some((V, B2)), &direct(B2, "10.0.1.21")), SPOOF);
    }
}

#[test]
fn p_4_on_the_l3_path_the_address_lives_at_the_outer_source() {
    let mut lab = Lab::new(VXLAN);
    for source in ["10.0.2.10", "10.0.1.20", "2001:db8:0:102::c", "2001:db8:0:101::b"] {
        lab.sends(UPLINK, &from(VXLAN, 2, V, None, &routed(source)), AT_A, &routed(source));
    }
    // D's, of its prefixes; on this host; unattached; nobody's; outside; link-local.
    for source in [
        "10.0.1.60",
        "10.0.1.70",
        "2001:db8:0:101:d::1",
        "10.0.1.21",
        "10.0.1.10",
        "10.0.1.50",
        "10.0.1.99",
        "198.51.100.7",
        "fe80::1",
    ] {
        lab.drops(UPLINK, &from(VXLAN, 2, V, None, &routed(source)), SPOOF);
    }
}

#[test]
fn p_4_on_the_l2_path_the_mac_lives_at_the_outer_source_in_the_same_subnet() {
    let mut lab = Lab::new(VXLAN);
    let inner = direct(B, "10.0.1.20");
    lab.sends(UPLINK, &from(VXLAN, 2, V, None, &inner), AT_A, &inner);
    // host-c forwards for V, which waives no MAC (L2-3).
    lab.drops(UPLINK, &from(VXLAN, 3, V, None, &inner), SPOOF);
    // Elsewhere; here; nowhere; another subnet's; another subnet's router; nobody's.
    for mac in [D, B2, FW, N, C, r2(), Mac([2, 9, 9, 9, 9, 9])] {
        lab.drops(UPLINK, &from(VXLAN, 2, V, None, &direct(mac, "10.0.1.20")), SPOOF);
    }
}

#[test]
fn p_4_another_vpcs_eni_at_the_host_is_no_excuse() {
    let mut lab = Lab::new(VXLAN);
    // W2 on host-b has 10.0.1.10 in the other VPC; in V it is A's.
    lab.drops(UPLINK, &from(VXLAN, 2, V, None, &routed("10.0.1.10")), SPOOF);
    lab.drops(UPLINK, &from(VXLAN, 2, V, None, &direct(W2, "10.0.1.10")), SPOOF);
    // C on host-b, in the other VPC.
    let inner = datagram(W, rw(), "10.0.2.10", "10.0.1.20");
    lab.drops(UPLINK, &from(VXLAN, 2, OTHER, None, &inner), SPOOF);
    lab.drops(UPLINK, &from(VXLAN, 2, OTHER, None, &datagram(W, C, "10.0.2.10", "10.0.1.20")), SPOOF);
}

#[test]
fn p_4_a_host_with_an_eni_without_check_forwards_for_its_vpc() {
    let mut lab = Lab::new(VXLAN);
    // ADDR-8: FW2 on host-c sends from any address of V, or none of it.
    for source in ["198.51.100.7", "10.0.2.10", "2001:db8:9::1"] {
        lab.sends(UPLINK, &from(VXLAN, 3, V, None, &routed(source)), AT_A, &routed(source));
    }
    let inner = datagram(W, rw(), "198.51.100.7", "10.0.1.20");
    lab.drops(UPLINK, &from(VXLAN, 3, OTHER, None, &inner), SPOOF);
    // No longer when its check is on again.
    lab.change(|model| model.enis.get_mut("eni-fw2").unwrap().source_dest_check = true);
    lab.drops(UPLINK, &from(VXLAN, 3, V, None, &routed("198.51.100.7")), SPOOF);
}

#[test]
fn p_4_geneve_makes_the_check_exact() {
    let mut lab = Lab::new(GENEVE);
    let mut ok =
        |host, sender, inner: &[u8]| lab.sends(UPLINK, &from(GENEVE, host, V, sender, inner), AT_A, inner);
    ok(2, Some((V, C)), &routed("10.0.2.10"));
    ok(2, Some((V, B)), &direct(B, "10.0.1.20"));
    ok(3, Some((V, FW2)), &routed("198.51.100.7"));
    ok(3, Some((V, D)), &routed("10.0.1.70"));
    // Without the option it is VXLAN's check.
    ok(2, None, &routed("10.0.2.10"));
    ok(3, None, &routed("198.51.100.7"));

    let mut spoof =
        |host, sender, inner: &[u8]| lab.drops(UPLINK, &from(GENEVE, host, V, sender, inner), SPOOF);
    // D has its check on, though its host forwards.
    spoof(3, Some((V, D)), &routed("198.51.100.7"));
    // B sends with C's address, which lives at the same host.
    spoof(2, Some((V, B)), &routed("10.0.2.10"));
    // Named, but elsewhere; nobody; of another VPC.
    spoof(3, Some((V, C)), &routed("10.0.2.10"));
    spoof(2, Some((V, FW2)), &routed("198.51.100.7"));
    spoof(2, Some((V, Mac([2, 9, 9, 9, 9, 9]))), &routed("10.0.2.10"));
    spoof(2, Some((OTHER, W2)), &routed("10.0.1.10"));
    spoof(2, Some((OTHER, C)), &routed("10.0.2.10"));
    // The L2 path carries the sender's MAC.
    spoof(2, Some((V, C)), &direct(B, "10.0.1.20"));
    spoof(2, Some((OTHER, B)), &direct(B, "10.0.1.20"));
    spoof(2, None, &routed("198.51.100.7"));
    spoof(3, None, &direct(B, "10.0.1.20"));
}
