/*
 * A program of version 0.1.0: it calls every function that there was, and knows of every struct what there was. Never changed, but
 * for mistakes of its own: `program FOLDER`, with the files that main.rs puts into the folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <warren.h>

#define CHECK(what) check(what, #what, __LINE__)
#define BEHIND UINT64_C(0x5a5a5a5a5a5a5a5a)
/* A struct of the program's, and what lies behind it. */
#define GUARDED(type) struct { struct type it; uint64_t behind; }

static struct warren_error error;
static unsigned int lines, opened;

static void check(int right, const char *what, int line)
{
	if (right)
		return;
	fprintf(stderr, "line %d: not so: %s\nthe last error: %d %s\n", line, what, error.code, error.message);
	exit(EXIT_FAILURE);
}

static void count_line(void *user, uint32_t level, const char *text)
{
	CHECK(level >= WARREN_LOG_ERROR && level <= WARREN_LOG_INFO && text != NULL);
	++*(unsigned int *)user;
}

static int32_t open_port(void *user, const struct warren_port *port, struct warren_device *device)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};

	CHECK(user == &lines && port->size >= sizeof(*port) && port->index == opened);
	CHECK((port->role == WARREN_ROLE_UPLINK) == (strcmp(port->name, "uplink") == 0));
	CHECK(strncmp(port->device, "net_", 4) == 0 && port->mtu >= 1500 && port->queues == 1 && port->owner == 0);
	if (port->has_mac)
		CHECK(memcmp(port->mac, device->mac, sizeof(port->mac)) == 0);
	else
		memcpy(device->mac, mac, sizeof(mac));
	device->segments = 1;
	device->udp_checksum = 0;
	opened++;
	return 0;
}

/* A question for the router's MAC, which the host answers. */
static struct rte_mbuf *question(struct rte_mempool *pool)
{
	static const uint8_t frame[42] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 1, 0x0a, 8, 6,
		0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 1, 0x0a, 10, 0, 1, 10, 0, 0, 0, 0, 0, 0, 10, 0, 1, 1,
	};
	struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);

	CHECK(mbuf != NULL);
	memcpy(rte_pktmbuf_append(mbuf, sizeof(frame)), frame, sizeof(frame));
	return mbuf;
}

static void pass_packets(struct warren *host, struct rte_mempool *pool)
{
	GUARDED(warren_counters) counters = {.it.size = sizeof(counters.it), .behind = BEHIND};
	struct warren_worker *worker;
	const struct warren_burst *bursts;
	uint64_t *drops = calloc(warren_reasons(), sizeof(*drops));
	struct rte_mbuf *mbuf = question(pool);

	CHECK(drops != NULL && warren_reason(0) != NULL && warren_reason(warren_reasons()) == NULL);
	CHECK(warren_worker_open(host, 0, pool, &worker, &error) == WARREN_OK);
	CHECK(warren_process(worker, 999, &mbuf, 1, 1, &bursts) == WARREN_PORT);
	CHECK(warren_process(worker, 0, &mbuf, WARREN_BURST + 1, 1, &bursts) == WARREN_ARGUMENT);
	CHECK(warren_process(worker, 0, &mbuf, 1, 1, &bursts) == 1);
	CHECK(bursts->port == 0 && bursts->count == 1);
	mbuf = bursts->mbufs[0];
	/* An answer. */
	CHECK(rte_pktmbuf_mtod(mbuf, const uint8_t *)[21] == 2);
	rte_pktmbuf_free(mbuf);
	/* It is from nobody known. */
	mbuf = question(pool);
	rte_pktmbuf_mtod(mbuf, uint8_t *)[11] = 0xee;
	CHECK(warren_process(worker, 0, &mbuf, 1, 1000, &bursts) == 0);
	CHECK(warren_process(worker, 0, NULL, 0, 2000, &bursts) == 0);
	CHECK(warren_quiesce(worker) == WARREN_OK);

	CHECK(warren_port_counters(host, 0, &counters.it, &error) == WARREN_OK);
	CHECK(counters.it.rx_packets == 2 && counters.it.rx_bytes == 84);
	CHECK(counters.it.tx_packets == 1 && counters.it.tx_bytes == 42 && counters.it.dropped == 1);
	CHECK(counters.it.size == sizeof(counters.it) && counters.behind == BEHIND);
	CHECK(warren_drops(host, 0, drops, warren_reasons(), &error) == WARREN_OK);
	for (uint32_t reason = 0; reason < warren_reasons(); reason++)
		counters.it.dropped -= drops[reason];
	CHECK(counters.it.dropped == 0);
	CHECK(warren_close(host, &error) == WARREN_BUSY && error.code == WARREN_BUSY);
	CHECK(warren_worker_close(worker) == WARREN_OK);
	free(drops);
}

static void apply_states(struct warren *host, const char *folder)
{
	static const char nothing[] = "Vpcs: []";
	GUARDED(warren_applied) applied = {.it.size = sizeof(applied.it), .behind = BEHIND};
	char state[512];
	uint64_t first;

	snprintf(state, sizeof(state), "%s/two-hosts.state.yaml", folder);
	CHECK(warren_apply(host, state, &applied.it, &error) == WARREN_OK);
	CHECK(applied.it.added == 0 && applied.it.removed == 0 && applied.it.changed == 0 && applied.it.late == 0);
	CHECK(applied.it.size == sizeof(applied.it) && applied.behind == BEHIND);
	first = applied.it.generation;
	CHECK(warren_apply(host, state, &applied.it, NULL) == WARREN_OK && applied.it.generation > first);
	CHECK(warren_apply_text(host, nothing, strlen(nothing), &applied.it, &error) == WARREN_STATE);
	CHECK(error.code == WARREN_STATE && memchr(error.message, 0, WARREN_MESSAGE_BYTES) != NULL);
}

int main(int argc, char **argv)
{
	char *eal[] = {argv[0], "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m64", "--lcores=0", "--log-level=error"};
	uint32_t cpu = 0;
	struct warren_options options = {.size = sizeof(options), .workers = 1, .open_port = open_port};
	GUARDED(warren_port) port = {.it.size = sizeof(port.it), .behind = BEHIND};
	struct rte_mempool *pool;
	struct warren *host;
	char file[512];

	CHECK(argc == 2 && rte_eal_init(sizeof(eal) / sizeof(eal[0]), eal) >= 0);
	pool = rte_pktmbuf_pool_create("pool", 511, 0, 0, RTE_PKTMBUF_HEADROOM + 10240, SOCKET_ID_ANY);
	CHECK(pool != NULL);
	/* A later library of the same major version. */
	CHECK(warren_version() >= WARREN_VERSION && warren_version() >> 16 == WARREN_VERSION >> 16);

	snprintf(file, sizeof(file), "%s/host-a.toml", argv[1]);
	options.host_file = file;
	options.log = count_line;
	options.user = &lines;
	options.cpus = &cpu;
	options.cpu_count = 1;
	options.flags = 1u << 31;
	CHECK(warren_open(&options, &host, &error) == WARREN_ARGUMENT && host == NULL);
	options.flags = 0;
	CHECK(warren_open(&options, &host, &error) == WARREN_OK);
	CHECK(warren_workers(host) == 1 && warren_ports(host) == opened && opened == 3);
	CHECK(warren_port_info(host, 0, &port.it, &error) == WARREN_OK);
	CHECK(strcmp(port.it.name, "vm0") == 0 && port.it.role == WARREN_ROLE_INSTANCE && port.it.index == 0);
	CHECK(port.it.size == sizeof(port.it) && port.behind == BEHIND);
	apply_states(host, argv[1]);
	pass_packets(host, pool);
	CHECK(warren_close(host, &error) == WARREN_OK);
	CHECK(lines > 0);
	rte_mempool_free(pool);
	return rte_eal_cleanup();
}
