//! Lines of AWS's own pages, "Flow log record examples" and "Flow log records".

use super::*;
use crate::flowlogs::testing::{flow, tcp};

fn interface(id: &str) -> Interface {
    Interface { id: id.into(), account: Some("123456789010".into()), ..Interface::default() }
}

/// The line of a format, without its end.
fn line(format: &Format, interface: &Interface, content: Content) -> String {
    let mut out = String::new();
    format.line(&mut out, interface, (1_431_280_876, 1_431_280_934), content);
    assert_eq!(out.pop(), Some('\n'));
    out
}

#[test]
fn the_default_format_is_that_of_version_2() {
    // FL-1.
    let format = Format::default();
    let mut header = String::new();
    format.header(&mut header);
    assert_eq!(
        header,
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n"
    );
    let eni = interface("eni-1235b8ca123456789");
    for (content, expected) in [
        (
            flow("172.31.16.139:20641", "172.31.16.21:22", 6, (20, 4249), (1_418_530_010, 1_418_530_070)),
            "172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK",
        ),
        (
            // FL-11.
            flow("203.0.113.12:0", "172.31.16.139:0", 1, (4, 336), (1_432_917_027, 1_432_917_142)),
            "203.0.113.12 172.31.16.139 0 0 1 4 336 1432917027 1432917142 ACCEPT OK",
        ),
        (
            flow(
                "[2001:db8:1234:a100:8d6e:3477:df66:f105]:34892",
                "[2001:db8:1234:a102:3304:8879:34cf:4071]:22",
                6,
                (54, 8855),
                (1_477_913_708, 1_477_913_820),
            ),
            "2001:db8:1234:a100:8d6e:3477:df66:f105 2001:db8:1234:a102:3304:8879:34cf:4071 34892 22 6 54 8855 1477913708 1477913820 ACCEPT OK",
        ),
    ] {
        let expected = format!("2 123456789010 eni-1235b8ca123456789 {expected}");
        assert_eq!(line(&format, &eni, Content::Flow(content)), expected);
    }
}

#[test]
fn rejected_flows_say_so() {
    // FL-5.
    let mut rejected =
        flow("172.31.9.69:49761", "172.31.9.12:3389", 6, (20, 4249), (1_418_530_010, 1_418_530_070));
    rejected.key.action = Action::Reject;
    assert_eq!(
        line(&Format::default(), &interface("eni-1235b8ca123456789"), Content::Flow(rejected)),
        "2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK"
    );
}

#[test]
fn without_data_the_fields_of_a_flow_are_not_applicable() {
    // FL-8.
    let line = |id, content| line(&Format::default(), &interface(id), content);
    assert_eq!(
        line("eni-1235b8ca123456789", Content::NoData),
        "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA"
    );
    assert_eq!(
        line("eni-11111111aaaaaaaaa", Content::SkipData),
        "2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1431280876 1431280934 - SKIPDATA"
    );
    let format = Format::parse("${type} ${instance-id} ${tcp-flags} ${flow-direction}").unwrap();
    let eni = Interface { instance: Some("i-1".into()), ..interface("eni-1") };
    let mut out = String::new();
    format.line(&mut out, &eni, (1, 2), Content::NoData);
    assert_eq!(out, "- i-1 - -\n");
}

/// The instance of the examples with fields of version 3 and later.
fn instance() -> Interface {
    Interface {
        vpc: "vpc-abcdefab012345678".into(),
        subnet: "subnet-aaaaaaaa012345678".into(),
        instance: Some("i-01234567890123456".into()),
        region: Some("ap-southeast-2".into()),
        zone_id: Some("apse2-az3".into()),
        ..interface("eni-1235b8ca123456789")
    }
}

#[test]
fn version_3_has_tcp_flags() {
    // FL-2, FL-7.
    let format = "${version} ${vpc-id} ${subnet-id} ${instance-id} ${interface-id} ${account-id} ${type} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${pkt-srcaddr} ${pkt-dstaddr} ${protocol} ${bytes} ${packets} ${start} ${end} ${action} ${tcp-flags} ${log-status}";
    let format = Format::parse(format).unwrap();
    let content =
        tcp(flow("52.213.180.42:43416", "10.0.0.62:5001", 6, (8, 568), (1_566_848_875, 1_566_848_933)), 2);
    assert_eq!(
        line(&format, &instance(), Content::Flow(content)),
        "3 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-01234567890123456 eni-1235b8ca123456789 123456789010 IPv4 52.213.180.42 10.0.0.62 43416 5001 52.213.180.42 10.0.0.62 6 568 8 1566848875 1566848933 ACCEPT 2 OK"
    );
}

#[test]
fn version_5_has_direction_and_path() {
    // FL-2, FL-10. AWS's example names its service behind the address, which Warren does not know.
    let format = "${version} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${start} ${end} ${type} ${packets} ${bytes} ${account-id} ${vpc-id} ${subnet-id} ${instance-id} ${interface-id} ${region} ${az-id} ${sublocation-type} ${sublocation-id} ${action} ${tcp-flags} ${pkt-srcaddr} ${pkt-dstaddr} ${pkt-src-aws-service} ${pkt-dst-aws-service} ${traffic-path} ${flow-direction} ${log-status}";
    let format = Format::parse(format).unwrap();
    let ids = "123456789010 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-01234567890123456 eni-1235b8ca123456789 ap-southeast-2 apse2-az3 - -";
    let times = (1_616_729_292, 1_616_729_349);
    let mut content = tcp(flow("52.95.128.179:80", "10.0.0.71:34210", 6, (14, 15044), times), 19);
    assert_eq!(
        line(&format, &instance(), Content::Flow(content)),
        format!(
            "5 52.95.128.179 10.0.0.71 80 34210 6 1616729292 1616729349 IPv4 14 15044 {ids} ACCEPT 19 52.95.128.179 10.0.0.71 - - - ingress OK"
        )
    );
    content = tcp(flow("10.0.0.71:34210", "52.95.128.179:80", 6, (7, 471), times), 3);
    content.key.direction = Direction::Egress;
    content.sums.path = 8;
    assert_eq!(
        line(&format, &instance(), Content::Flow(content)),
        format!(
            "5 10.0.0.71 52.95.128.179 34210 80 6 1616729292 1616729349 IPv4 7 471 {ids} ACCEPT 3 10.0.0.71 52.95.128.179 - - 8 egress OK"
        )
    );
}

#[test]
fn the_eni_is_shown_by_its_primary_address() {
    // FL-4. The first: AWS's example of a packet to the internet at a NAT gateway's network interface.
    let format = Format::parse("${srcaddr} ${dstaddr} ${pkt-srcaddr} ${pkt-dstaddr}").unwrap();
    let eni = Interface {
        primary4: Some([10, 0, 0, 220].into()),
        addresses6: ["2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()].into(),
        prefixes6: ["2001:db8:0:0:1::/80".parse().unwrap()].into(),
        ..interface("eni-1")
    };
    for (direction, source, destination, expected) in [
        (Direction::Ingress, "10.0.1.5", "203.0.113.5", "10.0.1.5 10.0.0.220 10.0.1.5 203.0.113.5"),
        (Direction::Ingress, "10.0.1.5", "10.0.0.9", "10.0.1.5 10.0.0.220 10.0.1.5 10.0.0.9"),
        (Direction::Egress, "10.0.0.9", "10.0.1.5", "10.0.0.220 10.0.1.5 10.0.0.9 10.0.1.5"),
        (Direction::Egress, "2001:db8::2", "2001:db8::9", "2001:db8::2 2001:db8::9 2001:db8::2 2001:db8::9"),
        (
            Direction::Egress,
            "2001:db8::1:0:0:7",
            "2001:db8::9",
            "2001:db8::1:0:0:7 2001:db8::9 2001:db8::1:0:0:7 2001:db8::9",
        ),
        (Direction::Egress, "2001:db8::5", "2001:db8::9", "2001:db8::1 2001:db8::9 2001:db8::5 2001:db8::9"),
        (Direction::Egress, "fe80::5", "fe80::6", "fe80::5 fe80::6 fe80::5 fe80::6"),
    ] {
        let mut content = flow("10.0.0.1:1", "10.0.0.2:2", 17, (1, 1), (1, 1));
        content.key.direction = direction;
        (content.key.source, content.key.destination) =
            (source.parse().unwrap(), destination.parse().unwrap());
        assert_eq!(line(&format, &eni, Content::Flow(content)), expected);
    }
}

#[test]
fn the_version_is_the_highest_of_the_fields() {
    for (format, version) in [
        ("${srcaddr}", 2),
        ("${version} ${tcp-flags}", 3),
        ("${az-id} ${version}", 4),
        ("${flow-direction} ${version} ${az-id}", 5),
        ("${reject-reason}", 8),
    ] {
        assert_eq!(Format::parse(format).unwrap().version(), version, "{format}");
    }
}

#[test]
fn what_is_no_field_is_named() {
    for (format, error) in [
        ("", "no field; write some, such as ${srcaddr} ${dstaddr}"),
        (
            "${version}${action}",
            "no field `version}${action`; those of versions 2 to 5 and reject-reason can be had",
        ),
        ("${version} action", "`action` is no field; write ${field}, and one space between fields"),
        ("${ecs-task-id}", "no field `ecs-task-id`; those of versions 2 to 5 and reject-reason can be had"),
    ] {
        assert_eq!(Format::parse(format).unwrap_err().to_string(), error);
    }
}
