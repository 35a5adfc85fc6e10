//! To the worker that owns the receiver, and what that checks again.

use warren::{
    pipeline::{AtEni, Reason},
    tables::{Direction, PortIndex},
};

use crate::{
    frames::{Outer, datagram, readdressed},
    lab::*,
};

/// A packet that goes to an ENI.
fn to(port: PortIndex, vni: u32) -> AtEni {
    AtEni { port, direction: Direction::Ingress, vni: vni_of(vni) }
}

#[test]
fn frames_for_an_eni_of_another_worker_are_handed_over_ready() {
    for wire in WIRES {
        let mut lab = Lab::new(wire);
        lab.sink.foreign = vec![AT_A];
        let inner = datagram(A, r1(), "10.0.2.10", "10.0.1.10");
        let frame = Outer::new(wire, 2, V, Some((V, C))).around(&inner);
        assert_eq!(lab.send(UPLINK, &frame), Outcome::HandedOver(0, to(AT_A, V), inner));
        // The receiver's check is its owner's business (ADDR-6).
        let frame = datagram(A, B2, "10.0.1.21", "10.0.2.10");
        assert_eq!(lab.send(AT_B2, &frame), Outcome::HandedOver(0, to(AT_A, V), frame));
        // What an ENI has sent is its owner's, whoever takes it from the device.
        let frame = datagram(B, A, "10.0.1.10", "10.0.1.20");
        let from = AtEni { direction: Direction::Egress, ..to(AT_A, V) };
        assert_eq!(lab.send(AT_A, &frame), Outcome::HandedOver(0, from, frame));
        lab.sink.foreign = vec![AT_C2];
        let frame = datagram(r1(), A, "10.0.1.10", "10.0.2.20");
        let inner = readdressed(&frame, C2, r2());
        assert_eq!(lab.send(AT_A, &frame), Outcome::HandedOver(0, to(AT_C2, V), inner));
        // The uplink is anybody's.
        let frame = datagram(B, A, "10.0.1.10", "10.0.1.20");
        lab.encapsulates(AT_A, &frame, 2, &frame);
    }
}

#[test]
fn the_owner_checks_again_whose_port_it_is() {
    let mut lab = Lab::new(VXLAN);
    let frame = datagram(A, r1(), "10.0.2.10", "10.0.1.10");
    let not_here = Outcome::Dropped(Reason::NotHere);
    assert_eq!(lab.take_over(to(AT_A, V), &frame), Outcome::Sent(AT_A, frame.clone()));
    let other_address = datagram(A, B2, "10.0.1.21", "10.0.2.10");
    assert_eq!(lab.take_over(to(AT_A, V), &other_address), Outcome::Dropped(Reason::DstCheck));
    // Another VPC; another ENI's port; an uplink; an empty port.
    assert_eq!(lab.take_over(to(AT_A, OTHER), &frame), not_here);
    for port in [AT_B2, UPLINK, EMPTY] {
        assert_eq!(lab.take_over(to(port, V), &frame), not_here);
    }
    // The ENI left while the frame waited; another came.
    lab.change(|model| model.enis.get_mut("eni-a").unwrap().attachment = None);
    assert_eq!(lab.take_over(to(AT_A, V), &frame), not_here);
    lab.change(|model| {
        let port = model.enis["eni-b2"]
            .attachment
            .clone()
            .map(|at| warren::model::Attachment { port: "vm0".into(), ..at });
        model.enis.get_mut("eni-b2").unwrap().attachment = port;
    });
    assert_eq!(lab.take_over(to(AT_A, V), &frame), not_here);
    let frame = datagram(B2, r1(), "10.0.2.10", "10.0.1.21");
    assert_eq!(lab.take_over(to(AT_A, V), &frame), Outcome::Sent(AT_A, frame.clone()));
}

#[test]
fn a_frame_of_no_port_is_gone() {
    let mut lab = Lab::new(VXLAN);
    let frame = warren::packet::HeapBuffer::new(&datagram(r1(), A, "10.0.1.10", "10.0.2.10"));
    assert_eq!(lab.burst(PortIndex(7), [frame]), []);
}
