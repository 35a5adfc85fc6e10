use std::{fs, io::Read, net::IpAddr};

use flate2::read::MultiGzDecoder;

use super::*;
use crate::{
    ffi::cycles,
    flowlogs::{Action, FlowRecord, Format, Traffic},
    tables::Direction,
};

fn record(eni: u32, packets: u64, at: Duration) -> FlowRecord {
    FlowRecord {
        eni,
        direction: Direction::Egress,
        source: IpAddr::from([10, 0, 0, 4]),
        destination: IpAddr::from([10, 0, 0, 5]),
        source_port: 1000,
        destination_port: 53,
        protocol: 17,
        packets,
        bytes: packets * 60,
        start: at,
        end: at,
        tcp_flags: 0,
        action: Action::Accept,
        path: 1,
    }
}

#[test]
fn what_workers_push_is_in_files_when_the_node_has_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::node::config::FlowLogsConfig { folder: folder.path().into(), ..Default::default() };
    // As many cycles a second as there are nanoseconds: whatever the processor's are, time passes.
    let clock = Clock::new(1_000_000_000);
    assert!(cycles() > 0);
    let logs = FlowLogs::start(config.settings(&"host-1".into()), 2, clock).unwrap();
    let log = Log {
        id: "fl-1".into(),
        resource: "eni-1".into(),
        folder: "fl-1".into(),
        account: None,
        region: None,
        traffic: Traffic::All,
        interval: Duration::from_secs(600),
        format: Format::parse("${interface-id} ${packets} ${bytes} ${traffic-path} ${log-status}").unwrap(),
    };
    let interface = Interface { id: "eni-1".into(), ..Interface::default() };
    // Records may come before the writer knows the ENI.
    let rings = Arc::clone(logs.rings());
    assert!(rings[0].push(record(7, 1, clock.now().time)));
    logs.tell(vec![(7, Arc::new(interface))], vec![log]);
    for _ in 0..100 {
        assert!(rings[1].push(record(7, 2, clock.now().time)));
    }
    drop(logs);
    let files: Vec<_> =
        fs::read_dir(folder.path().join("fl-1")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let mut text = String::new();
    MultiGzDecoder::new(fs::File::open(&files[0]).unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "interface-id packets bytes traffic-path log-status\neni-1 201 12060 1 OK\n");
}

#[test]
fn the_state_says_whose_an_eni_is() {
    let state = r#"
Warren: {Networks: [{VpcId: vpc-1, Vni: 1}]}
Vpcs: [{VpcId: vpc-1, CidrBlock: 10.0.0.0/16}]
Subnets:
- {SubnetId: subnet-1, VpcId: vpc-1, AvailabilityZone: eu-central-1a, AvailabilityZoneId: euc1-az2, CidrBlock: 10.0.0.0/24, OwnerId: "123456789012"}
NetworkInterfaces:
- NetworkInterfaceId: eni-1
  SubnetId: subnet-1
  VpcId: vpc-1
  MacAddress: 02:00:00:00:00:01
  PrivateIpAddress: 10.0.0.4
  Attachment: {InstanceId: i-1, DeviceIndex: 0}
"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.yaml");
    fs::write(&path, state).unwrap();
    let documents = crate::model::read_documents(&[path]).unwrap();
    let model = crate::model::load(&documents).unwrap();
    let found = interface(&model, "eni-1").unwrap();
    assert_eq!((&*found.vpc, &*found.subnet), ("vpc-1", "subnet-1"));
    let words = [found.instance, found.account, found.region, found.zone_id];
    assert_eq!(
        words.map(|word| word.unwrap().to_string()),
        ["i-1", "123456789012", "eu-central-1", "euc1-az2"]
    );
    assert_eq!(found.primary4, Some([10, 0, 0, 4].into()));
    assert!(interface(&model, "eni-2").is_none());
}
