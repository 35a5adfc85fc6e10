/*
 * DPDK's inline functions as functions that Rust can call, at the granularity of a burst, and its large structs, which
 * change from release to release, as small ones.
 */
#include <stddef.h>

#include "wrapper.h"

#define SAME(field) \
	_Static_assert(offsetof(struct warren_mbuf, field) == offsetof(struct rte_mbuf, field) && \
		sizeof(((struct warren_mbuf *)0)->field) == sizeof(((struct rte_mbuf *)0)->field), \
		"rte_mbuf." #field " is not where Warren expects it")

SAME(buf_addr);
SAME(buf_iova);
SAME(data_off);
SAME(refcnt);
SAME(nb_segs);
SAME(port);
SAME(ol_flags);
SAME(packet_type);
SAME(pkt_len);
SAME(data_len);
SAME(vlan_tci);
SAME(hash);
SAME(vlan_tci_outer);
SAME(buf_len);
SAME(pool);
SAME(next);
SAME(tx_offload);
_Static_assert(sizeof(struct rte_mbuf) == 128, "rte_mbuf is not two cache lines");
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
_Static_assert(RTE_MBUF_L2_LEN_OFS == 0 && RTE_MBUF_L3_LEN_OFS == RTE_MBUF_L2_LEN_BITS &&
	RTE_MBUF_L4_LEN_OFS == RTE_MBUF_L3_LEN_OFS + RTE_MBUF_L3_LEN_BITS &&
	RTE_MBUF_TSO_SEGSZ_OFS == RTE_MBUF_L4_LEN_OFS + RTE_MBUF_L4_LEN_BITS && RTE_MBUF_TSO_SEGSZ_BITS == 16,
	"tx_offload has another layout");
#else
#error "Warren has not been brought to big-endian machines"
#endif

#ifndef RTE_MBUF_REFCNT_ATOMIC
#error "DPDK was built without RTE_MBUF_REFCNT_ATOMIC: threads could not share an mbuf"
#endif

#define MBUF(m) ((struct rte_mbuf *)(m))
#define MBUFS(m) ((struct rte_mbuf **)(m))

int warren_errno(void)
{
	return rte_errno;
}

uint32_t warren_lcore_id(void)
{
	return rte_lcore_id();
}

struct warren_mbuf *warren_alloc(struct rte_mempool *pool)
{
	return (struct warren_mbuf *)rte_pktmbuf_alloc(pool);
}

/* Copies the later segments behind the first, and frees them. */
int warren_linearize(struct warren_mbuf *mbuf)
{
	return rte_pktmbuf_linearize(MBUF(mbuf));
}

int warren_alloc_bulk(struct rte_mempool *pool, struct warren_mbuf **mbufs, uint32_t count)
{
	return rte_pktmbuf_alloc_bulk(pool, MBUFS(mbufs), count);
}

void warren_free(struct warren_mbuf *mbuf)
{
	rte_pktmbuf_free(MBUF(mbuf));
}

void warren_free_bulk(struct warren_mbuf **mbufs, uint32_t count)
{
	rte_pktmbuf_free_bulk(MBUFS(mbufs), count);
}

uint16_t warren_data_room(struct rte_mempool *pool)
{
	return rte_pktmbuf_data_room_size(pool);
}

/* The largest MTU that rte_eth_dev_configure lets pass: the driver's, and what its longest frame has room for. */
static uint16_t max_mtu(const struct rte_eth_dev_info *info)
{
	uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;

	if (info->max_mtu != UINT16_MAX && info->max_rx_pktlen > info->max_mtu)
		overhead = info->max_rx_pktlen - info->max_mtu;
	if (info->max_rx_pktlen < overhead)
		return 0;
	return RTE_MIN(info->max_rx_pktlen - overhead, (uint32_t)info->max_mtu);
}

int warren_describe(uint16_t port, struct warren_device *device)
{
	struct rte_eth_dev_info info;
	struct rte_eth_link link = {0};
	int result = rte_eth_dev_info_get(port, &info);

	if (result != 0)
		return result;
	/* A driver that does not know its link's state has one that is down. */
	int known = rte_eth_link_get_nowait(port, &link);

	*device = (struct warren_device){
		.driver = info.driver_name,
		.rx_offloads = info.rx_offload_capa,
		.tx_offloads = info.tx_offload_capa,
		.rss_flows = info.flow_type_rss_offloads,
		.link_up = known == 0 && link.link_status == RTE_ETH_LINK_UP,
		.min_mtu = info.min_mtu,
		.max_mtu = max_mtu(&info),
		.max_rx_queues = info.max_rx_queues,
		.max_tx_queues = info.max_tx_queues,
		.rss_key_len = info.hash_key_size,
	};
	return 0;
}

int warren_configure(uint16_t port, const struct warren_conf *conf)
{
	struct rte_eth_conf eth = {
		.rxmode = {.mtu = conf->mtu, .offloads = conf->rx_offloads},
		.txmode = {.offloads = conf->tx_offloads},
	};

	if (conf->rss_flows != 0) {
		eth.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		eth.rx_adv_conf.rss_conf = (struct rte_eth_rss_conf){
			.rss_key = conf->rss_key,
			.rss_key_len = conf->rss_key_len,
			.rss_hf = conf->rss_flows,
		};
	}
	return rte_eth_dev_configure(port, conf->rx_queues, conf->tx_queues, &eth);
}

int warren_rx_setup(uint16_t port, uint16_t queue, uint16_t descriptors, struct rte_mempool *pool)
{
	return rte_eth_rx_queue_setup(port, queue, descriptors, rte_eth_dev_socket_id(port), NULL, pool);
}

int warren_tx_setup(uint16_t port, uint16_t queue, uint16_t descriptors)
{
	return rte_eth_tx_queue_setup(port, queue, descriptors, rte_eth_dev_socket_id(port), NULL);
}

/* Stops, closes and removes a device; here, because whether info.device is const depends on DPDK's release. */
void warren_detach(uint16_t port)
{
	struct rte_eth_dev_info info;
	int known = rte_eth_dev_info_get(port, &info);

	rte_eth_dev_stop(port);
	rte_eth_dev_close(port);
	if (known == 0)
		rte_dev_remove((struct rte_device *)(uintptr_t)info.device);
}

/* Has a function called whenever a port's link goes up or down. */
int warren_watch_link(uint16_t port, warren_link_changed changed, void *context)
{
	return rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_LSC, (rte_eth_dev_cb_fn)changed, context);
}

/* DPDK refuses to forget a function that runs. */
void warren_unwatch_link(uint16_t port, warren_link_changed changed, void *context)
{
	while (rte_eth_dev_callback_unregister(port, RTE_ETH_EVENT_INTR_LSC, (rte_eth_dev_cb_fn)changed,
			context) == -EAGAIN)
		;
}

/* The features that the machine behind a vhost port has accepted; none if there is no machine, or the port is not started. */
uint64_t warren_vhost_features(uint16_t port)
{
	struct rte_eth_link link = {0};
	uint64_t features = 0;
	int vid;

	if (rte_eth_link_get_nowait(port, &link) != 0 || link.link_status != RTE_ETH_LINK_UP)
		return 0;
	vid = rte_eth_vhost_get_vid_from_port_id(port);
	if (vid < 0 || rte_vhost_get_negotiated_features(vid, &features) != 0)
		return 0;
	return features;
}

uint16_t warren_rx_burst(uint16_t port, uint16_t queue, struct warren_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, MBUFS(mbufs), count);
}

uint16_t warren_tx_burst(uint16_t port, uint16_t queue, struct warren_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, MBUFS(mbufs), count);
}
