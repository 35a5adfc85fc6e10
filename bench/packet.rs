//! What the packet core costs per 64-byte frame: parse, flow hash, encapsulation, decapsulation. The frames stay in the
//! cache; the pipeline's benchmark is the one with cache misses.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use warren::packet::{
    Buffer, Checked, Encapsulation, HeapBuffer, Mac, Outer, OuterChecksum, OuterTemplate, Sender, Vni,
    flow_hash, parse,
};
use warren::pipeline::Reason;

const A: Mac = Mac([2, 0, 0, 0, 1, 0x0a]);
const B: Mac = Mac([2, 0, 0, 0, 1, 0x0b]);

/// A frame of `len` bytes with a UDP datagram.
fn frame(ipv6: bool, len: usize) -> Vec<u8> {
    let mut frame = [&B.0[..], &A.0].concat();
    let ip_len = len as u16 - 14;
    let udp_len = if ipv6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((ip_len - 40).to_be_bytes());
        frame.extend([17, 64]);
        frame.extend(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).octets());
        frame.extend(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).octets());
        ip_len - 40
    } else {
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(ip_len.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 1, 10, 10, 0, 1, 11]);
        ip_len - 20
    };
    frame.extend([0x30, 0x39, 0, 53]);
    frame.extend(udp_len.to_be_bytes());
    frame.resize(len, 0);
    frame
}

fn template(encapsulation: Encapsulation, ipv6: bool) -> OuterTemplate {
    let (source, destination): (IpAddr, IpAddr) = if ipv6 {
        (
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into(),
        )
    } else {
        (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into())
    };
    OuterTemplate::new(encapsulation, A, B, source, destination, OuterChecksum::Zero).expect("one family")
}

/// Frames per iteration, as in a worker's burst: what is reported is the time of all of them.
const BURST: usize = 32;

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet");
    group.throughput(Throughput::Elements(BURST as u64));
    let vni = Vni::new(7).expect("in range");
    let sender = Sender { vni, mac: A };
    for (name, ipv6) in [("ipv4", false), ("ipv6", true)] {
        let burst = vec![HeapBuffer::new(&frame(ipv6, 64)); BURST];
        let headers = parse(&frame(ipv6, 64)).expect("valid");
        let mut parsed = vec![Ok(headers); BURST];
        group.bench_function(format!("parse/{name}"), |b| {
            b.iter(|| {
                for (buffer, slot) in burst.iter().zip(&mut parsed) {
                    *slot = parse(buffer.data());
                }
                black_box(&mut parsed);
            });
        });
        let mut hashes = [0; BURST];
        group.bench_function(format!("flow_hash/{name}"), |b| {
            b.iter(|| {
                for ((buffer, headers), slot) in burst.iter().zip(&parsed).zip(&mut hashes) {
                    *slot = headers.map_or(0, |headers| flow_hash(buffer.data(), &headers));
                }
                black_box(&mut hashes);
            });
        });
    }
    for (name, encapsulation, ipv6) in [
        ("vxlan/ipv4", Encapsulation::Vxlan, false),
        ("vxlan/ipv6", Encapsulation::Vxlan, true),
        ("geneve/ipv4", Encapsulation::Geneve, false),
        ("geneve/ipv6", Encapsulation::Geneve, true),
    ] {
        let template = template(encapsulation, ipv6);
        let mut burst = vec![HeapBuffer::new(&frame(false, 64)); BURST];
        group.bench_function(format!("encapsulate/{name}"), |b| {
            b.iter(|| {
                let template = black_box(&template);
                for (hash, buffer) in burst.iter_mut().enumerate() {
                    template.encapsulate(buffer, vni, sender, hash as u32).expect("room");
                }
                for buffer in black_box(&mut burst) {
                    buffer.trim_front(template.header_len());
                }
            });
        });
        for buffer in &mut burst {
            template.encapsulate(buffer, vni, sender, 12345).expect("room");
        }
        for (verified, checked) in [("", Checked::Good), (", checksum in software", Checked::Unknown)] {
            if ipv6 && checked == Checked::Unknown {
                continue;
            }
            let encapsulation = black_box(encapsulation);
            group.bench_function(format!("parse and decapsulate/{name}{verified}"), |b| {
                b.iter(|| {
                    for buffer in &mut burst {
                        decapsulate(buffer, encapsulation, checked).expect("valid");
                    }
                    for buffer in black_box(&mut burst) {
                        buffer.prepend(template.header_len());
                    }
                });
            });
        }
    }
}

fn decapsulate(
    buffer: &mut HeapBuffer,
    encapsulation: Encapsulation,
    checked: Checked,
) -> Result<(), Reason> {
    let headers = parse(buffer.data())?;
    Outer::parse(buffer.data(), &headers, encapsulation, checked)?.strip(buffer)
}

criterion_group!(benches, bench);
criterion_main!(benches);
