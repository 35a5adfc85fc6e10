/*
 * A VPC host by Warren's C API, in the manner of DPDK's l2fwd: the program owns EAL, devices, mbufs and lcores, and Warren says where
 * each packet goes. The main lcore waits for signals, each other one is a worker.
 *
 *   vpc-host [EAL arguments] -- HOST_FILE [STATE]
 *
 * The devices are those of the host file. SIGHUP puts the state in force anew, SIGINT and SIGTERM end it.
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
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_pause.h>

#include <warren.h>

#define PORTS RTE_MAX_ETHPORTS
#define BURST 32
#define DESCRIPTORS 256
/* Room for the largest packet of an instance, 9001 bytes, in any encapsulation, and for the rings of net_af_packet. */
#define ROOM (RTE_PKTMBUF_HEADROOM + 10240)
#define PATIENCE 64 /* rounds without packets until a worker sleeps */

/* What is known of a port of the host file. */
struct port {
	uint16_t device;
	uint16_t queues;
	uint16_t owner;
};

static struct port ports[PORTS];
static struct rte_mempool *pool;
static struct warren *host;
static unsigned int workers;
static volatile bool stop;

/* warren_open() calls it for each port. */
static int32_t open_port(void *user, const struct warren_port *port, struct warren_device *device)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	char name[RTE_ETH_NAME_MAX_LEN];
	uint16_t id, queue;
	int result;

	(void)user;
	if (port->index >= PORTS)
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
	result = rte_eth_dev_configure(id, port->queues, port->queues, &conf);
	for (queue = 0; result == 0 && queue < port->queues; queue++) {
		result = rte_eth_rx_queue_setup(id, queue, DESCRIPTORS, SOCKET_ID_ANY, NULL, pool);
		if (result == 0)
			result = rte_eth_tx_queue_setup(id, queue, DESCRIPTORS, SOCKET_ID_ANY, NULL);
	}
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
	ports[port->index] = (struct port){.device = id, .queues = port->queues, .owner = port->owner};
	return rte_eth_dev_start(id);
}

/* The first queue of a port that a worker has. */
static uint16_t first_queue(const struct port *port, unsigned int number)
{
	return (number + workers - port->owner) % workers;
}

static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

/* Gives packets to a worker, and sends what it gives back. */
static void forward(struct warren_worker *worker, unsigned int number, uint16_t port, struct rte_mbuf **mbufs,
		uint16_t count)
{
	const struct warren_burst *burst;
	int32_t bursts = warren_process(worker, port, mbufs, count, nanoseconds(), &burst);

	if (bursts < 0)
		rte_panic("warren_process() returned %d\n", bursts);
	for (; bursts > 0; bursts--, burst++) {
		const struct port *to = &ports[burst->port];
		uint32_t sent = 0, now;

		do {
			now = rte_eth_tx_burst(to->device, first_queue(to, number), &burst->mbufs[sent], burst->count - sent);
			sent += now;
		} while (now > 0 && sent < burst->count);
		rte_pktmbuf_free_bulk(&burst->mbufs[sent], burst->count - sent);
	}
}

/* What a worker's lcore does. */
static int work(void *argument)
{
	struct warren_worker *worker = argument;
	unsigned int number = rte_lcore_index(-1) - 1, idle = 0;
	uint16_t count = warren_ports(host), received, queue;
	struct rte_mbuf *mbufs[BURST];

	while (!stop) {
		idle++;
		for (uint16_t port = 0; port < count; port++) {
			for (queue = first_queue(&ports[port], number); queue < ports[port].queues; queue += workers) {
				received = rte_eth_rx_burst(ports[port].device, queue, mbufs, BURST);
				if (received == 0)
					continue;
				idle = 0;
				forward(worker, number, port, mbufs, received);
			}
		}
		/* What others have for this worker. */
		forward(worker, number, 0, NULL, 0);
		if (idle > PATIENCE) {
			warren_quiesce(worker);
			nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
		}
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
			.flags = WARREN_CONTROL_SOCKET};
	struct warren_applied applied = {.size = sizeof(applied)};
	struct warren_error error;
	sigset_t signals;
	unsigned int lcore, number = 0;
	int used, signal;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	used = rte_eal_init(argc, argv);
	if (used < 0 || argc - used < 2 || rte_lcore_count() < 2)
		rte_exit(EXIT_FAILURE, "usage: vpc-host [EAL arguments, two lcores or more] -- HOST_FILE [STATE]\n");
	options.host_file = argv[used + 1];
	options.state = argv[used + 2];
	options.workers = workers = rte_lcore_count() - 1;
	pool = rte_pktmbuf_pool_create("mbufs", 4095, 64, 0, ROOM, SOCKET_ID_ANY);
	if (pool == NULL)
		rte_exit(EXIT_FAILURE, "no memory for mbufs\n");
	if (warren_open(&options, &host, &error) != WARREN_OK)
		rte_exit(EXIT_FAILURE, "%s\n", error.message);
	RTE_LCORE_FOREACH_WORKER(lcore) {
		struct warren_worker *worker;

		if (warren_worker_open(host, number++, pool, &worker, &error) != WARREN_OK)
			rte_exit(EXIT_FAILURE, "%s\n", error.message);
		rte_eal_remote_launch(work, worker, lcore);
	}
	while (sigwait(&signals, &signal) == 0 && signal == SIGHUP)
		if (options.state != NULL && warren_apply(host, options.state, &applied, &error) != WARREN_OK)
			log_line(NULL, WARREN_LOG_WARNING, error.message);
	stop = true;
	rte_eal_mp_wait_lcore();
	if (warren_close(host, &error) != WARREN_OK)
		rte_exit(EXIT_FAILURE, "%s\n", error.message);
	return rte_eal_cleanup();
}
