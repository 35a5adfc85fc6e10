//! What the packet core costs per 64-byte frame: parse, flow hash, encapsulation, decapsulation. The frames stay in the
//! cache; the pipeline's benchmark is the one with cache misses.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use criterion::{Criterion, criterion_group, criterion_main};
use warren::packet::{
    Buffer, Checked, Encapsulation, HeapBuffer, Mac, Outer, OuterChecksum, OuterTemplate, Sender, Vni,
    flow_hash, parse,
};

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

fn bench(c: &mut Criterion) {
    let vni = Vni::new(7).expect("in range");
    let sender = Sender { vni, mac: A };
    for (name, ipv6) in [("ipv4", false), ("ipv6", true)] {
        let bytes = frame(ipv6, 64);
        c.bench_function(&format!("parse/{name}"), |b| b.iter(|| parse(black_box(&bytes))));
        let headers = parse(&bytes).expect("valid");
        c.bench_function(&format!("flow_hash/{name}"), |b| {
            b.iter(|| flow_hash(black_box(&bytes), black_box(&headers)));
        });
    }
    for (name, encapsulation, ipv6) in [
        ("vxlan/ipv4", Encapsulation::Vxlan, false),
        ("vxlan/ipv6", Encapsulation::Vxlan, true),
        ("geneve/ipv4", Encapsulation::Geneve, false),
        ("geneve/ipv6", Encapsulation::Geneve, true),
    ] {
        let template = template(encapsulation, ipv6);
        let mut buffer = HeapBuffer::new(&frame(false, 64));
        c.bench_function(&format!("encapsulate/{name}"), |b| {
            b.iter(|| {
                let done =
                    black_box(&template).encapsulate(&mut buffer, black_box(vni), sender, black_box(12345));
                buffer.trim_front(template.header_len());
                done
            });
        });
        template.encapsulate(&mut buffer, vni, sender, 12345).expect("room");
        for (verified, checked) in [("", Checked::Good), (", checksum in software", Checked::Unknown)] {
            if ipv6 && checked == Checked::Unknown {
                continue;
            }
            c.bench_function(&format!("parse and decapsulate/{name}{verified}"), |b| {
                b.iter(|| {
                    let headers = parse(buffer.data())?;
                    let outer = Outer::parse(buffer.data(), &headers, black_box(encapsulation), checked)?;
                    outer.strip(&mut buffer)?;
                    black_box(buffer.data());
                    buffer.prepend(outer.inner.into());
                    Ok::<_, warren::pipeline::Reason>(outer)
                });
            });
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
