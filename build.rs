//! Binds DPDK (feature `dpdk`).

fn main() {}
