//! A node inside another program: two hosts in one process, which have nothing in common, and whose packets the test carries.
#![cfg(feature = "dpdk")]

use std::{fs, path::Path, time::Duration};

use warren::{
    api::Reply,
    model::{self, Model},
    node::{
        config::HostConfig,
        embedded::{Device, Handle, Node, OpenError, Refusal, Setup},
    },
    packet::{Buffer, HeapBuffer, Mac},
    tables::PortIndex,
};

const VM0: PortIndex = PortIndex(0);
const VM1: PortIndex = PortIndex(1);
const UPLINK: PortIndex = PortIndex(2);
const A1: Mac = Mac([2, 0, 0, 0, 1, 0x0a]);
const A2: Mac = Mac([2, 0, 0, 0, 1, 0x0b]);

/// The state of `examples/`, or what `change` makes of it.
fn state(change: impl FnOnce(String) -> String) -> Model {
    let text = change(fs::read_to_string("examples/two-hosts.state.yaml").unwrap());
    let document = model::Document { name: "state".into(), text };
    model::load(&[document]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The host file of `examples/`, for either host.
fn config(host: u8) -> HostConfig {
    let text = fs::read_to_string("examples/host-a.toml").unwrap();
    let text = if host == 1 {
        text
    } else {
        let text = text.replace("host-a", "host-b").replace("192.0.2.1/", "192.0.2.2/");
        let text = text.replace("address = \"192.0.2.2\", mac", "address = \"192.0.2.1\", mac");
        // The MACs of the uplinks change places.
        text.replace("00:00:01", "00:00:x").replace("00:00:02", "00:00:01").replace("00:00:x", "00:00:02")
    };
    HostConfig::parse(&text, Path::new("examples")).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn setup(host: u8, workers: usize) -> Setup {
    let config = config(host);
    Setup {
        devices: vec![Device::default(); config.ports.len()],
        config,
        model: state(|text| text),
        workers,
        cpus: Vec::new(),
        control: false,
        log: None,
    }
}

fn open(host: u8, workers: usize) -> (Node<HeapBuffer>, Vec<Handle<HeapBuffer>>) {
    let node = Node::open(setup(host, workers)).unwrap_or_else(|error| panic!("{error:?}"));
    let handle = |worker| node.worker(worker, |frame| Some(HeapBuffer::new(frame))).unwrap();
    let handles = (0..workers).map(handle).collect();
    (node, handles)
}

/// A round with a frame or none; what came of it, by port.
fn round(
    handle: &mut Handle<HeapBuffer>,
    port: PortIndex,
    frame: Option<&[u8]>,
    now: u64,
) -> Vec<(PortIndex, Vec<u8>)> {
    handle.round(port, Duration::from_millis(now), |burst| burst.extend(frame.map(HeapBuffer::new)));
    let mut sent = Vec::new();
    handle.take(|port, frames| sent.extend(frames.drain(..).map(|frame| (port, frame.data().to_vec()))));
    // Router advertisements come at any time; nothing else here is IPv6.
    sent.retain(|(_, frame)| frame[12..14] != [0x86, 0xdd]);
    sent
}

/// An ARP request of `eni-a1`.
fn arp(address: [u8; 4]) -> Vec<u8> {
    let header = [&[0xff; 6][..], &A1.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    [&header[..], &A1.0, &[10, 0, 1, 10], &[0; 6], &address, &[0; 18]].concat()
}

/// A datagram of `eni-a1`.
fn datagram(to: Mac, destination: [u8; 4]) -> Vec<u8> {
    let mut header =
        [&[0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 1, 10][..], &destination].concat();
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    header[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    [&to.0[..], &A1.0, &[8, 0], &header, &[0x9c, 0x40, 0, 9, 0, 26, 0, 0], &[7; 18]].concat()
}

/// What one host sends to another arrives there as it was; both are in this process.
#[test]
fn two_hosts_in_one_program() {
    let (host_a, mut a) = open(1, 1);
    let (host_b, mut b) = open(2, 1);
    let frame = datagram(A2, [10, 0, 1, 11]);
    let sent = round(&mut a[0], VM0, Some(&frame), 10);
    let [(UPLINK, outer)] = &*sent else { panic!("{sent:?}") };
    assert_eq!(round(&mut b[0], UPLINK, Some(outer), 5_000), [(VM0, frame)]);
    let counted = |node: &Node<HeapBuffer>, port| node.counters(port).unwrap();
    assert_eq!(counted(&host_a, VM0).rx_packets, 1);
    assert_eq!((counted(&host_b, VM0).tx_packets, counted(&host_b, VM0).rx_packets), (1, 0));
    assert_eq!(counted(&host_a, VM0).drops.iter().sum::<u64>(), 0);
}

/// An instance's port is one worker's; the others hand over what is for it, and don't take what comes from it.
#[test]
fn workers_hand_over() {
    let (node, mut handles) = open(1, 2);
    assert_eq!((node.owner(VM0), node.owner(VM1)), (Some(0), Some(1)));
    assert_eq!(handles[1].takes(VM0), Err(Refusal::NotOurs));
    assert_eq!(handles[1].takes(PortIndex(9)), Err(Refusal::NoPort));
    assert_eq!(handles[1].takes(UPLINK), Ok(()));
    assert!(node.worker(0, |_| None).is_none(), "a worker is opened once");
    let reply = round(&mut handles[0], VM0, Some(&arp([10, 0, 1, 1])), 1);
    let router = Mac(reply[0].1[6..12].try_into().unwrap());
    assert_eq!(round(&mut handles[0], VM0, Some(&datagram(router, [10, 0, 2, 10])), 2), []);
    let sent = round(&mut handles[1], VM1, None, 2);
    assert!(matches!(&*sent, [(VM1, frame)] if frame[26..30] == [10, 0, 1, 10]), "{sent:?}");
}

/// A state is in force when `apply` returns: at the next round of a worker that rests.
#[test]
fn a_state_is_applied() {
    let (node, mut handles) = open(1, 1);
    let frame = datagram(A2, [10, 0, 1, 11]);
    assert_eq!(round(&mut handles[0], VM0, Some(&frame), 1).len(), 1);
    let moved = || {
        state(|text| {
            text.replace(
                "NetworkInterfaceId: eni-a2, HostId: host-b, Port: vm0",
                "NetworkInterfaceId: eni-a2, HostId: host-a, Port: vm1",
            )
            .replace("eni-b1, HostId: host-a, Port: vm1", "eni-b1, HostId: host-b, Port: vm0")
        })
    };
    // Its worker does not come round, and so is late.
    let Some(Reply::Applied(applied)) = node.apply(moved()) else { panic!() };
    assert_eq!((applied.laggards, applied.generation), (vec![0], 2));
    handles[0].quiesce();
    let Some(Reply::Applied(applied)) = node.apply(moved()) else { panic!() };
    assert_eq!(applied.laggards, [0; 0]);
    assert_eq!(round(&mut handles[0], VM0, Some(&frame), 2), [(VM1, frame)]);
    // Nothing changes where a state does not fit the host.
    let elsewhere = state(|text| text.replace("HostId: host-a", "HostId: host-c"));
    assert!(matches!(node.apply(elsewhere), Some(Reply::Failed(problem)) if problem.contains("host-a")));
}

/// The management thread sends by the workers, in the program's time.
#[test]
fn neighbours_are_asked_for() {
    let mut setup = setup(1, 1);
    for port in &mut setup.config.ports {
        if let warren::node::config::RoleConfig::Uplink(uplink) = &mut port.role {
            uplink.neighbors.clear();
        }
    }
    let node = Node::open(setup).unwrap();
    let mut handle = node.worker(0, |frame| Some(HeapBuffer::new(frame))).unwrap();
    let asked = (0..5_000).find_map(|time| {
        let sent = round(&mut handle, UPLINK, None, time);
        std::thread::sleep(Duration::from_millis(1));
        sent.into_iter().find(|(port, _)| *port == UPLINK)
    });
    let (_, frame) = asked.expect("a request for 192.0.2.2");
    assert!(frame[12..14] == [8, 6] && frame[38..42] == [192, 0, 2, 2], "{frame:02x?}");
}

/// What only the daemon does is refused, by name.
#[test]
fn what_needs_the_daemon_is_refused() {
    let refused = |change: fn(&mut Setup)| {
        let mut setup = setup(1, 1);
        change(&mut setup);
        match Node::<HeapBuffer>::open(setup) {
            Err(OpenError::Host(problem)) => problem,
            other => panic!("{:?}", other.err()),
        }
    };
    let followed =
        |setup: &mut Setup| setup.config.propagation.follow = vec!["192.0.2.9:179".parse().unwrap()];
    assert!(refused(followed).contains("propagation"));
    assert!(refused(|setup| setup.workers = 0).contains("workers"));
    let nameless = |setup: &mut Setup| setup.config.ports[2].mac = None;
    assert!(refused(nameless).contains("port `uplink`: mac"));
}
