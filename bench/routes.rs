//! What a longest-prefix match costs: the table of a subnet and the table of a gateway, by their size, in random order; and
//! what a change of one route in a million costs.

use std::{
    hint::black_box,
    net::{Ipv4Addr, Ipv6Addr},
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ipnet::IpNet;
use warren::tables::{Fib, Lpm};

/// Lookups per iteration, as in a worker's burst: what is reported is the time of all of them.
const BURST: usize = 32;

/// Numbers in no order.
fn mixed(n: u32) -> u32 {
    let n = (n ^ n >> 16).wrapping_mul(0x7feb_352d);
    let n = (n ^ n >> 15).wrapping_mul(0x846c_a68b);
    n ^ n >> 16
}

fn v4(n: u32) -> IpNet {
    IpNet::new(Ipv4Addr::from_bits(mixed(n)).into(), [24, 24, 24, 22, 23, 20, 24, 16][n as usize % 8])
        .unwrap()
        .trunc()
}

fn address_v6(n: u32) -> u128 {
    0x2 << 124 | u128::from(mixed(n)) << 92 | u128::from(n % 7) << 80
}

fn v6(n: u32) -> IpNet {
    IpNet::new(Ipv6Addr::from_bits(address_v6(n)).into(), if n.is_multiple_of(3) { 32 } else { 48 })
        .unwrap()
        .trunc()
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("routes");
    group.throughput(Throughput::Elements(BURST as u64));
    for count in [50, 10_000, 1_000_000] {
        let routes = || (0..count).flat_map(|n| [(v4(n), n), (v6(n), n)]);
        let (lpm, fib) = (Lpm::new(routes()), Fib::new(routes()));
        let mut n = 0;
        // Addresses that routes have, others in turn.
        let mut next = || {
            n += 1;
            mixed(n) % count
        };
        macro_rules! lookup {
            ($name:literal, $table:ident, $method:ident, $address:expr) => {
                group.bench_function(format!("{}/{count}", $name), |b| {
                    b.iter_batched(
                        || -> [_; BURST] { std::array::from_fn(|_| $address(next())) },
                        |addresses| {
                            for address in addresses {
                                black_box($table.$method(address));
                            }
                        },
                        BatchSize::SmallInput,
                    );
                });
            };
        }
        lookup!("lpm-v4", lpm, lookup_v4, mixed);
        lookup!("fib-v4", fib, lookup_v4, mixed);
        lookup!("lpm-v6", lpm, lookup_v6, address_v6);
        lookup!("fib-v6", fib, lookup_v6, address_v6);
    }
    group.finish();

    let fib = Fib::new((0..1_000_000).map(|n| (v4(n), n)));
    let mut n = 0;
    c.bench_function("routes/change-in-1000000", |b| {
        b.iter(|| {
            n += 1;
            fib.apply([(v4(n % 1_000_000), Some(n))])
        });
    });
    c.bench_function("routes/change-default-in-1000000", |b| {
        b.iter(|| {
            n += 1;
            fib.apply([("0.0.0.0/0".parse().unwrap(), Some(n))])
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
