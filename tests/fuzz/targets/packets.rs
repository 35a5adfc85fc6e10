//! Single functions over a frame.

use std::sync::LazyLock;

use arrayvec::ArrayVec;
use warren::{
    packet::{
        Buffer, Checked, Cut, ETHERNET, Encapsulation, Fragment, Headers, HeapBuffer, Mac, Network, Outer,
        Plain, Takes, arp::Arp, finish_checksum, flow_hash, fragment::split, icmp as echo,
        igmp as membership, join, nd as discovery, parse, protocol, push_vlan, strip_vlan, tcp::clamp_mss,
    },
    services::dhcp::{Lease, LeaseV4, LeaseV6, Options, Servers, answer},
};

const ENI: Mac = Mac([2, 0, 0, 0, 1, 0x0a]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// The first word of an input, and the frame behind it.
fn word_and_frame(input: &[u8]) -> Option<(u16, &[u8])> {
    let (word, frame) = input.split_first_chunk()?;
    Some((u16::from_be_bytes(*word), frame))
}

/// RFC 1071, the slow way.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The sum of a whole packet's transport header and data, with the pseudo-header except for ICMP.
pub(crate) fn transport_sum(frame: &[u8], headers: &Headers) -> u16 {
    let (addresses, pseudo) = match headers.network {
        Network::Ipv4 => (&frame[26..34], headers.protocol != protocol::ICMP),
        _ => (&frame[22..54], true),
    };
    let data = &frame[headers.l4.into()..headers.end()];
    let length = (data.len() as u32).to_be_bytes();
    let pseudo =
        if pseudo { [addresses, &length, &[0, 0, 0, headers.protocol]].concat() } else { Vec::new() };
    sum(&[&pseudo[..], data].concat())
}

/// The frame with right checksums of its IPv4 header and of an ICMP or ICMPv6 message: what is checked first keeps
/// mutations from what comes after.
pub(crate) fn repaired(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let Ok(headers) = parse(&frame) else { return frame };
    if headers.network == Network::Ipv4 {
        let end = ETHERNET + usize::from(frame[14] & 15) * 4;
        frame[24..26].fill(0);
        let checksum = !sum(&frame[14..end]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    }
    let at = usize::from(headers.l4) + 2;
    if headers.icmp_type().is_some() && at + 2 <= headers.end() {
        frame[at..at + 2].fill(0);
        let checksum = !transport_sum(&frame, &headers);
        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    frame
}

/// What a parsed frame promises: offsets are within the packet, and the packet within the frame.
pub(crate) fn check_headers(frame: &[u8], headers: &Headers) {
    let (l4, end) = (usize::from(headers.l4), headers.end());
    assert!(end <= frame.len(), "{headers:?}");
    let fixed = match headers.network {
        Network::Arp => return assert_eq!(headers.ip_len, 0),
        Network::Ipv4 => 20,
        Network::Ipv6 => 40,
    };
    assert!(ETHERNET + fixed <= l4 && l4 <= end, "{headers:?}");
    if headers.fragment == Fragment::Later {
        assert_eq!((headers.source_port, headers.destination_port), (0, 0));
    } else if matches!(headers.protocol, protocol::TCP | protocol::UDP) {
        let word = |at| u16::from_be_bytes([frame[at], frame[at + 1]]);
        assert!(l4 + 4 <= end, "{headers:?}");
        assert_eq!((headers.source_port, headers.destination_port), (word(l4), word(l4 + 2)));
    }
}

pub(crate) fn headers(frame: &[u8]) {
    if let Ok(headers) = parse(frame) {
        check_headers(frame, &headers);
        let flow = flow_hash(frame, &headers);
        if let Some(plain) = Plain::of(frame) {
            assert_eq!(plain.flow_hash(), flow);
            assert_eq!(u32::from(plain.ip_len), headers.ip_len);
        }
        // What follows the packet is none of its business.
        assert_eq!(parse(&frame[..headers.end().max(ETHERNET)]), Ok(headers));
    }
    let mut buffer = HeapBuffer::new(frame);
    if let Some(id) = strip_vlan(&mut buffer) {
        assert_eq!(buffer.data().len() + 4, frame.len());
        let mut tagged = HeapBuffer::new(buffer.data());
        push_vlan(&mut tagged, id).expect("headroom");
        assert_eq!(tagged.data()[16..], frame[16..]);
        let _ = parse(buffer.data());
    }
}

pub(crate) fn arp(frame: &[u8]) {
    let Ok(packet) = Arp::parse(frame) else { return };
    assert_eq!(Arp::parse(&packet.frame(ENI)).unwrap(), packet);
    let mut buffer = HeapBuffer::new(frame);
    packet.reply_in_place(&mut buffer, ROUTER);
    assert_eq!(Arp::parse(buffer.data()).unwrap(), packet.reply(ROUTER));
    assert_eq!(buffer.data().len(), frame.len());
}

pub(crate) fn nd(frame: &[u8]) {
    for frame in [frame.to_vec(), repaired(frame)] {
        let Ok(headers) = parse(&frame) else { return };
        if headers.network != Network::Ipv6 {
            return;
        }
        let Ok(discovery::Message::Solicitation { target, source, .. }) = discovery::parse(&frame, &headers)
        else {
            continue;
        };
        let asker = (!source.is_unspecified()).then_some(source);
        let mut buffer = HeapBuffer::new(&frame);
        let answer = discovery::Advertisement { target, mac: ROUTER, router: true, asker, asker_mac: ENI };
        assert!(answer.write(&mut buffer));
        let headers = parse(buffer.data()).expect("own frame");
        let read = discovery::parse(buffer.data(), &headers).expect("own message");
        let solicited = asker.is_some();
        assert_eq!(read, discovery::Message::Advertisement { target, mac: Some(ROUTER), solicited });
    }
}

pub(crate) fn icmp(input: &[u8]) {
    let Some((mtu, frame)) = word_and_frame(input) else { return };
    let Ok(headers) = parse(frame) else { return };
    let mut buffer = HeapBuffer::new(frame);
    if echo::is_echo_request(&headers) && echo::reply(&mut buffer, &headers).is_ok() {
        let reply = parse(buffer.data()).expect("own frame");
        check_headers(buffer.data(), &reply);
        assert!(buffer.data().len() <= frame.len());
        assert_eq!(transport_sum(buffer.data(), &reply), 0xffff);
    }
    let (router, longest) = match headers.network {
        Network::Ipv4 => ([10, 0, 1, 1].into(), 576),
        _ => (warren::services::nd::ROUTER.into(), 1280),
    };
    let mut buffer = HeapBuffer::new(frame);
    if echo::too_big(&mut buffer, &headers, (ROUTER, router), ENI, mtu) {
        let error = parse(buffer.data()).expect("own frame");
        check_headers(buffer.data(), &error);
        assert_eq!(error.end(), buffer.data().len());
        assert!(error.ip_len <= longest);
        assert_eq!(transport_sum(buffer.data(), &error), 0xffff);
        let quoted = &buffer.data()[usize::from(error.l4) + 8..];
        assert!(frame[ETHERNET..headers.end()].starts_with(quoted));
        assert!(!echo::may_answer(buffer.data(), &error), "an error about an error");
    }
}

/// What is read is what is written, and every octet of the message counts.
pub(crate) fn igmp(input: &[u8]) {
    for mut frame in [input.to_vec(), repaired(input)] {
        let Ok(headers) = parse(&frame) else { return };
        let at = usize::from(headers.l4) + 2;
        if membership::is_igmp(&headers) && at + 2 <= headers.end() {
            frame[at..at + 2].fill(0);
            let checksum = !sum(&frame[at - 2..headers.end()]);
            frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        let Ok(message) = membership::parse(&frame, &headers) else { continue };
        assert_eq!(sum(&frame[at - 2..headers.end()]), 0xffff);
        let Some(own) = message.frame(ENI, [10, 0, 1, 10].into()) else { continue };
        let headers = parse(&own).expect("own frame");
        check_headers(&own, &headers);
        assert_eq!(headers.end(), own.len());
        assert_eq!(membership::parse(&own, &headers), Ok(message));
    }
}

/// All fragments fit, none but the last is uneven, and together they have the data of the packet, in order.
pub(crate) fn fragment(input: &[u8]) {
    let Some((mtu, frame)) = word_and_frame(input) else { return };
    // In a shorter path than IPv4 allows, a packet has thousands of fragments.
    let mtu = mtu.max(68);
    let frame = repaired(frame);
    let Ok(headers) = parse(&frame) else { return };
    if headers.network != Network::Ipv4 {
        return;
    }
    let data_of = |frame: &[u8]| frame[ETHERNET + usize::from(frame[14] & 15) * 4..].to_vec();
    let mut rest = HeapBuffer::new(&frame);
    let (mut data, mut cut) = (Vec::new(), false);
    loop {
        match split(&mut rest, mtu) {
            Ok(Some(first)) => {
                let first = first.data();
                assert_eq!(sum(&first[14..ETHERNET + usize::from(first[14] & 15) * 4]), 0xffff);
                assert_eq!(first[20] & 0x20, 0x20, "more fragments follow");
                let part = data_of(first);
                assert!(!part.is_empty() && part.len() % 8 == 0);
                assert!(first.len() - ETHERNET <= mtu.into());
                data.extend(part);
                cut = true;
            }
            Ok(None) => break,
            Err(_) => {
                assert!(!cut, "the first cut decides");
                return assert_eq!(rest.data(), frame);
            }
        }
    }
    assert!(rest.data().len() - ETHERNET <= mtu.into());
    data.extend(data_of(rest.data()));
    assert_eq!(data, data_of(&frame[..headers.end()]));
}

/// The word is the data of a segment.
pub(crate) fn offload(input: &[u8]) {
    let Some((size, frame)) = word_and_frame(input) else { return };
    let mut finished = frame.to_vec();
    if !finish_checksum(&mut finished) {
        assert_eq!(finished, frame);
    } else if let Ok(headers) = parse(&finished) {
        assert_eq!(transport_sum(&finished, &headers), 0xffff);
    }
    let Ok(mut cut) = Cut::new(HeapBuffer::new(frame), size.max(16)) else { return };
    let mut segments = Vec::new();
    while let Some(segment) = cut.next_segment().expect("buffers on the heap") {
        segments.push(segment);
    }
    // All have the same headers, and together the data.
    let all: usize = segments.iter().map(|segment| segment.data().len()).sum();
    let data = (segments.len() * frame.len() - all) / (segments.len() - 1).max(1);
    if segments.len() > 1 {
        let headers = frame.len() - data;
        let parts = segments.iter().flat_map(|segment| segment.data()[headers..].to_vec());
        assert_eq!(parts.collect::<Vec<_>>(), frame[headers..]);
    }
    for batch in segments.chunks(64) {
        let mut burst: ArrayVec<HeapBuffer, 64> = batch.iter().cloned().collect();
        join(&mut burst, Takes { v4: true, v6: true });
        let sent =
            burst.iter().map(HeapBuffer::as_sent).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let octets = batch.iter().map(|segment| segment.data().len() as u64).sum();
        assert_eq!(sent, (batch.len() as u64, octets));
    }
}

pub(crate) fn mss(input: &[u8]) {
    let Some((mtu, frame)) = word_and_frame(input) else { return };
    let Ok(headers) = parse(frame) else { return };
    let mut clamped = frame.to_vec();
    if clamp_mss(&mut clamped, &headers, mtu) {
        assert_eq!(parse(&clamped), Ok(headers));
        let changed = clamped.iter().zip(frame).filter(|(new, old)| new != old).count();
        assert!((1..=4).contains(&changed), "the option and the checksum");
        assert_eq!(transport_sum(&clamped, &headers), transport_sum(frame, &headers));
        assert!(!clamp_mss(&mut clamped.clone(), &headers, mtu));
    } else {
        assert_eq!(clamped, frame);
    }
}

pub(crate) fn decap(input: &[u8]) {
    for frame in [input.to_vec(), repaired(input)] {
        let Ok(headers) = parse(&frame) else { return };
        for encapsulation in [Encapsulation::Vxlan, Encapsulation::Geneve] {
            let Ok(outer) = Outer::parse(&frame, &headers, encapsulation, Checked::Unknown) else { continue };
            let inner = usize::from(outer.inner)..usize::from(outer.end);
            assert!(usize::from(headers.l4) < inner.start && inner.len() >= ETHERNET);
            assert!(inner.end <= headers.end());
            let mut buffer = HeapBuffer::new(&frame);
            if outer.strip(&mut buffer).is_ok() {
                // The congestion mark, and an IPv4 checksum with it.
                let stripped = buffer.data().iter().zip(&frame[inner.clone()]);
                assert!(stripped.filter(|(new, old)| new != old).count() <= 3);
                assert_eq!(buffer.data().len(), inner.len());
                if let Ok(inner) = parse(buffer.data()) {
                    check_headers(buffer.data(), &inner);
                }
            }
        }
    }
}

static LEASE: LazyLock<Lease> = LazyLock::new(|| Lease {
    mac: ENI,
    router_mac: ROUTER,
    mtu: 9001,
    v4: Some(LeaseV4 { address: [10, 0, 1, 10].into(), subnet: "10.0.1.0/24".parse().unwrap() }),
    v6: Some(LeaseV6 {
        addresses: ["2001:db8::a".parse().unwrap()].into(),
        prefixes: ["2001:db8:0:0:a::/80".parse().unwrap()].into(),
    }),
    options: Options {
        domain_name: Some("eu-central-1.compute.internal example.com".into()),
        dns: Servers { v4: vec![[10, 0, 0, 2].into()], v6: vec!["fd00:ec2::253".parse().unwrap()] },
        ntp: Servers { v4: vec![[169, 254, 169, 123].into()], v6: Vec::new() },
        netbios: vec![[10, 0, 1, 9].into()],
        netbios_node_type: Some(2),
        preferred_lifetime6: Some(140),
    },
});

/// By the first octet: a message in a DHCPv4 or DHCPv6 client's frame, or a frame.
pub(crate) fn dhcp(input: &[u8]) {
    let Some((kind, message)) = input.split_first() else { return };
    let udp = |ports: [u16; 2]| {
        let words = [ports[0], ports[1], 8 + message.len() as u16, 0];
        [&words.map(u16::to_be_bytes).concat()[..], message].concat()
    };
    let (group, ports, packet) = match kind % 3 {
        0 => (Mac::BROADCAST, [68, 67], {
            let mut header = vec![0x45, 0];
            header.extend((28 + message.len() as u16).to_be_bytes());
            header.extend([0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
            (0x0800_u16, header)
        }),
        1 => (Mac([0x33, 0x33, 0, 1, 0, 2]), [546, 547], {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((8 + message.len() as u16).to_be_bytes());
            header.extend([17, 1, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 1, 0x0a]);
            header.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]);
            (0x86dd, header)
        }),
        _ => return check_answer(message),
    };
    let (ethertype, header) = packet;
    check_answer(&[&group.0[..], &ENI.0, &ethertype.to_be_bytes(), &header, &udp(ports)].concat());
}

fn check_answer(frame: &[u8]) {
    let Ok(reply) = answer(frame, &LEASE) else { return };
    let headers = parse(&reply).expect("own frame");
    assert_eq!(headers.end(), reply.len());
    assert_eq!(transport_sum(&reply, &headers), 0xffff);
    assert_eq!(reply[6..12], ROUTER.0);
    assert!(reply[..6] == ENI.0 || reply[..6] == Mac::BROADCAST.0);
    assert!(headers.ip_len <= LEASE.mtu.into());
}
