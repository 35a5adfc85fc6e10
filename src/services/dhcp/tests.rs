use proptest::prelude::*;

use super::{
    super::tests::{OWN, PEER, ROUTER as ROUTER_MAC},
    *,
};
use crate::packet::{ipv4_addresses, ipv6_endpoints, sample};

fn lease() -> Lease {
    Lease {
        mac: OWN,
        router_mac: ROUTER_MAC,
        mtu: 1500,
        v4: Some(LeaseV4 { address: [10, 0, 1, 10].into(), subnet: "10.0.1.0/24".parse().unwrap() }),
        v6: Some(LeaseV6 { addresses: [v6("2001:db8::a")].into(), prefixes: [].into() }),
        options: Options {
            domain_name: Some("eu-central-1.compute.internal".into()),
            dns: Servers { v4: vec![[10, 0, 0, 2].into()], v6: vec![v6("fd00:ec2::253")] },
            ..Options::default()
        },
    }
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A frame of the ENI to a MAC.
fn from_own(mut frame: Vec<u8>, to: Mac) -> Vec<u8> {
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&OWN.0);
    frame
}

/// Checks what all frames of the server have; returns its UDP payload.
fn datagram(frame: &[u8]) -> &[u8] {
    let headers = parse(frame).unwrap();
    let (source, destination, client): (IpAddr, IpAddr, _) = match headers.network {
        Network::Ipv4 => {
            assert_eq!(Sum::of(&frame[14..34]).fold(), 0xffff, "the header's checksum");
            let (source, destination) = ipv4_addresses(frame);
            assert_eq!(Ipv4Addr::from_bits(source), Ipv4Addr::new(10, 0, 1, 1));
            (Ipv4Addr::from_bits(source).into(), Ipv4Addr::from_bits(destination).into(), (67, 68))
        }
        _ => {
            let (source, destination) = ipv6_endpoints(frame);
            assert_eq!(source, v6("fe80:ec2::1"));
            (source.into(), destination.into(), (547, 546))
        }
    };
    assert_eq!((macs(frame).1, headers.end()), (ROUTER_MAC, frame.len()));
    assert_eq!((headers.source_port, headers.destination_port), client);
    let udp = &frame[usize::from(headers.l4)..];
    let pseudo = match (source, destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Sum::pseudo_v4(a, b, 17, udp.len() as u16),
        (IpAddr::V6(a), IpAddr::V6(b)) => Sum::pseudo_v6(a, b, 17, udp.len() as u32),
        _ => unreachable!(),
    };
    assert_eq!(pseudo.plus(Sum::of(udp)).fold(), 0xffff, "UDP's checksum");
    &udp[8..]
}

mod dhcpv4 {
    use super::*;

    const XID: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];
    const DISCOVER: u8 = 1;
    const REQUEST: u8 = 3;
    const ACK: u8 = 5;
    const NAK: u8 = 6;
    const INFORM: u8 = 8;

    /// A message of op `op`: flags, ciaddr, yiaddr, options.
    fn message(op: u8, flags: u16, ciaddr: [u8; 4], yiaddr: [u8; 4], options: &[u8]) -> Vec<u8> {
        let mut message = vec![op, 1, 6, 0];
        message.extend(XID);
        message.extend([0, 0]);
        message.extend(flags.to_be_bytes());
        message.extend([ciaddr, yiaddr, [0; 4], [0; 4]].concat());
        message.extend(OWN.0);
        message.resize(236, 0);
        message.extend([99, 130, 83, 99]);
        message.extend(options);
        message
    }

    /// A client's message to everybody: its type, ciaddr, and further options.
    fn client(kind: u8, ciaddr: [u8; 4], options: &[u8]) -> Vec<u8> {
        let options = [&[53, 1, kind], options, &[255]].concat();
        broadcast(&message(1, 0, ciaddr, [0; 4], &options))
    }

    fn broadcast(message: &[u8]) -> Vec<u8> {
        let ends = ([0; 4].into(), [255; 4].into());
        let udp = sample::udp(68, 67, message);
        from_own(sample::ipv4(ends, 17, 0, &[], &udp), Mac::BROADCAST)
    }

    /// Receiver, destination address, and the message up to the End option.
    fn answered(frame: &[u8]) -> Result<(Mac, Ipv4Addr, Vec<u8>), Reason> {
        answered_to(frame, &lease())
    }

    fn answered_to(frame: &[u8], lease: &Lease) -> Result<(Mac, Ipv4Addr, Vec<u8>), Reason> {
        answer(frame, lease).map(|frame| {
            let mut message = datagram(&frame).to_vec();
            assert!(message.len() >= 300 && message.len() + 28 <= 576);
            let end = message.iter().rposition(|&octet| octet == 255).unwrap();
            assert!(message[end + 1..].iter().all(|&octet| octet == 0));
            message.truncate(end);
            (macs(&frame).0, Ipv4Addr::from_bits(ipv4_addresses(&frame).1), message)
        })
    }

    /// The type of the answer, and whether everybody hears it.
    fn verdict(frame: &[u8]) -> Result<(u8, bool), Reason> {
        answered(frame).map(|(to, address, message)| {
            assert_eq!(to == Mac::BROADCAST, address == Ipv4Addr::BROADCAST);
            assert_eq!(message[240..242], [53, 1]);
            (message[242], to == Mac::BROADCAST)
        })
    }

    const SERVER: [u8; 6] = [54, 4, 10, 0, 1, 1];
    const TIMES: [u8; 18] = [51, 4, 0, 0, 14, 16, 58, 4, 0, 0, 7, 8, 59, 4, 0, 0, 12, 78];
    const LINK: [u8; 12] = [1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 1, 1];
    const DNS: [u8; 6] = [6, 4, 10, 0, 0, 2];
    const DOMAIN: &[u8] = b"\x0f\x1deu-central-1.compute.internal";
    const MTU: [u8; 4] = [26, 2, 0x05, 0xdc];
    const SILENCE: Result<(u8, bool), Reason> = Err(Reason::DhcpIgnored);

    #[test]
    fn an_offer_is_the_enis_address_and_all_options() {
        // ADDR-12
        let (to, address, offer) = answered(&client(DISCOVER, [0; 4], &[])).unwrap();
        assert_eq!((to, address), (OWN, Ipv4Addr::new(10, 0, 1, 10)));
        let options = [&[53, 1, 2], &SERVER[..], &TIMES, &LINK, &DNS, DOMAIN, &MTU].concat();
        assert_eq!(offer, message(2, 0, [0; 4], [10, 0, 1, 10], &options));
    }

    #[test]
    fn options_are_those_asked_for_in_their_order() {
        let mut lease = lease();
        lease.options.ntp.v4 = vec![[169, 254, 169, 123].into()];
        lease.options.netbios = vec![[10, 0, 0, 9].into(), [10, 0, 0, 8].into()];
        lease.options.netbios_node_type = Some(2);
        // RFC 6842: the identifier comes back. 1 and 3 are told anyway, 12 is not known, 26 is told once.
        let asked = [61, 3, 0xff, 1, 2, 55, 12, 1, 3, 46, 44, 26, 42, 15, 121, 6, 12, 26, 26];
        let (_, _, offer) = answered_to(&client(DISCOVER, [0; 4], &asked), &lease).unwrap();
        let router = [10, 0, 1, 1];
        let service = |last| [&[32, 169, 254, 169, last], &router[..]].concat();
        let routes = [&[0], &router[..], &service(254), &service(253), &service(123)].concat();
        let expected = [
            &[53, 1, 2],
            &SERVER[..],
            &TIMES,
            &[61, 3, 0xff, 1, 2],
            &LINK,
            &[46, 1, 2],
            &[44, 8, 10, 0, 0, 9, 10, 0, 0, 8],
            &MTU,
            &[42, 4, 169, 254, 169, 123],
            DOMAIN,
            &[121, routes.len() as u8],
            &routes,
            &DNS,
        ];
        assert_eq!(offer[240..], expected.concat());
    }

    #[test]
    fn a_vpc_without_options_has_none() {
        let lease = Lease { options: Options::default(), ..lease() };
        let (_, _, offer) = answered_to(&client(DISCOVER, [0; 4], &[]), &lease).unwrap();
        assert_eq!(offer[240..], [&[53, 1, 2], &SERVER[..], &TIMES, &LINK, &MTU].concat());
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut lease = lease();
        lease.options.domain_name = Some("a.".repeat(127).into());
        let all = |options: &[u8]| answered_to(&client(DISCOVER, [0; 4], options), &lease).unwrap().2;
        let asked = [55, 4, 15, 6, 26, 121];
        let fits = all(&asked);
        assert!(fits[240..].windows(2).any(|pair| pair == [15, 254]));
        assert!(
            !fits[240..].windows(2).any(|pair| pair == [121, 32]),
            "RFC 2131 §2: 576 octets are for sure"
        );
        let large = [&asked[..], &[57, 2, 0x05, 0xdc]].concat();
        let frame = answer(&client(DISCOVER, [0; 4], &large), &lease).unwrap();
        assert!(datagram(&frame)[240..].windows(2).any(|pair| pair == [121, 32]));
    }

    #[test]
    fn requests_are_acknowledged_for_the_right_address_only() {
        let own = [10, 0, 1, 10];
        let wants = |address: [u8; 4]| [&[50, 4], &address[..]].concat();
        let ask = |ciaddr, options: &[u8]| verdict(&client(REQUEST, ciaddr, options));
        // RFC 2131 table 4: selecting, rebooting, renewing or rebinding.
        assert_eq!(ask([0; 4], &[&SERVER[..], &wants(own)].concat()), Ok((ACK, false)));
        assert_eq!(ask([0; 4], &wants(own)), Ok((ACK, false)));
        assert_eq!(ask(own, &[]), Ok((ACK, false)));
        // ADDR-13
        let other = [10, 0, 1, 11];
        assert_eq!(ask([0; 4], &[&SERVER[..], &wants(other)].concat()), Ok((NAK, true)));
        assert_eq!(ask([0; 4], &wants(other)), Ok((NAK, true)));
        assert_eq!(ask(other, &[]), Ok((NAK, true)));
        // For another server; for no address.
        assert_eq!(ask([0; 4], &[&[54, 4, 10, 0, 1, 2], &wants(own)[..]].concat()), SILENCE);
        assert_eq!(ask([0; 4], &SERVER), SILENCE);

        let (_, _, ack) = answered(&client(REQUEST, own, &[55, 1, 6])).unwrap();
        assert_eq!(ack, message(2, 0, own, own, &[&[53, 1, ACK], &SERVER[..], &TIMES, &LINK, &DNS].concat()));
        let (_, _, nak) = answered(&client(REQUEST, other, &[55, 1, 6])).unwrap();
        assert_eq!(nak, message(2, 0, [0; 4], [0; 4], &[&[53, 1, NAK], &SERVER[..]].concat()));
    }

    #[test]
    fn a_unicast_renewal_is_answered() {
        let own = [10, 0, 1, 10];
        let renewal = message(1, 0, own, [0; 4], &[53, 1, REQUEST, 255]);
        let udp = sample::udp(68, 67, &renewal);
        let to = |address: [u8; 4], mac| {
            from_own(sample::ipv4((own.into(), address.into()), 17, 0, &[], &udp), mac)
        };
        assert_eq!(verdict(&to([10, 0, 1, 1], ROUTER_MAC)), Ok((ACK, false)));
        assert_eq!(verdict(&to([10, 0, 1, 1], PEER)), SILENCE, "another instance's");
        assert_eq!(verdict(&to([10, 0, 1, 11], ROUTER_MAC)), SILENCE, "another server's");
    }

    #[test]
    fn who_informs_itself_gets_no_lease() {
        let own = [10, 0, 1, 10];
        let (to, address, ack) = answered(&client(INFORM, own, &[55, 1, 6])).unwrap();
        assert_eq!((to, address), (OWN, own.into()));
        let options = [&[53, 1, ACK], &SERVER[..], &LINK, &DNS].concat();
        assert_eq!(ack, message(2, 0, own, [0; 4], &options));
        assert_eq!(verdict(&client(INFORM, [0; 4], &[])), Ok((ACK, true)));
    }

    #[test]
    fn who_cannot_hear_unicast_says_so() {
        // RFC 2131 §4.1
        let shout =
            |ciaddr| broadcast(&message(1, 0x8000, ciaddr, [0; 4], &[53, 1, REQUEST, 50, 4, 10, 0, 1, 10]));
        assert_eq!(verdict(&shout([0; 4])), Ok((ACK, true)));
        assert_eq!(verdict(&shout([10, 0, 1, 10])), Ok((ACK, false)));
    }

    #[test]
    fn silence() {
        let discover = client(DISCOVER, [0; 4], &[]);
        let spoiled = |at: usize, value| {
            let mut frame = discover.clone();
            frame[42 + at] = value;
            verdict(&frame)
        };
        assert_eq!(spoiled(4, 0), Ok((2, false)), "another transaction");
        for (at, value, what) in [
            (0, 2, "a server's message"),
            (1, 6, "another hardware"),
            (2, 16, "a longer hardware address"),
            (2, 255, "an impossible hardware address"),
            (3, 1, "through a relay"),
            (24, 10, "for a relay"),
            (33, 9, "of another client"),
            (236, 0, "without the magic cookie"),
            (240, 12, "BOOTP"),
            (242, 7, "a release"),
            (242, 4, "an address declined"),
            (242, 2, "an offer"),
            (242, 200, "an unknown type"),
        ] {
            assert_eq!(spoiled(at, value), SILENCE, "{what}");
        }
        assert_eq!(verdict(&broadcast(&[1; 239])), SILENCE, "cut");
        let mut of_another = discover.clone();
        of_another[6..12].copy_from_slice(&PEER.0);
        assert_eq!(verdict(&of_another), Err(Reason::SrcMac));
        // ADDR-26
        assert_eq!(answer(&discover, &Lease { v4: None, ..lease() }), Err(Reason::DhcpIgnored));
    }
}

mod dhcpv6 {
    use super::*;

    const SOLICIT: u8 = 1;
    const ADVERTISE: u8 = 2;
    const REQUEST: u8 = 3;
    const CONFIRM: u8 = 4;
    const RENEW: u8 = 5;
    const REBIND: u8 = 6;
    const REPLY: u8 = 7;
    const RELEASE: u8 = 8;
    const DECLINE: u8 = 9;
    const INFORMATION: u8 = 11;
    const RELAY: u8 = 12;

    const CLIENT: [u8; 10] = [0, 1, 0, 6, 0, 2, 0xaa, 0xbb, 0xcc, 0xdd];
    const SERVER: [u8; 14] = [0, 2, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
    const BOTH: [u8; 24] =
        [0, 1, 0, 6, 0, 2, 0xaa, 0xbb, 0xcc, 0xdd, 0, 2, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
    /// ORO: DNS servers.
    const WANTS_DNS: [u8; 6] = [0, 6, 0, 2, 0, 23];
    const RAPID: [u8; 4] = [0, 14, 0, 0];
    const SILENCE: Result<Vec<u8>, Reason> = Err(Reason::DhcpIgnored);

    fn option(code: u8, data: &[&[u8]]) -> Vec<u8> {
        let data = data.concat();
        [&[0, code][..], &(data.len() as u16).to_be_bytes(), &data].concat()
    }

    fn word(value: u32) -> [u8; 4] {
        value.to_be_bytes()
    }

    /// An IA_NA of the client, with addresses.
    fn ia(id: u32, addresses: &[&str]) -> Vec<u8> {
        let options: Vec<u8> = addresses.iter().flat_map(|text| ia_address(text, 9, 9)).collect();
        option(3, &[&word(id), &[0; 8], &options])
    }

    fn ia_address(text: &str, preferred: u32, valid: u32) -> Vec<u8> {
        option(5, &[&v6(text).octets(), &word(preferred), &word(valid)])
    }

    /// An IA_NA (3) or IA_PD (25) of the server, with the default times.
    fn filled(code: u8, id: u32, options: &[u8]) -> Vec<u8> {
        option(code, &[&word(id), &word(70), &word(112), options])
    }

    fn status(code: u8) -> Vec<u8> {
        vec![0, 13, 0, 2, 0, code]
    }

    fn client(kind: u8, options: &[&[u8]]) -> Vec<u8> {
        client_to(v6("ff02::1:2"), Mac([0x33, 0x33, 0, 1, 0, 2]), kind, options)
    }

    fn client_to(address: Ipv6Addr, mac: Mac, kind: u8, options: &[&[u8]]) -> Vec<u8> {
        let message = [&[kind, 7, 8, 9][..], &options.concat()].concat();
        let udp = sample::udp(546, 547, &message);
        from_own(sample::ipv6((OWN.link_local(), address), 17, &udp), mac)
    }

    fn answered(frame: &[u8]) -> Result<Vec<u8>, Reason> {
        answered_to(frame, &lease())
    }

    fn answered_to(frame: &[u8], lease: &Lease) -> Result<Vec<u8>, Reason> {
        answer(frame, lease).map(|frame| {
            assert_eq!((macs(&frame).0, ipv6_endpoints(&frame).1), (OWN, OWN.link_local()));
            datagram(&frame).to_vec()
        })
    }

    fn message(kind: u8, options: &[&[u8]]) -> Result<Vec<u8>, Reason> {
        Ok([&[kind, 7, 8, 9][..], &options.concat()].concat())
    }

    fn dns() -> Vec<u8> {
        option(23, &[&v6("fd00:ec2::253").octets()])
    }

    #[test]
    fn a_solicitation_is_answered_with_the_enis_addresses() {
        // ADDR-14
        let solicit = client(SOLICIT, &[&CLIENT, &[0, 8, 0, 2, 0, 0], &WANTS_DNS, &ia(1, &[])]);
        let address = ia_address("2001:db8::a", 140, 450);
        let preference = option(7, &[&[255]]);
        let expected = message(ADVERTISE, &[&BOTH, &preference, &filled(3, 1, &address), &dns()]);
        assert_eq!(answered(&solicit), expected);

        let rapid = client(SOLICIT, &[&CLIENT, &RAPID, &WANTS_DNS, &ia(1, &[])]);
        let expected = message(REPLY, &[&BOTH, &RAPID, &filled(3, 1, &address), &dns()]);
        assert_eq!(answered(&rapid), expected);
    }

    #[test]
    fn everything_is_told_to_who_does_not_choose() {
        let mut lease = lease();
        lease.options.domain_name = Some("a.example b.example.".into());
        lease.options.ntp.v6 = vec![v6("fd00:ec2::123"), v6("2001:db8::7b")];
        let names = option(24, &[b"\x01a\x07example\0\x01b\x07example\0"]);
        let (first, second) = (v6("fd00:ec2::123").octets(), v6("2001:db8::7b").octets());
        let sntp = option(31, &[&first, &second]);
        let ntp = option(56, &[&option(1, &[&first]), &option(1, &[&second])]);
        let expected = message(REPLY, &[&BOTH, &dns(), &names, &sntp, &ntp]);
        assert_eq!(answered_to(&client(INFORMATION, &[&CLIENT]), &lease), expected);
        // RFC 8415 §18.3.6: the client need not say who it is.
        let expected = message(REPLY, &[&SERVER, &names]);
        assert_eq!(answered_to(&client(INFORMATION, &[&[0, 6, 0, 4, 0, 24, 0, 99]]), &lease), expected);
    }

    #[test]
    fn the_first_association_has_all_and_others_nothing() {
        let mut lease = lease();
        lease.v6 = Some(LeaseV6 {
            addresses: ["2001:db8::c", "2001:db8::b", "2001:db8::d"].map(v6).into(),
            prefixes: ["2001:db8:0:0:1::/80", "2001:db8:0:0:2::/80"].map(|text| text.parse().unwrap()).into(),
        });
        lease.options = Options { preferred_lifetime6: Some(u32::MAX >> 1), ..Options::default() };
        let (preferred, valid) = (u32::MAX >> 1, (u32::MAX >> 1) + 310);
        let pd = |id: u32| option(25, &[&word(id), &[0; 8]]);
        let ta = option(4, &[&word(5)]);
        let asked: [&[u8]; 6] = [&BOTH, &ia(1, &[]), &ta, &pd(6), &ia(2, &[]), &pd(7)];
        let answer = answered_to(&client(REQUEST, &asked), &lease);
        let times = [word(preferred / 2), word(1_717_986_917)].concat();
        let all =
            ["2001:db8::c", "2001:db8::b", "2001:db8::d"].map(|text| ia_address(text, preferred, valid));
        let prefix = |text: &str| option(26, &[&word(preferred), &word(valid), &[80], &v6(text).octets()]);
        let prefixes = [prefix("2001:db8:0:0:1::"), prefix("2001:db8:0:0:2::")].concat();
        let expected = message(
            REPLY,
            &[
                &BOTH,
                &option(3, &[&word(1), &times, &all.concat()]),
                &option(4, &[&word(5), &status(2)]),
                &option(25, &[&word(6), &times, &prefixes]),
                &option(3, &[&word(2), &times, &status(2)]),
                &option(25, &[&word(7), &times, &status(6)]),
            ],
        );
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_renewal_takes_back_what_is_not_the_enis() {
        let address = ia_address("2001:db8::a", 140, 450);
        let gone = ia_address("2001:db8::b", 0, 0);
        let has = ia(1, &["2001:db8::b", "2001:db8::a"]);
        for (kind, ids) in [(RENEW, &BOTH[..]), (REBIND, &CLIENT)] {
            let expected = message(REPLY, &[&BOTH, &filled(3, 1, &[&address[..], &gone].concat()), &dns()]);
            assert_eq!(answered(&client(kind, &[ids, &WANTS_DNS, &has])), expected);
            // An association that has moved behind another loses nothing by it.
            let both = [ia(2, &[]), ia(1, &["2001:db8::a"])];
            let expected =
                message(REPLY, &[&BOTH, &filled(3, 2, &address), &filled(3, 1, &status(2)), &dns()]);
            assert_eq!(answered(&client(kind, &[ids, &WANTS_DNS, &both[0], &both[1]])), expected);
        }
        let none = Lease { v6: Some(LeaseV6 { addresses: [].into(), prefixes: [].into() }), ..lease() };
        let expected = message(REPLY, &[&BOTH, &filled(3, 1, &status(2)), &dns()]);
        assert_eq!(answered_to(&client(REQUEST, &[&BOTH, &WANTS_DNS, &has]), &none), expected);
    }

    #[test]
    fn addresses_are_confirmed_released_and_declined() {
        let confirm =
            |addresses: &[&str]| answered(&client(CONFIRM, &[&CLIENT, &WANTS_DNS, &ia(1, addresses)]));
        assert_eq!(confirm(&["2001:db8::a"]), message(REPLY, &[&BOTH, &status(0), &dns()]));
        let wrong = confirm(&["2001:db8::a", "2001:db8::b"]);
        assert_eq!(wrong, message(REPLY, &[&BOTH, &status(4), &dns()]));
        // RFC 8415 §18.3.3: without addresses, nothing can be said.
        assert_eq!(confirm(&[]), SILENCE);
        for kind in [RELEASE, DECLINE] {
            let answer = answered(&client(kind, &[&BOTH, &ia(1, &["2001:db8::a"])]));
            assert_eq!(answer, message(REPLY, &[&BOTH, &status(0)]));
        }
    }

    #[test]
    fn messages_are_discarded_as_rfc_8415_16_says() {
        let other = [0, 2, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 2];
        let with_other = [&CLIENT[..], &other].concat();
        let ia = ia(1, &["2001:db8::a"]);
        for (kind, right) in [
            (SOLICIT, &CLIENT[..]),
            (REQUEST, &BOTH),
            (CONFIRM, &CLIENT),
            (RENEW, &BOTH),
            (REBIND, &CLIENT),
            (RELEASE, &BOTH),
            (DECLINE, &BOTH),
        ] {
            for ids in [&[][..], &CLIENT, &SERVER, &BOTH, &with_other] {
                let answer = answered(&client(kind, &[ids, &ia]));
                assert_eq!(answer.is_ok(), ids == right, "{kind} with {ids:?}");
            }
        }
        assert_eq!(answered(&client(INFORMATION, &[&with_other])), SILENCE, "to another server");
        assert!(answered(&client(INFORMATION, &[&BOTH])).is_ok());
        assert_eq!(answered(&client(INFORMATION, &[&CLIENT, &ia])), SILENCE, "with an association");
        for kind in [0, ADVERTISE, REPLY, 10, RELAY, 13, 99] {
            assert_eq!(answered(&client(kind, &[&BOTH, &ia])), SILENCE, "{kind}");
        }
        assert_eq!(answered(&client(SOLICIT, &[&CLIENT, &ia, &[0, 8, 0]])), SILENCE, "a cut option");
        assert_eq!(
            answered(&client(SOLICIT, &[&CLIENT, &option(3, &[&[0; 11]])])),
            SILENCE,
            "a cut association"
        );
        // Of an IPv4-only subnet.
        let solicit = client(SOLICIT, &[&CLIENT, &ia]);
        assert_eq!(answered_to(&solicit, &Lease { v6: None, ..lease() }), SILENCE);
        let mut global = solicit;
        global[22..38].copy_from_slice(&v6("2001:db8::a").octets());
        assert_eq!(answer(&global, &lease()), Err(Reason::DhcpIgnored), "not from a link-local address");
    }

    #[test]
    fn unicast_is_refused() {
        let to =
            |kind, ids: &[u8]| answered(&client_to(v6("fe80:ec2::1"), ROUTER_MAC, kind, &[ids, &ia(1, &[])]));
        assert_eq!(to(REQUEST, &BOTH), message(REPLY, &[&BOTH, &status(5)]));
        assert_eq!(to(SOLICIT, &CLIENT), SILENCE);
        let group = client_to(v6("ff02::1"), Mac([0x33, 0x33, 0, 0, 0, 1]), SOLICIT, &[&CLIENT, &ia(1, &[])]);
        assert_eq!(answered(&group), SILENCE);
    }

    #[test]
    fn an_answer_is_one_packet() {
        let mut lease = lease();
        let addresses = |count: u16| (0..count).map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, last));
        lease.v6 = Some(LeaseV6 { addresses: addresses(60).collect(), prefixes: [].into() });
        let request = client(REQUEST, &[&BOTH, &WANTS_DNS, &ia(1, &[])]);
        let frame = answer(&request, &lease).unwrap();
        // 48 octets of headers, 4 + 24 of message and ids, 16 + 28 each of the association, 20 of DNS.
        assert_eq!((frame.len() - 14, 48 + 28 + 16 + 49 * 28 + 20), (1484, 1484));
        lease.mtu = 9001;
        assert_eq!(answer(&request, &lease).unwrap().len() - 14, 48 + 28 + 16 + 60 * 28 + 20);
        // A client may ask for more answers than there is room for.
        let many: Vec<u8> = (0..200).flat_map(|id| option(4, &[&word(id)])).collect();
        lease.mtu = 1500;
        assert_eq!(answer(&client(REQUEST, &[&BOTH, &many]), &lease), Err(Reason::DhcpIgnored));
    }

    /// A message that the typed decoder of `dhcproto` panics on or descends into.
    #[test]
    fn hostile_options_are_skipped() {
        let mut nested = Vec::new();
        for _ in 0..400 {
            nested = option(17, &[&word(9), &nested]);
        }
        for hostile in [&[0, 13, 0, 1, 0][..], &[0, 16, 0, 2, 0, 0], &[0, 11, 0, 0], &nested] {
            assert!(answered(&client(SOLICIT, &[&CLIENT, hostile, &ia(1, &[])])).is_ok());
        }
    }
}

/// Frames with random messages, and with good ones that have some octets changed.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let v4 = {
        let mut message = vec![1, 1, 6, 0];
        message.resize(28, 0);
        message.extend(OWN.0);
        message.resize(236, 0);
        message.extend([99, 130, 83, 99, 53, 1, 3, 50, 4, 10, 0, 1, 10, 54, 4, 10, 0, 1, 1]);
        message.extend([55, 5, 1, 3, 6, 15, 121, 57, 2, 5, 220, 61, 3, 1, 2, 3, 255]);
        message
    };
    let v6_message = [
        &[5, 1, 2, 3, 0, 1, 0, 2, 9, 9, 0, 2, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1, 0, 6, 0, 2, 0, 23][..],
        &[0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24],
        &[1; 24],
        &[0, 25, 0, 41, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 26, 0, 25],
        &[1; 25],
    ]
    .concat();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let good = (prop::sample::select(vec![(false, v4), (true, v6_message)]), edits).prop_map(
        |((six, mut message), edits)| {
            for (at, value) in edits {
                let at = at.index(message.len());
                message[at] = value;
            }
            (six, message)
        },
    );
    let random = (any::<bool>(), prop::collection::vec(any::<u8>(), 0..600));
    (prop_oneof![good, random], any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |((six, mut message), cut, whole)| {
            if !whole {
                message.truncate(cut.index(message.len() + 1));
            }
            if six {
                let udp = sample::udp(546, 547, &message);
                from_own(
                    sample::ipv6((OWN.link_local(), v6("ff02::1:2")), 17, &udp),
                    Mac([0x33, 0x33, 0, 1, 0, 2]),
                )
            } else {
                let udp = sample::udp(68, 67, &message);
                from_own(sample::ipv4(([0; 4].into(), [255; 4].into()), 17, 0, &[], &udp), Mac::BROADCAST)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_is_answered_rightly_or_ignored(frame in frames()) {
        match answer(&frame, &lease()) {
            Ok(reply) => {
                datagram(&reply);
                // Nobody else's address, ever (ADDR-12).
                let (own, none) = ([10, 0, 1, 10], [0; 4]);
                prop_assert!(reply[12] == 0x86 || [own, none].contains(&[reply[58], reply[59], reply[60], reply[61]]));
            }
            Err(reason) => prop_assert_eq!(reason, Reason::DhcpIgnored),
        }
    }

    #[test]
    fn any_frame_is_answered_or_ignored(frame in prop::collection::vec(any::<u8>(), 0..400), any in sample::any_frame()) {
        let _ = answer(&frame, &lease());
        let _ = answer(&from_own(any, Mac::BROADCAST), &lease());
    }
}
