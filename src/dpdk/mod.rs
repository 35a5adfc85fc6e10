//! DPDK behind safe types: EAL, mempool, mbuf, port.
