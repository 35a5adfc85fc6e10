//! The pipeline per burst of 32 packets, without drivers, and what it stands on: route lookup, RCU pin, table update.
//! The worker loop with drivers is `warren bench`.

mod common;
#[path = "common/frame.rs"]
mod frame;
#[path = "common/turns.rs"]
mod turns;

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use warren::{
    compile::Compiler,
    model::{Attachment, Diff, Model},
    node::{
        fleet::{FIRST, Fleet, UPLINK},
        traffic::Stamp,
    },
    rcu::Publisher,
    tables::Lpm,
};

use self::turns::{BURST, Turns};

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn pipeline(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BURST as u64));
    for size in SIZES {
        let fleet = Fleet::new(size);
        let mut encap = Turns::new(&fleet, FIRST, Stamp::encapsulate(&fleet, 64));
        group.bench_function(BenchmarkId::new("encap", size), |b| b.iter(|| encap.turn()));
        drop(encap);
        let mut decap = Turns::new(&fleet, UPLINK, Stamp::decapsulate(&fleet, 64));
        group.bench_function(BenchmarkId::new("decap", size), |b| b.iter(|| decap.turn()));
    }
    let fleet = Fleet::new(1000);
    let mut local = Turns::new(&fleet, FIRST, Stamp::local(&fleet, 64));
    group.bench_function("local", |b| b.iter(|| local.turn()));
    group.finish();
}

fn lpm(c: &mut Criterion) {
    let mut group = c.benchmark_group("lpm");
    for routes in [10_u32, 100, 1000] {
        let nets = (0..routes).map(|n| {
            let prefix = 16 + (n % 9) as u8;
            let address = std::net::Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b1));
            (ipnet::IpNet::new_assert(address.into(), prefix).trunc(), n)
        });
        let table = Lpm::new(nets);
        let mut address = 1_u32;
        group.bench_function(BenchmarkId::new("v4", routes), |b| {
            b.iter(|| {
                address = address.wrapping_mul(0x9e37_79b1).wrapping_add(1);
                black_box(table.lookup_v4(address))
            });
        });
    }
    group.finish();
}

fn rcu(c: &mut Criterion) {
    let (_publisher, mut readers) = Publisher::new(1_u64, 1);
    let reader = &mut readers[0];
    c.bench_function("rcu/pin and quiescent", |b| {
        b.iter(|| {
            black_box(*reader.pin());
            reader.quiescent();
        });
    });
}

/// One ENI moves to another host; the cost must not grow with the fleet.
fn update(c: &mut Criterion) {
    let mut group = c.benchmark_group("update");
    for size in SIZES {
        let fleet = Fleet::new(size);
        let mut compiler = Compiler::new(fleet.site());
        let tables = compiler.build(fleet.model(), &fleet.neighbours());
        let (before, after) = moved(&fleet);
        let diff = Diff { enis: before.enis.keys().cloned().collect(), ..Diff::default() };
        group.bench_function(BenchmarkId::new("move an ENI", size), |b| {
            b.iter_batched(
                || (),
                |()| compiler.update(&tables, &before, &after, &diff, &fleet.neighbours()),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Two models of the last ENI alone, on one host and on another.
fn moved(fleet: &Fleet) -> (Model, Model) {
    let id = format!("eni-{}", fleet.count() - 1);
    let (id, eni) = fleet.model().enis.get_key_value(id.as_str()).expect("the last ENI");
    let mut before = Model {
        vpcs: fleet.model().vpcs.clone(),
        subnets: fleet.model().subnets.clone(),
        hosts: fleet.model().hosts.clone(),
        ..Model::default()
    };
    let mut after = before.clone();
    before.enis.insert(Arc::clone(id), eni.clone());
    let mut elsewhere = eni.clone();
    elsewhere.attachment = Some(Attachment::new("host-1".into(), "eth0".into()));
    after.enis.insert(Arc::clone(id), elsewhere);
    (before, after)
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = pipeline, lpm, rcu, update
}
criterion_main!(benches);
