//! A buffer stays valid when the handles of its pool and of the EAL are gone. Its own process, because the EAL then stays.
#![cfg(feature = "dpdk")]

use warren::{
    dpdk::{Eal, EalConfig, Mbuf, Mempool},
    packet::Buffer,
};

#[test]
fn a_buffer_outlives_its_handles() {
    let config = EalConfig {
        args: vec!["--no-pci".into(), "--no-huge".into(), "--no-shconf".into(), "-m64".into()],
        ..EalConfig::default()
    };
    let eal = Eal::init(&config).unwrap();
    let pool = Mempool::new(&eal, "outlived", 127, 2176, 0, None).unwrap();
    let mut mbuf = Mbuf::from_frame(&pool, b"frame").unwrap();
    drop(pool);
    drop(eal);
    mbuf.data_mut().reverse();
    assert_eq!(mbuf.data(), b"emarf");
}
