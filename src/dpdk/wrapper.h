/* What Warren calls of DPDK: bindgen reads this file (see build.rs), shim.c defines the warren_ functions. */
#ifndef WARREN_WRAPPER_H
#define WARREN_WRAPPER_H

#include <stdint.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_vhost.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>
#include <rte_vhost.h>

/* How many refer to an mbuf. Others change it at any time: an atomic in Rust (see build.rs). */
struct warren_refcnt {
	uint16_t value;
};

/*
 * The fields of an rte_mbuf that are read and written per packet. DPDK moves them in and out of anonymous unions from one
 * release to the next without moving them in memory; shim.c asserts that each lies where this struct has it.
 */
struct warren_mbuf {
	void *buf_addr;
	uint64_t buf_iova;
	uint16_t data_off;
	struct warren_refcnt refcnt;
	uint16_t nb_segs;
	uint16_t port;
	uint64_t ol_flags;
	uint32_t packet_type;
	uint32_t pkt_len;
	uint16_t data_len;
	uint16_t vlan_tci;
	uint32_t hash[2];
	uint16_t vlan_tci_outer;
	uint16_t buf_len;
	void *pool;
	struct warren_mbuf *next;
	uint64_t tx_offload;
};

/* Macros that bindgen can't evaluate, as constants. */
static const uint16_t WARREN_HEADROOM = RTE_PKTMBUF_HEADROOM;
static const uint16_t WARREN_MTU = RTE_ETHER_MTU;
static const uint32_t WARREN_MEMPOOL_NAME_SIZE = RTE_MEMPOOL_NAMESIZE;
static const uint32_t WARREN_CACHE_MAX = RTE_MEMPOOL_CACHE_MAX_SIZE;
static const uint32_t WARREN_LCORE_ANY = LCORE_ID_ANY;
static const uint64_t WARREN_RX_IP_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t WARREN_RX_IP_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t WARREN_RX_IP_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t WARREN_RX_L4_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t WARREN_RX_L4_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t WARREN_RX_L4_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t WARREN_RX_L4_NONE = RTE_MBUF_F_RX_L4_CKSUM_NONE;
static const uint64_t WARREN_RX_LRO = RTE_MBUF_F_RX_LRO;
static const uint64_t WARREN_TX_RUN = RTE_MBUF_F_TX_TCP_SEG;
static const uint64_t WARREN_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t WARREN_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t WARREN_TX_UDP6 = RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV6;
static const uint32_t WARREN_L2_LEN_BITS = RTE_MBUF_L2_LEN_BITS;
static const uint32_t WARREN_L3_LEN_BITS = RTE_MBUF_L3_LEN_BITS;
static const uint32_t WARREN_L4_LEN_BITS = RTE_MBUF_L4_LEN_BITS;
static const uint64_t WARREN_OFFLOAD_RX_IPV4 = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t WARREN_OFFLOAD_RX_UDP = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t WARREN_OFFLOAD_RX_TCP = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t WARREN_OFFLOAD_TX_UDP = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t WARREN_OFFLOAD_TX_SEGMENTS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t WARREN_RSS_FLOWS = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;

/* What Warren asks of rte_eth_dev_info and rte_eth_link, whose members differ between releases. */
struct warren_device {
	const char *driver;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_flows;
	uint32_t link_up;
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint8_t rss_key_len;
};

/* What Warren says in rte_eth_conf. No RSS where rss_flows is 0. */
struct warren_conf {
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_flows;
	uint8_t *rss_key;
	uint16_t rx_queues;
	uint16_t tx_queues;
	uint16_t mtu;
	uint8_t rss_key_len;
};

int warren_errno(void);
uint32_t warren_lcore_id(void);

struct warren_mbuf *warren_alloc(struct rte_mempool *pool);
int warren_linearize(struct warren_mbuf *mbuf);
int warren_alloc_bulk(struct rte_mempool *pool, struct warren_mbuf **mbufs, uint32_t count);
void warren_free(struct warren_mbuf *mbuf);
void warren_free_bulk(struct warren_mbuf **mbufs, uint32_t count);
uint16_t warren_data_room(struct rte_mempool *pool);

int warren_describe(uint16_t port, struct warren_device *device);
int warren_configure(uint16_t port, const struct warren_conf *conf);
int warren_rx_setup(uint16_t port, uint16_t queue, uint16_t descriptors, struct rte_mempool *pool);
int warren_tx_setup(uint16_t port, uint16_t queue, uint16_t descriptors);
void warren_detach(uint16_t port);

typedef int (*warren_link_changed)(uint16_t port, uint32_t event, void *context, void *more);

int warren_watch_link(uint16_t port, warren_link_changed changed, void *context);
void warren_unwatch_link(uint16_t port, warren_link_changed changed, void *context);
uint64_t warren_vhost_features(uint16_t port);

uint16_t warren_rx_burst(uint16_t port, uint16_t queue, struct warren_mbuf **mbufs, uint16_t count);
uint16_t warren_tx_burst(uint16_t port, uint16_t queue, struct warren_mbuf **mbufs, uint16_t count);

#endif
