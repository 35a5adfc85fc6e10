/* The nodes of warren_graph.h, which EAL's -d loads: the C API between a graph's nodes that receive and those that send. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <rte_debug.h>
#include <rte_graph.h>
#include <rte_graph_worker.h>
#include <rte_log.h>
#include <rte_mbuf.h>

#include "warren_graph.h"

/* What a node knows of its graph: the zone that warren_graph_bind() made. */
static int init(const struct rte_graph *graph, struct rte_node *node)
{
	char name[RTE_MEMZONE_NAMESIZE];
	const struct rte_memzone *zone;

	snprintf(name, sizeof(name), WARREN_GRAPH_ZONE, graph->name);
	zone = rte_memzone_lookup(name);
	if (zone == NULL) {
		RTE_LOG(ERR, USER1, "%s: no worker: call warren_graph_bind(\"%s\", ...) before the graph is created\n",
				node->name, graph->name);
		return -ENOENT;
	}
	memcpy(node->ctx, &zone->addr, sizeof(zone->addr));
	return 0;
}

static inline struct warren_graph *known(const struct rte_node *node)
{
	struct warren_graph *graph;

	memcpy(&graph, node->ctx, sizeof(graph));
	return graph;
}

static inline uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

/* Gives packets of a port to the worker, and what comes of them to the nodes that send. */
static inline void give(struct rte_graph *graph, struct rte_node *node, struct warren_worker *worker, uint16_t port,
		struct rte_mbuf **mbufs, uint16_t count, uint64_t now)
{
	const struct warren_burst *burst;
	int32_t bursts = warren_process(worker, port, mbufs, count, now, &burst);

	/* A packet of a port that is nobody's or another worker's, or broken code: nothing that a node could mend. */
	if (unlikely(bursts < 0))
		rte_panic("%s: warren_process() returned %d for port %u\n", node->name, bursts, port);
	for (; bursts > 0; bursts--, burst++)
		rte_node_enqueue(graph, node, burst->port, (void **)burst->mbufs, burst->count);
}

/* Packets of several ports come in runs. */
static uint16_t take(struct rte_graph *graph, struct rte_node *node, void **objs, uint16_t count)
{
	struct rte_mbuf **mbufs = (struct rte_mbuf **)objs;
	struct warren_graph *to = known(node);
	uint64_t now = nanoseconds();
	uint16_t first = 0, end, port;

	while (first < count) {
		for (end = first + 1; end < count && end - first < (int)WARREN_BURST; end++)
			if (mbufs[end]->port != mbufs[first]->port)
				break;
		port = mbufs[first]->port;
		port = port < RTE_MAX_ETHPORTS ? to->ports[port] : UINT16_MAX;
		give(graph, node, to->worker, port, &mbufs[first], end - first, now);
		first = end;
	}
	return count;
}

static uint16_t poll(struct rte_graph *graph, struct rte_node *node, void **objs, uint16_t count)
{
	(void)objs;
	(void)count;
	give(graph, node, known(node)->worker, 0, NULL, 0, nanoseconds());
	return 0;
}

static struct rte_node_register instance = {.name = "warren-instance", .process = take, .init = init};
static struct rte_node_register uplink = {.name = "warren-uplink", .process = take, .init = init};
static struct rte_node_register polling = {.name = "warren-poll", .flags = RTE_NODE_SOURCE_F, .process = poll, .init = init};

RTE_NODE_REGISTER(instance)
RTE_NODE_REGISTER(uplink)
RTE_NODE_REGISTER(polling)
