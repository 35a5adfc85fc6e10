//! A replay sends what the daemon sends: the same captures through both, over net_pcap, give the same bytes at each port.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{
    lab::{
        captures,
        daemon::Daemon,
        host_file,
        packets::{
            BROADCAST, FIRST, Frame, LATER, arp_request, datagram4, datagram6, ethernet, ipv4, readdressed,
            tagged, udp, vxlan,
        },
        state::{UNDERLAY, state, write},
        wait_for,
    },
    replay::{Node, OWN, PEER, PORTS, VNI, enis, input},
};
use warren::packet::{Mac, nd};

const NAMES: [&str; 3] = ["vm0", "vm1", "uplink"];

/// Sends frames into a port of a daemon; returns what each port sent.
fn through_the_daemon(port: &str, frames: &[Frame], settings: &str) -> [Vec<Frame>; 3] {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut ports = PORTS.to_owned();
    for (number, name) in NAMES.iter().enumerate() {
        captures::write(Path::new(&path(&format!("{name}.in"))), if *name == port { frames } else { &[] });
        let (from, to) = (path(&format!("{name}.in")), path(&format!("{name}.out")));
        let device = format!("net_pcap{number},rx_pcap={from},tx_pcap={to}");
        ports = ports.replace(&format!("net_null{number}"), &device);
    }
    host_file(folder.path(), &format!("workers = {{ cores = [1], idle = \"sleep\" }}\n{settings}"), &ports);
    write(folder.path(), &state(&enis(), UNDERLAY));
    let daemon = Daemon::start(None, folder.path());
    wait_for("the capture's end", || {
        daemon.count("stats", &[("port", port)], "rx_packets") == frames.len() as u64
    });
    // What the last round sent is counted at its end.
    let mut before = None;
    wait_for("the last round", || {
        let now = Some(daemon.show("stats"));
        std::mem::replace(&mut before, now.clone()) == now
    });
    assert_eq!(daemon.stop("TERM").code(), Some(0));
    // When these come between the others is a matter of threads.
    let answers = |name| captures::read_timed_answers(Path::new(&path(&format!("{name}.out"))));
    NAMES.map(|name| answers(name).into_iter().map(|(_, frame)| frame).collect())
}

fn compare(port: &str, frames: &[Frame], settings: &str) {
    let node = Node::new(settings);
    let capture = node.path("in.pcap");
    captures::write(&capture, frames);
    node.replay(&[input(port, &capture)]).ok();
    let replayed = NAMES.map(|name| node.sent(name));
    assert!(replayed.iter().map(Vec::len).sum::<usize>() > frames.len() / 2, "nothing to compare");
    let sent = through_the_daemon(port, frames, settings);
    for ((name, sent), replayed) in NAMES.iter().zip(&sent).zip(&replayed) {
        assert_eq!(sent.len(), replayed.len(), "{name}");
        for (number, (sent, replayed)) in sent.iter().zip(replayed).enumerate() {
            assert_eq!(sent, replayed, "{name}, frame {number}");
        }
    }
    let _ = fs::remove_dir_all(node.path("out"));
}

/// What an instance sends: both families, routed and in the subnet, local and remote, fragments, questions, and faults.
fn of_an_instance() -> Vec<Frame> {
    let [a, b, c] = enis();
    let fragment = |to: Mac, field: u16| {
        ethernet(to, a.mac(), 0x0800, &ipv4(a.v4(), c.v4(), 17, field, &udp(b"a fragment of it")))
    };
    let mut frames = vec![
        arp_request(&a, c.v4()),
        arp_request(&a, a.v4()),
        nd::solicitation(a.mac(), a.v6(), c.v6(), None).to_vec(),
        datagram4(&a, a.router(), b.v4()),
        datagram6(&a, a.router(), b.v6()),
        datagram4(&a, c.mac(), c.v4()),
        datagram6(&a, c.mac(), c.v6()),
        datagram4(&a, a.router(), c.v4()),
        datagram6(&a, a.router(), c.v6()),
        fragment(c.mac(), FIRST),
        fragment(a.router(), LATER),
        datagram4(&a, BROADCAST, [255; 4].into()),
        datagram4(&a, a.router(), [8, 8, 8, 8].into()),
        datagram4(&b, a.router(), b.v4()),
        tagged(&datagram4(&a, a.router(), b.v4())),
        datagram4(&a, a.router(), b.v4())[..40].to_vec(),
    ];
    // More than one burst.
    for _ in 0..4 {
        frames.extend_from_within(..16);
    }
    frames
}

#[test]
fn from_an_instance() {
    compare("vm0", &of_an_instance(), "");
    compare("vm0", &of_an_instance(), "encapsulation = \"geneve\"");
}

#[test]
fn from_the_underlay() {
    let [a, b, c] = enis();
    let mut frames = Vec::new();
    for inner in [
        datagram4(&c, a.mac(), a.v4()),
        datagram6(&c, a.mac(), a.v6()),
        readdressed(&datagram4(&c, c.router(), b.v4()), b.mac(), b.router()),
        readdressed(&datagram6(&c, c.router(), b.v6()), b.mac(), b.router()),
        ethernet(a.mac(), c.mac(), 0x0800, &ipv4(c.v4(), a.v4(), 17, LATER, b"the rest of it")),
        datagram4(&b, a.mac(), a.v4()),
        datagram4(&c, BROADCAST, a.v4()),
    ] {
        frames.push(vxlan(PEER, OWN, VNI, &inner));
        frames.push(vxlan(PEER, OWN, VNI, &inner));
    }
    frames.push(vxlan(PEER, OWN, VNI + 1, &datagram4(&c, a.mac(), a.v4())));
    for _ in 0..3 {
        frames.extend_from_within(..15);
    }
    compare("uplink", &frames, "");
}
