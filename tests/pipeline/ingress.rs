//! From the underlay: the outer header, and who the inner frame is for. Who it is from: [`super::origin`].

use warren::{
    packet::{Buffer, Checked, HeapBuffer, Mac},
    pipeline::Reason,
};

use crate::{
    frames::{Outer, datagram, ethernet, fix_ipv4, ip, packet, readdressed, tagged, udp},
    lab::*,
};

/// From C on host-b, through the router, to A.
fn routed() -> Vec<u8> {
    datagram(A, r1(), "10.0.2.10", "10.0.1.10")
}

/// [`routed`] on a wire, as host-b sends it.
fn arriving(wire: Wire) -> Vec<u8> {
    Outer::new(wire, 2, V, Some((V, C))).around(&routed())
}

/// [`arriving`] over VXLAN, with an octet changed and the header's checksum right.
fn with(offset: usize, octet: u8) -> Vec<u8> {
    let mut frame = arriving(VXLAN);
    frame[offset] = octet;
    fix_ipv4(&mut frame);
    frame
}

#[test]
fn p_2_the_inner_frame_is_delivered_as_it_was_sent() {
    for wire in WIRES {
        let mut lab = Lab::new(wire);
        lab.sends(UPLINK, &arriving(wire), AT_A, &routed());
        let inner = datagram(A, r1(), "2001:db8:0:102::c", "2001:db8:0:101::a");
        lab.sends(UPLINK, &Outer::new(wire, 2, V, Some((V, C))).around(&inner), AT_A, &inner);
        // FWD-6: the sender's MAC on the L2 path.
        let inner = datagram(A, B, "10.0.1.20", "10.0.1.11");
        lab.sends(UPLINK, &Outer::new(wire, 2, V, Some((V, B))).around(&inner), AT_A, &inner);
        // What the underlay appends is not part of it.
        lab.sends(UPLINK, &[arriving(wire), vec![0; 9]].concat(), AT_A, &routed());
    }
}

#[test]
fn addr_6_and_7_the_receivers_check() {
    let mut lab = Lab::new(VXLAN);
    let to =
        |mac, destination| Outer::new(VXLAN, 2, V, None).around(&datagram(mac, B, "10.0.1.20", destination));
    // L2-5: the MAC led here, the address is another's.
    lab.drops(UPLINK, &to(A, "10.0.2.10"), Reason::DstCheck);
    lab.drops(UPLINK, &to(A, "10.0.1.31"), Reason::DstCheck);
    for address in ["10.0.1.10", "10.0.1.11", "10.0.1.32", "10.0.1.47"] {
        assert!(matches!(lab.send(UPLINK, &to(A, address)), Outcome::Sent(AT_A, _)), "{address}");
    }
    // FWD-8: FW takes any.
    let inner = datagram(FW, B, "10.0.1.20", "198.51.100.5");
    lab.sends(UPLINK, &to(FW, "198.51.100.5"), AT_FW, &inner);
}

#[test]
fn fwd_2_the_vni_decides_the_vpc() {
    let mut lab = Lab::new(VXLAN);
    let inner = datagram(W, W2, "10.0.1.10", "10.0.1.20");
    lab.sends(UPLINK, &Outer::new(VXLAN, 2, OTHER, None).around(&inner), AT_W, &inner);
    // W's MAC is nobody's in V, A's nobody's in the other.
    lab.drops(UPLINK, &Outer::new(VXLAN, 2, V, None).around(&inner), Reason::UnknownMac);
    let inner = datagram(A, B, "10.0.1.20", "10.0.1.10");
    lab.drops(UPLINK, &Outer::new(VXLAN, 2, OTHER, None).around(&inner), Reason::UnknownMac);
}

#[test]
fn an_unknown_vni_is_dropped() {
    for wire in WIRES {
        let mut lab = Lab::new(wire);
        for vni in [0, 99, 0xff_ffff] {
            let frame = Outer::new(wire, 2, vni, Some((V, C))).around(&routed());
            lab.drops(UPLINK, &frame, Reason::UnknownVni);
        }
    }
}

#[test]
fn what_is_for_nobody_here_is_dropped_by_name() {
    let mut lab = Lab::new(VXLAN);
    let to = |mac| Outer::new(VXLAN, 2, V, None).around(&readdressed(&routed(), mac, r1()));
    // D is on host-c, N nowhere, B at the sender itself.
    for mac in [D, N, B] {
        lab.drops(UPLINK, &to(mac), Reason::NotHere);
    }
    lab.drops(UPLINK, &to(Mac([2, 9, 9, 9, 9, 9])), Reason::UnknownMac);
    lab.drops(UPLINK, &to(Mac::BROADCAST), Reason::Broadcast);
    lab.drops(UPLINK, &to(Mac([1, 0, 0x5e, 0, 0, 1])), Reason::Multicast);
    // L2-10: ARP never travels. Nor does anything that is not IP.
    let arp =
        ethernet(A, B, 0x0806, &[0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    lab.drops(UPLINK, &Outer::new(VXLAN, 2, V, None).around(&arp), Reason::ArpUnanswered);
    let other = ethernet(A, B, 0x88cc, &[0; 46]);
    lab.drops(UPLINK, &Outer::new(VXLAN, 2, V, None).around(&other), Reason::Ethertype);
    let tag = tagged(&routed(), 0x8100);
    lab.drops(UPLINK, &Outer::new(VXLAN, 2, V, None).around(&tag), Reason::Vlan);
}

#[test]
fn an_outer_packet_for_another_station_or_address_is_not_ours() {
    for wire in WIRES {
        let mut lab = Lab::new(wire);
        let frame = arriving(wire);
        lab.drops(UPLINK, &readdressed(&frame, uplink_mac(3), uplink_mac(2)), Reason::UnderlayDestination);
        let frame = Outer { to: 3, ..Outer::new(wire, 2, V, Some((V, C))) }.around(&routed());
        lab.drops(UPLINK, &readdressed(&frame, uplink_mac(1), uplink_mac(2)), Reason::UnderlayDestination);
    }
}

#[test]
fn only_the_configured_encapsulation_is_taken() {
    let mut lab = Lab::new(VXLAN);
    let plain = |protocol, payload: &[u8]| {
        packet(uplink_mac(1), uplink_mac(2), (ip("192.0.2.2"), ip("192.0.2.1")), protocol, payload)
    };
    lab.drops(UPLINK, &plain(17, &udp(1, 53, &[0; 40])), Reason::UnderlayProtocol);
    lab.drops(UPLINK, &plain(6, &[0; 40]), Reason::UnderlayProtocol);
    lab.drops(UPLINK, &plain(47, &[0; 40]), Reason::UnderlayProtocol);
    lab.drops(UPLINK, &plain(1, &[8, 0, 0, 0, 0, 0, 0, 0]), Reason::UnderlayProtocol);
    lab.drops(UPLINK, &arriving(GENEVE), Reason::UnderlayProtocol);
    Lab::new(GENEVE).drops(UPLINK, &arriving(VXLAN), Reason::UnderlayProtocol);
    // VXLAN without the flag of a valid VNI.
    lab.drops(UPLINK, &with(42, 0), Reason::UnderlayProtocol);
}

#[test]
fn outer_fragments_are_refused() {
    let mut lab = Lab::new(VXLAN);
    // MF; and an offset. The payload is no multiple of eight octets long, so the first is a contradiction, too.
    let mut first = arriving(VXLAN);
    let cut = 14 + 20 + (first.len() - 34) / 8 * 8;
    first.truncate(cut);
    first[16..18].copy_from_slice(&((cut - 14) as u16).to_be_bytes());
    first[20] = 0x20;
    fix_ipv4(&mut first);
    lab.drops(UPLINK, &first, Reason::UnderlayFragment);
    lab.drops(UPLINK, &with(21, 2), Reason::UnderlayFragment);
}

/// A frame about which a device said something.
#[derive(Clone)]
pub(crate) struct Marked {
    frame: HeapBuffer,
    contiguous: bool,
    ip: Checked,
    l4: Checked,
}

impl Marked {
    pub(crate) fn new(frame: &[u8]) -> Self {
        Self { frame: HeapBuffer::new(frame), contiguous: true, ip: Checked::Unknown, l4: Checked::Unknown }
    }
}

impl Buffer for Marked {
    fn data(&self) -> &[u8] {
        self.frame.data()
    }

    fn data_mut(&mut self) -> &mut [u8] {
        self.frame.data_mut()
    }

    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        self.frame.prepend(n)
    }

    fn trim_front(&mut self, n: usize) -> bool {
        self.frame.trim_front(n)
    }

    fn truncate(&mut self, n: usize) {
        self.frame.truncate(n);
    }

    fn extend_to(&mut self, n: usize) -> bool {
        self.frame.extend_to(n)
    }

    fn another(&self) -> Option<Self> {
        None
    }

    fn is_contiguous(&self) -> bool {
        self.contiguous
    }

    fn ip_checksum(&self) -> Checked {
        self.ip
    }

    fn l4_checksum(&self) -> Checked {
        self.l4
    }
}

#[test]
fn outer_checksums_are_verified_by_device_or_software() {
    let mut lab = Lab::new(VXLAN);
    let mut wrong = arriving(VXLAN);
    wrong[24] ^= 1;
    lab.drops(UPLINK, &wrong, Reason::UnderlayChecksum);
    let good = Marked::new(&arriving(VXLAN));
    let bad = [Outcome::Dropped(Reason::UnderlayChecksum)];
    assert_eq!(lab.burst(UPLINK, [Marked { ip: Checked::Bad, ..good.clone() }]), bad);
    assert_eq!(lab.burst(UPLINK, [Marked { l4: Checked::Bad, ..good.clone() }]), bad);
    // The device's word is taken.
    let trusted = Marked { ip: Checked::Good, ..Marked::new(&wrong) };
    assert_eq!(lab.burst(UPLINK, [trusted]), [Outcome::Sent(AT_A, routed())]);
}

#[test]
fn frames_of_several_buffers_are_refused_on_any_port() {
    let mut lab = Lab::new(VXLAN);
    let chained = [Outcome::Dropped(Reason::MultiSegment)];
    let part = Marked { contiguous: false, ..Marked::new(&arriving(VXLAN)) };
    assert_eq!(lab.burst(UPLINK, [part]), chained);
    let part = Marked { contiguous: false, ..Marked::new(&datagram(r1(), A, "10.0.1.10", "10.0.2.10")) };
    assert_eq!(lab.burst(AT_A, [part]), chained);
}

#[test]
fn congestion_on_the_underlay_reaches_the_instance() {
    // RFC 6040 §4.2: CE outside, ECT(0) inside; then no ECT inside.
    let mut lab = Lab::new(VXLAN);
    let with_tos = |tos| {
        let mut inner = routed();
        inner[15] = tos;
        fix_ipv4(&mut inner);
        inner
    };
    let outer = |inner: &[u8]| {
        let mut frame = Outer::new(VXLAN, 2, V, None).around(inner);
        frame[15] = 3;
        fix_ipv4(&mut frame);
        frame
    };
    lab.sends(UPLINK, &outer(&with_tos(2)), AT_A, &with_tos(3));
    lab.drops(UPLINK, &outer(&routed()), Reason::EcnCe);
}
