//! DPDK's software devices through the safe types. A process has one EAL, so this is one test with sections. It runs on
//! hugepages if enough are free, and on ordinary pages otherwise.
#![cfg(feature = "dpdk")]

use std::{fs::File, path::Path, thread, time::Duration};

use arrayvec::ArrayVec;
use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use warren::{
    dpdk::{
        Eal, EalConfig, EalError, HugepageMode, Mbuf, Mempool, MtuOutcome, Port, PortConfig, RegisterError,
        TxQueue,
    },
    packet::{Buffer, Checked, Cut, HEADROOM, Mac, Run, Takes, join},
};

const DATA_ROOM: u16 = 2048 + HEADROOM as u16;

type Burst = ArrayVec<Mbuf, 32>;

#[test]
fn devices() {
    let config = EalConfig {
        args: vec!["--no-pci".into()],
        file_prefix: Some(format!("warren-test-{}", std::process::id())),
        memory_mib: 64,
        ..EalConfig::default()
    };
    let eal = Eal::init(&config).unwrap();
    assert_ne!(*eal.hugepages(), HugepageMode::AsArgued);
    assert_eq!(Eal::init(&config).unwrap_err(), EalError::AlreadyInitialised);

    threads(&eal);
    pools(&eal);
    let pool = pool(&eal, "devices", 4095);
    buffers(&eal, &pool);
    runs(&pool);
    null(&eal, &pool);
    declared_mtu(&eal, &pool);
    ring(&eal, &pool);
    captures(&eal, &pool);
    shared(&eal, &pool);
    copies_through_devices(&eal, &pool);
    refusals(&eal, &pool);
    assert_eq!(pool.in_use(), 0);
}

fn pool(eal: &Eal, name: &str, count: u32) -> Mempool {
    Mempool::new(eal, name, count, DATA_ROOM, 64, None).unwrap()
}

fn started(eal: &Eal, device: &str, pool: &Mempool) -> Port {
    let mut port = Port::probe(eal, device).unwrap();
    port.configure(&port_config(pool)).unwrap();
    port.start().unwrap();
    port
}

fn port_config(pool: &Mempool) -> PortConfig {
    PortConfig {
        rx_queues: 1,
        tx_queues: 1,
        rx_descriptors: 512,
        tx_descriptors: 512,
        mtu: None,
        mac: None,
        promiscuous: true,
        rss: true,
        rx_checksums: true,
        pool: pool.clone(),
    }
}

/// A run of TCP segments in several mbufs is cut, and joined again.
fn runs(pool: &Mempool) {
    let mut headers = vec![2; 12];
    headers.extend([8, 0, 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 1, 10, 10, 0, 1, 11]);
    headers.extend([1, 2, 3, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
    let data: Vec<u8> = (0..5000).map(|n| (n / 7) as u8).collect();
    let mut pieces = data.chunks(900).rev().map(|piece| Mbuf::from_frame(pool, piece).unwrap());
    let last = pieces.next().unwrap();
    let rest = pieces.fold(last, |rest, mut piece| {
        assert!(piece.append(rest));
        piece
    });
    let mut run = Mbuf::from_frame(pool, &headers).unwrap();
    assert!(run.append(rest));
    let bytes = |frame: &Mbuf, from: usize| {
        let mut bytes = vec![0; frame.frame_len() - from];
        assert!(frame.copy_out(from, &mut bytes) && !frame.copy_out(from + 1, &mut bytes.clone()));
        bytes
    };
    assert_eq!((run.segments(), bytes(&run, 54)), (7, data.clone()));

    let mut cut = Cut::new(run, 1460).unwrap();
    let mut burst = Burst::new();
    while let Some(segment) = cut.next_segment().unwrap() {
        assert!(segment.is_contiguous() && segment.run().is_none());
        burst.push(segment);
    }
    assert_eq!(burst.len(), 4);
    join(&mut burst, Takes { v4: true, v6: false });
    assert_eq!(burst.len(), 1);
    let joined = &burst[0];
    assert_eq!(joined.run(), Some(Run { v6: false, l2: 14, l3: 20, l4: 20, size: 1460 }));
    assert_eq!((bytes(joined, 54), joined.as_sent()), (data, (4, 5000 + 4 * 54)));
    // The last four octets of the headers are in a piece of their own frame.
    assert_eq!((joined.data().len(), joined.segments()), (50, 5));
    assert_eq!(bytes(joined, 0)[16..18], 5040_u16.to_be_bytes());
}

/// The `number`th of a series of frames that differ in length and content.
fn frame(number: usize) -> Vec<u8> {
    (0..60 + number % 1400).map(|i| (i + number) as u8).collect()
}

fn threads(eal: &Eal) {
    assert_eq!(eal.register_thread().unwrap_err(), RegisterError::AlreadyRegistered, "the main thread is");
    let register = || {
        let guard = eal.register_thread().unwrap();
        assert_eq!(eal.register_thread().unwrap_err(), RegisterError::AlreadyRegistered);
        guard.lcore_id()
    };
    let first = thread::scope(|scope| scope.spawn(register).join().unwrap());
    let second = thread::scope(|scope| scope.spawn(register).join().unwrap());
    assert_eq!(first, second, "the guard gives the logical core back");
}

fn pools(eal: &Eal) {
    let small = pool(eal, "small", 127);
    let error = Mempool::new(eal, "small", 127, DATA_ROOM, 0, None).unwrap_err();
    assert!(error.to_string().contains("choose another name"), "{error}");
    let error = Mempool::new(eal, "huge", 4_000_000, DATA_ROOM, 0, None).unwrap_err();
    assert!(error.to_string().contains("give the EAL more memory"), "{error}");
    let error = Mempool::new(eal, "flat", 127, HEADROOM as u16 - 1, 0, None).unwrap_err();
    assert!(error.to_string().contains("headroom"), "{error}");
    let error = Mempool::new(eal, &"long".repeat(20), 127, DATA_ROOM, 0, None).unwrap_err();
    assert!(error.to_string().contains("choose a name of at most"), "{error}");

    assert_eq!((small.count(), small.available(), small.data_room_bytes()), (127, 127, DATA_ROOM));
    let mut burst = ArrayVec::<Mbuf, 200>::new();
    assert_eq!(small.alloc_bulk(&mut burst, 100), 100);
    assert_eq!(small.alloc_bulk(&mut burst, 100), 0, "all or nothing");
    while let Some(mbuf) = small.alloc() {
        burst.push(mbuf);
    }
    assert_eq!((burst.len(), small.available(), small.in_use()), (127, 0, 127));
    assert_eq!(small.alloc_bulk(&mut burst, 0), 0);

    // Buffers may go back from another thread, registered or not.
    let others: Vec<Mbuf> = burst.drain(..20).collect();
    thread::scope(|scope| scope.spawn(|| drop(others)).join().unwrap());
    assert_eq!(small.in_use(), 107);
    thread::scope(|scope| {
        let free = || {
            let _guard = eal.register_thread().unwrap();
            Mbuf::free_all(&mut burst);
        };
        scope.spawn(free).join().unwrap();
    });
    assert_eq!((burst.len(), small.in_use()), (0, 0));
    Mbuf::free_all(&mut burst);
    let mut little = ArrayVec::<Mbuf, 8>::new();
    assert_eq!(small.alloc_bulk(&mut little, 100), 8, "no more than there is room for");
    drop(little);
    assert_eq!(small.in_use(), 0);
}

fn buffers(eal: &Eal, pool: &Mempool) {
    let one = Mempool::new(eal, "one", 1, DATA_ROOM, 0, None).unwrap();
    let only = one.alloc().unwrap();
    assert!(only.another().is_none(), "the pool is empty");
    drop(only);

    let mut mbuf = Mbuf::from_frame(pool, b"frame").unwrap();
    assert_eq!((mbuf.data(), mbuf.frame_len(), mbuf.segments()), (&b"frame"[..], 5, 1));
    assert!(mbuf.is_contiguous());
    assert_eq!((mbuf.ip_checksum(), mbuf.l4_checksum()), (Checked::Unknown, Checked::Unknown));
    mbuf.prefetch();

    assert!(mbuf.prepend(HEADROOM + 1).is_none() && mbuf.prepend(1 << 16).is_none());
    assert_eq!(mbuf.data(), b"frame");
    mbuf.prepend(HEADROOM).unwrap()[..HEADROOM].fill(b'h');
    assert_eq!((mbuf.data().len(), mbuf.frame_len()), (HEADROOM + 5, HEADROOM + 5));
    assert!(mbuf.prepend(1).is_none());
    assert!(!mbuf.trim_front(HEADROOM + 6));
    assert!(mbuf.trim_front(HEADROOM));
    assert_eq!(mbuf.data(), b"frame");

    mbuf.truncate(9);
    mbuf.truncate(2);
    assert_eq!((mbuf.data(), mbuf.frame_len()), (&b"fr"[..], 2));
    assert!(!mbuf.extend_to(2049));
    assert!(mbuf.extend_to(1) && mbuf.data() == b"fr");
    assert!(mbuf.extend_to(2048));
    assert_eq!((mbuf.data().len(), mbuf.frame_len()), (2048, 2048));
    mbuf.data_mut().fill(7);
    assert!(mbuf.offload_udp6_checksum(14, 40));
    assert!(!mbuf.offload_udp6_checksum(128, 40) && !mbuf.offload_udp6_checksum(14, 512));
    let mut another = mbuf.another().unwrap();
    assert_eq!((another.data().len(), another.segments(), pool.in_use()), (0, 1, 2));
    assert!(another.prepend(HEADROOM).is_some() && another.prepend(1).is_none());
    drop((mbuf, another));

    let few = Mempool::new(eal, "few", 3, DATA_ROOM, 0, None).unwrap();
    let frame = Mbuf::from_frame(&few, b"frame").unwrap();
    let mut others = ArrayVec::<Mbuf, 8>::new();
    frame.others(&mut others, 2);
    assert_eq!((others.len(), few.available()), (2, 0));
    others.clear();
    frame.others(&mut others, 100);
    assert_eq!(others.len(), 2, "those that are left");
    others.clear();
    assert_eq!(few.in_use(), 1);

    assert!(Mbuf::from_frame(pool, &[0; 2049]).is_none(), "longer than a buffer");
    assert_eq!(pool.in_use(), 0, "dropping a buffer frees it");
}

/// Several references to a frame: none changes it while there are others, and it goes back with the last.
fn shared(eal: &Eal, pool: &Mempool) {
    let mut frame = Mbuf::from_frame(pool, b"frame").unwrap();
    let mut copy = frame.clone_ref().unwrap();
    let again = copy.clone_ref().unwrap();
    let mut more = ArrayVec::<Mbuf, 8>::new();
    copy.clone_refs(&mut more, 3);
    assert!(more.len() == 3 && more.iter().all(|reference| reference.data() == b"frame"));
    copy.clone_refs(&mut more, 100);
    assert_eq!((more.len(), pool.in_use()), (8, 1), "no more than there is room for");
    drop(more);
    assert_eq!((copy.data(), again.data(), copy.segments()), (&b"frame"[..], &b"frame"[..], 1));
    assert_eq!(copy.data().as_ptr(), frame.data().as_ptr(), "not copied");
    for one in [&mut frame, &mut copy] {
        assert!(one.data_mut().is_empty() && one.prepend(1).is_none() && !one.extend_to(6));
        assert!(!one.trim_front(1) && !one.offload_udp6_checksum(14, 40));
        assert!(!one.append(pool.alloc().unwrap()));
        one.truncate(1);
    }
    assert_eq!((copy.data(), frame.data(), pool.in_use()), (&b"frame"[..], &b"frame"[..], 1));
    // From other threads too.
    thread::scope(|scope| scope.spawn(|| drop((copy, again))).join().unwrap());
    frame.data_mut()[0] = b'F';
    assert_eq!(frame.data(), b"Frame");
    let last = frame.clone_ref().unwrap();
    drop(frame);
    assert_eq!((last.data(), pool.in_use()), (&b"Frame"[..], 1), "it stays with the last");

    let mut head = pool.alloc().unwrap();
    head.prepend(2).unwrap().copy_from_slice(b"a ");
    assert!(head.append(last));
    assert_eq!((head.data(), head.frame_len(), head.segments()), (&b"a "[..], 7, 2));
    head.data_mut()[0] = b'A';
    assert!(head.clone_ref().is_none() && !head.append(pool.alloc().unwrap()), "it is chained");
    drop(head);
    assert_eq!(pool.in_use(), 0);

    let frame = Mbuf::from_frame(pool, b"frame").unwrap();
    let references: Vec<Mbuf> = std::iter::from_fn(|| frame.clone_ref()).collect();
    assert_eq!(references.len(), 1 << 15);
    drop((frame, references));
    assert_eq!(pool.in_use(), 0);

    one_piece(eal, pool);
}

/// A device that sends no chained frames gets them in one piece; not at all if they can't be made one.
fn one_piece(eal: &Eal, pool: &Mempool) {
    let payload = Mbuf::from_frame(pool, b"payload").unwrap();
    let chained = |head: &Mempool| {
        let mut head = Mbuf::from_frame(head, b"head ").unwrap();
        assert!(head.append(payload.clone_ref().unwrap()));
        head
    };
    let mut frame = chained(pool);
    assert!(frame.linearize() && frame.linearize());
    assert_eq!((frame.data(), frame.segments(), frame.frame_len()), (&b"head payload"[..], 1, 12));
    let narrow = Mempool::new(eal, "narrow", 7, HEADROOM as u16 + 8, 0, None).unwrap();
    let mut frame = chained(&narrow);
    assert!(!frame.linearize());
    assert_eq!((frame.data(), frame.segments(), frame.frame_len()), (&b"head "[..], 2, 12));
    drop(frame);

    let mut port = Port::probe(eal, "net_null2").unwrap();
    assert!(!port.configure(&port_config(pool)).unwrap().tx_segments);
    port.start().unwrap();
    let mut tx = port.take_tx(0).unwrap();
    let mut burst: Burst = [chained(pool), chained(&narrow), chained(pool)].into_iter().collect();
    assert_eq!((tx.burst(&mut burst), tx.burst(&mut burst), burst.len()), (1, 0, 2));
    burst.remove(0);
    assert_eq!((tx.burst(&mut burst), burst.len()), (1, 0));
}

/// A header of its own in front of shared bytes arrives in one piece, or in as many as it was sent in.
fn copies_through_devices(eal: &Eal, pool: &Mempool) {
    let payload = frame(1300);
    let expected: Vec<Vec<u8>> = (0..40).map(|i| [&[i; 50][..], &payload].concat()).collect();
    let send = |tx: &mut TxQueue| {
        let original = Mbuf::from_frame(pool, &payload).unwrap();
        for header in 0..40 {
            let mut copy = original.another().unwrap();
            copy.prepend(50).unwrap().fill(header);
            assert!(copy.append(original.clone_ref().unwrap()));
            let mut burst: Burst = [copy].into_iter().collect();
            assert_eq!(tx.burst(&mut burst), 1);
        }
    };

    let dir = tempfile::tempdir().unwrap();
    let written = dir.path().join("copies.pcap");
    let mut port = started(eal, &format!("net_pcap2,tx_pcap={}", written.display()), pool);
    send(&mut port.take_tx(0).unwrap());
    drop(port);
    assert_eq!(read_capture(&written), expected);
    assert_eq!(pool.in_use(), 0);

    let mut port = started(eal, "net_ring1", pool);
    send(&mut port.take_tx(0).unwrap());
    let mut rx = port.take_rx(0).unwrap();
    let (mut burst, mut number) = (Burst::new(), 0);
    while rx.burst(&mut burst) > 0 {
        for mbuf in burst.drain(..) {
            assert_eq!((mbuf.segments(), mbuf.frame_len(), mbuf.data()), (2, 1410, &expected[number][..50]));
            number += 1;
        }
    }
    assert_eq!(number, 40);
    drop((rx, port));
    assert_eq!(pool.in_use(), 0);
}

fn null(eal: &Eal, pool: &Mempool) {
    let mut port = Port::probe(eal, "net_null0,size=100").unwrap();
    assert!(port.take_rx(0).is_none() && port.start().is_err(), "not configured");
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    let config =
        PortConfig { rx_queues: 9999, tx_queues: 0, mac: Some(mac), mtu: Some(9000), ..port_config(pool) };
    let error = port.configure(&config).unwrap_err();
    assert!(error.to_string().contains("make the pool's data room at least 9146 bytes"), "{error}");
    let info = port.info().unwrap();
    let setup = port.configure(&PortConfig { mtu: Some(1500), ..config }).unwrap();
    assert_eq!((setup.rx_queues, setup.tx_queues), (info.max_rx_queues, 1));
    assert_eq!((setup.mac, setup.mtu), (mac, MtuOutcome::Is(1500)));
    assert_eq!((info.driver.as_str(), info.socket.unwrap_or(0)), ("net_null", 0));
    assert!(port.configure(&port_config(pool)).is_err(), "configured once");
    assert!(port.take_rx(0).is_none() && port.take_tx(0).is_none(), "not started");
    port.start().unwrap();

    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    assert!(port.take_rx(0).is_none() && port.take_tx(0).is_none(), "taken once");
    assert!(port.take_rx(info.max_rx_queues).is_none() && port.take_tx(1).is_none(), "there are none");
    let mut burst = Burst::new();
    assert_eq!(rx.burst_at_most(&mut burst, 5), 5);
    assert_eq!(rx.burst(&mut burst), 27, "the room there is");
    assert_eq!(rx.burst(&mut burst), 0, "no room");
    assert!(burst.iter().all(|mbuf| mbuf.data().len() == 100 && mbuf.port() == port.id()));
    assert_eq!((tx.burst(&mut burst), burst.len()), (32, 0));
    assert_eq!(tx.burst(&mut burst), 0);
    let stats = port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets), (32, 32));

    // The device stays as long as a queue of it does, in whatever thread.
    drop((port, tx));
    let error = Port::probe(eal, "net_null0").unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    let received = thread::scope(|scope| {
        let receive = || {
            let _guard = eal.register_thread().unwrap();
            let mut rx = rx;
            rx.burst(&mut Burst::new())
        };
        scope.spawn(receive).join().unwrap()
    });
    assert_eq!(received, 32);
    assert_eq!(pool.in_use(), 0);
    drop(Port::probe(eal, "net_null0").unwrap());
}

fn declared_mtu(eal: &Eal, pool: &Mempool) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("memif.sock");
    let device = format!("net_memif0,role=server,socket={},socket-abstract=no", socket.display());
    let mut port = Port::probe(eal, &device).unwrap();
    let max = port.info().unwrap().max_mtu;
    let setup = port.configure(&PortConfig { mtu: Some(1600), ..port_config(pool) }).unwrap();
    assert_eq!((setup.mtu, max), (MtuOutcome::Limit(max), 1500));
}

fn ring(eal: &Eal, pool: &Mempool) {
    let mut port = started(eal, "net_ring0", pool);
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let mut burst = Burst::new();
    let mut sent = 0;
    // Fill the ring until it takes only a part of a burst.
    let left = loop {
        while !burst.is_full() {
            burst.push(Mbuf::from_frame(pool, &frame(sent + burst.len())).unwrap());
        }
        let now = tx.burst(&mut burst);
        sent += now;
        if now < burst.capacity() {
            break burst.len();
        }
    };
    assert!(left > 0 && sent > 0);
    assert_eq!((sent + left) % 32, 0, "the rest is still the caller's");
    for (i, mbuf) in burst.iter().enumerate() {
        assert_eq!(mbuf.data(), frame(sent + i), "in order");
    }
    assert_eq!(tx.burst(&mut burst), 0, "full");
    assert_eq!(burst.len(), left);
    assert_eq!(pool.in_use() as usize, sent + left);

    let mut received = Burst::new();
    let mut number = 0;
    while rx.burst(&mut received) > 0 {
        for mbuf in received.drain(..) {
            assert_eq!(mbuf.data(), frame(number), "frame {number}");
            number += 1;
        }
    }
    assert_eq!(number, sent);
    assert_eq!(pool.in_use() as usize, left);
    drop(burst);
    assert_eq!(pool.in_use(), 0);
}

fn captures(eal: &Eal, pool: &Mempool) {
    let dir = tempfile::tempdir().unwrap();
    let (read, written) = (dir.path().join("in.pcap"), dir.path().join("out.pcap"));
    let mut frames: Vec<Vec<u8>> = (0..40).map(frame).collect();
    let long: Vec<u8> = (0..3000_u32).map(|i| i as u8).collect();
    frames.push(long.clone());
    write_capture(&read, &frames);

    let device = format!("net_pcap0,rx_pcap={},tx_pcap={}", read.display(), written.display());
    let mut port = started(eal, &device, pool);
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let mut burst = Burst::new();
    let mut number = 0;
    while rx.burst(&mut burst) > 0 {
        for mbuf in &mut burst {
            assert_eq!(mbuf.frame_len(), frames[number].len());
            assert!(frames[number].starts_with(mbuf.data()));
            assert_eq!(mbuf.is_contiguous(), number < 40, "what is longer than a buffer is chained");
            if !mbuf.is_contiguous() {
                let in_use = pool.in_use();
                assert!(!mbuf.extend_to(3001));
                mbuf.truncate(1000);
                assert!(mbuf.is_contiguous() && mbuf.frame_len() == 1000 && mbuf.data() == &long[..1000]);
                assert_eq!(pool.in_use(), in_use - 1, "cutting frees the rest of the chain");
            }
            number += 1;
        }
        while !burst.is_empty() {
            assert_ne!(tx.burst(&mut burst), 0);
        }
    }
    assert_eq!(number, 41);
    drop((rx, tx, port));
    frames[40].truncate(1000);
    assert_eq!(read_capture(&written), frames);
    assert_eq!(pool.in_use(), 0);
}

fn write_capture(path: &Path, frames: &[Vec<u8>]) {
    let mut writer = PcapWriter::new(File::create(path).unwrap()).unwrap();
    for (i, frame) in frames.iter().enumerate() {
        let packet = PcapPacket::new(Duration::from_millis(i as u64), frame.len() as u32, frame);
        writer.write_packet(&packet).unwrap();
    }
}

fn read_capture(path: &Path) -> Vec<Vec<u8>> {
    let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        frames.push(packet.unwrap().data.into_owned());
    }
    frames
}

fn refusals(eal: &Eal, pool: &Mempool) {
    let cases = [
        ("net_nonsense0", "no driver has such a name"),
        ("nonsense", "no driver has such a name"),
        ("0000:ff:1f.7", "vfio-pci"),
        ("net_pcap1,rx_pcap=/nonexistent/capture", "must exist"),
        ("net_af_packet0,iface=nonexistent0", "interface that exists"),
        ("net_null\0", "Invalid argument"),
    ];
    for (device, hint) in cases {
        let error = Port::probe(eal, device).unwrap_err();
        assert_eq!(error.device, device);
        assert!(error.to_string().contains(hint), "{error}");
    }
    // A failed device leaves nothing behind.
    drop(started(eal, "net_null1", pool));
    drop(started(eal, "net_null1", pool));
}
