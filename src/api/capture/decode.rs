//! A frame in a few words.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::{
    Checked, Encapsulation, Fragment, Headers, Network, Outer,
    arp::{Arp, Operation},
    ethertype_of, ipv4_addresses, ipv6_addresses, macs, parse, protocol,
};

/// Says what a frame is, from its first bytes and its length: `10.0.1.10.40000 > 10.0.2.10.443 tcp 66`, with the bytes of the IP
/// packet at the end. Of a packet of the overlay it says the network identifier and what is inside.
pub(super) fn decode(data: &[u8], length: usize) -> String {
    // The parser wants whole packets; what is missing at the end is not looked at.
    let mut frame = data.to_vec();
    frame.resize(length.max(data.len()), 0);
    describe(&frame)
}

fn describe(frame: &[u8]) -> String {
    match parse(frame) {
        Ok(headers) if headers.network == Network::Arp => arp(frame),
        Ok(headers) => overlay(frame, &headers).unwrap_or_else(|| ip(frame, &headers)),
        Err(reason) => {
            let (to, from) = macs(frame);
            format!("{from} > {to} ethertype {:#06x}, {reason}", ethertype_of(frame))
        }
    }
}

fn arp(frame: &[u8]) -> String {
    match Arp::parse(frame) {
        Ok(Arp { operation: Operation::Request, sender_ip, target_ip, .. }) => {
            format!("arp who has {target_ip}, tell {sender_ip}")
        }
        Ok(Arp { operation: Operation::Reply, sender_ip, sender_mac, .. }) => {
            format!("arp {sender_ip} is at {sender_mac}")
        }
        Err(reason) => format!("arp, {reason}"),
    }
}

fn overlay(frame: &[u8], headers: &Headers) -> Option<String> {
    let (encapsulation, name) = [(Encapsulation::Vxlan, "vxlan"), (Encapsulation::Geneve, "geneve")]
        .into_iter()
        .find(|(encapsulation, _)| encapsulation.port() == headers.destination_port)?;
    let outer = Outer::parse(frame, headers, encapsulation, Checked::Good).ok()?;
    let inner = frame.get(outer.inner.into()..outer.end.into())?;
    let (from, to) = addresses(frame, headers);
    Some(format!("{from} > {to} {name} {} | {}", outer.vni, describe(inner)))
}

fn addresses(frame: &[u8], headers: &Headers) -> (String, String) {
    if headers.network == Network::Ipv4 {
        let (from, to) = ipv4_addresses(frame);
        (Ipv4Addr::from_bits(from).to_string(), Ipv4Addr::from_bits(to).to_string())
    } else {
        let (from, to) = ipv6_addresses(frame);
        (Ipv6Addr::from_bits(from).to_string(), Ipv6Addr::from_bits(to).to_string())
    }
}

fn ip(frame: &[u8], headers: &Headers) -> String {
    let (from, to) = addresses(frame, headers);
    let len = headers.ip_len;
    let number = headers.protocol.to_string();
    let name = match headers.protocol {
        protocol::ICMP => "icmp",
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::ICMPV6 => "icmp6",
        _ => &number,
    };
    match (headers.fragment, headers.protocol) {
        (Fragment::Later, _) => format!("{from} > {to} {name} later fragment {len}"),
        (_, protocol::TCP | protocol::UDP) => {
            // As tcpdump writes them: a dot also behind IPv6 addresses.
            let (from_port, to_port) = (headers.source_port, headers.destination_port);
            format!("{from}.{from_port} > {to}.{to_port} {name} {len}")
        }
        _ => match headers.icmp_type() {
            Some(kind) => {
                format!("{from} > {to} {name} type {kind} code {} {len}", headers.destination_port & 0xff)
            }
            None => format!("{from} > {to} {name} {len}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{
        Buffer, HeapBuffer, Mac, OuterChecksum, OuterTemplate, Sender, Vni,
        sample::{self, A, B},
    };

    fn text(frame: &[u8]) -> String {
        decode(frame, frame.len())
    }

    fn datagram4() -> Vec<u8> {
        let ends = ("10.0.1.10".parse().unwrap(), "10.0.2.10".parse().unwrap());
        sample::datagram(ends, 4000, 53, b"question")
    }

    #[test]
    fn ip_packets_with_ports_or_types() {
        assert_eq!(text(&datagram4()), "10.0.1.10.4000 > 10.0.2.10.53 udp 36");
        let ends = ("2001:db8::a".parse().unwrap(), "2001:db8::b".parse().unwrap());
        assert_eq!(text(&sample::datagram(ends, 1, 2, b"")), "2001:db8::a.1 > 2001:db8::b.2 udp 48");
        let ends = ([10, 0, 1, 10].into(), [10, 0, 2, 10].into());
        let echo = sample::ipv4(ends, 1, 0x4000, &[], &[8, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(text(&echo), "10.0.1.10 > 10.0.2.10 icmp type 8 code 0 28");
        assert_eq!(text(&sample::ipv4(ends, 47, 0, &[], b"")), "10.0.1.10 > 10.0.2.10 47 20");
        assert_eq!(
            text(&sample::ipv4(ends, 17, 3, &[], b"x")),
            "10.0.1.10 > 10.0.2.10 udp later fragment 21"
        );
    }

    #[test]
    fn a_packet_cut_off_is_still_known() {
        let frame = datagram4();
        assert_eq!(decode(&frame[..42], frame.len()), text(&frame));
        assert!(!decode(&frame[..3], frame.len()).is_empty());
        assert!(!decode(&[], 0).is_empty());
    }

    #[test]
    fn arp_and_what_is_not_ip() {
        let (sender_ip, target_ip) = ([10, 0, 1, 10].into(), [10, 0, 1, 11].into());
        let arp =
            Arp { operation: Operation::Request, sender_mac: A, sender_ip, target_mac: Mac::ZERO, target_ip };
        assert_eq!(text(&arp.frame(Mac::BROADCAST)), "arp who has 10.0.1.11, tell 10.0.1.10");
        let reply = format!("arp 10.0.1.11 is at {B}");
        assert_eq!(text(&arp.reply(B).frame(A)), reply);
        let tagged = format!("{A} > {B} ethertype 0x8100, vlan");
        assert_eq!(text(&sample::ethernet(0x8100, &[0; 50])), tagged);
    }

    #[test]
    fn the_overlay_with_what_is_inside() {
        let vni = Vni::new(4100).unwrap();
        for (encapsulation, name) in [(Encapsulation::Vxlan, "vxlan"), (Encapsulation::Geneve, "geneve")] {
            let [from, to] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
            let template = OuterTemplate::new(encapsulation, A, B, from, to, OuterChecksum::Zero).unwrap();
            let mut buffer = HeapBuffer::new(&datagram4());
            template.encapsulate(&mut buffer, vni, Sender { vni, mac: A }, 1).unwrap();
            assert_eq!(
                text(buffer.data()),
                format!("192.0.2.1 > 192.0.2.2 {name} 4100 | 10.0.1.10.4000 > 10.0.2.10.53 udp 36")
            );
        }
    }
}
