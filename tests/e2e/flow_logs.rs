//! Flow logs of the kernels' traffic, read by what reads AWS's.

use std::{
    fs,
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::lab::{
    cloud::{Cloud, Nic, nic, rule},
    fleet::{Fleet, Site},
    inside::{Flow, PORT, Server, within},
    python, run,
};

const READ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/lab/flowlogs.py");

/// Versions 2 to 5.
const FORMAT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} \
                      ${packets} ${bytes} ${start} ${end} ${action} ${log-status} ${vpc-id} ${subnet-id} ${tcp-flags} \
                      ${type} ${pkt-srcaddr} ${pkt-dstaddr} ${az-id} ${flow-direction} ${traffic-path}";

/// A port that the server is not asked at, and one that the client may not ask.
const REFUSED: u16 = PORT + 1;
const FORBIDDEN: u16 = 53;

/// A client and one who is silent on one host; a server on another.
fn nics() -> [Nic; 3] {
    [nic([1, 1, 10], "host-a", "vm0"), nic([1, 1, 11], "host-a", "vm1"), nic([1, 2, 10], "host-b", "vm0")]
}

fn cloud() -> Cloud {
    let [client, _, server] = &nics();
    Cloud::new(&["host-a", "host-b"], &nics())
        .group("sg-client", 1, &[], &[rule("tcp", PORT..=REFUSED, "10.1.0.0/16")])
        .group("sg-server", 1, &[rule("tcp", PORT..=PORT, "10.1.0.0/16")], &[])
        .member(client, "sg-client")
        .member(server, "sg-server")
        .routes("rtb-main", 1, &["main"], &[])
        .with(
            "FlowLogs",
            json!({
                "FlowLogId": "fl-1", "ResourceId": "vpc-1", "TrafficType": "ALL", "LogDestinationType": "s3",
                "LogFormat": FORMAT, "MaxAggregationInterval": 60,
            }),
        )
}

/// The complete files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.to_string_lossy().ends_with(".log.gz")).collect()
}

/// What flowlogs-reader finds in the logs of a host, once it has stopped.
#[track_caller]
fn read(folder: &Path) -> Vec<Map<String, Value>> {
    let files = files(&folder.join("flow-logs"));
    assert!(!files.is_empty());
    let python = python::with("flowlogs-reader==5.0.1");
    let text = run(Command::new(python).arg("-Wignore").arg(READ).args(files)).ok();
    serde_json::from_str(&text).unwrap()
}

/// Of the records that have these values, the packets.
fn packets(records: &[Map<String, Value>], values: &Value) -> u64 {
    let values = values.as_object().unwrap();
    let has = |record: &&Map<String, Value>| {
        values.iter().all(|(key, value)| record.get(key).unwrap_or(&Value::Null) == value)
    };
    records.iter().filter(has).map(|record| record["packets"].as_u64().unwrap()).sum()
}

/// FL-1 to FL-5, FL-7, FL-8: what passed and what was refused, in both directions, at both hosts; and who was silent.
#[test]
fn fl_flowlogs_reader_reads_what_passed_what_was_refused_and_who_was_silent() {
    let sites = vec![
        Site::new("host-a").instances(&["vm0", "vm1"]).flow_logs(),
        Site::new("host-b").instances(&["vm0"]).flow_logs(),
    ];
    let mut fleet = Fleet::start(&cloud(), sites);
    let [client, silent, server] = nics();
    let (from, to) = (client.v4(), server.v4());
    let instances = [&client, &silent, &server].map(|nic| fleet.instance(nic));

    let flow = {
        let _server = Server::start(&instances[2]);
        let mut flow = Flow::open(&instances[0], to).unwrap();
        (0..5).for_each(|_| assert!(flow.lives()));
        flow.seen
    };
    within(&instances[0], move || {
        let refused = SocketAddr::new(to.into(), REFUSED);
        assert!(TcpStream::connect_timeout(&refused, Duration::from_millis(500)).is_err());
        // The kernel may say that it may not be sent.
        let _ = UdpSocket::bind((from, 0)).unwrap().send_to(b"?", (to, FORBIDDEN));
    });
    drop(instances);
    let nodes = fleet.nodes.drain(..).map(|node| {
        node.daemon.stop("TERM");
        node.folder
    });
    let [at_client, at_server] =
        nodes.map(|folder| read(folder.path())).collect::<Vec<_>>().try_into().unwrap();

    let accepted = |nic: &Nic, direction: &str, asked: bool| {
        let ends = ((from, flow.port()), (to, PORT));
        let (source, destination) = if asked { ends } else { (ends.1, ends.0) };
        json!({
            "version": 5, "interface_id": nic.id(), "action": "ACCEPT", "log_status": "OK", "protocol": 6,
            "flow_direction": direction, "srcaddr": source.0, "srcport": source.1, "dstaddr": destination.0,
            "dstport": destination.1, "pkt_srcaddr": source.0, "pkt_dstaddr": destination.0, "vpc_id": "vpc-1",
            "subnet_id": format!("subnet-{}-{}", nic.vpc, nic.subnet), "type": "IPv4",
            "traffic_path": if direction == "egress" { json!(1) } else { Value::Null },
        })
    };
    let count =
        |records: &[_], nic: &Nic, direction, asked| packets(records, &accepted(nic, direction, asked));
    let (asked, answered) =
        (count(&at_client, &client, "egress", true), count(&at_client, &client, "ingress", false));
    println!("packets asked {asked}, answered {answered}");
    assert!(asked > 6 && answered > 6);
    assert_eq!(count(&at_server, &server, "ingress", true), asked);
    assert_eq!(count(&at_server, &server, "egress", false), answered);

    let refused = |port: u16, direction: &str| json!({"action": "REJECT", "srcaddr": from, "dstaddr": to, "dstport": port, "flow_direction": direction});
    assert!(packets(&at_server, &refused(REFUSED, "ingress")) > 0);
    assert_eq!(packets(&at_client, &refused(REFUSED, "egress")), 0);
    assert_eq!(packets(&at_client, &refused(FORBIDDEN, "egress")), 1);

    let silence = at_client.iter().filter(|record| record["interface_id"] == silent.id());
    let said: Vec<_> = silence.map(|record| (&record["log_status"], record.get("action"))).collect();
    assert!(!said.is_empty());
    assert!(said.iter().all(|said| *said == (&json!("NODATA"), None)), "{said:?}");
}
