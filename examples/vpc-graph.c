/*
 * A VPC host on DPDK's graph library: the nodes ethdev_rx and ethdev_tx of librte_node, and Warren's between them.
 *
 *   vpc-graph -d libwarren_graph.so [EAL arguments, two lcores] -- HOST_FILE [STATE]
 *
 * The main lcore waits for signals, the other one walks the graph. The devices are those of the host file. SIGHUP puts the state in
 * force anew, SIGINT and SIGTERM end it.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_debug.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_graph.h>
#include <rte_graph_worker.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_node_eth_api.h>

#include <warren_graph.h>

#define GRAPH "host"
#define DESCRIPTORS 256
/* Room for the largest packet of an instance, 9001 bytes, in any encapsulation, and for the rings of net_af_packet. */
#define ROOM (RTE_PKTMBUF_HEADROOM + 10240)
#define WALKS 64 /* of which none found packets, before the worker sleeps between them */

static uint16_t devices[RTE_MAX_ETHPORTS], roles[RTE_MAX_ETHPORTS], ports;
static struct rte_mempool *pool;
static struct warren *host;
static volatile bool stop;

/* warren_open() calls it for each port. */
static int32_t open_port(void *user, const struct warren_port *port, struct warren_device *device)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	char name[RTE_ETH_NAME_MAX_LEN];
	uint16_t id;
	int result;

	(void)user;
	if (port->index >= RTE_MAX_ETHPORTS)
		return -1;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(port->device, ","), port->device);
	result = rte_dev_probe(port->device);
	if (result == 0)
		result = rte_eth_dev_get_port_by_name(name, &id);
	if (result == 0)
		result = rte_eth_dev_info_get(id, &info);
	if (result != 0)
		return result;
	conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	result = rte_eth_dev_configure(id, 1, 1, &conf);
	if (result == 0)
		result = rte_eth_rx_queue_setup(id, 0, DESCRIPTORS, SOCKET_ID_ANY, NULL, pool);
	if (result == 0)
		result = rte_eth_tx_queue_setup(id, 0, DESCRIPTORS, SOCKET_ID_ANY, NULL);
	if (result == 0)
		result = rte_eth_macaddr_get(id, &mac);
	if (result != 0)
		return result;
	/* Not every driver can; those that can't take all packets as they are. */
	if (port->mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN <= (int)info.max_rx_pktlen)
		rte_eth_dev_set_mtu(id, port->mtu);
	rte_eth_promiscuous_enable(id);
	memcpy(device->mac, &mac, sizeof(device->mac));
	device->segments = conf.txmode.offloads != 0;
	devices[port->index] = id;
	roles[port->index] = port->role;
	ports = port->index + 1;
	return 0;
}

/* receive -> warren -> send, for every device. */
static void make_graph(struct warren_worker *worker)
{
	struct rte_node_ethdev_config conf[RTE_MAX_ETHPORTS] = {0};
	const char *patterns[] = {"ethdev_rx-*", "warren-*-" GRAPH};
	struct rte_graph_param param = {.socket_id = SOCKET_ID_ANY, .node_patterns = patterns, .nb_node_patterns = 2};
	char name[RTE_NODE_NAMESIZE];
	int result;

	for (uint16_t port = 0; port < ports; port++)
		conf[port] = (struct rte_node_ethdev_config){
			.port_id = devices[port], .num_rx_queues = 1, .num_tx_queues = 1};
	result = rte_node_eth_config(conf, ports, 1);
	if (result == 0)
		result = warren_graph_bind(GRAPH, worker, devices, ports);
	for (uint16_t port = 0; result == 0 && port < ports; port++) {
		snprintf(name, sizeof(name), "ethdev_rx-%u-0", devices[port]);
		result = warren_graph_receive(name, GRAPH, roles[port]);
	}
	if (result != 0)
		rte_exit(EXIT_FAILURE, "no nodes: %s; is libwarren_graph.so loaded (-d)?\n", strerror(-result));
	if (rte_graph_create(GRAPH, &param) == RTE_GRAPH_ID_INVALID)
		rte_exit(EXIT_FAILURE, "no graph: %s\n", rte_strerror(rte_errno));
	for (uint16_t port = 0; port < ports; port++)
		if (rte_eth_dev_start(devices[port]) != 0)
			rte_exit(EXIT_FAILURE, "device %u does not start\n", devices[port]);
}

static uint64_t received(void)
{
	struct warren_counters counters = {.size = sizeof(counters)};
	uint64_t packets = 0;

	for (uint16_t port = 0; port < ports; port++)
		if (warren_port_counters(host, port, &counters, NULL) == WARREN_OK)
			packets += counters.rx_packets;
	return packets;
}

/* What the worker's lcore does. */
static int work(void *argument)
{
	struct warren_worker *worker = argument;
	struct rte_graph *graph = rte_graph_lookup(GRAPH);
	uint64_t before = 0, now;
	bool idle = true;

	while (!stop) {
		for (int walk = 0; walk < WALKS; walk++) {
			rte_graph_walk(graph);
			if (idle) {
				warren_quiesce(worker);
				nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
			}
		}
		now = received();
		idle = now == before;
		before = now;
	}
	return warren_worker_close(worker);
}

static void log_line(void *user, uint32_t level, const char *text)
{
	(void)user;
	fprintf(stderr, "%s%s\n", level == WARREN_LOG_INFO ? "" : "warning: ", text);
}

int main(int argc, char **argv)
{
	struct warren_options options = {.size = sizeof(options), .open_port = open_port, .log = log_line,
			.flags = WARREN_CONTROL_SOCKET, .workers = 1};
	struct warren_applied applied = {.size = sizeof(applied)};
	struct warren_worker *worker;
	struct warren_error error;
	sigset_t signals;
	int used, signal;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	used = rte_eal_init(argc, argv);
	if (used < 0 || argc - used < 2 || rte_lcore_count() != 2)
		rte_exit(EXIT_FAILURE, "usage: vpc-graph [EAL arguments, two lcores] -- HOST_FILE [STATE]\n");
	options.host_file = argv[used + 1];
	options.state = argv[used + 2];
	pool = rte_pktmbuf_pool_create("mbufs", 4095, 64, 0, ROOM, SOCKET_ID_ANY);
	if (pool == NULL)
		rte_exit(EXIT_FAILURE, "no memory for mbufs\n");
	if (warren_open(&options, &host, &error) != WARREN_OK ||
			warren_worker_open(host, 0, pool, &worker, &error) != WARREN_OK)
		rte_exit(EXIT_FAILURE, "%s\n", error.message);
	make_graph(worker);
	rte_eal_remote_launch(work, worker, rte_get_next_lcore(-1, 1, 0));
	while (sigwait(&signals, &signal) == 0 && signal == SIGHUP)
		if (options.state != NULL && warren_apply(host, options.state, &applied, &error) != WARREN_OK)
			log_line(NULL, WARREN_LOG_WARNING, error.message);
	stop = true;
	rte_eal_mp_wait_lcore();
	rte_graph_destroy(rte_graph_from_name(GRAPH));
	if (warren_close(host, &error) != WARREN_OK)
		rte_exit(EXIT_FAILURE, "%s\n", error.message);
	return rte_eal_cleanup();
}
